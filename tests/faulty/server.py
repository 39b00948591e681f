"""The server: raw sockets and one thread a connection, so that it can misbehave at byte level."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from personakit import Config
from personakit.testing import Received

KEY = "sk-canary-0123456789"
LIFE = 8.0
"""Seconds after which a connection ends, whatever its mode has in mind."""


class Gone(ConnectionError):
    """The client has left, or the server ends."""


class Exchange:
    """One request, and the connection to misbehave on.

    Attributes:
        number: Which request of the server's it is, from 1.
        request: What was asked.
        elsewhere: The address of another server.
    """

    def __init__(self, server: Faulty, sock: socket.socket, request: Received) -> None:
        self.server, self.request, self._sock = server, request, sock
        self.number = len(server.requests)
        self.elsewhere = server.elsewhere
        self._until = time.monotonic() + LIFE

    @property
    def request_id(self) -> str:
        return f"req-{self.number}"

    @property
    def streams(self) -> bool:
        """Whether the client asked for a stream."""
        return bool(self.request.body.get("stream"))

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._check()
            self._sock.sendall(part)

    def forever(self, part: bytes, every: float = 0.0) -> None:
        """Send the same bytes again and again until the client leaves."""
        while True:
            self.send(part)
            if every:
                self.wait(every)

    def drip(self, data: bytes, every: float = 0.1) -> None:
        """Send one byte at a time."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            self.wait(every)

    def wait(self, seconds: float = LIFE) -> None:
        """Stay silent for a while; raise `Gone` when the client leaves meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            ready, _, _ = select.select([self._sock], [], [], min(left, 0.05))
            if ready and not self._sock.recv(1, socket.MSG_PEEK):
                raise Gone
            if ready:  # the next request on the connection
                time.sleep(min(left, 0.05))

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
        raise Gone

    def close(self) -> None:
        """Close the connection in an orderly way."""
        raise Gone

    def _check(self) -> None:
        if self.server.ending.is_set() or time.monotonic() > self._until:
            raise Gone


Serve = Callable[[Exchange], None]


class Faulty:
    """A server on loopback that misbehaves; use it as a context manager.

    Args:
        serve: How it misbehaves.
        times: How many requests it misbehaves on before it works; None for all.
        works: How it works.
        elsewhere: The address of another server, for redirects.
        deaf: Seconds in which it refuses connections.

    Attributes:
        base_url: The address to give to a provider.
        connections: How many there were.
        requests: What has arrived.
        asked: Set when a request has arrived.
        settled: Set when a misbehaviour is over.
    """

    def __init__(
        self,
        serve: Serve,
        *,
        works: Serve,
        times: int | None = None,
        elsewhere: str = "",
        deaf: float = 0.0,
    ) -> None:
        self.elsewhere = elsewhere
        self.asked, self.settled, self.ending = (threading.Event() for _ in range(3))
        self.connections = 0
        self.requests: list[Received] = []
        self._serve, self._works, self._times, self._deaf = serve, works, times, deaf
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def config(self) -> Config:
        """Return a config that sends the openai provider here."""
        environ = {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": KEY}
        return Config(model="openai/test-model", path=(), environ=environ)

    def __enter__(self) -> Self:
        if not self._deaf:
            self._listener.listen()
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        with self._lock, contextlib.suppress(OSError):
            for sock in self._open:
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with self._listener:
            # A socket that is bound and does not listen refuses.
            self.ending.wait(self._deaf)
            if self._deaf and not self.ending.is_set():
                self._listener.listen()
            while not self.ending.is_set():
                if not select.select([self._listener], [], [], 0.02)[0]:
                    continue
                sock, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._connection, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _connection(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(LIFE)
        try:
            with sock, sock.makefile("rb") as file, contextlib.suppress(OSError):
                while not self.ending.is_set() and self._request(sock, file):
                    self._answer(Exchange(self, sock, self.requests[-1]))
        finally:
            self.settled.set()
            with self._lock:
                self._open.discard(sock)

    def _answer(self, exchange: Exchange) -> None:
        if self._times is None or exchange.number <= self._times:
            self._serve(exchange)
            self.settled.set()
        else:
            self._works(exchange)

    def _request(self, sock: socket.socket, file: Any) -> bool:
        """Read the next request of a connection; return False at its end."""
        first = file.readline()
        if not first:
            return False
        method, path, _ = first.decode().split()
        headers: dict[str, str] = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(file.read(int(headers.get("content-length", 0))) or b"null")
        self.requests.append(Received(method, path, headers, body, sock.getpeername()[1]))
        self.asked.set()
        return True
