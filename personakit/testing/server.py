"""A real HTTP server on loopback for the openai client."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from personakit.base import brief_repr
from personakit.config import Config
from personakit.testing import responses
from personakit.testing.fake_backend import pieces
from personakit.testing.vectors import word_vectors, words_of

_EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP request that a `Server` received.

    Attributes:
        method: The method, in capitals.
        path: The path with the query.
        headers: The headers, as the client wrote them.
        body: The value of the JSON body.
        port: The port of the client, which is the same for all requests of a connection.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    port: int

    __repr__ = brief_repr


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply for `Server` to send: a whole body, or pieces to stream.

    A generator serves one request. It is closed when the client disconnects; if it raises
    ConnectionError, the reply is cut off.

    Attributes:
        body: The bytes, or a generator of bytes to stream.
        status: The HTTP status.
        headers: The headers besides those that the server needs.
    """

    body: bytes | Generator[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    __repr__ = brief_repr


class Server:
    """A server on loopback that speaks OpenAI's APIs: chat, responses, embeddings and models.

    Use it as a context manager. It answers from a list, as `Upstream` does. A response of the
    Responses API, such as ``{"object": "response", "output": [...]}``, is streamed if the request
    asks for that.

    Args:
        answers: Texts, dicts to send as JSON, bytes to send unchanged, or `Reply` values.
        size: The number of characters in a streamed event.
        cut: The number of bytes in one write; 0 writes a body at once.
        embeddings: For each request for embeddings in turn: None for vectors of the words in the
            texts, dicts, bytes or `Reply` values. The last one answers all further requests.
        models: The names of its models, or a `Reply` to send when it is asked for them.

    Attributes:
        requests: The received requests.
        base_url: The base URL for a provider or OPENAI_BASE_URL.
    """

    def __init__(
        self,
        answers: Sequence[Any] = ("Hello!",),
        *,
        size: int = 3,
        cut: int = 0,
        embeddings: Sequence[Any] = (None,),
        models: Sequence[str] | Reply = ("test-model",),
    ) -> None:
        self.answers, self.size, self.cut, self.models = answers, size, cut, models
        self.embeddings = embeddings
        self.requests: list[Received] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def environ(self) -> dict[str, str]:
        """Return the environment variables that direct the openai provider to this server."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "test-key"}

    def config(self) -> Config:
        """Return a config that uses only this server."""
        return Config(model="openai/test-model", path=(), environ=self.environ())

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def events(self, text: str, *, usage: bool) -> Iterator[bytes]:
        """Yield the events of a streamed text."""
        head = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "model": "test-model"}
        deltas = [{"content": piece} for piece in pieces(text, self.size)]
        for delta in ({"role": "assistant", "content": ""}, *deltas, {}):
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            yield _event({**head, "choices": [choice]})
        if usage:
            yield _event({**head, "choices": [], "usage": _usage(text)})
        yield b"data: [DONE]\n\n"

    def whole(self, text: str) -> dict[str, Any]:
        """Return the body of a whole answer."""
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "model": "test-model",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(text),
        }

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        """Return an answer as the reply to a request."""
        if isinstance(answer, str) and "input" in body:
            counts = _usage(answer, "input_tokens", "output_tokens")
            answer = responses.response(responses.message(answer), request=body)
            answer["usage"] |= counts
        if isinstance(answer, dict) and answer.get("object") == "response" and body.get("stream"):
            return Reply(b"".join(responses.events(answer, self.size)), headers=_EVENTS)
        if isinstance(answer, str) and body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            events = b"".join(self.events(answer, usage=usage))
            return Reply(events, headers=_EVENTS)
        data = self.whole(answer) if isinstance(answer, str) else answer
        return Reply(data if isinstance(data, bytes) else json.dumps(data).encode())

    def _next_answer(self) -> Any:
        """Return the answer to the last of the requests."""
        is_embedding = [one.path.endswith("/embeddings") for one in self.requests]
        answers = self.embeddings if is_embedding[-1] else self.answers
        return answers[min(is_embedding.count(is_embedding[-1]), len(answers)) - 1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Nagle's algorithm would delay the second write, the body, by 40 ms.
            disable_nagle_algorithm = True

            def handle(self) -> None:
                # A client that leaves early resets the connection.
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                sent = json.loads(self.rfile.read(length) or b"null")
                headers, port = dict(self.headers.items()), self.client_address[1]
                server.requests.append(Received("POST", self.path, headers, sent, port))
                answer = server._next_answer()
                if answer is None:
                    answer = embedded(sent)
                self._send(answer if isinstance(answer, Reply) else server.reply(answer, sent))

            def do_GET(self) -> None:
                headers, port = dict(self.headers.items()), self.client_address[1]
                server.requests.append(Received("GET", self.path, headers, None, port))
                listed = server.models
                if isinstance(listed, Reply):
                    self._send(listed)
                else:
                    data = [{"id": name, "object": "model"} for name in listed]
                    self._send(server.reply({"object": "list", "data": data}, {}))

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for pair in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(*pair)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.close_connection = True
                parts = pieces(body, server.cut) if isinstance(body := reply.body, bytes) else body
                with contextlib.closing(parts), contextlib.suppress(ConnectionError):
                    for part in parts:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                    self.close_connection = False

            def log_message(self, *_: Any) -> None: ...

        return Handler


def embedded(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the answer to a request for embeddings, as OpenAI sends it."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions")
    vectors: list[Any] = list(word_vectors(texts, size) if size else word_vectors(texts))
    if body.get("encoding_format") == "base64":
        packed = (struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
        vectors = [base64.b64encode(data).decode() for data in packed]
    tokens = sum(len(words_of(text)) for text in texts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def _usage(
    text: str, prompt: str = "prompt_tokens", completion: str = "completion_tokens"
) -> dict[str, int]:
    return {prompt: 5, completion: len(text), "total_tokens": 5 + len(text)}
