"""`personakit lint`: everything wrong in persona files at once, without running anything.

`check` does it; `codes` is the table of what it can say.
"""
