"""Calls of clients of 2025-11-25 and before, which end them by a message instead of leaving.

A client gets the id of a session, which tells its calls from those of others; nothing else belongs
to it. The message reaches the call if the same worker answers both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from personakit.server import Exchange

SESSION = "mcp-session-id"
_VERSION = "mcp-protocol-version"


@dataclass(slots=True)
class Call:
    """A call that runs.

    Attributes:
        task: What runs it.
        is_cancelled: Whether the client has ended it.
    """

    task: asyncio.Task[Any]
    is_cancelled: bool = False


class Calls:
    """The calls that run in this process."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, ...], Call] = {}

    @contextlib.contextmanager
    def noted(self, exchange: Exchange, body: bytes, caller: str) -> Iterator[Call]:
        """Note a call while the block runs it; end another one if the message says so.

        Args:
            exchange: The request.
            body: Its body.
            caller: The name of the key: another one cannot end the call.
        """
        task: Any = asyncio.current_task()
        call = Call(task)
        message = _message(exchange, body)
        method, session = message.get("method"), exchange.headers.get(SESSION, "")
        if method == "initialize":
            exchange.extra.append((SESSION.encode(), secrets.token_hex(16).encode()))
        params = message.get("params")
        if method == "notifications/cancelled" and isinstance(params, dict):
            self._cancel((caller, session, repr(params.get("requestId"))))
        key = (caller, session, repr(message.get("id")))
        if not (session and method == "tools/call"):
            yield call
            return
        self._running[key] = call
        try:
            yield call
        except asyncio.CancelledError:
            if not call.is_cancelled or exchange.gone:
                raise
            task.uncancel()
        finally:
            if self._running.get(key) is call:
                del self._running[key]

    def _cancel(self, key: tuple[str, ...]) -> None:
        call = self._running.get(key)
        if call is not None and not call.is_cancelled:
            call.is_cancelled = True
            call.task.cancel()


def _message(exchange: Exchange, body: bytes) -> Mapping[str, Any]:
    """Return the message of a client of 2025-11-25 or before; nothing if it is another one."""
    version = exchange.headers.get(_VERSION)
    if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return {}
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
