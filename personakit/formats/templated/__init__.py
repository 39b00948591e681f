"""Formats with a language of templates of their own, and their translation to Jinja2."""
