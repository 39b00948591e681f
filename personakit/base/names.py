"""Patterns for the names of personas, plugins, providers, schemes and tools, and ids of runs."""

from __future__ import annotations

import os
import re

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


# The part before the colon of `scheme:rest`. A single letter is a drive of Windows.
SCHEME = re.compile(r"[a-z][a-z0-9-]+\Z")


# A persona that a plugin loads. The rest is the plugin's, without what would break a line, or show
# another name than it is: the bidi controls of UAX #9 and the invisible operators.
_REST = r":([^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f]{0,500})"
LOADED = re.compile(rf"([a-z][a-z0-9-]+){_REST}\Z")


# What `extends` names: a name, a path in the library, or a persona that a plugin loads.
REFERENCE = re.compile(
    r"(?:[a-z0-9][a-z0-9_-]{0,63}(?:/[a-z0-9][a-z0-9_-]{0,63}){0,7}"
    rf"|[a-z][a-z0-9-]+{_REST})\Z"
)


# As in https://platform.openai.com/docs/api-reference/chat/create, `tools`.
TOOL = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


# Windows opens a device instead of a file with these names, whatever the extension.
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")


def run_id(started: float) -> str:
    """Return the id of a run: the microseconds of its start and random digits.

    Args:
        started: Unix time in seconds.
    """
    return f"{first_id(started)}{os.urandom(9).hex()}"


def first_id(moment: float) -> str:
    """Return the prefix of the ids of runs that start at a Unix time."""
    return f"{max(0, int(moment * 1_000_000)):014x}"
