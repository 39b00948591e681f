"""The JSON Schemas of what the server reads and answers."""
