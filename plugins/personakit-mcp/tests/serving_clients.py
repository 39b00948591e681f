"""Clients for tests: of both versions of the specification, in the process and over stdio."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from mcp import Client
from personakit_mcp.serving import Serving, server

from personakit import Runner

MODES = ("2026-07-28", "legacy")
"""How a client connects: 2026-07-28, or 2025-11-25 with its handshake."""
COOK = """\
description: Cooks for guests.
system: You cook for {{ guests }} guests in a {{ tone }} tone.
variables:
  guests: {type: integer, minimum: 1, maximum: 20, default: 4, description: How many eat.}
  tone: {enum: [kind, rude, formal], description: The tone.}
  vegan: {type: boolean, default: false}
messages:
  - user: Hi!
  - assistant: Hello!
prompt: "Cook: {{ input }}"
"""
PLAN = """\
system: You plan a journey for {{ who }}, who travels {{ days }} days.
variables:
  who: {description: Who travels.}
  days: {type: integer, minimum: 1, maximum: 30}
"""
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def library(folder: Path, **personas: str) -> Path:
    """Write personas into a folder."""
    for name, text in personas.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return folder


@contextlib.asynccontextmanager
async def connected(
    runner: Runner, mode: str, *, every: float = 60.0, client: Mapping[str, Any] = {}, **offer: Any
) -> AsyncIterator[Client]:
    """Connect a client to a server in the same process; `offer` has the fields of `Serving`."""
    made = server(Serving(runner, **offer), every=every)
    async with Client(made, mode=mode, cache=None, **client) as connection:
        yield connection


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine function, for at most a minute."""
    return asyncio.run(asyncio.wait_for(work(), 60))


class Process:
    """`personakit mcp` in a process, whose lines a test writes and reads.

    Args:
        folder: The folder of its personas, and its home.
        arguments: Its options.
        environ: More variables of its environment.
        is_new: Whether requests are those of 2026-07-28.
    """

    def __init__(
        self, folder: Path, *arguments: str, environ: Mapping[str, str], is_new: bool
    ) -> None:
        self.is_new = is_new
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "PERSONAKIT_PATH": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "personakit", "mcp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, "PERSONAKIT_MODEL": "openai/test-model", **environ},
        )
        self._watch = threading.Timer(60, self._process.kill)
        self._watch.start()
        if not is_new:
            client = {"name": "test", "version": "1"}
            first = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
            self.ask("initialize", first, identity=0)
            assert self.read()["result"]["protocolVersion"] == "2025-11-25"
            self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message: Any) -> None:
        """Write a message, or bytes as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def ask(
        self, method: str, params: Mapping[str, Any], *, identity: int = 1, token: int | None = None
    ) -> None:
        """Send a request."""
        meta: dict[str, Any] = dict(_ENVELOPE) if self.is_new else {}
        meta |= {} if token is None else {"progressToken": token}
        whole = {**params, "_meta": meta} if meta else params
        self.write({"jsonrpc": "2.0", "id": identity, "method": method, "params": whole})

    def read(self) -> Any:
        """Return the next message."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def kill(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Close the input; return the exit code and what is left of both outputs."""
        output, errors = self._process.communicate(timeout=30)
        self._watch.cancel()
        return self._process.returncode, output.decode(), errors.decode()


@contextlib.contextmanager
def process(
    folder: Path, *arguments: str, environ: Mapping[str, str] = {}, is_new: bool = True
) -> Iterator[Process]:
    """Start `personakit mcp`; see `Process`."""
    started = Process(folder, *arguments, environ=environ, is_new=is_new)
    try:
        yield started
    finally:
        with contextlib.suppress(ValueError):
            started.end()
