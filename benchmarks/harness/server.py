"""A fast server on loopback that speaks OpenAI's APIs of chat and responses.

It runs as a process of its own (``python server.py`` prints its port) and answers from bytes that
are made once, so that it is not what is measured: `benchmarks.harness.traffic` says how many
requests a second it can take. Everything is set in the address, before ``/v1``, or in a message,
in parentheses, for servers that know one address only, ``(/events500/pace1)``:

- ``/wait20/…``: answer after 20 ms
- ``/events500/…``: stream an answer of 500 words, one an event; default 1
- ``/pace1/…``: 1 ms between two events; default 0, all in one write

``GET /last`` returns the body of the last request, ``GET /connections`` how many connections there
were, ``GET /requests`` how many requests, ``GET /cpu`` the seconds of CPU that the process took.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import re
import sys
import time

WORD = "Lentils "


def answer_of(events: int) -> str:
    """Return the text that is answered with so many events."""
    return WORD * events


@functools.cache
def plan(path: str) -> tuple[float, float, bytes, tuple[bytes, ...]]:
    """Return the delay, the pace (both in seconds), the whole reply and the parts of a stream."""
    found = {name: int(value) for name, value in re.findall(r"/(wait|events|pace)(\d+)", path)}
    wait, pace = found.get("wait", 0) / 1000, found.get("pace", 0) / 1000
    said = _responses if path.endswith("/responses") else _chat
    body, events = said(found.get("events", 1))
    start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    stream = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    parts = (stream + events[0], *events[1:-1], events[-1] + b"0\r\n\r\n")
    return wait, pace, start % len(body) + body, parts


def _chat(count: int) -> tuple[bytes, list[bytes]]:
    """Return a completion and its events."""
    text = answer_of(count)
    usage = {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}
    head = {"id": "chatcmpl-1", "created": 1, "model": "test-model", "system_fingerprint": "fp_1"}
    choice = {"index": 0, "logprobs": None, "finish_reason": "stop"}
    said = {"role": "assistant", "content": text, "refusal": None}
    whole = {**head, "object": "chat.completion", "choices": [{**choice, "message": said}]}
    body = json.dumps({**whole, "usage": usage}).encode()
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": WORD}] * count
    events = [_event(head, {"delta": delta, "finish_reason": None}) for delta in deltas]
    events.append(_event(head, {"delta": {}, "finish_reason": "stop"}))
    events.append(_chunk(b"data: [DONE]\n\n"))
    return body, events


def _responses(count: int) -> tuple[bytes, list[bytes]]:
    """Return a response and its events."""
    text = answer_of(count)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant"}
    item = {**message, "content": [part]}
    usage = {"input_tokens": 90, "output_tokens": 9, "total_tokens": 99}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "test-model"}
    whole = {**head, "status": "completed", "output": [item], "usage": usage}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = {**head, "status": "in_progress", "output": []}
    word = {"type": "response.output_text.delta", **at, "delta": WORD, "logprobs": []}
    data: list[dict[str, object]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *[word] * count,
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    events = [json.dumps({**each, "sequence_number": at}) for at, each in enumerate(data)]
    names = [str(each["type"]) for each in data]
    sent = zip(names, events, strict=True)
    return json.dumps(whole).encode(), [
        _chunk(f"event: {name}\ndata: {event}\n\n".encode()) for name, event in sent
    ]


def _event(head: dict[str, object], choice: dict[str, object]) -> bytes:
    full = {"index": 0, "logprobs": None, **choice}
    data = {**head, "object": "chat.completion.chunk", "choices": [full]}
    return _chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other, as HTTP/1.1 clients send them."""

    count = 0
    requests = 0
    last = b""
    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        Connection.count += 1
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer a request when all of it is there."""
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end >= 0:
            head = received[:end].lower()
            at = head.find(b"content-length:")
            if at >= 0:
                size = int(head[at + 15 : (head.find(b"\r", at) + 1 or end + 1) - 1])
                if len(received) - end - 4 < size:
                    self._received = received
                    return
            elif b"transfer-encoding: chunked" in head and not received.endswith(b"0\r\n\r\n"):
                self._received = received
                return
            self._received = b""
            self._answer(received, end + 4)
            return
        self._received = received

    def _answer(self, received: bytes, body: int) -> None:
        path = received[: received.find(b" HTTP/")].decode().partition(" ")[2]
        if received.startswith(b"GET"):
            seen = {
                "/connections": str(Connection.count).encode(),
                "/requests": str(Connection.requests).encode(),
                "/cpu": str(time.process_time()).encode(),
            }
            text = seen.get(path, Connection.last)
            size = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text)
            self._transport.write(size + text)
            return
        Connection.last = received[body:]
        Connection.requests += 1
        if (at := received.find(b"(/", body)) >= 0:
            path = received[at + 1 : received.find(b")", at)].decode() + path
        wait, pace, whole, parts = plan(path)
        streamed = b'"stream":true' in received or b'"stream": true' in received
        action = self._stream if streamed else self._transport.write
        argument = (parts, pace) if streamed else (whole,)
        if wait:
            asyncio.get_running_loop().call_later(wait, action, *argument)
        else:
            action(*argument)

    def _stream(self, parts: tuple[bytes, ...], pace: float, at: int = 0) -> None:
        if not pace:
            self._transport.write(b"".join(parts))
        elif not self._transport.is_closing():
            self._transport.write(parts[at])
            if at + 1 < len(parts):
                loop = asyncio.get_running_loop()
                loop.call_later(pace, self._stream, parts, pace, at + 1)


async def main() -> None:
    """Serve until standard input ends, which it does with the process that started this one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # What is there now stays: the collector need not look at it again for each request.
    gc.freeze()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
