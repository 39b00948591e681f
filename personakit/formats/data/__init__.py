"""Formats of one document of data, or of a table: JSON, YAML, CSV and Modelfile."""
