"""The names that persona files, plugins and providers go by."""

from __future__ import annotations

import re

# The names of personas, plugins, providers and the like.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


# What stands before the colon of `scheme:rest`. One letter is a drive of Windows.
SCHEME = re.compile(r"[a-z][a-z0-9-]+\Z")


TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


# Windows opens a device instead of a file of these names, whatever the ending.
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")
