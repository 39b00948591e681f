"""The server in a process of its own, on loopback, and clients for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from helpers.process import Folder, command

from personakit.testing import Reply, Server

PATIENCE = 60.0
PERSONA = "description: Slow.\nsystem: You are slow.\nmodel: openai/test-model\n"


class Slow(Server):
    """An upstream whose answers have as many pieces as the last message says, 50 ms apart."""

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        """Return a stream."""
        return Reply(self._pieces(int(body["messages"][-1]["content"])))

    def _pieces(self, steps: int) -> Generator[bytes]:
        for event in self.events("x" * steps, usage=True):
            yield event
            time.sleep(0.05)


class Running:
    """A server that runs; made by `serving`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._connections: list[http.client.HTTPConnection] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        line = self.line()
        found = re.search(r"http://(\S+):(\d+)/v1", line)
        assert found, f"no address in {line!r}"
        self.host, self.port = found[1].strip("[]"), int(found[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(self.lines[-1])
        self._queue.put(None)

    def line(self) -> str:
        """Return the next line on standard error."""
        line = self._queue.get(timeout=PATIENCE)
        assert line is not None, "standard error has ended"
        return line

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, which is open as long as the server keeps it."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        self._connections.append(connection)
        return connection

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a reply, on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return asked(connection, path)

    def workers(self, count: int) -> list[int]:
        """Return the processes of the workers, as soon as there are so many, the oldest first."""
        until(lambda: len(children(self.process.pid)) == count, f"{count} workers run")
        return children(self.process.pid)

    def stream(self, steps: int) -> http.client.HTTPResponse:
        """Return a stream of so many events, 50 ms apart, the first of which has arrived."""
        body = {
            "model": "slow",
            "stream": True,
            "messages": [{"role": "user", "content": str(steps)}],
        }
        connection = self.connect()
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        assert reply.status == 200
        assert reply.readline().startswith(b"data: ")
        return reply

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the server."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in "\n".join(self.lines)
        return code


def children(pid: int) -> list[int]:
    """Return the workers of a supervisor, without the process that Python starts for itself."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append((child.create_time(), child.pid))
    return [pid for _, pid in sorted(found)]


def asked(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return the status and the body of a reply."""
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read()


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.02)


@contextmanager
def serving(folder: Path, *args: str, **env: str) -> Iterator[Running]:
    """Run `personakit serve` on a free port, in a folder with a persona `slow`."""
    home = Folder(folder)
    home.write("personas/slow.yaml", PERSONA)
    with Slow(size=1) as upstream, subprocess.Popen(
        command("serve", "--port", "0", *args),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=folder, env={**home.env, **upstream.environ(), **env}, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            with contextlib.closing(Running(process)) as running:
                yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
