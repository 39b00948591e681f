"""What the models accept, by their names.

Sources, as of November 2026: the pages "Models overview", "Thinking", "Effort" and "What's new" of
each model on https://platform.claude.com/docs. A name that is not in the table is a new model.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class _Model(NamedTuple):
    """What a model accepts.

    Attributes:
        tokens: The most tokens of an answer.
        thinks: How it thinks: ``adaptive``, or ``enabled``, which has a budget.
        off: The type of `thinking` that turns it off; empty for a model that always thinks.
        highest: Its highest effort.
    """

    tokens: int = 64_000
    thinks: str = "adaptive"
    off: str = ""
    highest: str = "xhigh"


_TABLE = (
    (r"claude-(instant|\d|\w+-4(-[01]\b|-2025|@|$))", _Model(4_096, "enabled", "disabled")),
    (r"claude-\w+-4-5", _Model(64_000, "enabled", "disabled")),
    (r"claude-\w+-4-6", _Model(128_000, off="disabled", highest="max")),
    (r"claude-(opus-4-[78]|(opus|sonnet)-5(?!-\d\b)|haiku-5-5)", _Model(128_000, off="disabled")),
    (r"claude-sonnet-5-5", _Model(128_000, off="between_tools")),
    (r"claude-(opus|sonnet|haiku|fable|mythos)-5", _Model(128_000)),
    (r"claude", _Model()),
)
_UNKNOWN = _Model(8_192)
# The shares of an answer's tokens that OpenRouter gives to thoughts:
# https://openrouter.ai/docs/use-cases/reasoning-tokens
_SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}
_LEAST, _MOST = 1_024, 32_000
"""The tokens of a budget: the least that the API accepts, and the most for one connection."""


def _model(name: str) -> _Model:
    return next((model for form, model in _TABLE if re.search(form, name)), _UNKNOWN)


def most_tokens(name: str) -> int:
    """Return the most tokens of a model's answer, which the API wants to be told."""
    return _model(name).tokens


def thinking(name: str, effort: str, limit: int) -> dict[str, Any]:
    """Return the part of a body that says how much a model thinks.

    Args:
        name: The name of the model.
        effort: A `reasoning_effort`.
        limit: The most tokens of the answer, thoughts included.
    """
    model = _model(name)
    if effort == "none" and model.off:
        return {"thinking": {"type": model.off}}
    if model.thinks == "adaptive":
        efforts = {"none": "low", "minimal": "low", "xhigh": model.highest}
        thoughts = {"type": "adaptive", "display": "summarized"}
        return {"thinking": thoughts, "output_config": {"effort": efforts.get(effort, effort)}}
    budget = min(max(int(limit * _SHARES.get(effort, 0.5)), _LEAST), _MOST)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget < limit else {}
