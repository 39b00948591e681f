"""An upstream on loopback that fails in the ways that it is told, and counts what it has sent.

It runs as a process of its own (``python faults.py`` prints its port) and imports nothing but the
standard library. The last message of a request says what is to happen: ``(123 reset)`` is request
123, whose connection is reset. ``GET /count`` returns what was received and sent so far.

- ``answer``: the answer, whole or streamed as asked
- ``slow``: the same in pieces, 2 ms apart
- ``once``: 500, and the answer to the next attempt
- ``429``, ``500``: that status, always
- ``reset``: a TCP reset instead of an answer
- ``cut``: half an answer, then the end of the connection
- ``hang``: the head of an answer, and then nothing until the client leaves
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
from collections import Counter
from typing import Any

PROMPT_TOKENS, ANSWER_TOKENS = 90, 10
TOKENS = PROMPT_TOKENS + ANSWER_TOKENS
"""The usage of every answer."""
_TOLD = re.compile(rb"\((\d+) (\w+)\)")
_PIECES, _PACE = 5, 0.002


def text_of(number: int) -> str:
    """Return the right answer to a request."""
    return f"Answer {number}."


def order(number: int, mode: str) -> str:
    """Return what a message says to get a mode."""
    return f"({number} {mode})"


class Count:
    """What was received and sent.

    Attributes:
        received: The attempts by mode.
        whole: The answers that were sent to their last byte, by mode.
        times: How often each request was answered whole.
    """

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.times: Counter[int] = Counter()
        self.failed: set[int] = set()

    def report(self) -> bytes:
        """Return the counts as JSON."""
        counts = {
            "received": self.received,
            "whole": self.whole,
            "requests": len(self.times),
            "again": sum(times - 1 for times in self.times.values()),
        }
        return json.dumps(counts).encode()


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    count = Count()
    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer a request when all of it is there."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        found = re.search(rb"content-length: *(\d+)", self._received[:end], re.IGNORECASE)
        if len(self._received) < end + 4 + int(found[1] if found else 0):
            return
        head, body = self._received[:end], self._received[end + 4 :]
        self._received = b""
        if head.startswith(b"GET"):
            self._transport.write(_reply(200, self.count.report()))
            return
        number, mode = (_TOLD.findall(body) or [(b"0", b"answer")])[-1]
        streamed = json.loads(body).get("stream") is True
        self._answer(int(number), mode.decode(), streamed)

    def _answer(self, number: int, mode: str, streamed: bool) -> None:
        self.count.received[mode] += 1
        if mode == "once" and number not in self.count.failed:
            self.count.failed.add(number)
            self._transport.write(_error(500))
        elif mode in ("429", "500"):
            self._transport.write(_error(int(mode)))
        elif mode == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            parts = _streamed(number) if streamed else _whole(number)
            self._send(parts, number, mode)

    def _send(self, parts: list[bytes], number: int, mode: str, at: int = 0) -> None:
        if mode in ("cut", "hang"):
            self._transport.write(b"".join(parts[: len(parts) // 2]))
            if mode == "cut":
                self._transport.close()
            return
        if self._transport.is_closing():
            return
        if mode == "slow" and at + 1 < len(parts):
            self._transport.write(parts[at])
            loop = asyncio.get_running_loop()
            loop.call_later(_PACE, self._send, parts, number, mode, at + 1)
            return
        self._transport.write(b"".join(parts[at:]))
        self.count.whole[mode] += 1
        self.count.times[number] += 1


_USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": ANSWER_TOKENS,
    "total_tokens": TOKENS,
}


def _reply(status: int, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


def _error(status: int) -> bytes:
    body = json.dumps({"error": {"message": "told to", "type": "x", "code": "x"}}).encode()
    return _reply(status, body, b"retry-after-ms: 1\r\n")


def _whole(number: int) -> list[bytes]:
    said = {"role": "assistant", "content": text_of(number)}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    head: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
    }
    reply = _reply(200, json.dumps({**head, "choices": [choice], "usage": _USAGE}).encode())
    size = len(reply) // _PIECES + 1
    return [reply[at : at + size] for at in range(0, len(reply), size)]


def _streamed(number: int) -> list[bytes]:
    head: dict[str, Any] = {"id": f"chatcmpl-{number}", "created": 1, "model": "m"}
    head["object"] = "chat.completion.chunk"
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\S+\s*", text_of(number))]
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [json.dumps({**head, "choices": [choice]}) for choice in choices]
    events += [json.dumps({**head, "choices": [], "usage": _USAGE}), "[DONE]"]
    start = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    data = [f"data: {event}\n\n".encode() for event in events]
    parts = [start, *(b"%x\r\n%b\r\n" % (len(event), event) for event in data)]
    return [*parts, b"0\r\n\r\n"]


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
