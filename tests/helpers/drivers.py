"""What the tests of drivers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from personakit import (
    Config,
    Request,
    Response,
    Runner,
    hookimpl,
)
from personakit.base import Emit

in_sync_modes = pytest.mark.parametrize("mode", ["run", "stream"])


def plugin(chat: Callable[..., Any], name: str = "it") -> Any:
    return SimpleNamespace(__name__=name, chat=hookimpl(chat))


class Slow:
    """An upstream that says "ab" and then never anything again."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.left = 0

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        try:
            if emit is not None:
                await emit("ab")
            self.reached.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.left += 1
        raise AssertionError


def slow(*plugins: Any) -> tuple[Runner, Slow]:
    upstream = Slow()
    return Runner(Config(model="test/x", path=()), plugins=plugins, backend=upstream), upstream


async def read(stream: Any) -> None:
    async for _ in stream:
        pass
