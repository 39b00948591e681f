"""Fuzzing of what personakit reads: see `fuzz.targets`."""
