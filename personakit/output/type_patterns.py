r"""Patterns of Python types, in engines that cannot hold a run past its deadline.

pydantic matches a `pattern` in linear time, unless the type chooses Python's `re` for it, with
`regex_engine="python-re"` or a compiled pattern: then `^(?=a)(a+)+$` takes twice as long for each
character more, inside of a call that nothing can end. Here such a type gets a validator of its own,
from pydantic's description of it, in which `schemas.pattern_of` matches the patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from personakit.schemas import pattern_of

_FLAGS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x", re.ASCII: "a"}


def bounded(described: Any, validate: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a function that validates a JSON text.

    Args:
        described: The core schema of a type.
        validate: The function of the type itself; returned if it uses no pattern of `re`.

    Raises:
        ValueError: A pattern is invalid.
    """
    if not _uses_re(described):
        return validate
    # The arguments must not be taken from the validators that the classes have already.
    from pydantic_core import SchemaValidator  # noqa: PLC0415

    changed = _changed(described)
    try:
        return SchemaValidator(changed, _use_prebuilt=False).validate_json  # type: ignore[call-arg,unused-ignore]
    except TypeError:  # before pydantic 2.11, validators were never shared
        return SchemaValidator(changed).validate_json


def _uses_re(part: Any) -> bool:
    if isinstance(part, dict):
        return (
            part.get("regex_engine") == "python-re"
            or (part.get("type") == "str" and isinstance(part.get("pattern"), re.Pattern))
            or any(map(_uses_re, part.values()))
        )
    return isinstance(part, list | tuple) and any(map(_uses_re, part))


def _changed(part: Any) -> Any:
    """Return a copy of a core schema in which each pattern of a text is a function."""
    if isinstance(part, list | tuple):
        return type(part)(map(_changed, part))
    if not isinstance(part, dict):
        return part
    if part.get("type") != "str" or not part.get("pattern"):
        return {key: _changed(value) for key, value in part.items()}
    given = part["pattern"]
    text = given if isinstance(given, str) else f"{_flags(given)}{given.pattern}"
    pattern = pattern_of(text)

    def check(value: str) -> str:
        if not pattern.search(value):
            raise ValueError(f"the text does not match the pattern {text!r:.200}")
        return value

    kept = {key: value for key, value in part.items() if key not in ("pattern", "regex_engine")}
    function = {"type": "no-info", "function": check}
    return {"type": "function-after", "function": function, "schema": kept}


def _flags(pattern: re.Pattern[str]) -> str:
    letters = "".join(letter for flag, letter in _FLAGS.items() if pattern.flags & flag)
    return f"(?{letters})" if letters else ""
