"""Parameters of other tools as those of a persona."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from personakit.persona import parameters

_NAMES = {
    "maxoutputtokens": "max_tokens",
    "maxtokens": "max_tokens",
    "numpredict": "max_tokens",
    "maxcompletiontokens": "max_completion_tokens",
    "topp": "top_p",
    "stopsequences": "stop",
    "frequencypenalty": "frequency_penalty",
    "presencepenalty": "presence_penalty",
    "reasoningeffort": "reasoning_effort",
    "responseformat": "response_format",
    "response": "response_format",
    "logitbias": "logit_bias",
    "toplogprobs": "top_logprobs",
}


def mapped(name: str, value: Any) -> dict[str, Any] | None:
    """Return a parameter of another tool as one of a persona; None if there is no equivalent.

    Args:
        name: Its name there, in any spelling: ``maxOutputTokens``, ``max_output_tokens``.
        value: Its value. Texts of numbers are read as numbers.
    """
    if name == "reasoning" and isinstance(value, Mapping) and set(value) == {"effort"}:
        name, value = "reasoning_effort", value["effort"]
    plain = re.sub(r"[_-]", "", name).lower()
    own = _NAMES.get(plain, name if name in parameters.ALLOWED else plain)
    rule = parameters.ALLOWED.get(own)
    if rule is None:
        return None
    if own == "response_format" and isinstance(value, str):
        value = {"type": {"json": "json_object"}.get(value, value)}
    if own == "stop" and isinstance(value, str):
        value = [value]
    for candidate in (value, _number(value)):
        if candidate is not None and rule.check(candidate) is None:
            return {own: candidate}
    return None


def _number(value: Any) -> Any:
    """Return the number that a text, or a float without a fraction, stands for; else None."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return None
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None
