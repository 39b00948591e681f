"""A user's folder of their own, a server that asks for tool calls, and somebody who answers."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from personakit import Config, Question, Runner
from personakit.testing import Server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is approved for good away from the user's own; return its folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "personakit" / "approve"


class Person:
    """Answers from a list, and notes what it is asked.

    Attributes:
        asked: The questions.
    """

    def __init__(self, *answers: str | None) -> None:
        self.asked: list[Question] = []
        self._answers = list(answers)

    def __call__(self, question: Question) -> str | None:
        """Return the next answer."""
        self.asked.append(question)
        return self._answers.pop(0)

    @property
    def texts(self) -> list[str]:
        """The texts of the questions."""
        return [question.text for question in self.asked]


@pytest.fixture
def person() -> type[Person]:
    """Return the class of who answers."""
    return Person


def answer(*calls: tuple[str, str]) -> dict[str, Any]:
    """Return a response with tool calls, each a name and arguments, which is also streamed."""
    items = [
        {
            "type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}",
            "name": name, "arguments": arguments, "status": "completed",
        }
        for number, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    head = {"object": "response", "id": "resp_1", "model": "test-model", "status": "completed"}
    return {**head, "output": items, "usage": usage, "error": None, "incomplete_details": None}


def config(server: Server, plugins: list[Any]) -> Config:
    """Return the config of a user who lists plugins."""
    file = Path(os.environ["HOME"], "config.yaml")
    file.write_text(json.dumps({"model": "openai/test-model", "plugins": plugins}))
    return Config.read({**os.environ, "PERSONAKIT_CONFIG": str(file), **server.environ()})


class Place:
    """A server, a runner with two tools, and the calls that reached them.

    Attributes:
        server: The server.
        runner: The runner.
        tools: The tools, `options` of a run.
        ran: The names and arguments of the calls.
    """

    def __init__(self, server: Server, **options: Any) -> None:
        self.server = server
        self.ran: list[str] = []
        self.runner = Runner(config(server, options.pop("outer", [])), **options)
        self.tools = [self.web_search, self.read_file]

    def web_search(self, query: str = "") -> str:
        """Search the web."""
        self.ran.append(f"web_search {query}")
        return f"results for {query}"

    def read_file(self, name: str = "") -> str:
        """Read a file."""
        self.ran.append(f"read_file {name}")
        return f"content of {name}"

    def results(self, number: int = -1) -> list[str]:
        """Return the results of the tool calls in one of the requests."""
        items = self.server.requests[number].body["input"]
        return [item["output"] for item in items if item.get("type") == "function_call_output"]


@pytest.fixture
def at() -> Callable[..., Any]:
    """Return a function that opens a place, whose server answers from a list."""

    @contextmanager
    def opened(*answers: Any, **options: Any) -> Iterator[Place]:
        rounds = [one if isinstance(one, str) else answer(*one) for one in answers]
        with Server(rounds) as server:
            place = Place(server, **options)
            try:
                yield place
            finally:  # a test may have replaced the first one
                place.runner.close()

    return opened
