"""What the tests of backend share."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from personakit import (
    AsyncStream,
    BackendError,
    Runner,
    Stream,
    hookimpl,
)
from personakit.testing import MODES, Server, in_mode, persona

in_modes = pytest.mark.parametrize("mode", MODES)


in_streams = pytest.mark.parametrize("mode", ["stream", "astream"])


WHO = persona()


EVENTS = {"content-type": "text/event-stream"}


def plugin(chat: Callable[..., Any]) -> Any:
    return SimpleNamespace(__name__="it", chat=hookimpl(chat))


once = plugin(lambda request: request.replace(max_retries=0))


@contextmanager
def serving(*answers: Any, plugins: Any = (), **server: Any) -> Iterator[tuple[Runner, Server]]:
    with Server(answers or ("Hello!",), **server) as running:
        made = Runner(running.config(), plugins=plugins)
        try:
            yield made, running
        finally:
            made.close()


def fails(mode: str, kind: type[BackendError], *answers: Any, match: str = "") -> Any:
    """Return the error and the text that a stream gave before it."""
    with serving(*answers, plugins=[once]) as (running, server):
        error, text = failure(mode, running)
        assert type(error) is kind, error
        assert match in str(error)
        assert len(server.requests) == 1
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    return error, text


def failure(mode: str, running: Runner) -> tuple[Exception, str]:
    stream: Stream | AsyncStream | None = None
    try:
        if mode == "stream":
            stream = running.stream(WHO)
            for _ in stream:
                pass
        elif mode == "astream":
            stream = running.astream(WHO)
            asyncio.run(read(stream))
        else:
            in_mode(mode, running, WHO)
    except Exception as error:
        return error, stream.text if stream else ""
    raise AssertionError("it did not fail")


async def read(stream: Any) -> None:
    async for _ in stream:
        pass


def chunk(delta: Any = None, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def says(text: str) -> bytes:
    return chunk({"content": text})


DONE = b"data: [DONE]\n\n"


STOP = chunk(reason="stop") + DONE


def whole(message: Any, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}
