"""The check of the rule of replay: it must fail where a hook breaks the rule, and say how."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import logging
import random
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import personakit
from personakit import Blocked, Question, Request, Response, Send, ToolCall, ToolResult, hookimpl
from personakit.testing import check_replay, persona

HERE = Path(__file__)
OTHER = persona("You help.", name="other")


def hooks(**functions: Callable[..., Any]) -> type:
    """Return the class of a plugin."""
    return type("Plugin", (), {name: hookimpl(function) for name, function in functions.items()})


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# --- what breaks the rule ----------------------------------------------------------------------


async def gets_the_time(self: Any, request: Request) -> Request:
    return request.with_system(f"It is {time.time()}.")


async def gets_the_date(self: Any, request: Request) -> Request:
    return request.with_system(f"Today is {dt.date.today()}.")


async def gets_the_local_time(self: Any, request: Request) -> Request:
    return request.with_system(f"It is {dt.datetime.now(dt.UTC).hour} o'clock.")


async def chooses(self: Any, request: Request) -> Request:
    return request.replace(model=random.choice(["test/a", "test/b"]))


async def makes_an_id(self: Any, request: Request) -> Request:
    return request.with_system(str(uuid.uuid4()))


async def reads_a_file(self: Any, request: Request) -> Request:
    return request.with_system(HERE.read_text("utf-8")[:10])


async def reads_a_file_at_once(self: Any, request: Request) -> Request:
    return request.with_system(personakit.read_file(HERE, 100_000)[:10].decode())


async def lists_a_folder(self: Any, request: Request) -> Request:
    return request.with_system(str(sorted(HERE.parent.iterdir())[:1]))


async def reads_a_database(self: Any, request: Request) -> None:
    sqlite3.connect(":memory:").close()


@dataclasses.dataclass
class Note:
    made: float = dataclasses.field(default_factory=time.time)


async def gets_it_in_a_dataclass(self: Any, request: Request) -> Request:
    return request.with_system(str(Note().made))


async def reads_after_the_answer(self: Any, request: Request, send: Send) -> Response:
    response = await send(request)
    return response.replace(metadata={"at": time.time_ns()})


@pytest.mark.parametrize("hook", ["run", "chat"])
@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (gets_the_time, r"the time by itself; use personakit.now\(\)"),
        (gets_the_date, r"the time by itself; use personakit.now\(\)"),
        (gets_the_local_time, r"the time by itself; use personakit.now\(\)"),
        (chooses, r"chance by itself; use personakit.rng\(\)"),
        (makes_an_id, r"chance by itself; use personakit.rng\(\)"),
        (reads_a_file, r"a file by itself; use personakit.io\(function\)"),
        (reads_a_file_at_once, r"a file by itself; use personakit.io\(function\)"),
        (lists_a_folder, r"a folder by itself; use personakit.io\(function\)"),
        (reads_a_database, r"a database by itself; use personakit.io\(function\)"),
        (gets_it_in_a_dataclass, r"the time by itself; use personakit.now\(\)"),
        (reads_after_the_answer, r"the time by itself; use personakit.now\(\)"),
    ],
)
def test_a_hook_that_gets_something_by_itself(
    function: Callable[..., Any], fault: str, hook: str
) -> None:
    line = rf"test_check_replay.py:\d+: {function.__name__} gets {fault}"
    with pytest.raises(AssertionError, match=line):
        check_replay(hooks(**{hook: function}))


def test_a_tool_hook_that_gets_something_by_itself() -> None:
    async def tool(self: Any, call: ToolCall, send: Any) -> ToolResult:
        result: ToolResult = await send(call)
        return result.replace(content=f"{result.content} at {time.time()}")

    calls = Response("", (ToolCall("1", "add", '{"a": 1, "b": 2}'),))
    with pytest.raises(AssertionError, match="gets the time by itself"):
        check_replay(hooks(tool=tool), answers=[calls, "3"], tools=[add])


class Counts:
    def __init__(self) -> None:
        self.runs = 0

    @hookimpl
    def run(self, request: Request) -> Request:
        self.runs += 1
        return request.with_system(f"This is run {self.runs}.")


def test_a_plugin_with_a_counter_in_its_prompt() -> None:
    fault = (
        "resumed by run after run with an instance that had served another run: run .* cannot go "
        "on: at step .* a model call before it was suspended, .* its message 0 differs.*`self`"
    )
    with pytest.raises(AssertionError, match=fault):
        check_replay(Counts)


def test_a_counter_of_the_module() -> None:
    count = itertools.count()

    def chat(self: Any, request: Request) -> Request:
        return request.replace(parameters={"seed": next(count)})

    with pytest.raises(AssertionError, match=r"resumed by run after run: .* its parameters differ"):
        check_replay(hooks(chat=chat))


def test_a_counter_in_the_answer() -> None:
    count = itertools.count()

    async def chat(self: Any, request: Request, send: Send) -> Response:
        return (await send(request)).replace(text=f"Number {next(count)}")

    with pytest.raises(
        AssertionError, match="run after run: its text is 'Number 1', expected 'Number 0'"
    ):
        check_replay(hooks(chat=chat))


def test_notes_that_differ() -> None:
    count = itertools.count()

    async def run(self: Any, request: Request, send: Send) -> Response:
        return (await send(request)).replace(metadata={"n": next(count)})

    with pytest.raises(AssertionError, match=r"its metadata is .*'n': 1.* expected .*'n': 0"):
        check_replay(hooks(run=run))


def test_more_requests_than_before() -> None:
    count = itertools.count()

    async def run(self: Any, request: Request, send: Send) -> Response:
        response = await send(request)
        if next(count):
            await send.run(OTHER, "More?")
            await send.embed(["More"], model="test/embedder")
        return response

    with pytest.raises(
        AssertionError, match="there were more requests, requests for embeddings; a hook runs again"
    ):
        check_replay(hooks(run=run))


def test_a_question_that_is_not_asked_again() -> None:
    count = itertools.count()

    async def run(self: Any, request: Request) -> None:
        await personakit.ask(f"Number {next(count)}?")

    with pytest.raises(AssertionError, match=r"resumed by run: .*asked for a question before"):
        check_replay(hooks(run=run))


@dataclasses.dataclass
class Found:
    text: str


def search(word: str) -> Found:
    return Found(word)


def fail(word: str) -> None:
    class SearchError(Exception):
        pass

    raise SearchError(word)


def test_io_that_returns_an_object() -> None:
    async def chat(self: Any, request: Request) -> Request:
        found = await personakit.io(search)("notes")
        return request.with_system(found.text)

    fault = "personakit.io of search: a journal cannot hold Found, so .* return plain data"
    with pytest.raises(AssertionError, match=fault):
        check_replay(hooks(chat=chat))


def test_io_that_raises_an_error_of_its_own() -> None:
    async def chat(self: Any, request: Request) -> Request:
        try:
            await personakit.io(fail)("notes")
        except Exception as error:
            return request.with_system(str(error))
        return request

    with pytest.raises(AssertionError, match="io of fail: a journal cannot hold SearchError"):
        check_replay(hooks(chat=chat))


class Opens:
    """Keeps what io opened on itself: a resumed run has a result, but nothing is open."""

    names: list[str]

    def open(self) -> None:
        self.names = ["Ann"]

    @hookimpl
    async def chat(self, request: Request) -> Request:
        await personakit.io(self.open)()
        return request.with_system(self.names[0])


def test_io_that_changes_the_plugin() -> None:
    with pytest.raises(AssertionError, match=r"it raised PluginError: .*no attribute 'names'"):
        check_replay(Opens)


# --- what obeys it -----------------------------------------------------------------------------


async def obeys(self: Any, request: Request, send: Send) -> Response:
    text = f"{personakit.now()} {personakit.rng().random()} {await personakit.io(add)(1, 2)}"
    notes = await personakit.io(HERE.read_text)("utf-8")
    await personakit.sleep(0)
    logging.getLogger("test").info("%s", text)
    side = await send.run(OTHER, text)
    vectors = await send.embed([text], model="test/embedder")
    found, again = await personakit.gather(send.run(OTHER, "1"), personakit.io(add)(3, 4))
    started = time.monotonic()
    last = await send.live(request.with_system(f"{side.text} {found.text} {again} {notes[:9]}"))
    assert time.monotonic() >= started
    return last.replace(metadata={"size": len(vectors.vectors[0]), "now": personakit.now()})


@pytest.mark.parametrize("hook", ["run", "chat"])
def test_a_hook_that_gets_everything_through_personakit(hook: str) -> None:
    response = check_replay(hooks(**{hook: obeys}), answers=["a", "b", "c"])
    assert response.text == "c"
    assert response.metadata["size"] == 256


class Asks:
    """Asks in each of its hooks."""

    @hookimpl
    async def run(self, request: Request, send: Send) -> Response:
        name = await personakit.ask("Your name?")
        response = await send.live(request.with_system(f"The user is {name}."))
        again = await personakit.ask("Keep it?", choices=["yes", "no"])
        return response.replace(metadata={"keep": again})

    @hookimpl
    async def chat(self, request: Request) -> Request:
        return request.with_system(await personakit.ask("Tone?", choices=["warm", "cold"]))

    @hookimpl
    async def tool(self, call: ToolCall, send: Any) -> ToolResult:
        if await personakit.ask(f"Allow {call.arguments}?", choices=["yes", "no"]) == "no":
            return ToolResult(call.id, "refused", is_error=True)
        result: ToolResult = await send(call)
        return result

    @hookimpl
    def observe(self, event: Any) -> None:
        self.seen = time.time()


def test_it_waits_at_each_question() -> None:
    asked: list[str] = []

    def answer(question: Question) -> str:
        asked.append(question.text)
        return "Ann" if not question.choices else question.choices[-1]

    pair = Response("", (ToolCall("1", "add", '{"a": 1, "b": 2}'), ToolCall("2", "add", "{}")))
    response = check_replay(
        Asks, "Add!", [pair, lambda request: request.system], tools=[add], answer=answer
    )
    assert response.text == "You are a test.\n\nThe user is Ann.\n\ncold"
    assert response.metadata == {"keep": "no"}
    assert [message.text for message in response.messages[1:3]] == ["refused", "refused"]
    questions = {"Your name?", "Tone?", 'Allow {"a": 1, "b": 2}?', "Allow {}?", "Keep it?"}
    assert set(asked) == questions


@pytest.mark.parametrize("is_async", [False, True])
def test_each_tool_is_called_once(is_async: bool) -> None:
    calls: list[int] = []

    def look(number: int) -> str:
        """Look."""
        calls.append(number)
        return str(time.time())

    async def look_async(number: int) -> str:
        """Look."""
        sure = await personakit.ask("Sure?", choices=["yes", "no"])
        return look(number) + sure

    both = Response("", tuple(ToolCall(str(n), "look", f'{{"number": {n}}}') for n in range(2)))
    tool = personakit.Tool.of(look_async if is_async else look, name="look")
    assert check_replay(Asks, answers=[both, "Done."], tools=[tool]).text == "Done."
    # Four modes, each with a new instance and one that served another run.
    assert len(calls) == (4 + 8) * 2


def test_it_raises_the_error_of_every_run() -> None:
    async def chat(self: Any, request: Request, send: Send) -> Response:
        response = await send(request)
        raise Blocked(f"no {response.text}")

    with pytest.raises(Blocked, match="no Hello!"):
        check_replay(hooks(chat=chat))


def test_the_persona_and_a_whole_request() -> None:
    asked = Request("test/model", (personakit.Message("user", "Hi!"),))
    answers: list[Any] = [lambda request: request.model]
    assert check_replay(hooks(run=lambda self: None), asked, answers).text == "test/model"
    other = persona("You.", model="test/other")
    assert check_replay(hooks(run=lambda self: None), "Hi!", answers, persona=other).text == (
        "test/other"
    )


@pytest.mark.parametrize("given", [Asks(), "Asks", None])
def test_it_needs_new_instances(given: Any) -> None:
    with pytest.raises(TypeError, match="must return a new instance of the plugin, found"):
        check_replay(given)


def test_chance_is_as_it_was() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    check_replay(hooks(run=lambda self: None))
    assert random.random() == expected


class Edited:
    @hookimpl
    async def run(self, request: Request, send: Any) -> Response:
        response: Response = await send(request)
        return response.replace(text=await personakit.ask("Which text instead?"))


def test_a_hook_can_change_the_text_of_an_answer() -> None:
    response = check_replay(Edited, answer=lambda _: "Good morning!")
    assert response.text == "Good morning!"


def test_an_answer_that_is_no_function_is_named() -> None:
    wrong: Any = "yes"
    with pytest.raises(TypeError, match="found str; write `answer=lambda question: 'yes'`"):
        check_replay(Edited, answer=wrong)


def test_a_hook_that_goes_on_without_the_answer() -> None:
    class Swallows:
        @hookimpl
        async def chat(self, request: Request) -> Request:
            try:
                await personakit.ask("Go?", choices=["yes", "no"])
            except BaseException:
                return request.with_system("Nobody is there.")
            return request

    with pytest.raises(AssertionError, match="went on after 'Go\\?', which nobody has answered"):
        check_replay(Swallows)
