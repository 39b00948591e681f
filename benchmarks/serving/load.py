"""Sends requests to a server and checks the answers, in a process of its own.

It runs in the environment of a peer, so it imports nothing but the standard library. Each line of
standard input is a command as JSON, each line of standard output its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

LINE = 2**20


class Wrong(Exception):
    """An answer that is not the right one."""


@dataclass(slots=True)
class Reply:
    """The head of an answer, and what has arrived of its body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    events: int = 0
    first: float = 0.0


@dataclass(slots=True)
class Connection:
    """A connection that is kept alive.

    Attributes:
        port: Where the server listens on loopback.
    """

    port: int
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _head: bytes = field(default=b"")

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Send a request and read the whole answer."""
        reply = await self.begin(path, body, headers)
        await self.read(reply)
        return reply

    async def begin(self, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Send a request and read the head of the answer."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self.port, limit=LINE
            )
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"content-type: application/json\r\n{said}content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert self._reader
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        return Reply(
            int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
        )

    async def read(self, reply: Reply) -> None:
        """Read the body of an answer to its end."""
        assert self._reader
        if "chunked" in reply.headers.get("transfer-encoding", ""):
            parts: list[bytes] = []
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                part = await self._reader.readexactly(size + 2)
                if not parts:
                    reply.first = time.perf_counter()
                parts.append(part[:-2])
            await self._reader.readexactly(2)
            reply.body = b"".join(parts)
        else:
            reply.body = await self._reader.readexactly(int(reply.headers["content-length"]))
        if reply.headers.get("connection", "").lower() == "close":
            self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def text_of(body: bytes) -> str:
    """Return the text of a whole answer or of a stream of events.

    Raises:
        Wrong: It is an error, or a stream without its end.
    """
    if body.lstrip()[:1] == b"{":
        whole = json.loads(body)
        if "choices" not in whole:
            raise Wrong(str(whole)[:300])
        return str(whole["choices"][0]["message"]["content"])
    *events, last = (line[5:].strip() for line in body.splitlines() if line.startswith(b"data:"))
    if last != b"[DONE]":
        raise Wrong(f"the stream ends with {last[:300]!r}")
    choices = (choice for event in events for choice in json.loads(event)["choices"])
    return "".join(choice["delta"].get("content") or "" for choice in choices)


class Load:
    """What a process of load has to do.

    Args:
        job: ``port``, ``path``, ``body``, ``headers``, and ``expect``, the text of a right answer.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._port, self._path, self._headers = job["port"], job["path"], job["headers"]
        self._body, self._expect = json.dumps(job["body"]).encode(), job["expect"]
        self._right: set[int] = set()
        self._idle: list[Connection] = []
        self._held: list[tuple[Connection, asyncio.Task[None]]] = []

    async def renew(self, at_once: int) -> dict[str, Any]:
        """Send a request over each of so many new connections: idle ones may be closed."""
        for connection in self._idle:
            connection.close()
        return await self.send(at_once, at_once)

    async def send(self, times: int, at_once: int) -> dict[str, Any]:
        """Send so many requests, some of them at once."""
        left = iter(range(times))
        firsts: list[float] = []

        async def one_after_the_other(connection: Connection) -> None:
            for _ in left:
                start = time.perf_counter()
                reply = await connection.post(self._path, self._body, self._headers)
                firsts.append((reply.first or time.perf_counter()) - start)
                self._check(reply)

        while len(self._idle) < at_once:
            self._idle.append(Connection(self._port))
        start = time.perf_counter()
        await asyncio.gather(*map(one_after_the_other, self._idle[:at_once]))
        return {"wall": time.perf_counter() - start, "first": sorted(firsts)[len(firsts) // 2]}

    def _check(self, reply: Reply) -> None:
        if reply.status != 200:
            raise Wrong(f"{reply.status}: {reply.body[:300]!r}")
        # Answers have different ids and times: those of one length are looked at once.
        if len(reply.body) not in self._right:
            if (text := text_of(reply.body)) != self._expect:
                raise Wrong(f"the text is {text[:200]!r}")
            if len(self._right) < 100:
                self._right.add(len(reply.body))

    async def hold(self, streams: int) -> dict[str, Any]:
        """Open so many streams within a minute, and keep reading them."""

        async def reading(connection: Connection, reply: Reply) -> None:
            with contextlib.suppress(EOFError, OSError):
                await connection.read(reply)

        async def opened() -> None:
            connection = Connection(self._port)
            reply = await connection.begin(self._path, self._body, self._headers)
            if reply.status != 200:
                await connection.read(reply)
                raise Wrong(f"{reply.status}: {reply.body[:300]!r}")
            self._held.append((connection, asyncio.create_task(reading(connection, reply))))

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                for at in range(0, streams, 50):
                    await asyncio.gather(*(opened() for _ in range(min(50, streams - at))))
        return {"open": sum(not task.done() for _, task in self._held)}

    async def leave(self) -> dict[str, Any]:
        """Close the streams that are held."""
        for connection, task in self._held:
            task.cancel()
            connection.close()
        await asyncio.gather(*(task for _, task in self._held), return_exceptions=True)
        count = len(self._held)
        self._held.clear()
        return {"closed": count}


async def main() -> None:
    """Do what standard input says until it ends."""
    loop = asyncio.get_running_loop()
    loads: dict[str, Load] = {}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        name, what = command.pop("job"), command.pop("do")
        try:
            if what == "make":
                loads[name] = Load(command)
            result = {} if what == "make" else await getattr(loads[name], what)(**command)
        except (Wrong, OSError, EOFError, ValueError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
