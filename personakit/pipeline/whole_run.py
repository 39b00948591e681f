"""The layers around a whole run, with all its rounds: the `run` hooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from personakit.base import Emit, TextTap
from personakit.messages import Message, Request, Response
from personakit.pipeline.inside import Book, charges_in
from personakit.pipeline.tool_loop import BETWEEN
from personakit.usage import Timings

if TYPE_CHECKING:
    from personakit.pipeline.chain import Chain
    from personakit.pipeline.layers import RunLayer


def with_run_hooks(
    layers: Chain[Request, Response],
    tap: TextTap,
    book: Book,
    read: Callable[[Response], Response] | None,
) -> RunLayer:
    """Return a run with the `run` hooks around it.

    Args:
        layers: The hooks, around the rounds of the run.
        tap: Records the times of the start and of the first text.
        book: What the run has paid.
        read: Parses a structured answer; None for plain text.
    """

    async def run(request: Request, emit: Emit | None) -> Response:
        response = await layers.call(request, tap.through(emit))
        changes: dict[str, Any] = {
            "messages": _added(response),
            "request": response.request or request,
            "_asked": request,
            "_paid": charges_in(book),
            "timings": Timings(tap.started, time.perf_counter() - tap.clock, tap.first_text),
        }
        response = response.replace(**changes)
        # A hook may have returned the answer of another persona, with a value of another type.
        return response if read is None or response.tool_calls else read(response)

    return run


def _added(response: Response) -> tuple[Message, ...]:
    """Return the messages that a run adds to its conversation, with the text that a hook changed.

    A changed text is that of all rounds, so it is the text of the last one, and the earlier ones
    keep only their tool calls.
    """
    messages = response.messages
    spoken = [n for n, message in enumerate(messages) if message.role == "assistant"]
    if not spoken:
        return (*messages, response.message)
    if BETWEEN.join(filter(None, (messages[n].text for n in spoken))) == response.text:
        return messages
    changed = list(messages)
    for n in spoken:
        changed[n] = changed[n].replace(content=None)
    changed[spoken[-1]] = changed[spoken[-1]].replace(content=response.text or None)
    return tuple(changed)
