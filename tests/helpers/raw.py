"""Raw HTTP over sockets, and a server process that shows what reached its application."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from helpers.process import Folder, command

TESTS = Path(__file__).parent.parent
GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"


class Answer(NamedTuple):
    """A whole HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection that sends bytes as they are."""

    def __init__(self, port: int, buffer: int = 0) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> bool:
        """Read what there is; return False at the end."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.read += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Return what comes, up to and with a mark."""
        while mark not in self.read:
            assert self.more(), f"closed without {mark!r}: {self.read!r}"
        before, _, self.read = self.read.partition(mark)
        return before + mark

    def answer(self, method: str = "GET") -> Answer:
        """Return the next reply."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if method == "HEAD" or status in (100, 204, 304):
            return Answer(status, headers, b"")
        if "chunked" in headers.get("transfer-encoding", ""):
            return Answer(status, headers, self._chunks())
        size = int(headers["content-length"])
        while len(self.read) < size:
            assert self.more(), "closed in the middle of a body"
        body, self.read = self.read[:size], self.read[size:]
        return Answer(status, headers, body)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            while len(self.read) < size + 2:
                assert self.more(), "closed in the middle of a chunk"
            body, self.read = body + self.read[:size], self.read[size + 2 :]
        self.until(b"\r\n")
        return body

    def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        while self.more():
            pass
        return self.read


@contextmanager
def listening(module: str, settings: Mapping[str, Any], **env: str) -> Iterator[int]:
    """Run ``main(socket, settings)`` of a module in a new process; yield the port of the socket."""
    server = socket.create_server(("127.0.0.1", 0), backlog=200)
    port: int = server.getsockname()[1]
    code = (
        "import importlib, json, socket, sys\n"
        "sys.path.insert(0, sys.argv[4])\n"
        "server = socket.socket(fileno=int(sys.argv[2]))\n"
        "importlib.import_module(sys.argv[1]).main(server, json.loads(sys.argv[3]))\n"
    )
    with server:
        process = subprocess.Popen(
            [sys.executable, "-c", code, module, str(server.fileno()), json.dumps(settings), TESTS],
            pass_fds=[server.fileno()],
            env={**os.environ, **env},
        )
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


@contextmanager
def serving(folder: Path, limits: Mapping[str, Any] | None = None, **env: str) -> Iterator[int]:
    """Run `personakit serve` in a folder with personas; yield its port."""
    home = Folder(folder)
    home.write("config/personakit/config.yaml", json.dumps({"serve": {"limits": limits or {}}}))
    home.write("plain.yaml", "system: You help.\n")
    home.write(
        "chef.yaml",
        "description: Cooks.\n"
        "variables: {guests: {type: integer, default: 2, maximum: 9}}\n"
        "system: You cook for {{ guests }}.\n"
        "prompt: 'Dish: {{ input }}'\n",
    )
    with subprocess.Popen(
        command("serve", "--port", "0"),
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**home.env, **env, "PERSONAKIT_PATH": str(folder)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/v1", line)
        assert found, line + process.stderr.read()
        try:
            yield int(found[1])
        finally:
            process.terminate()
            rest = process.stderr.read()
            assert process.wait(30) == 0, rest
            assert "Traceback" not in rest
