"""Usage: the tokens of model calls, and their cost with the prices of genai-prices."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

from personakit.base import brief_repr
from personakit.frozen import quick_init
from personakit.providers import split_model

if TYPE_CHECKING:
    from decimal import Decimal

_NAMES = {"gemini": "google", "xai": "x-ai"}
"""Providers that have another name in genai-prices."""


@quick_init
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the upstream counted them; ``+`` adds the tokens of several calls.

    Attributes:
        prompt_tokens: The tokens of the prompt.
        completion_tokens: The tokens of the answer.
        total_tokens: The sum of both.
        cached_tokens: The prompt tokens that the upstream read from its cache.
        reasoning_tokens: The answer tokens of hidden reasoning.
        cache_write_tokens: The prompt tokens that the upstream wrote to its cache.
        incomplete: True for a sum without the tokens of a call that did not report them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    incomplete: bool = False

    __repr__ = brief_repr

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.incomplete or other.incomplete,
        )

    @classmethod
    def sum(cls, usages: Iterable[Usage | None]) -> Usage | None:
        """Return the tokens of several calls; None if all are unknown.

        If only some are unknown, the sum is `incomplete`.
        """
        every = list(usages)
        if len(every) == 1:
            return every[0]
        known = [usage for usage in every if usage is not None]
        if not known:
            return None
        return sum(known, cls(incomplete=len(known) < len(every)))


@quick_init
@dataclass(frozen=True, slots=True)
class Timings:
    """The times of a run, in seconds.

    Attributes:
        started: The start of the run, as Unix time.
        total: From the start to the whole answer.
        first_text: From the start to the first streamed text; None if the run did not stream.
    """

    started: float
    total: float
    first_text: float | None = None


@quick_init
@dataclass(frozen=True, slots=True)
class Charge:
    """The tokens and cost of one request that was sent.

    Attributes:
        asked: The model as ``provider/model``; empty if nothing was sent.
        model: The model that answered, as the upstream names it; empty if no answer arrived.
        usage: The tokens; None if the upstream did not report them.
        given: US dollars, if known already; None to look up the price.
    """

    asked: str
    model: str = ""
    usage: Usage | None = None
    given: float | None = None

    def cost(self) -> float | None:
        """Return the cost in US dollars; None if unknown."""
        if self.given is not None or self.usage is None or not self.asked:
            return self.given
        cost = price(self.asked, self.usage)
        if cost is None and self.model:
            # The requested name can be a private one of the account, as with azure.
            cost = price(f"{split_model(self.asked)[0]}/{self.model}", self.usage)
        return cost


@quick_init
@dataclass(frozen=True, slots=True)
class Spent:
    """What a run paid: for every model call, those of its plugins and of runs inside it included.

    Attributes:
        charges: What each request cost, in the order of the answers. A request whose answer was
            lost after it had been sent has a charge with unknown tokens.
    """

    charges: tuple[Charge, ...] = ()

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield from (("calls", self.calls), ("usage", self.usage))

    @property
    def calls(self) -> int:
        """The number of requests."""
        return len(self.charges)

    @property
    def usage(self) -> Usage | None:
        """The tokens of all charges; `incomplete` if some are unknown, None if all are."""
        return Usage.sum(charge.usage for charge in self.charges) if self.charges else Usage()

    @property
    def cost(self) -> float | None:
        """US dollars; 0 if nothing was sent, None if the cost of a charge is unknown.

        The first access imports the prices, which takes a quarter of a second once per process.
        """
        return total(self.charges)

    def to_dict(self) -> dict[str, Any]:
        """Return the number of calls, the tokens and the cost as JSON types."""
        usage = None if self.usage is None else dataclasses.asdict(self.usage)
        return {"calls": self.calls, "usage": usage, "cost": self.cost}


Book = dict[object, list[Charge]]
"""What each request of a run cost; that of one under way is unknown. Threads can share it."""

charged: ContextVar[Book | None] = ContextVar("personakit_charged", default=None)
"""The book of the recorded call that is under way, beside those of the run."""


def charges_in(book: Book) -> tuple[Charge, ...]:
    """Return the charges in a book."""
    return tuple(itertools.chain.from_iterable(list(book.values())))


def total(charges: Iterable[Charge]) -> float | None:
    """Return the cost of several charges in US dollars; None if one is unknown."""
    costs = [charge.cost() for charge in charges]
    known = [cost for cost in costs if cost is not None]
    # The known costs of some are not the cost of all.
    return sum(known) if len(known) == len(costs) else None


def price(model: str, usage: Usage | None) -> float | None:
    """Return the cost of a call in US dollars.

    The prices are those packaged with genai-prices; newer ones are never fetched. Tokens read
    from the upstream's cache, and tokens written to it, have their own prices.

    Args:
        model: ``provider/model``; a bare name is a model of openai.
        usage: The tokens of the call; None if the upstream did not report them. An incomplete
            sum has no price.

    Returns:
        None if the provider, the model or the tokens are unknown, which does not mean free.
    """
    if usage is None or usage.incomplete:
        return None
    read = min(usage.cached_tokens, usage.prompt_tokens)
    write = min(usage.cache_write_tokens, usage.prompt_tokens - read)
    tokens = (usage.prompt_tokens, usage.completion_tokens, read, write)
    rates = _rates(model, int(time.time() // 60))
    if rates is None or min(tokens) < 0:
        return None
    if rates:
        unit, *each = rates
        # Of whole numbers, so that the quotient is the float that is nearest to the sum.
        parts: int = sum(map(mul, each, (1, *tokens)))
        return parts / unit
    try:
        return float(_cost(*_priced(model), tokens))
    except (LookupError, ValueError):
        return None


def _cost(provider: str, name: str, tokens: Sequence[int]) -> Decimal:
    """Return the cost of tokens of prompts and answers, and those read from and written to caches.

    Raises:
        LookupError: The model is unknown.
        ValueError: There is no price of such tokens.
    """
    from genai_prices import Usage as Tokens  # noqa: PLC0415
    from genai_prices import calc_price  # noqa: PLC0415

    kinds = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    used = Tokens(**dict(zip(kinds, tokens, strict=True)))
    return calc_price(used, name, provider_id=provider).total_price


_MILLION = 1_000_000
_PROBES = ((1, 2, 0, 0), (3 * _MILLION, 7, _MILLION, 1), (900_001, 80_000, 1, 700_000))


@functools.lru_cache(maxsize=256)
def _rates(model: str, _minute: int) -> tuple[int, ...] | None:
    """Return a unit, and the cost of a call and of each token more in parts of a dollar of it.

    Empty if a cost is not the sum of these, as with tiers by the length of the prompt; None if the
    model is unknown. Looking up a price takes 0.1 ms, and a server does so several times for each
    request. Some prices depend on the time of day, so these are of one minute.
    """
    cost = functools.partial(_cost, *_priced(model))
    try:
        base = cost((0, 0, 0, 0))
        prompt = cost((_MILLION, 0, 0, 0))
        each = (
            base,
            (prompt - base) / _MILLION,
            (cost((0, _MILLION, 0, 0)) - base) / _MILLION,
            (cost((_MILLION, 0, _MILLION, 0)) - prompt) / _MILLION,
            (cost((_MILLION, 0, 0, _MILLION)) - prompt) / _MILLION,
        )
        is_sum = all(cost(probe) == sum(map(mul, each, (1, *probe))) for probe in _PROBES)
    except LookupError:
        return None
    except ValueError:
        return ()
    unit = math.lcm(*(rate.as_integer_ratio()[1] for rate in each))
    return (unit, *(int(rate * unit) for rate in each)) if is_sum else ()


@dataclass(frozen=True, slots=True)
class Quote:
    """The prices of a model, for the standard service.

    Attributes:
        input: US dollars for a million tokens of prompts; None if unknown.
        output: US dollars for a million tokens of answers; None if unknown.
        tiered: Whether longer prompts have other prices; these are those of the shortest.
        context: The context window in tokens; None if unknown.
    """

    input: float | None = None
    output: float | None = None
    tiered: bool = False
    context: int | None = None

    def with_context(self, context: int) -> Quote:
        """Return the quote with another context window, in tokens."""
        return dataclasses.replace(self, context=context)


def quote(model: str) -> Quote:
    """Return what genai-prices knows about a model, see `price`; everything unknown is None.

    Args:
        model: ``provider/model``; a bare name is a model of openai.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    provider, name = _priced(model)
    try:
        _, info = get_snapshot().find_provider_model(name, None, provider, None)
        prices = info.get_prices(datetime.now(UTC))
    except (LookupError, ValueError):
        return Quote()
    read, write = (getattr(prices, f"{side}_mtok", None) for side in ("input", "output"))
    tiered = hasattr(read, "tiers") or hasattr(write, "tiers")
    return Quote(_dollars(read), _dollars(write), tiered, info.context_window)


def priced_models(provider: str) -> list[str]:
    """Return the names of the models of a provider that genai-prices knows."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    name = _NAMES.get(provider, provider)
    return [info.id for one in get_snapshot().providers if one.id == name for info in one.models]


def _dollars(price: Any) -> float | None:
    """Return a price, the lowest tier of several; None if it is unknown."""
    amount = getattr(price, "base", price)
    return None if amount is None else float(amount)


def _priced(model: str) -> tuple[str, str]:
    """Return the names that a provider and a model have in genai-prices."""
    provider, name = split_model(model)
    if provider == "huggingface":
        # Its router accepts model:provider, and each provider has its own prices.
        name, _, runs = name.partition(":")
        provider = f"huggingface_{runs}"
    return _NAMES.get(provider, provider), name
