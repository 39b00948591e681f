"""What is wrong with a text that is not YAML, for its author.

PyYAML's messages name the rule of the grammar that failed, often far behind the mistake. The rules
of this package recognize frequent mistakes by the lines around that place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from personakit.persona.mistakes import characters, layout
from personakit.persona.mistakes.failure import ASSIGNMENT, Failure, Mistake

_CONFLICT = ("<<<<<<< ", ">>>>>>> ")


def syntax_error(error: Any, text: str, path: str) -> Mistake:
    """Return the mistake for an error of PyYAML's parser."""
    if path.endswith(".json") or re.match(r'\s*\{\s*"', text):
        mistake = _json(text)
        if mistake is not None:
            return mistake
    failure = Failure.of(error, text)
    for rule in _RULES:
        mistake = rule(failure)
        if mistake is not None:
            return mistake
    if "document start" in failure.problem:
        message = "found more after the end of the value; a file is one mapping of keys to values"
        if ASSIGNMENT.match(text):
            message += ', with `key: value` instead of `key = "value"`'
        return Mistake(message, failure.row + 1, failure.column + 1)
    if "node content" in failure.problem:
        message = "expected a value here; quote a text that begins with this character"
        return Mistake(message, failure.row + 1, failure.column + 1)
    context = f" ({failure.context})" if failure.context else ""
    message = f"not valid YAML: {failure.problem}{context}"
    return Mistake(message, failure.row + 1, failure.column + 1)


def braces(text: str, row: int, column: int) -> Mistake:
    """Return the mistake for a value that begins with two braces; both count from 0."""
    failure = Failure(text, "expected", "", (row, column, row, column))
    return characters.braces(failure) or Mistake(characters.braces_message(), row + 1, column + 1)


def _json(text: str) -> Mistake | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].lstrip()
        before = text[: error.pos].rstrip()
        hint = ""
        if rest[:1] in ("}", "]") and before.endswith(","):
            hint = "; remove the comma before it"
        elif rest.startswith("'"):
            hint = "; JSON has double quotes only"
        elif rest.startswith(("#", "//", "/*")):
            hint = "; JSON has no comments: remove it, or name the file .yaml"
        elif "delimiter" in error.msg and rest:
            hint = "; a comma or a quote is missing before it"
        elif not rest:
            hint = "; the file ends early: close each { and ["
        elif "property name" in error.msg:
            hint = "; write each key in double quotes"
        found = error.msg[0].lower() + error.msg[1:]
        return Mistake(f"not valid JSON: {found}{hint}", error.lineno, error.colno)
    except (ValueError, RecursionError):
        return None
    return None


def _conflict(failure: Failure) -> Mistake | None:
    row = next((n for n, text in enumerate(failure.lines) if text.startswith(_CONFLICT)), None)
    if row is None:
        return None
    message = (
        "found the mark of a merge conflict; keep one of the two versions, and delete the lines "
        "that begin with <<<<<<<, ======= and >>>>>>>"
    )
    return Mistake(message, row + 1, 1)


_RULES: tuple[Callable[[Failure], Mistake | None], ...] = (
    _conflict,
    characters.tab,
    characters.other_space,
    characters.braces,
    characters.open_quote,
    characters.open_bracket,
    characters.first_character,
    characters.directive,
    characters.header,
    characters.escape,
    layout.missing_space,
    characters.after_value,
    layout.second_colon,
    layout.no_colon,
    layout.cut,
    layout.item,
    layout.indentation,
)
