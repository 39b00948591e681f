"""The pieces of a stream pass the `run` hooks as they arrive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from personakit import Request, Response, Send, Tool, ToolCall, Usage, hookimpl
from personakit.testing import persona, runner

LOOK = Tool.of(lambda: "seen", name="look", description="Look.")
CALL = Response(
    "I look.",
    (ToolCall("1", "look", '{"a": 1}'),),
    usage=Usage(1, 2, 3),
    reasoning="Hm.",
    finish_reason="tool_calls",
)
LAST = Response("Done.", usage=Usage(4, 5, 9), reasoning="Ah.")


async def flows(request: Request, send: Send) -> Response:
    return await send.live(request)


async def asks(request: Request, send: Send) -> Response:
    if request.system == "Other.":
        return await send.live(request)
    return await send.run(persona("Other."), "?", live=True, tools=[LOOK])


def pieces(*plugins: Any) -> list[tuple[str, str]]:
    running, _ = runner([CALL, LAST], plugins=plugins, size=0)
    stream = running.stream(persona(), "Hi", tools=[LOOK])
    found: list[tuple[str, str]] = []
    for piece in stream.pieces():
        found.append((piece.kind, piece.text or piece.arguments))
    assert stream.response.text == "I look.\n\nDone."
    return found


def around(run: Any, hook: str = "run") -> Any:
    return SimpleNamespace(__name__="it", **{hook: hookimpl(run)})


@pytest.mark.parametrize(
    "plugins",
    [
        [around(flows)],
        [around(flows), around(flows)],
        [around(asks)],
        [around(flows), around(asks)],
    ],
)
def test_they_are_those_of_a_run_without_hooks(plugins: list[Any]) -> None:
    expected = pieces()
    kinds = [kind for kind, _ in expected]
    assert kinds.count("usage") == 2
    assert kinds.index("tool_call") < kinds.index("usage")
    assert pieces(*plugins) == expected


def test_held_back_they_are_the_text_alone() -> None:
    async def holds(request: Request, send: Send) -> Response:
        return await send(request)

    assert pieces(around(holds)) == [("text", "I look.\n\nDone.")]
