"""The parameters that a persona may set: sampling and output keys of chat.completions.create().

This is an allow-list, because persona files are shared: they must not contain a parameter that
sets another address, another API key or another request. The ranges are those of
OpenAI's API reference (https://platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from personakit.base import describe, is_type, shown
from personakit.errors import ConfigError, UsageError, did_you_mean
from personakit.frozen import ATOMS, check_plain
from personakit.persona.validation import retyped


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule for the value of a parameter.

    Attributes:
        check: Returns what is wrong with a value and what would be right, or None.
        schema: The same rule as a JSON Schema.
    """

    check: Callable[[Any], str | None]
    schema: Mapping[str, Any]


def _number(low: float, high: float) -> Rule:
    def check(value: Any) -> str | None:
        if not is_type(value, "number"):
            found = f"{describe(value)}{retyped(value, 'number')}"
            return f"expected a number from {low:g} to {high:g}, found {found}"
        if low <= value <= high:
            return None
        return f"expected a number from {low:g} to {high:g}, found {shown(value)}"

    return Rule(check, {"type": "number", "minimum": low, "maximum": high})


def _integer(low: int, high: int) -> Rule:
    def check(value: Any) -> str | None:
        if not is_type(value, "integer"):
            return f"expected an integer, found {describe(value)}{retyped(value, 'integer')}"
        if low <= value <= high:
            return None
        return f"expected an integer from {low} to {high}, found {shown(value)}"

    return Rule(check, {"type": "integer", "minimum": low, "maximum": high})


def _boolean(value: Any) -> str | None:
    if is_type(value, "boolean"):
        return None
    return f"expected true or false, found {describe(value)}{retyped(value, 'boolean')}"


def _choice(*choices: str) -> Rule:
    def check(value: Any) -> str | None:
        if value in choices:
            return None
        return f"expected one of {', '.join(choices)}, found {describe(value)}"

    return Rule(check, {"enum": list(choices)})


def _stop(value: Any) -> str | None:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) and t for t in texts):
        return f"expected a non-empty string or a list of them, found {describe(value)}"
    return None if len(texts) <= 16 else f"found {len(texts)} strings; the limit is 16"


def _logit_bias(value: Any) -> str | None:
    good = isinstance(value, Mapping) and all(
        str(token).isdigit() and is_type(bias, "number") and -100 <= bias <= 100
        for token, bias in value.items()
    )
    return (
        None
        if good
        else f"expected token ids with numbers from -100 to 100, found {describe(value)}"
    )


def _response_format(value: Any) -> str | None:
    if isinstance(value, Mapping) and value.get("type") in _FORMATS:
        return None
    kinds = ", ".join(_FORMATS)
    return f"expected a mapping whose `type` is one of {kinds}, found {describe(value)}"


_FORMATS = ("text", "json_object", "json_schema")
_STOP_TEXT = {"type": "string", "minLength": 1}
_STOP = {"anyOf": [_STOP_TEXT, {"type": "array", "items": _STOP_TEXT, "maxItems": 16}]}
_BIAS = {"type": "number", "minimum": -100, "maximum": 100}
_LOGIT_BIAS = {
    "type": "object",
    "patternProperties": {"^[0-9]+$": _BIAS},
    "additionalProperties": False,
}
_RESPONSE_FORMAT = {
    "type": "object",
    "properties": {"type": {"enum": list(_FORMATS)}},
    "required": ["type"],
}

ALLOWED: dict[str, Rule] = {
    "frequency_penalty": _number(-2, 2),
    "logit_bias": Rule(_logit_bias, _LOGIT_BIAS),
    "logprobs": Rule(_boolean, {"type": "boolean"}),
    "max_completion_tokens": _integer(1, 10_000_000),
    "max_tokens": _integer(1, 10_000_000),
    "presence_penalty": _number(-2, 2),
    "reasoning_effort": _choice("none", "minimal", "low", "medium", "high", "xhigh"),
    "response_format": Rule(_response_format, _RESPONSE_FORMAT),
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": Rule(_stop, _STOP),
    "temperature": _number(0, 2),
    "top_logprobs": _integer(0, 20),
    "top_p": _number(0, 1),
    "verbosity": _choice("low", "medium", "high"),
}

# Rejected keys of create(), each with the alternative.
REFUSED: dict[str, str] = {
    "api_key": "keys belong in the environment or the config file",
    "base_url": "addresses belong in the config file, under `providers`",
    "extra_body": "only named parameters are sent",
    "extra_headers": "headers belong in the config file, under `providers`",
    "extra_query": "only named parameters are sent",
    "messages": "write `system`, `messages` and `prompt` beside `parameters`",
    "model": "write `model` beside `parameters`",
    "n": "a run has one answer",
    "stream": "the caller sets it with --stream or --no-stream",
    "stream_options": "the caller sets it with --stream or --no-stream",
    "timeout": "the caller sets it",
    "tool_choice": "a plugin's chat hook sets it, together with `tools`",
    "tools": "write `tools` beside `parameters`",
}


_INSTEAD = {
    "model": "use -m, in Python model=",
    "messages": "use a conversation: `personakit chat`, in Python Runner.conversation",
    "stream": "use --stream, in Python Runner.stream",
    "timeout": "use --timeout, in Python timeout=",
    "tools": "list them under `tools:` of the persona, in Python tools=",
}


def fault(name: str, value: Any) -> str | None:
    """Return what is wrong with a parameter and what would be right, or None."""
    if name in REFUSED:
        return f"parameter {name!r} is not allowed in a persona: {REFUSED[name]}"
    if name not in ALLOWED:
        hint = did_you_mean(name, ALLOWED) or f" (known: {', '.join(ALLOWED)})"
        return f"unknown parameter {name!r}{hint}"
    if value is None:
        return f"parameter {name!r} has no value: set one or remove the line"
    if type(value) not in ATOMS:
        try:
            check_plain(value, f"parameter {name!r}")
        except UsageError as error:
            return str(error)
    problem = ALLOWED[name].check(value)
    return f"parameter {name!r}: {problem}" if problem else None


def check(parameters: Mapping[str, Any]) -> None:
    """Check parameters from a caller. None removes a parameter of the persona.

    Raises:
        ConfigError: A parameter is unknown or invalid; the message lists all problems.
    """
    if not isinstance(parameters, Mapping):
        found = type(parameters).__name__
        raise ConfigError(f"parameters must be a mapping of names to values, found {found}")
    given = {n: value for n, value in parameters.items() if value is not None or n not in ALLOWED}
    faults = [
        f"parameter {name!r} cannot be set with -p or parameters=: {instead}"
        if (instead := _INSTEAD.get(name) or REFUSED.get(name))
        else problem
        for name, value in given.items()
        if (problem := fault(name, value))
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def convert(name: str, text: str) -> Any:
    """Parse the value of a parameter from a command line: as JSON if it is valid, else as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
