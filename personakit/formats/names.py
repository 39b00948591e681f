"""Names of personas and of variables, made from those of other tools."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection

from personakit.base import NAME, RESERVED

LONGEST = 64
_NOT_VARIABLES = frozenset(
    "input parent true false none True False None not self loop and or in is if else for "
    "range dict namespace".split()
)


def persona_name(text: str, format: str) -> str:  # noqa: A002 - the field's term
    """Return the name of a persona that is closest to a name of another tool.

    Args:
        text: The name there.
        format: The format's name, for a name that has no letter or digit of ASCII.
    """
    if NAME.match(text) and not RESERVED.match(text):
        return text
    spelled = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", spelled).strip("-_")[:LONGEST].strip("-_")
    if not slug:
        return f"{format}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return f"{slug}-persona" if RESERVED.match(slug) else slug


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name with the first suffix, ``-2``, ``-3`` and so on, that is not taken."""
    number = 2
    while True:
        suffix = f"-{number}"
        candidate = name[: LONGEST - len(suffix)].rstrip("-_") + suffix
        if candidate not in taken:
            return candidate
        number += 1


def variable_name(text: str, taken: Collection[str] = ()) -> str:
    """Return the name of a variable that is closest to one of another tool.

    Args:
        text: The name there.
        taken: The names that other variables have.
    """
    if _is_variable(text) and text not in taken:
        return text
    spelled = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_]+", "_", spelled).strip("_")[:60] or "value"
    if name[0].isdigit():
        name = f"_{name}"
    if not _is_variable(name):
        name = f"{name.lstrip('_') or 'value'}_"
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _is_variable(text: str) -> bool:
    legal = re.match(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z", text)
    return bool(legal) and text not in _NOT_VARIABLES and not text.startswith("__")
