"""The length of a conversation: which messages are sent, and the remedies if it is too long."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from personakit.errors import BackendError, RateLimited

if TYPE_CHECKING:
    from personakit.messages import Message


E = TypeVar("E", bound=BackendError)


# Error texts for a request that is longer than the model's context, with the servers that send
# them.
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


def newest(
    messages: tuple[Message, ...], keep: int, *, before_results: bool = False
) -> tuple[Message, ...]:
    """Return at most `keep` of the newest messages, starting with a user message.

    An upstream rejects an answer without its question, or a tool result without its call.

    Args:
        messages: The messages.
        keep: The most messages to return.
        before_results: Whether results follow, before which the last turn is kept as a whole.
    """
    start = max(len(messages) - keep, 0)
    users = [at for at, message in enumerate(messages) if message.role == "user"]
    if before_results and users:
        start = min(start, users[-1])
    while 0 < start < len(messages) and messages[start].role != "user":
        start += 1
    return messages[start:]


def closed(answer: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages of an answer, changed so that another turn can follow.

    An upstream rejects a tool call without a result, and an answer without content.
    """
    messages = list(answer)
    at = len(messages) - 1
    while at > 0 and messages[at].role == "tool":
        at -= 1
    last, results = messages[at], {message.tool_call_id for message in messages[at + 1 :]}
    calls = tuple(call for call in last.tool_calls if call.id in results)
    content = last.content if calls else last.content or ""
    return (*messages[:at], last.replace(content=content, tool_calls=calls), *messages[at + 1 :])


def open_calls(answer: Sequence[Message]) -> set[str]:
    """Return the ids of the calls in an answer's messages that have no result."""
    calls = {call.id for message in answer for call in message.tool_calls}
    return calls - {message.tool_call_id for message in answer}


def too_long(error: BackendError) -> bool:
    """Check whether an upstream rejected a request for its length."""
    if isinstance(error, RateLimited):
        return False  # a limit of tokens per minute is not the context length
    # The code or type of the upstream's own error names the cause more often than its message.
    codes = [getattr(e, name, None) for e in (error, error.__cause__) for name in ("code", "type")]
    return error.status == 413 or any(_TOO_LONG.search(str(text)) for text in (error, *codes))


def with_remedies(error: E, messages: int) -> E:
    """Return a copy of a length error whose message starts with remedies.

    Args:
        error: The upstream's error.
        messages: The number of messages of the history that were sent.
    """
    changed = copy.copy(error)
    ways = (
        f"this conversation of {messages} messages no longer fits the model: remove turns (undo), "
        f"start over (reset), choose a model with a larger context, or set "
        f"`history: {{keep: 20}}` in the persona to send only the newest messages"
        if messages
        else "the last message is too long for the model on its own: shorten it, or choose a "
        "model with a larger context"
    )
    changed.message = f"{ways}\n  {error}"
    return changed
