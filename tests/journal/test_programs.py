"""Random programs of hooks, tools and answers: a resumed run ends as the uninterrupted one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.suspending import runner_of, to_the_end
from hypothesis import given, settings
from hypothesis import strategies as st

import personakit
from personakit import Persona, Question, Request, Response, ToolCall, ToolResult, Usage, hookimpl
from personakit.testing import MODES, Upstream

EXAMPLES = int(os.environ.get("PERSONAKIT_EXAMPLES", "4000")) // 20
MAIN = Persona.parse("name: main\nsystem: You are the main one.\nmodel: openai/x\n")
OTHER = Persona.parse("name: other\nsystem: You help.\nmodel: openai/y\n")

Program = list[Any]
"""Steps, each a name and its arguments: what a hook does."""


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def answer_to(question: Question) -> str:
    return question.choices[int(short(question.text), 16) % len(question.choices)]


def steps(depth: int) -> st.SearchStrategy[Any]:
    leaves = st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 9)),
        st.tuples(st.just("run"), st.integers(0, 9)),
        st.tuples(st.just("embed"), st.integers(0, 9)),
        st.tuples(st.just("io"), st.integers(0, 9)),
        st.tuples(st.just("failing"), st.integers(0, 9)),
        st.tuples(st.just("now")),
        st.tuples(st.just("chance")),
        st.tuples(st.just("sleep")),
        st.tuples(st.just("render")),
    )
    if not depth:
        return leaves
    inner = st.lists(steps(depth - 1), max_size=3)
    together = st.tuples(st.just("together"), st.lists(inner, min_size=1, max_size=3))
    branch = st.tuples(st.just("branch"), st.integers(0, 9), inner, inner)
    return st.one_of(leaves, branch, together)


PROGRAMS = st.fixed_dictionaries(
    {
        "run": st.lists(steps(2), max_size=3),
        "chat": st.lists(steps(1), max_size=2),
        "tool": st.lists(steps(1), max_size=2),
        "after": st.lists(steps(1), max_size=2),
        "inner": st.lists(steps(1), max_size=2),
        "rounds": st.lists(st.integers(1, 3), max_size=3),
        "sends": st.integers(1, 2),
    }
)


class World:
    """What a run changes outside of it: requests, embeddings, tools and I/O, each counted."""

    def __init__(self, rounds: list[int]) -> None:
        self.rounds = rounds
        self.tools: Counter[str] = Counter()
        self.io: Counter[str] = Counter()
        self.upstream = Upstream([self.answer])

    def answer(self, request: Request) -> Response:
        """Answer as a function of the request, so that a changed request changes the end."""
        usage = Usage(3, 2, 5)
        done = sum(message.role == "assistant" for message in request.messages)
        heard = short("".join(f"{m.role}{m.text}" for m in request.messages[1:]))
        if request.persona == "main" and done < len(self.rounds):
            calls = (
                ToolCall(f"{done}-{n}", "note", f'{{"text": "{done}{n}{heard}"}}')
                for n in range(self.rounds[done])
            )
            return Response(f"Round {done}. ", tuple(calls), usage=usage)
        if request.messages[-1].text.startswith("clock"):
            return Response("It is late.", usage=usage)
        return Response(f"Heard {heard}.", usage=usage)

    def note(self, text: str) -> str:
        """Write a note."""
        self.tools[text] += 1
        return f"noted {short(text)}"

    def read(self, number: int) -> tuple[int, dict[str, bytes]]:
        self.io[str(number)] += 1
        return number, {"bytes": b"\x00"}

    def fail(self, number: int) -> None:
        self.io[f"failing {number}"] += 1
        raise FileNotFoundError(2, "No such file", str(number))

    def counts(self) -> tuple[Any, ...]:
        return len(self.upstream.requests), len(self.upstream.embedded), self.tools, self.io


class Plugin:
    """A plugin that does what a program says in each of its hooks."""

    def __init__(self, program: dict[str, Any], world: World) -> None:
        self.program, self.world = program, world

    async def do(self, send: Any, program: Program) -> list[str]:
        return [await self.step(send, *step) for step in program]

    async def step(self, send: Any, name: str, *given: Any) -> str:
        number = given[0] if given else 0
        if name == "ask":
            return await personakit.ask(f"Number {number}?", choices=["red", "green", "blue"])
        if name == "branch":
            answer = await personakit.ask(f"Branch {number}?", choices=["left", "right"])
            return str(await self.do(send, given[1] if answer == "left" else given[2]))
        if name == "run":
            response = await send.run(OTHER, f"run {number}")
            return str(response.text)
        if name == "embed":
            vectors = await send.embed([f"text {number}"], model="openai/embedder")
            return str(len(vectors.vectors[0]))
        if name == "io":
            return str(await personakit.io(self.world.read)(number))
        if name == "failing":
            try:
                await personakit.io(self.world.fail)(number)
            except FileNotFoundError as error:
                return str(error)
        if name == "now":
            return str((await send.run(OTHER, f"clock {personakit.now()}")).text)
        if name == "chance":
            return str((await send.run(OTHER, f"clock {personakit.rng().random()}")).text)
        if name == "render":
            return str((await send.render(OTHER, "Hi")).system)
        if name == "sleep":
            await personakit.sleep(0)
            return "slept"
        inner = (self.do(send, program) for program in given[0])
        return str(await personakit.gather(*inner))

    @hookimpl
    async def run(self, request: Request, send: Any) -> Response:
        log = await self.do(send, self.program["run"])
        for _ in range(self.program["sends"] - 1):
            log.append((await send(request.with_system(short(str(log))))).text)
        response: Response = await send.live(request.with_system(short(str(log))))
        log += await self.do(send, self.program["after"])
        return response.replace(text=f"{response.text} [{short(str(log))}]")

    @hookimpl
    async def tool(self, call: ToolCall, send: Any) -> ToolResult:
        log = await self.do(send, self.program["tool"])
        result: ToolResult = await send(call)
        return result.replace(content=f"{result.content} {short(str(log))}")


class Inner:
    """A second plugin: its `chat` hook stands around the calls of both personas."""

    def __init__(self, program: dict[str, Any], world: World) -> None:
        self.plugin, self.program = Plugin(program, world), program

    @hookimpl
    async def chat(self, request: Request, send: Any) -> Request:
        name = "chat" if request.persona == "main" else "inner"
        log = await self.plugin.do(send, self.program[name])
        return request.with_system(short(str(log)))


@pytest.mark.parametrize("mode", ["mixed", *MODES])
@settings(max_examples=EXAMPLES // 5)
@given(program=PROGRAMS, data=st.data())
def test_a_resumed_run_ends_as_the_uninterrupted_one(
    mode: str, program: dict[str, Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = World(program["rounds"]), World(program["rounds"])

        def made(world: World, **more: Any) -> Any:
            plugins = Plugin(program, world), Inner(program, world)
            return runner_of(Path(folder), world.upstream, *plugins, **more)

        asking = made(whole, ask=answer_to)
        expected = asking.run(MAIN, "Begin.", tools=[whole.note])

        def modes() -> str:
            return data.draw(st.sampled_from(MODES)) if mode == "mixed" else mode

        response, shown, _ = to_the_end(
            lambda: made(parts), MAIN, "Begin.", answer_to, modes, tools=[parts.note]
        )
        assert response.text == expected.text
        assert response.messages == expected.messages
        assert response.spent.usage == expected.spent.usage
        assert response.spent.calls == expected.spent.calls
        assert parts.counts() == whole.counts()
        if "stream" in mode:
            assert shown == response.text
        assert asking.journals.ids() == []
