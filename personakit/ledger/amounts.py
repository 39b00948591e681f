"""Tokens and cost of model calls: estimated before a call is sent, measured afterwards.

Money is counted in whole nano-dollars, so that sums are exact.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from personakit.base import brief_repr
from personakit.frozen import quick_init
from personakit.messages import Message, Request, Response
from personakit.usage import Usage, price

NANO = 1_000_000_000
_BYTES_PER_TOKEN = 2  # most texts have 3 to 5; estimates are deliberately high
_PER_MESSAGE = 8
_PER_PART = 2_000  # an image or a file; its tokens depend on the content
_UNSTATED_OUTPUT = 4_096


@quick_init
@dataclass(frozen=True, slots=True)
class Amount:
    """The tokens and cost of a model call.

    Attributes:
        tokens: Tokens of the prompt and the answer together.
        nanos: Nano-dollars; None when the price is unknown.
    """

    tokens: int
    nanos: int | None

    @classmethod
    def estimate(cls, request: Request, output: int) -> Amount:
        """Return the amount of a call whose answer has `output` tokens."""
        return cls._of(request, prompt_tokens(request), output)

    @classmethod
    def bounds(cls, request: Request) -> tuple[Amount, Amount]:
        """Return the least amount that must be left for a call, and the most it may use.

        They are the same if the request states the maximum of tokens that it may generate.
        """
        read = prompt_tokens(request)
        few, many = output_tokens(request)
        least = cls._of(request, read, few)
        return least, least if few == many else cls._of(request, read, many)

    @classmethod
    def taken(cls, request: Request, response: Response) -> Amount:
        """Return the amount that an answer used; an estimate if the upstream reports no usage."""
        usage = response.usage
        if usage is None:
            return cls.estimate(request, text_tokens(response.text))
        tokens = max(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        if response.cost is not None:
            return cls(tokens, _nanos(response.cost))
        return cls(tokens, _nanos(price((response.request or request).model, usage)))

    @classmethod
    def _of(cls, request: Request, read: int, output: int) -> Amount:
        return cls(read + output, _nanos(price(request.model, Usage(read, output))))


@quick_init
@dataclass(frozen=True, slots=True)
class Total:
    """The sum of some model calls; calls that run count with what is reserved for them.

    Attributes:
        calls: The number of calls.
        tokens: Their tokens.
        nanos: Their cost in nano-dollars, without the calls whose price is unknown.
        unpriced: The number of calls whose price is unknown.
    """

    calls: int = 0
    tokens: int = 0
    nanos: int = 0
    unpriced: int = 0


@quick_init
@dataclass(frozen=True, slots=True)
class Account:
    """An account that a model call is counted for.

    Attributes:
        name: Its name, which the caller chooses.
        at: The Unix time of the bucket, in seconds: calls with the same one are one sum, which is
            kept for 62 days from then on.
        since: The Unix time from which the buckets of the account are summed up to decide.
    """

    name: str
    at: int
    since: int

    __repr__ = brief_repr


@quick_init
@dataclass(frozen=True, slots=True)
class Reservation:
    """What a model call may use, until it is settled, released, or expires.

    Attributes:
        id: Its id.
        accounts: The accounts that it counts for.
        amount: What is reserved.
        expires: The Unix time in seconds at which it stops counting.
    """

    id: str
    accounts: tuple[Account, ...]
    amount: Amount
    expires: float

    __repr__ = brief_repr


def text_tokens(text: str) -> int:
    """Return a high estimate of the tokens in `text`."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Return a high estimate of the tokens that the upstream will read."""
    rest = [tool.to_api() for tool in request.tools]
    tokens = text_tokens(json.dumps(rest)) if rest else 0
    tokens += text_tokens(repr(request.parameters.get("response_format", "")))
    return tokens + sum(map(_message_tokens, request.messages))


def output_tokens(request: Request) -> tuple[int, int]:
    """Return the fewest tokens that must be left for an answer, and the most it may have.

    Both are the maximum of the request if it states one. An embedding generates none.
    """
    if request.api == "embeddings":
        return 0, 0
    parameters = request.parameters
    stated = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    choices = int(parameters.get("n") or 1)
    return (int(stated) * choices,) * 2 if stated else (1, _UNSTATED_OUTPUT * choices)


def _message_tokens(message: Message) -> int:
    parts = message.content if isinstance(message.content, tuple) else ()
    others = sum("text" not in part for part in parts)
    calls = sum(text_tokens(call.name + call.arguments) for call in message.tool_calls)
    return _PER_MESSAGE + text_tokens(message.text) + others * _PER_PART + calls


def _nanos(cost: float | None) -> int | None:
    return None if cost is None else round(cost * NANO)
