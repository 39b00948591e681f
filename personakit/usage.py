"""Usage: the tokens that calls of models took, and what they cost by the data of genai-prices."""

from __future__ import annotations

from dataclasses import dataclass

from personakit.providers import split_model

_NAMES = {"gemini": "google", "xai": "x-ai"}
"""Providers that genai-prices calls by another name."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the upstream counted them; of several calls, ``+`` gives the sum.

    Attributes:
        prompt_tokens: Those that the model read.
        completion_tokens: Those that it wrote.
        total_tokens: Both.
        cached_tokens: Those of the prompt that the upstream took from its cache.
        reasoning_tokens: Those of the answer that the model thought with and did not show.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What one call of a model took.

    Attributes:
        asked: The model as ``provider/model``; empty when nothing was sent.
        model: The model that answered, as the upstream names it.
        usage: The tokens; None when the upstream did not say.
        given: US dollars, if somebody knows; None to look them up.
    """

    asked: str
    model: str
    usage: Usage | None
    given: float | None

    def cost(self) -> float | None:
        """Return US dollars; None when unknown."""
        if self.given is not None or self.usage is None or not self.asked:
            return self.given
        found = price(self.asked, self.usage)
        if found is None and self.model:
            # What was asked for can be a name that only the account knows, as with azure.
            found = price(f"{split_model(self.asked)[0]}/{self.model}", self.usage)
        return found


def price(model: str, usage: Usage | None) -> float | None:
    """Return what a call costs, in US dollars.

    The prices are those packaged with genai-prices; newer ones are never fetched. Tokens that the
    upstream took from its cache are counted at their own price.

    Args:
        model: ``provider/model``; a bare name is a model of openai.
        usage: The tokens of the call; None when the upstream did not count.

    Returns:
        None when the provider, the model or the tokens are unknown: it may cost something or
        nothing.
    """
    if usage is None:
        return None
    from genai_prices import Usage as Tokens  # noqa: PLC0415
    from genai_prices import calc_price  # noqa: PLC0415

    provider, name = split_model(model)
    if provider == "huggingface":
        # Its router takes model:provider, and each of those has its own prices.
        name, _, runs = name.partition(":")
        provider = f"huggingface_{runs}"
    try:
        tokens = Tokens(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cache_read_tokens=min(usage.cached_tokens, usage.prompt_tokens),
        )
        found = calc_price(tokens, name, provider_id=_NAMES.get(provider, provider))
    except (LookupError, ValueError):
        return None
    return float(found.total_price)
