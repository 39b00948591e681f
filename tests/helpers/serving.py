"""A server of personas on loopback, in a thread of the test."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from personakit import Runner
from personakit.server import Application, Settings, app


@dataclass
class Answer:
    """A reply of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def events(self) -> list[Any]:
        """The events of a stream, without ``[DONE]`` and comments."""
        lines = self.body.decode().split("\n\n")
        data = [line[6:] for line in lines if line.startswith("data: ")]
        return [json.loads(each) for each in data if each != "[DONE]"]

    @property
    def is_done(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")

    @property
    def text(self) -> str:
        """The text of a stream."""
        choices = [each["choices"] for each in self.events if each.get("choices")]
        return "".join(one[0]["delta"].get("content") or "" for one in choices)


@dataclass
class Served:
    """A server that is running."""

    port: int
    application: Application
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if body is None or isinstance(body, bytes | str) else json.dumps(body)
        given = {**self.headers, **(headers or {})}
        try:
            connection.request(method, path, data, given)
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def chat(
        self,
        *messages: Any,
        model: str = "p",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        said = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
        body = {"model": model, "messages": said or [{"role": "user", "content": "Hi!"}], **more}
        return self.request("POST", "/v1/chat/completions", body, headers)


@contextlib.contextmanager
def served(runner: Runner | None = None, settings: Settings | None = None) -> Iterator[Served]:
    """Serve while the block runs."""
    application = app(settings or Settings(open=True), runner=runner)
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield Served(server.servers[0].sockets[0].getsockname()[1], application)
    finally:
        server.should_exit = True
        thread.join(20)
