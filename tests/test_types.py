"""What type checkers find in code that uses personakit: the mistakes, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

WITH_MISTAKES = '''
"""Plans a dinner."""

from dataclasses import dataclass

from pydantic import BaseModel

import personakit
from personakit import Runner


class Dinner(BaseModel):
    title: str
    minutes: int


@dataclass
class Wine:
    name: str


runner = Runner()


def plan(guests: int) -> str:
    dinner = runner.run("chef", "Dinner", variables={"guests": guests}, output=Dinner).parsed
    wine = personakit.run("sommelier", dinner.title, output=Wine).parsed
    return f"{dinner.titel} with {wine.name}"  # wrong


def show() -> None:
    answer = personakit.run("chef", "Soup?", temperature=0.3)  # wrong
    print(answer.text)
    print(personakit.run("chef", "Soup?").parsed.title)  # wrong


async def read() -> None:
    async for text in runner.stream("chef", "A story"):  # wrong
        print(text)
    for text in personakit.astream("chef", "A story"):  # wrong
        print(text)
'''

CORRECT = '''
import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack, assert_type

from pydantic import BaseModel

import personakit
from personakit import AsyncStream, Options, Persona, Piece, Request, Response, Runner, Send, Stream
from personakit import SendTool, ToolCall, ToolResult, Trace, hookimpl


class Dinner(BaseModel):
    title: str


@dataclass
class Wine:
    name: str


class Rows(TypedDict):
    rows: list[int]


runner = Runner()
chef = runner.conversation("chef")
SCHEMA: dict[str, Any] = {"type": "object"}


def kinds() -> None:
    assert_type(personakit.run("chef", output=Dinner), Response[Dinner])
    assert_type(personakit.run("chef", output=Dinner).parsed, Dinner)
    assert_type(runner.run("chef", output=Wine).parsed, Wine)
    assert_type(chef.run("Hi", output=Rows).parsed["rows"], list[int])
    assert_type(runner.run("chef", output=list[int]).parsed, list[int])
    assert_type(runner.run("chef", output=Dinner | Wine).parsed, Dinner | Wine)
    assert_type(runner.run("chef", output=int | None).parsed, int | None)
    answer = runner.run("chef", output=Literal["yes", "no"]).parsed
    assert_type(answer, Literal["yes", "no"])
    assert_type(runner.run("chef", output=SCHEMA).parsed, Any)
    assert_type(runner.run("chef").parsed, object)
    assert_type(runner.run("chef", output=None).parsed, object)
    assert runner.run("chef").parsed is None


def of_the_file() -> str:
    """Return a value that is described in the persona's file."""
    data = personakit.run("booking", "A table for two").parsed
    assert isinstance(data, dict)
    return str(data["name"])


def streams() -> None:
    with personakit.stream("chef", output=Dinner) as stream:
        assert_type(stream, Stream[Response[Dinner]])
        print("".join(stream), stream.response.parsed.title)
    with closing(chef.stream("Hi")) as turn:
        assert_type(turn.pieces(), Iterator[Piece])
        assert_type([piece.text for piece in turn.pieces()], list[str])
    show(runner.stream("chef"), runner.run("chef", output=Dinner))


def show(stream: Stream, response: Response) -> Iterable[str]:
    print(response.text, stream.text, stream.response.text)
    return stream


async def astreams() -> AsyncIterator[str]:
    async with personakit.astream("chef", output=Dinner) as stream:
        assert_type(stream, AsyncStream[Response[Dinner]])
        print([text async for text in stream], stream.response.parsed.title)
    async with aclosing(chef.astream("Hi")) as turn:
        assert_type(turn.pieces(), AsyncIterator[Piece])
    return runner.astream("chef")


async def several() -> list[Response]:
    dinner, text = await asyncio.gather(runner.arun("a", output=Dinner), chef.arun("b"))
    print(dinner.parsed.title, text.text)
    return await asyncio.gather(*(personakit.arun("a", str(n)) for n in range(3)))


def with_defaults(prompt: str, **options: Unpack[Options]) -> Response[Dinner]:
    options.setdefault("model", "openai/gpt-5-mini")
    return personakit.run("chef", prompt, output=Dinner, **options)


def anything(**options: Any) -> Response:
    return personakit.run("chef", trace=Trace(), max_rounds=3, timeout=2.5, **options)


class Judges:
    @hookimpl
    async def chat(self, request: Request, send: Send, persona: Persona) -> Response:
        wine = await send.run("judge", "Good?", output=Wine, variables={"strict": True})
        response = await send(request)
        return response.replace(metadata={"judged": wine.parsed.name})

    @hookimpl
    async def tool(self, call: ToolCall, send: SendTool, persona: Persona) -> ToolResult:
        assert (await send.run("judge", call.arguments)).parsed is None
        return await send(call)
'''

# What personakit imports takes longest, and says nothing about its own types.
CONFIG = """
[mypy]
strict = true
[mypy-openai.*,jinja2.*,jsonschema.*,prompt_toolkit.*,rich.*]
follow_imports = skip
"""


def mypy(folder: Path) -> list[tuple[str, int]]:
    """Return the file and line of each error of mypy."""
    (folder / "mypy.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "--output", "json", "."]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [(each["file"], each["line"]) for each in found if each["severity"] == "error"]


def pyright(folder: Path) -> list[tuple[str, int]]:
    """Return the file and line of each error of pyright."""
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return [
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in found
        if each["severity"] == "error"
    ]


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="pyright runs on Node.js")


@pytest.mark.parametrize("checker", [mypy, pytest.param(pyright, marks=needs_node)])
def test_type_checkers_find_five_mistakes_and_accept_correct_code(
    checker: Any, tmp_path: Path
) -> None:
    (tmp_path / "mistakes.py").write_text(WITH_MISTAKES)
    (tmp_path / "correct.py").write_text(CORRECT)
    lines = enumerate(WITH_MISTAKES.splitlines(), start=1)
    wrong = [("mistakes.py", number) for number, line in lines if line.endswith("# wrong")]
    assert len(wrong) == 5
    # mypy has two messages about an argument that no overload accepts.
    assert sorted(Counter(checker(tmp_path))) == wrong
