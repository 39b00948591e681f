"""Explanations of mistakes in persona files: of the syntax, and of keys."""
