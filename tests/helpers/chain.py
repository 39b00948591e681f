"""What the tests of chain share."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import personakit
from personakit import (
    Request,
    Response,
    Send,
    hookimpl,
)
from personakit.persona import PluginUse
from personakit.testing import (
    MODES,
    Upstream,
    in_mode,
    persona,
    runner,
)

in_modes = pytest.mark.parametrize("mode", MODES)


def plugin(chat: Callable[..., Any], name: str = "it") -> Any:
    return SimpleNamespace(__name__=name, chat=hookimpl(chat))


def run(mode: str, *plugins: Any, answers: Any = ("Hello!",)) -> tuple[Response, Upstream]:
    running, upstream = runner(answers, plugins=plugins)
    return in_mode(mode, running, persona(), "Hi!"), upstream


class Replace:
    """A filter that replaces a word, also one that is cut in two."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new, self.held = old, new, ""

    def feed(self, text: str) -> str:
        *done, rest = (self.held + text).split(self.old)
        ends = (n for n in range(len(self.old) - 1, 0, -1) if rest.endswith(self.old[:n]))
        cut = len(rest) - next(ends, 0)
        self.held = rest[cut:]
        return self.new.join([*done, rest[:cut]])

    def flush(self) -> str:
        held, self.held = self.held, ""
        return held


class Breaks:
    """Fails before it has sent anything; to be used with `on_error: skip`."""

    @hookimpl
    def chat(self, request: Request, send: Send) -> None:
        raise RuntimeError("before send")


def changes_request(request: Request) -> Request:
    return request.with_system("one")


async def changes_request_later(request: Request) -> Request:
    await personakit.sleep(0)
    return request.with_system("two")


def does_nothing() -> None:
    return None


async def shouts(request: Request, send: Send) -> Response:
    response = await send(request.with_system("three"))
    return response.replace(text=response.text.upper())


def flows(request: Request, send: Send) -> Any:
    return send.live(request)


async def replaces(request: Request, send: Send) -> Response:
    return await send.live(request, filter=Replace("ab", "<b>"))


async def replaces_again(request: Request, send: Send) -> Response:
    response = await send.live(request, Replace("ba", ""))
    return response.replace(metadata={"done": True})


async def adds_footer(request: Request, send: Send) -> Response:
    response = await send.live(request)
    return response.replace(text=response.text + "\n-- ab")


async def adds_header(request: Request, send: Send) -> Response:
    response = await send(request)
    return response.replace(text="# " + response.text)


def answers_itself(request: Request) -> Response:
    return Response("cached ab a")


async def sends_twice(request: Request, send: Send) -> Response:
    await send(request)
    return await send(request.with_system("again"))


async def sends_then_flows(request: Request, send: Send) -> Response:
    await send(request)
    return await send.live(request)


def passes_on(request: Request, send: Send) -> Any:
    return send(request)


async def reads(send: Send, request: Request) -> Response:
    async def later() -> str:
        return "four"

    return await send.live(request.with_system(await personakit.io(lambda: "four", later)()))


async def forgets_return(request: Request, send: Send) -> None:
    await send(request)


def same(text: str) -> str:
    return text


# Each plugin with what it makes of the text, so that the right text is known without a chain.
KINDS: dict[Callable[..., Any] | None, Callable[[str], str]] = {
    changes_request: same,
    changes_request_later: same,
    does_nothing: same,
    shouts: str.upper,
    flows: same,
    replaces: lambda text: text.replace("ab", "<b>"),
    replaces_again: lambda text: text.replace("ba", ""),
    adds_footer: lambda text: text + "\n-- ab",
    adds_header: lambda text: "# " + text,
    answers_itself: lambda text: "cached ab a",
    sends_twice: same,
    sends_then_flows: same,
    passes_on: same,
    reads: same,
    forgets_return: same,
    None: same,  # the one that breaks and is skipped
}


def made(kind: Callable[..., Any] | None) -> Any:
    return plugin(kind) if kind else PluginUse("breaks", on_error="skip")
