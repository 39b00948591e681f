"""Checks of the JSON of an answer, whose errors quote what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from personakit.backend.api_errors import reported
from personakit.base import shown
from personakit.errors import InvalidAnswer

_SURROGATE = re.compile("[\ud800-\udfff]")
# NaN is not valid JSON, but some servers send it among logprobs, which are not used here.
_decoded = json.JSONDecoder(parse_constant=lambda _: None).decode


strict = from_json
"""Parse JSON; refuse what JSON does not have, and lone surrogates, with a ValueError."""


def answer(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body or an event; raise the error that it reports, if any."""
    try:
        # A third of the time of Python's own parser, which accepts more: lone surrogates, other
        # encodings, NaN, deeper levels.
        data = from_json(body, allow_inf_nan=False)
    except ValueError:
        data = _parsed(body)
    if isinstance(data, list) and data and isinstance(data[0], dict) and data[0].get("error"):
        data = data[0]  # as Google reports errors
    if not isinstance(data, dict):
        raise InvalidAnswer(f"the answer is {_start(data)!r}, not a JSON object")
    fault = data.get("error")
    if fault:
        raise reported(data if fault is True else fault)
    if data.get("object") == "error":
        raise reported(data)  # as vLLM and SGLang report errors
    return data


def _parsed(body: bytes) -> Any:
    try:
        # As json.loads() decodes bytes, which creates a decoder for each call.
        return _decoded(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        reason = f"it begins with {start!r}" if start else "it is empty"
        raise InvalidAnswer(f"the answer is not valid JSON: {reason}") from error


def error_of(body: bytes) -> Any:
    """Return the error in an event that is named so: JSON, or a text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def unexpected(error: Exception, data: Mapping[str, Any]) -> InvalidAnswer:
    """Return the error of JSON that has another form than a wire expects."""
    reason = f"{type(error).__name__}: {error}"[:80]
    return InvalidAnswer(f"the answer is {shown(data)[:80]}, not of the expected form ({reason})")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object of JSON; reject anything else."""
    if not isinstance(value, dict):
        raise InvalidAnswer(f"the answer contains {_start(value)!r} where an object is expected")
    return value


def array(value: Any) -> list[Any]:
    """Return a list of JSON; null is an empty one."""
    if value is not None and not isinstance(value, list):
        raise InvalidAnswer(f"the answer contains {_start(value)!r} where a list is expected")
    return value or []


def string(value: Any) -> str:
    """Return a string of JSON; null is an empty one."""
    if value is not None and not isinstance(value, str):
        raise InvalidAnswer(f"the answer contains {_start(value)!r} where a string is expected")
    return value or ""


def optional_text(value: Any) -> str | None:
    """Return a text that is a string and not empty; None for anything else."""
    return clean(value) if isinstance(value, str) and value else None


def clean(text: str) -> str:
    """Return a text without unpaired surrogates, which JSON allows and UTF-8 does not."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cleaned(value: Any) -> Any:
    """Return JSON whose texts have no unpaired surrogates; see `clean`."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def _start(value: Any) -> str:
    return (value if isinstance(value, str) else shown(value))[:40]
