"""Starts the loopback server, asks it for what it saw, and measures its own maximum."""

from __future__ import annotations

import contextlib
import http.client
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("server.py")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `url` takes what its docstring lists, such as ``wait20``."""

    port: int

    def url(self, *options: str) -> str:
        """Return the base address."""
        return "/".join([f"http://127.0.0.1:{self.port}", *options, "v1"])

    def connections(self) -> int:
        """Return how many connections were made so far, this one not counted."""
        return int(self._get("/connections")) - 1

    def requests(self) -> int:
        """Return how many requests for answers arrived so far."""
        return int(self._get("/requests"))

    def cpu(self) -> float:
        """Return the seconds of CPU that it took so far."""
        return float(self._get("/cpu"))

    def last(self) -> list[tuple[str, str]]:
        """Return the roles and texts of the last request that arrived."""
        body = json.loads(self._get("/last"))
        return [
            (said["role"], _text(said["content"])) for said in body.get("messages") or body["input"]
        ]

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content)
    return str(content)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-P", str(_SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(10)


def maximum(server: Server, *, connections: int = 64, seconds: float = 1.0) -> float:
    """Return how many requests a second the server answers with a core to itself.

    They are counted by the server's CPU, so that other programs on the machine do not matter.
    """
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    request = head % len(body) + body
    ready, answered = selectors.DefaultSelector(), 0
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            ready.register(client, selectors.EVENT_READ)
            client.sendall(request)
        start, before = time.perf_counter(), server.cpu()
        while time.perf_counter() - start < seconds:
            for key, _ in ready.select(1):
                client = key.fileobj  # type: ignore[assignment]
                client.recv(65536)
                answered += 1
                client.sendall(request)
        return answered / (server.cpu() - before)
