"""How much a call takes: estimates of its tokens before it, prices from the data of genai-prices.

Money is counted in nano-dollars, as integers: sums are exact.
"""

import json
from dataclasses import dataclass

from personakit import Message, Request, Response

NANO = 1_000_000_000
_BYTES_PER_TOKEN = 2  # most texts have 3 to 5: an estimate is meant to be too high
_PER_MESSAGE = 8
_PER_PART = 2_000  # an image or a file, whose tokens depend on what it shows
_UNSTATED_OUTPUT = 4_096


@dataclass(frozen=True, slots=True)
class Amount:
    """What a call takes.

    Attributes:
        tokens: Those of the prompt and of the answer.
        nanos: Nano-dollars; None when the price is unknown.
    """

    tokens: int
    nanos: int | None


def text_tokens(text: str) -> int:
    """Return about how many tokens `text` has; rather too many."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Return about how many tokens the upstream will read; rather too many."""
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
    """Return how many tokens the answer takes: at least to be worth a call, and at most.

    They are the same when the request states a maximum.
    """
    parameters = request.parameters
    stated = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    choices = int(parameters.get("n") or 1)
    return (int(stated) * choices,) * 2 if stated else (1, _UNSTATED_OUTPUT * choices)


def estimate(request: Request, output: int) -> Amount:
    """Return what a call takes whose answer has `output` tokens."""
    read = prompt_tokens(request)
    return Amount(read + output, price(request.model, read, output))


def taken(request: Request, response: Response) -> Amount:
    """Return what an answer took; without the upstream's count of tokens, an estimate."""
    usage = response.usage
    if usage is None:
        return estimate(request, text_tokens(response.text))
    tokens = max(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    if response.cost is not None:
        return Amount(tokens, round(response.cost * NANO))
    details = (response.raw.get("usage") or {}).get("prompt_tokens_details") or {}
    cached = min(int(details.get("cached_tokens") or 0), usage.prompt_tokens)
    model = (response.request or request).model
    return Amount(tokens, price(model, usage.prompt_tokens, usage.completion_tokens, cached))


def price(model: str, read: int, written: int, cached: int = 0) -> int | None:
    """Return what a call of a model costs, in nano-dollars.

    Args:
        model: ``provider/model``.
        read: Tokens of the prompt.
        written: Tokens of the answer.
        cached: Those tokens of the prompt that the upstream had read before.

    Returns:
        None when the packaged prices do not know the provider or the model.
    """
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    provider, _, name = model.partition("/")
    usage = Usage(input_tokens=read, output_tokens=written, cache_read_tokens=cached)
    try:
        return round(calc_price(usage, name, provider_id=provider).total_price * NANO)
    except (LookupError, ValueError):
        return None
