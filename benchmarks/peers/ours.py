"""personakit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

Job = dict[str, Any]


def _runner(job: Job) -> tuple[Any, Any]:
    from personakit import Persona, Runner
    from personakit.config import Config

    environ = {"OPENAI_BASE_URL": job.get("base_url", ""), "OPENAI_API_KEY": "key"}
    config = Config(model="openai/test-model", path=(), environ=environ)
    api = {"api": job["api"]} if "api" in job else {}
    persona = Persona.parse(json.dumps({**json.loads(job["persona"]), **api}), "bench.yaml")
    return Runner(config, plugins=_layers(job.get("layers", "none"))), persona


def _layers(kind: str) -> list[Any]:
    """Return the plugins around the run."""
    if kind == "none":
        return []
    from dataclasses import dataclass

    from personakit import hookimpl

    @dataclass(eq=False)
    class Cool:
        temperature: float = 0.5

        @hookimpl
        def chat(self, request: Any) -> Any:
            changed = {**request.parameters, "temperature": self.temperature}
            return request.replace(parameters=changed)

    class Count:
        count = 0

        @hookimpl
        async def chat(self, request: Any, send: Any) -> Any:
            response = await send(request)
            self.count += len(response.text)
            return response

    class Look:
        @hookimpl
        def chat(self, request: Any) -> None:
            assert request.messages

    return [Cool(), Count(), Look()]


def render(job: Job) -> Callable[[], str]:
    """Render the system message of a cached persona, its variables checked."""
    runner, persona = _runner(job)
    fresh, prompt = job["fresh"], job["prompt"]

    def once() -> str:
        text: str = runner.render(persona, prompt, variables=fresh()).messages[0].text
        return text

    return once


def call(job: Job) -> Callable[[], str]:
    """Render a persona and run it."""
    runner, persona = _runner(job)
    values, prompt = job["variables"], job["prompt"]

    def once() -> str:
        text: str = runner.run(persona, prompt, variables=values).text
        return text

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    runner, persona = _runner(job)
    values, prompt = job["variables"], job["prompt"]

    async def once() -> str:
        response = await runner.arun(persona, prompt, variables=values)
        text: str = response.text
        return text

    return once


def stream(job: Job) -> Callable[[], Iterator[str]]:
    """Stream a persona's answer."""
    runner, persona = _runner(job)
    values, prompt = job["variables"], job["prompt"]

    def once() -> Iterator[str]:
        yield from runner.stream(persona, prompt, variables=values)

    return once


def astream(job: Job) -> Callable[[], AsyncIterator[str]]:
    """As `stream`, for `async for`."""
    runner, persona = _runner(job)
    values, prompt = job["variables"], job["prompt"]

    async def once() -> AsyncIterator[str]:
        async for text in runner.astream(persona, prompt, variables=values):
            yield text

    return once


def step_by_step(job: Job) -> Callable[[], str]:
    """Lint, load, render and count the tokens of a file."""
    from pathlib import Path

    from personakit import Persona, Runner
    from personakit.config import Config
    from personakit.linting import Linter
    from personakit.tokens import count_tokens

    file, runner = Path(job["file"]), Runner(Config())

    def once() -> str:
        Linter(runner).check([file])
        persona = Persona.read(file, parents=runner.library.parents(file))
        request = runner.render(persona, "Hi", model="openai/gpt-5")
        tokens = [count_tokens(message.text, request.model) for message in request.messages]
        return f"{len(tokens)} messages"

    return once


def look(job: Job) -> Callable[[], str]:
    """Look at the text of a file."""
    from pathlib import Path

    from personakit import Runner
    from personakit.config import Config
    from personakit.looking import look

    file, runner = Path(job["file"]), Runner(Config())
    text = file.read_text("utf-8")

    def once() -> str:
        found = look(runner, file, text, prompt="Hi", model="openai/gpt-5")
        return f"{len(found.tokens)} messages"

    return once


def layers(job: Job) -> Callable[[], str]:
    """Run through many layers that do nothing, to a model that is no network away."""
    from personakit import Filter, hookimpl, testing

    class Plain:
        @hookimpl
        def chat(self, request: Any) -> None: ...

    class Around:
        @hookimpl
        async def chat(self, request: Any, send: Any) -> Any:
            return await send(request)

    class Same:
        def feed(self, text: str) -> str:
            return text

        def flush(self) -> str:
            return ""

    class Live:
        @hookimpl
        async def chat(self, request: Any, send: Any) -> Any:
            same: Filter = Same()
            return await send.live(request, filter=same)

    kind = {"plain": Plain, "around": Around, "live": Live}[job["kind"]]
    runner, upstream = testing.runner(
        [job["expect"]], plugins=[kind() for _ in range(job["layers"])], size=job["size"]
    )
    persona = testing.persona()

    def once() -> str:
        upstream.requests.clear()
        if job["streamed"]:
            return "".join(runner.stream(persona, "Hi"))
        return runner.run(persona, "Hi").text

    return once


def load(job: Job) -> Callable[[], str]:
    """Load a persona by name out of a folder, with a library that has not seen it yet."""
    from pathlib import Path

    from personakit.library import Library

    folder, name = Path(job["path"]), job["name"]

    def once() -> str:
        return Library((folder,)).load(name).name

    return once


def batch(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """Answer the rows of a table with `Batch`, whose output is new each time."""
    import itertools
    import os
    from pathlib import Path

    from personakit.batch import Batch

    (runner, persona), folder = _runner(job), Path(job["tables"])
    numbers = itertools.count()

    async def many(times: int, at_once: int) -> list[str]:
        table, out = folder / f"{times}.csv", folder / f"{os.getpid()}-{next(numbers)}.jsonl"
        columns = {"key": "id", "input": "review", "runner": runner}
        rows = Batch(persona, table, out=out, concurrency=at_once, **columns).arun()
        return [result.line["text"] async for result in rows]

    return many
