"""What a client is told of an error: no folders of the server, and nothing like a key."""

from __future__ import annotations

import dataclasses
import re
from pathlib import PurePath

from personakit.errors import PersonaError, PersonakitError

_MOST = 2000
# An absolute path, up to its last separator. A component does not begin with a space, so that
# "1 / 2" is none.
_FOLDER = re.compile(
    r"(?<![\w/\\.:~)\]}^-])(?:[A-Za-z]:|~)?[\\/](?:[^\s\\/:*?\"'<>|,;()][^\n\\/:*?\"'<>|,;()]*[\\/])+"
)
# The prefixes of common providers; what follows is at least as long as half a key.
_KEY = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|xai|hf|ghp|pplx|r8)[-_](?=[\w-]*[0-9])[\w-]{12,}"
    r"|AIza[\w-]{20,}|(?i:bearer) [\w.~+/=-]{8,})"
)


def told(error: PersonakitError) -> str:
    """Return the message of an error for the client of a service, of at most 2,000 characters.

    The folders of the machine are left out, and so is what looks like the key of a provider. An
    error that is raised within `front` for a service advises neither options nor Python.

    Args:
        error: The error.
    """
    problems = error.problems if isinstance(error, PersonaError) else ()
    named = [dataclasses.replace(each, path=PurePath(each.path).name) for each in problems]
    text = "\n".join(map(str, named)) or str(error)
    return without_keys(_FOLDER.sub("", text))[:_MOST]


def without_keys(text: str) -> str:
    """Return a text without what looks like a key of a provider."""
    return _KEY.sub("***", text)
