"""`personakit serve` in a process of its own, in front of a fake upstream."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from personakit.testing import Reply, Server

PERSONAS = {
    "plain": "description: Answers in one sentence.\nsystem: Answer in one sentence.\n",
    "greeter": """\
description: Greets a person.
parameters: {temperature: 0.4, max_tokens: 100}
variables: {language: {enum: [English, French], default: English}}
system: You greet people in {{ language }}.
prompt: "Greet this person: {{ input }}"
""",
    "judge": """\
description: Rates a dish.
system: Rate the dish.
output:
  type: object
  properties: {dish: {type: string}, stars: {type: integer}}
  required: [dish, stars]
  additionalProperties: false
""",
    "cook": "description: Looks into the fridge.\nsystem: You cook.\ntools: [fridge]\n",
}
"""A persona of each kind: plain, with variables, with a schema, with a tool of its own."""

FRIDGE = '''\
from personakit import hookimpl


def fridge(shelf: str) -> str:
    """Return what is on a shelf."""
    return f"{shelf}: two leeks"


class Fridge:
    @staticmethod
    @hookimpl
    def setup(registry):
        registry.tool(fridge)
'''
EVENTS = {"content-type": "text/event-stream"}
_SERVE = [sys.executable, "-m", "personakit", "serve"]


@dataclass(frozen=True)
class Answer:
    """An HTTP reply: the status, the headers in lower case and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """Return the JSON of the events; the last one of a whole stream is the text ``[DONE]``."""
        lines = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]

    def text(self) -> str:
        """Return the text of a whole or streamed answer."""
        if "event-stream" not in self.headers["content-type"]:
            return str(self.json()["choices"][0]["message"]["content"])
        deltas = [event["choices"][0]["delta"] for event in self.events()[:-1] if event["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)


class Served:
    """A running server.

    Attributes:
        url: Its address, without a path.
        token: A key that may use all personas and the upstream's models.
        upstream: The provider behind it.
        commands: Runs commands of personakit in the same home.
    """

    def __init__(self, url: str, token: str, upstream: Server, commands: Home) -> None:
        self.url, self.token, self.upstream, self.commands = url, token, upstream, commands
        self.base_url = f"{url}/v1"

    def answers(self, *answers: Any) -> None:
        """Let the upstream answer the next requests, and forget those that it received."""
        self.upstream.answers = answers
        self.upstream.requests.clear()

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies that the upstream received."""
        return [one.body for one in self.upstream.requests if one.method == "POST"]

    def texts(self, request: int = 0) -> list[tuple[str, Any]]:
        """Return the roles and contents of the messages of a request to the upstream."""
        return [(one["role"], one.get("content")) for one in self.sent[request]["messages"]]

    def get(self, path: str, **headers: str) -> Answer:
        return self._request("GET", path, None, headers)

    def post(self, body: Any, **headers: str) -> Answer:
        """Send a chat completion; an underscore in a header's name is a hyphen."""
        return self._request("POST", "/v1/chat/completions", body, headers)

    def _request(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        sent = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, data, sent)
            reply = connection.getresponse()
            got = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, got, reply.read())
        finally:
            connection.close()


def call(name: str, arguments: Mapping[str, Any], id: str = "call_1") -> dict[str, Any]:  # noqa: A002
    """Return a whole answer of an upstream that calls a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return _whole({"tool_calls": [{"id": id, "type": "function", "function": function}]})


def streamed_call(name: str, arguments: Mapping[str, Any], id: str = "call_1") -> Reply:  # noqa: A002
    """Return a stream of an upstream that calls a tool, with the arguments in two pieces."""
    text = json.dumps(arguments)
    first = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    calls: list[dict[str, Any]] = [first]
    calls += [{"function": {"arguments": piece}} for piece in (text[:4], text[4:])]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    deltas += [{"tool_calls": [{"index": 0, **one}]} for one in calls]
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    events = [
        *({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": usage},
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Reply("".join([*lines, "data: [DONE]\n\n"]).encode(), headers=EVENTS)


def failing(status: int, message: str, **headers: str) -> Reply:
    """Return an error of an upstream, in OpenAI's shape."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": None}}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps(body).encode(), status, names)


def cut(text: str, event: bytes | None = None) -> Reply:
    """Return a stream of an upstream that ends after a text: with an event, or without a word."""

    def events() -> Generator[bytes]:
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}}
        yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        if event is None:
            raise ConnectionError
        yield event

    return Reply(events(), headers=EVENTS)


def _whole(message: Mapping[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": None, **message}}
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1,
        "model": "test-model",
        "choices": [{"index": 0, "finish_reason": "tool_calls", **choice}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


class Home:
    """A user's home with personas, a plugin and a config, in which commands run.

    Attributes:
        folder: The folder.
        environ: The environment of the commands.
    """

    def __init__(self, folder: Path, upstream: Server) -> None:
        self.folder = folder
        site, config = folder / "site", folder / "config.yaml"
        info = site / "fridge-1.0.dist-info"
        for made in (folder / "personas", info):
            made.mkdir(parents=True)
        for name, text in PERSONAS.items():
            (folder / "personas" / f"{name}.yaml").write_text(text, "utf-8")
        (site / "fridge.py").write_text(FRIDGE, "utf-8")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fridge\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[personakit]\nfridge = fridge:Fridge\n")
        provider = {"base_url": upstream.base_url, "key_env": "UPSTREAM_KEY"}
        settings = {"model": "work/test-model", "providers": {"work": provider}}
        config.write_text(json.dumps(settings), "utf-8")
        kept = ("COVERAGE", "PYTHON", "COV_")
        self.environ = {
            "PATH": os.environ["PATH"],
            **{key: value for key, value in os.environ.items() if key.startswith(kept)},
            "HOME": str(folder),
            "PYTHONPATH": str(site),
            "PERSONAKIT_CONFIG": str(config),
            "PERSONAKIT_PLUGINS": "fridge",
            "UPSTREAM_KEY": "upstream-secret",
        }

    def key(self, name: str, *options: str) -> str:
        """Make a key with `personakit serve keys new`; return its token."""
        done = subprocess.run(
            [*_SERVE, "keys", "new", name, *options],
            env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        found = re.search(r"\bpk-[\w-]{43}(?![\w-])", done.stdout)
        assert found, done.stdout + done.stderr
        return found[0]


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Run the server with the personas above, a key and a fake upstream, while the block runs."""
    with Server() as upstream:
        home = Home(folder, upstream)
        token = home.key("tests", "--models", "*")
        log = folder / "output"
        with (
            log.open("w", encoding="utf-8") as output,
            subprocess.Popen(
                [*_SERVE, "--port", "0", *options],
                env=home.environ, cwd=folder, stdout=output, stderr=subprocess.STDOUT,
            ) as process,
        ):  # fmt: skip
            try:
                yield Served(_address(process, log), token, upstream, home)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                finally:
                    process.kill()
        assert "Traceback" not in log.read_text("utf-8")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address of a server, which it prints when it listens."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8")):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(log.read_text("utf-8"))
