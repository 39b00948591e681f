"""The length of a conversation: what is sent of it, and what to do when it is too long."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from personakit.errors import BackendError, RateLimited

if TYPE_CHECKING:
    from personakit.messages import Message


E = TypeVar("E", bound=BackendError)


# How servers say that a request is longer than the model's context, each where it is found.
_TOO_LONG = re.compile(
    r"context_length_exceeded|context length exceeded"  # OpenAI and Azure; Fireworks
    r"|maximum context length"  # OpenAI, vLLM, DeepSeek, Mistral, OpenRouter
    r"|exceeds? the context window"  # OpenAI's newer models
    r"|reduce the length of the (?:messages|prompt)"  # OpenAI, Groq
    r"|exceed_context_size_error|exceeds? the available context size"  # llama.cpp
    r"|prompt is too long|input is too long"  # Anthropic, Bedrock
    r"|input token count.{0,40}exceeds"  # Gemini
    r"|maximum prompt length"  # xAI
    r"|longer than the model'?s context length"  # SGLang
    r"|greater than the context length"  # LM Studio
    r"|input length.{0,40}exceeds? .{0,20}context length"  # Ollama
    r"|`?inputs`? (?:tokens \+ `?max_new_tokens`? )?must (?:be <=|have less than)"  # TGI
    r"|exceeded model token limit|range of input length should be",  # Moonshot, DashScope
    re.IGNORECASE,
)


def newest(messages: tuple[Message, ...], keep: int) -> tuple[Message, ...]:
    """Return at most `keep` of the newest messages, beginning with a user's.

    An answer or a tool's result without what it answers would be refused by the upstream.
    """
    start = max(len(messages) - keep, 0)
    while 0 < start < len(messages) and messages[start].role != "user":
        start += 1
    return messages[start:]


def closed(answer: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages of an answer as a next turn can follow them.

    A call that nothing answered, or an answer of nothing, would have the upstream refuse it.
    """
    *before, last = answer
    return (*before, last.replace(content=last.content or "", tool_calls=()))


def too_long(error: BackendError) -> bool:
    """Tell whether an upstream refused a request for its length."""
    if isinstance(error, RateLimited):
        return False  # a limit of tokens a minute is none of the context
    # The code or type of the upstream's own error, which says it more often than its words.
    told = [getattr(e, name, None) for e in (error, error.__cause__) for name in ("code", "type")]
    return error.status == 413 or any(_TOO_LONG.search(str(text)) for text in (error, *told))


def with_remedies(error: E, messages: int) -> E:
    """Return a refusal for length that says what to do.

    Args:
        error: The upstream's refusal.
        messages: How many messages of the history had been sent.
    """
    changed = copy.copy(error)
    ways = (
        f"this conversation of {messages} messages no longer fits the model: take turns back "
        f"(undo), begin anew (reset), choose a model with a larger context, or give the persona "
        f"`history: {{keep: 20}}`, which sends the newest messages only"
        if messages
        else "what was said last is too long for the model on its own: say less, or choose a "
        "model with a larger context"
    )
    changed.message = f"{ways}\n  {error}"
    return changed
