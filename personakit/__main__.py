"""The command line as `python -m personakit`."""

from personakit.cli import main

main()
