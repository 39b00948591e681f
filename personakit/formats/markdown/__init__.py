"""Formats of a frontmatter and a text: those of coding agents, aichat and fabric."""
