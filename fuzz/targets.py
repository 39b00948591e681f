"""The operations that are fuzzed: each takes any bytes and may raise only personakit's own errors.

This module does not need atheris, so that the tests can replay `fuzz/corpus`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from personakit import (
    Config,
    Conversation,
    Message,
    Persona,
    PersonakitError,
    Request,
    Runner,
)
from personakit.linting import Linter
from personakit.suite.cassettes import Recordings
from personakit.testing import Reply, Server, persona, runner

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 2.0
"""The time that one input may take."""

_STATUSES = (200, 200, 200, 200, 400, 401, 404, 429, 500, 503)
_EVENTS = {"content-type": "text/event-stream"}


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def _served() -> tuple[Server, Runner]:
    """Return a server on loopback, whose one answer is replaced, and a runner that uses it."""
    server = Server().__enter__()
    # A client that closes the connection early is not a fault of the server.
    server._http.handle_error = lambda *_: None  # type: ignore[method-assign]
    return server, Runner(server.config())


def close() -> None:
    """Close the connections of the targets; a later call of one opens new ones."""
    if _served.cache_info().currsize:
        server, running = _served()
        running.close()
        server.__exit__()
        _served.cache_clear()


@functools.cache
def _running() -> Runner:
    return runner()[0]


def _file(data: bytes, name: str) -> Path:
    file = _folder() / name
    file.write_bytes(data)
    return file


def personas(data: bytes) -> None:
    """Parse a persona file, check it, render it, and prepare its request."""
    running = _running()
    Linter(running).check([_file(data, "fuzzed.yaml")])
    with contextlib.suppress(PersonakitError):
        found = Persona.parse(data, "fuzzed.yaml")
        values = {
            name: it.example if it.example is not None else it.enum[0] if it.enum else "x"
            for name, it in found.variables.items()
            if it.required
        }
        for operation in (running.render, running.prepare):
            with contextlib.suppress(PersonakitError):
                operation(found, "Hi", variables=values)


def templates(data: bytes) -> None:
    """Render a template with values; a NUL byte separates it from the JSON of the values."""
    source, _, values = data.decode("utf-8", "replace").partition("\0")
    try:
        variables = json.loads(values or "{}")
    except (ValueError, RecursionError):
        variables = {}
    declared = (
        {name: {"default": value} for name, value in variables.items() if value is not None}
        if isinstance(variables, dict)
        else {}
    )
    running = _running()
    with contextlib.suppress(PersonakitError):
        running.render(persona(source, variables=declared), "Hi")


def _run(reply: Reply, *, streamed: bool) -> None:
    server, running = _served()
    server.requests.clear()
    server.answers = [reply]
    request = Request("openai/m", (Message("user", "Hi"),), max_retries=0, timeout=5)
    with contextlib.suppress(PersonakitError):
        if streamed:
            "".join(running.stream(persona(), request))
        else:
            running.run(persona(), request)


def streams(data: bytes) -> None:
    """Read a stream of server-sent events; the first byte is the size of its pieces."""
    size = data[0] if data else 0
    pieces = [data[1:]] if not size else [data[i : i + size] for i in range(1, len(data), size)]
    _run(Reply((piece for piece in pieces), 200, _EVENTS), streamed=True)


def answers(data: bytes) -> None:
    """Read the body of an answer; the first byte chooses its status."""
    status = _STATUSES[data[0] % len(_STATUSES)] if data else 200
    _run(Reply(data[1:], status), streamed=False)
    _run(Reply(data[1:], status), streamed=True)


def configs(data: bytes) -> None:
    """Read a config file, and find a model with it."""
    file = _file(data, "config.yaml")
    with contextlib.suppress(PersonakitError):
        running = Runner(Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(_folder())}))
        running.prepare(persona(), "Hi")


def recordings(data: bytes) -> None:
    """Read a file as recordings of tests, and as a saved conversation."""
    file = _file(data, "recordings.json")
    with contextlib.suppress(PersonakitError):
        Recordings(file).read()
    with contextlib.suppress(PersonakitError):
        Conversation.load(file, _running()).run("Hi")


def connections(data: bytes) -> None:
    """Feed a connection of the server."""
    # Not earlier: not every checkout has the extra `serve`.
    from fuzz import connections as feeding

    feeding.connections(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "answers": answers,
    "configs": configs,
    "connections": connections,
    "personas": personas,
    "recordings": recordings,
    "streams": streams,
    "templates": templates,
}
