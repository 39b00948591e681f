"""Read the token counts of an answer, which servers spell in different ways.

The spellings are those of OpenAI's chat completions and Responses APIs, Anthropic's messages API,
Google's generateContent, Groq's `x_groq`, DeepSeek's `prompt_cache_hit_tokens` and OpenRouter's
`cache_write_tokens`, each from its API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personakit.usage import Usage

_MOST = 2**63
_ANTHROPICS = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})


def read_usage(*values: Any) -> Usage | None:
    """Return the tokens of the first value that can be read; None if none can.

    A count that is missing or not understood is unknown, not zero. Tokens that only the total
    contains are hidden reasoning, which is billed as output (xAI, Gemini).

    Args:
        values: The JSON values of `usage`, in order of preference.
    """
    for value in values:
        usage = _usage(value) if value else None
        if usage is not None:
            return usage
    return None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    counts = _prompt_and_completion(value)
    if counts is None:
        return None
    prompt, completion = counts
    total = _total(value)
    cached, written = _cache(value)
    outputs = _mapping(value, "completion_tokens_details", "output_tokens_details")
    reasoning = _count(outputs, "reasoning_tokens", "thinking_tokens")
    reasoning = reasoning or _count(value, "reasoning_tokens", "thoughtsTokenCount") or 0
    if _is_beside(value, prompt, cached + written, completion, total):
        prompt += cached + written
    if total is not None and total > prompt + completion:
        completion = total - prompt
    elif reasoning > completion:
        completion += reasoning
    return Usage(prompt, completion, prompt + completion, min(cached, prompt), reasoning, written)


def _prompt_and_completion(value: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return both counts, one of them from the total if need be; None if that is not possible."""
    total = _total(value)
    prompt = _count(value, "prompt_tokens", "input_tokens", "promptTokenCount")
    completion = _count(value, "completion_tokens", "output_tokens", "candidatesTokenCount")
    if prompt is None and completion is not None and total is not None:
        if value.get("prompt_tokens", value.get("input_tokens")) is not None:
            return None  # a count that is not understood
        prompt = total - completion
    elif completion is None and prompt is not None and total is not None:
        if value.get("completion_tokens", value.get("output_tokens")) is not None:
            return None
        completion = total - prompt
    if prompt is None or completion is None or min(prompt, completion) < 0:
        return None
    # A prompt of no tokens has not been counted.
    return (prompt, completion) if prompt + completion else None


def _total(value: Mapping[str, Any]) -> int | None:
    return _count(value, "total_tokens", "totalTokenCount")


def _cache(value: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens read from the cache, and those written to it."""
    inputs = _mapping(value, "prompt_tokens_details", "input_tokens_details")
    cached = _count(inputs, "cached_tokens")
    if cached is None:
        cached = _count(
            value,
            "cache_read_input_tokens",
            "prompt_cache_hit_tokens",
            "cached_tokens",
            "cachedContentTokenCount",
        )
    written = _count(inputs, "cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = _count(value, "cache_creation_input_tokens", "cache_write_tokens")
    return cached or 0, written or 0


def _is_beside(
    value: Mapping[str, Any], prompt: int, stored: int, completion: int, total: int | None
) -> bool:
    """Return whether the tokens in the cache are not among those of the prompt.

    So it is with Anthropic's input_tokens, whose counts of the cache have names of their own; the
    total tells, if there is one.
    """
    if not stored:
        return False
    if total is not None:
        return total - prompt - completion == stored
    own = "prompt_tokens" not in value and "input_tokens_details" not in value
    return stored > prompt or (own and not _ANTHROPICS.isdisjoint(value))


def _mapping(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the first of several members that is an object; an empty one if none is."""
    for name in names:
        member = value.get(name)
        if isinstance(member, dict):
            return member
    return {}


def _count(value: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of several counts; None if it is missing or not a number of tokens."""
    for name in names:
        count = value.get(name)
        if type(count) is int:
            return count if 0 <= count < _MOST else None
        if count is not None:
            return _number(count)
    return None


def _number(count: Any) -> int | None:
    """Return a count that is not an integer: a float or a text."""
    if isinstance(count, str):
        try:
            count = float(count)
        except ValueError:
            return None
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    # Neither infinity nor NaN is within these.
    return int(count) if 0 <= count < _MOST and count == int(count) else None
