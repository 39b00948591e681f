"""Patterns for the names of personas, plugins, providers, schemes and tools."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


# The part before the colon of `scheme:rest`. A single letter is a drive of Windows.
SCHEME = re.compile(r"[a-z][a-z0-9-]+\Z")


TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


# Windows opens a device instead of a file with these names, whatever the extension.
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")
