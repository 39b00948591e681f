"""The persona files of an import: written, found again, and reported."""
