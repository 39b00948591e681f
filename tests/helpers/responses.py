"""What the tests of the Responses API share: a server whose requests its own types check."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from personakit import Config, Runner
from personakit.providers import BUILT_IN
from personakit.testing import Server
from personakit.testing.responses import message, response

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA1"}


def call(name: str, arguments: Any, identity: str = "call_1") -> dict[str, Any]:
    """Return the output item of a call; arguments that are no text are written as JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    head = {"id": f"fc_{identity}", "type": "function_call", "status": "completed"}
    return {**head, "call_id": identity, "name": name, "arguments": text}


def thought(number: int, *summary: str, **more: Any) -> dict[str, Any]:
    """Return the output item of encrypted thoughts."""
    parts = [{"type": "summary_text", "text": text} for text in summary]
    numbered = {"id": f"rs_{number}", "summary": parts, "encrypted_content": f"gAAA{number}"}
    return {"type": "reasoning", **numbered, **more}


def says(*output: Any, **changes: Any) -> dict[str, Any]:
    """Return a whole response; a text is a message."""
    return response(*(message(o) if isinstance(o, str) else o for o in output), **changes)


def config(server: Server, api: str = "responses", model: str = "gpt-5.4") -> Config:
    """Return a config that uses only a server, with an API."""
    openai = dataclasses.replace(BUILT_IN["openai"], api=api)
    providers = {**BUILT_IN, "openai": openai}
    environ = server.environ()
    return Config(model=f"openai/{model}", path=(), environ=environ, providers=providers)


@contextmanager
def serving(
    *answers: Any,
    plugins: Any = (),
    api: str = "responses",
    model: str = "gpt-5.4",
    check: bool = True,
    **server: Any,
) -> Iterator[tuple[Runner, Server]]:
    """Run a server, and check the requests to its Responses API at the end."""
    with Server(answers or ("Hello!",), **server) as running:
        made = Runner(config(running, api, model), plugins=plugins)
        try:
            yield made, running
        finally:
            made.close()
    for request in running.requests if check else ():
        if request.path == "/v1/responses":
            valid(request.body)


def valid(body: Mapping[str, Any]) -> None:
    """Check the body of a request by the types of the openai package."""
    names, adapter = _adapters()["whole" if not body.get("stream") else "stream"]
    assert body.keys() <= names, body.keys() - names
    checked = adapter.validate_python(body)
    for name in ("tools", "input"):
        # Lists in them are validated while they are read.
        for item in checked.get(name, ()):
            for value in item.values():
                list(value) if type(value).__name__ == "ValidatorIterator" else None


@functools.cache
def _adapters() -> dict[str, Any]:
    from openai.types.responses import response_create_params as params
    from pydantic import TypeAdapter

    kinds: dict[str, Any] = {
        "whole": params.ResponseCreateParamsNonStreaming,
        "stream": params.ResponseCreateParamsStreaming,
    }
    return {name: (set(kind.__annotations__), TypeAdapter(kind)) for name, kind in kinds.items()}
