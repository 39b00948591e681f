"""The event loop of all sessions of this process; it ends with the process.

It runs in a thread of its own, because a session outlives the event loop of the run that opened it,
and the sync API has no event loop. A forked child starts without sessions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from personakit_mcp.client.servers import Server
from personakit_mcp.client.sessions import Session

T = TypeVar("T")
_EXIT = 10.0


class _Process:
    """The sessions of one process and their event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._sessions: dict[Server, Session] = {}
        # A daemon, because the interpreter joins other threads before it runs atexit callbacks.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="personakit-mcp", daemon=True
        )
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def session(self, server: Server) -> Session:
        return self._sessions.setdefault(server, Session(server))

    def close(self) -> None:
        async def every() -> None:
            await asyncio.gather(*(session.close() for session in self._sessions.values()))

        with contextlib.suppress(TimeoutError):
            self.submit(every()).result(_EXIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_EXIT)
        if not self._thread.is_alive():
            self._loop.close()


_lock = threading.Lock()


@functools.cache
def _made() -> _Process:
    return _Process()


def _process() -> _Process:
    with _lock:
        return _made()


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `work` in the event loop of the sessions."""
    return _process().submit(work)


def session(server: Server) -> Session:
    """Return the session with a server; equal servers share one."""
    return _process().session(server)


def close() -> None:
    """End all servers that this process started; a later call starts them again."""
    with _lock:
        if _made.cache_info().currsize:
            _made().close()
            _made.cache_clear()


def _forked() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _made.cache_clear()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
