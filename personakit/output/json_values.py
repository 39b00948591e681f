"""The JSON values in an answer: the whole of it, or what stands in prose and code fences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from personakit.base import read_json, time_left

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[ \t]*\r?$", re.MULTILINE)
_BRACKET = re.compile(r"[{\[]")
# Thoughts without an opening tag, which some chat templates put into the prompt; and thoughts
# that never end.
_CLOSED = re.compile(r"</(?:think|thinking|thought)>|\[/THINK\]", re.IGNORECASE)
_ENDLESS = re.compile(r"\s*(?:<(?:think|thinking|thought)>|\[THINK\])", re.IGNORECASE)
_OBJECT = re.compile(r"\{\s*\"")
_MOST_VALUES = 100
_MOST_FENCES = 400
_MOST_FAILURES = 200


def json_values(text: str, *, whole: bool) -> list[tuple[str, Any]]:
    """Return the JSON texts in an answer, outside of thoughts, with their values.

    If the answer as a whole is not JSON, these are the contents of its code fences, and the objects
    and arrays elsewhere; a bracket that begins no JSON is prose.

    Args:
        text: The answer.
        whole: Only take the whole answer, or a fence around all of it: a value within a truncated
            answer is not its value.

    Raises:
        ValueError: The answer contains no valid JSON.
    """
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return [(text, read_json(text))]
    except ValueError as error:
        first = error
    # The closing tag can also stand in a JSON string.
    end = max((closed.end() for closed in _CLOSED.finditer(text)), default=0)
    values = _found(text[end:], whole=whole) or (_found(text, whole=whole) if end else [])
    if not values or len(values) > _MOST_VALUES:
        shown = text.strip()[:60]
        if not values and not _BRACKET.search(text):
            raise ValueError(f"it is prose, not JSON; it begins with {shown!r}")
        raise ValueError(f"it is not valid JSON: {first}; it begins with {shown!r}")
    return values


def _found(text: str, *, whole: bool) -> list[tuple[str, Any]]:
    """Return the values in fences and in prose."""
    values: list[tuple[str, Any]] = []
    if _ENDLESS.match(text):
        return values
    # No line inside JSON begins with a fence, since JSON strings contain no line breaks.
    parts = _FENCE.split(text, _MOST_FENCES)
    if len(parts) > 2 * _MOST_FENCES:
        return values
    outside = "".join(parts[0::4])
    if not whole or not outside.strip():
        for number, part in enumerate(parts[0::2]):
            closed = number % 2 == 1 and 2 * number + 1 < len(parts)
            found = _fenced(part) if closed else _within(part)
            # More than that is an error, whatever they are.
            values += islice(found, _MOST_VALUES + 1 - len(values))
    return values


def _fenced(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the value of a code fence, or the values within it."""
    try:
        yield text, read_json(text)
    except ValueError:
        yield from _within(text)


def _within(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the objects and arrays in a text, the outermost ones."""
    decoder = json.JSONDecoder()
    at, failures, scanned = 0, 0, 0
    while (found := _BRACKET.search(text, at)) is not None:
        time_left()
        start = found.start()
        try:
            _, end = decoder.raw_decode(text, start)
            yield text[start:end], read_json(text[start:end])
            at = end
        except (ValueError, RecursionError) as error:
            if _is_cut(text, start, error):
                shown = text[start : start + 60]
                raise ValueError(f"it is not valid JSON: the end is missing of {shown!r}") from None
            at = start + 1
            failures += 1
            scanned += getattr(error, "pos", len(text)) - start
            # Brackets that never close would be read again and again.
            if failures > _MOST_FAILURES or scanned > 10 * len(text) + 10_000:
                return


def _is_cut(text: str, start: int, error: Exception) -> bool:
    """Return whether an object begins at a place and the text ends within it."""
    if not _OBJECT.match(text, start) or not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
