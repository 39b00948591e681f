"""Tokens and cost of a call: estimated before it is sent, measured afterwards.

Money is counted in whole nano-dollars, so that sums are exact.
"""

import json
from dataclasses import dataclass

from personakit import Message, Request, Response, Usage, price

NANO = 1_000_000_000
_BYTES_PER_TOKEN = 2  # most texts have 3 to 5; estimates are deliberately high
_PER_MESSAGE = 8
_PER_PART = 2_000  # an image or a file; its tokens depend on the content
_UNSTATED_OUTPUT = 4_096


@dataclass(frozen=True, slots=True)
class Amount:
    """The tokens and cost of a call.

    Attributes:
        tokens: Tokens of the prompt and the answer together.
        nanos: Nano-dollars; None when the price is unknown.
    """

    tokens: int
    nanos: int | None


def text_tokens(text: str) -> int:
    """Return a high estimate of the tokens in `text`."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Return a high estimate of the tokens that the upstream will read."""
    rest = [tool.to_api() for tool in request.tools]
    tokens = text_tokens(json.dumps(rest)) if rest else 0
    tokens += text_tokens(repr(request.parameters.get("response_format", "")))
    return tokens + sum(map(_message_tokens, request.messages))


def _message_tokens(message: Message) -> int:
    parts = message.content if isinstance(message.content, tuple) else ()
    others = sum("text" not in part for part in parts)
    calls = sum(text_tokens(call.name + call.arguments) for call in message.tool_calls)
    return _PER_MESSAGE + text_tokens(message.text) + others * _PER_PART + calls


def output_tokens(request: Request) -> tuple[int, int]:
    """Return the fewest tokens that must be left for a call, and the most it may generate.

    Both are the maximum of the request if it states one. An embedding generates none.
    """
    if request.api == "embeddings":
        return 0, 0
    parameters = request.parameters
    stated = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    choices = int(parameters.get("n") or 1)
    return (int(stated) * choices,) * 2 if stated else (1, _UNSTATED_OUTPUT * choices)


def estimate(request: Request, output: int) -> Amount:
    """Return the amount of a call whose answer has `output` tokens."""
    read = prompt_tokens(request)
    return Amount(read + output, _nanos(price(request.model, Usage(read, output))))


def taken(request: Request, response: Response) -> Amount:
    """Return the amount that an answer used; an estimate if the upstream reports no usage."""
    usage = response.usage
    if usage is None:
        return estimate(request, text_tokens(response.text))
    tokens = max(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    if response.cost is not None:
        return Amount(tokens, _nanos(response.cost))
    return Amount(tokens, _nanos(price((response.request or request).model, usage)))


def _nanos(cost: float | None) -> int | None:
    return None if cost is None else round(cost * NANO)
