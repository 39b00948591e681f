"""The `run` hook: around a whole run, with all its rounds of tools, in all four modes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.chain import KINDS, plugin, replaces, shouts
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    Config,
    Message,
    PersonakitError,
    PluginError,
    Request,
    Response,
    RunLog,
    Runner,
    Send,
    SendTool,
    StreamStarted,
    Tool,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
    UsageError,
    hookimpl,
)
from personakit.conversation import resume
from personakit.testing import MODES, Upstream, check_plugin, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", [*MODES, "pieces"])
ADD = Tool.of(lambda a, b: a + b, name="add", description="Add.")
CALL = Response("I add.", (ToolCall("1", "add", '{"a": 1, "b": 2}'),), finish_reason="tool_calls")


def around(run: Callable[..., Any], name: str = "around", **hooks: Any) -> Any:
    marked = {hook: hookimpl(function) for hook, function in hooks.items()}
    return SimpleNamespace(__name__=name, run=hookimpl(run), **marked)


class Brings:
    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(ADD)


@in_modes
def test_it_is_called_once_around_all_rounds(mode: str) -> None:
    seen: list[str] = []

    async def run(request: Request, send: Send) -> Response:
        seen.append(f"run {len(request.messages)}")
        response = await send.live(request.with_system("Be kind."))
        seen.append(f"ended {response.text!r} {len(response.messages)}")
        return response

    async def chat(request: Request) -> None:
        seen.append(f"chat {len(request.messages)}")

    running, upstream = runner([CALL, "It is 3."], plugins=[around(run, chat=chat), Brings()])
    response = in_mode(mode, running, persona(), "1 + 2?")
    assert seen == ["run 2", "chat 2", "chat 4", "ended 'I add.\\n\\nIt is 3.' 3"]
    assert [request.system for request in upstream.requests] == ["You are a test.\n\nBe kind."] * 2
    assert response.text == "I add.\n\nIt is 3."
    assert [message.role for message in response.messages] == ["assistant", "tool", "assistant"]


async def frames(request: Request, send: Send) -> Response:
    response = await send.live(request)
    return response.replace(text=response.text + " (checked)")


async def holds(request: Request, send: Send) -> Response:
    response = await send(request, reasoning=True)
    return response.replace(text=f"[{response.text}]")


@in_modes
@pytest.mark.parametrize(
    ("run", "text", "spoken"),
    [
        (frames, "I add.\n\nIt is 3. (checked)", [None, "I add.\n\nIt is 3. (checked)"]),
        (holds, "[I add.\n\nIt is 3.]", [None, "[I add.\n\nIt is 3.]"]),
        (shouts, "I ADD.\n\nIT IS 3.", [None, "I ADD.\n\nIT IS 3."]),
        (lambda: None, "I add.\n\nIt is 3.", ["I add.", "It is 3."]),
    ],
)
def test_a_changed_text_is_what_the_conversation_keeps(
    mode: str, run: Any, text: str, spoken: list[str | None]
) -> None:
    running, _ = runner([CALL, "It is 3."], plugins=[around(run), Brings()])
    response = in_mode(mode, running, persona(), "1 + 2?")
    assert response.text == text
    said = [message for message in response.messages if message.role == "assistant"]
    assert [message.content for message in said] == spoken
    assert said[0].tool_calls == CALL.tool_calls
    assert response.timings is not None


@in_modes
def test_it_may_answer_by_itself(mode: str) -> None:
    running, upstream = runner(plugins=[around(lambda: Response('{"n": 4}'))])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    response = in_mode(mode, running, persona(), "?", output=schema)
    assert response.parsed == {"n": 4}
    assert response.messages == (Message("assistant", '{"n": 4}'),)
    assert response.request is not None
    assert response.request.system == "You are a test."
    assert not upstream.requests
    assert response.spent.usage == Usage()
    assert response.spent.cost == 0.0


def test_a_text_that_does_not_fit_the_output_is_refused() -> None:
    running, _ = runner(['{"n": 4}'], plugins=[around(holds)])
    with pytest.raises(PersonakitError, match="object"):
        running.run(persona(), "?", output={"type": "object"})


@in_modes
def test_sending_twice_runs_all_rounds_twice(mode: str) -> None:
    async def run(request: Request, send: Send) -> Response:
        first = await send(request)
        second = await send(request.with_messages(Message("user", "Again.")))
        return second.replace(text=f"{first.text} / {second.text}")

    running, upstream = runner([CALL, "3.", CALL, "Three."], plugins=[around(run), Brings()])
    response = in_mode(mode, running, persona(), "1 + 2?")
    assert response.text == "I add.\n\n3. / I add.\n\nThree."
    assert len(upstream.requests) == 4
    assert [len(request.messages) for request in upstream.requests] == [2, 4, 3, 5]
    # That of the answer is that of the second run; the first one was paid, too.
    assert response.usage == Usage(5, 6, 11, incomplete=True)
    assert response.spent.usage == Usage(9, 8, 17, incomplete=True)


def test_runs_at_the_same_time_do_not_mix() -> None:
    async def run(request: Request, send: Send) -> Response:
        asked = (request.with_messages(Message("user", word)) for word in ("a", "b", "c"))
        answers = await asyncio.gather(*map(send, asked))
        return Response(" ".join(answer.text for answer in answers))

    def answer(request: Request) -> Response | str:
        word = request.messages[2].text
        if request.messages[-1].role == "tool":
            return f"{word}!"
        return Response(word, (ToolCall(word, "add", '{"a": 1, "b": 2}'),))

    running, _ = runner([answer], plugins=[around(run), Brings()])
    response = asyncio.run(running.arun(persona(), "?"))
    assert response.text == "a\n\na! b\n\nb! c\n\nc!"


@in_modes
def test_text_that_was_streamed_cannot_be_sent_again(mode: str) -> None:
    async def run(request: Request, send: Send) -> Response:
        await send.live(request)
        return await send.live(request)

    running, _ = runner(plugins=[around(run)])
    if mode in ("run", "arun"):
        assert in_mode(mode, running, persona(), "?").text == "Hello!"
    else:
        with pytest.raises(StreamStarted, match="sent again in its run hook"):
            in_mode(mode, running, persona(), "?")


def test_an_error_names_the_plugin_and_the_hook() -> None:
    def run(request: Request) -> str:
        return "text"

    with pytest.raises(
        PluginError, match="'around' failed in its run hook: it returned str; a run"
    ):
        check_plugin(around(run))


_TWO = list(KINDS)


@settings(deadline=None, max_examples=60)
@given(
    outer=st.lists(st.sampled_from([kind for kind in _TWO if kind]), max_size=3),
    inner=st.lists(st.sampled_from([kind for kind in _TWO if kind]), max_size=2),
    text=st.text(alphabet="ab \n€", max_size=9),
    size=st.integers(0, 3),
)
def test_all_modes_and_chunkings_give_one_text(
    outer: list[Any], inner: list[Any], text: str, size: int
) -> None:
    expected = text
    for kind in [*reversed(inner), *reversed(outer)]:
        expected = KINDS[kind](expected)
    for mode in (*MODES, "pieces"):
        plugins = [*map(around, outer), *map(plugin, inner)]
        running, _ = runner([text], plugins=plugins, size=size)
        assert in_mode(mode, running, persona(), "Hi!").text == expected


@settings(deadline=None, max_examples=30)
@given(
    kinds=st.lists(st.sampled_from([frames, holds, replaces, shouts]), max_size=3),
    texts=st.lists(st.text(alphabet="ab ", max_size=4), min_size=1, max_size=3),
)
def test_rounds_of_tools_stream_what_they_return(kinds: list[Any], texts: list[str]) -> None:
    call = ToolCall("1", "add", '{"a": 1, "b": 2}')
    calls = [Response(text, (call.replace(id=str(n)),)) for n, text in enumerate(texts)]
    outcomes = set()
    for mode in (*MODES, "pieces"):
        plugins = [*map(around, kinds), Brings()]
        running, _ = runner([*calls, "ab"], plugins=plugins, size=1)
        # in_mode checks that what was streamed is the text of the response.
        outcomes.add(in_mode(mode, running, persona(), "Hi!").text)
    assert len(outcomes) == 1


def test_the_trace_has_it_around_the_calls() -> None:
    trace = Trace()
    running, _ = runner([CALL, "3."], plugins=[around(frames), Brings()])
    running.run(persona(), "?", trace=trace)
    assert [(step.plugin, step.hook, step.depth) for step in trace.steps] == [
        ("around", "run", 0),
        ("Brings", "chat", 1),
        ("", "chat", 2),
        ("", "tool", 1),
        ("Brings", "chat", 1),
        ("", "chat", 2),
    ]
    assert trace.steps[0].way == "live"
    assert "(checked)" in trace.steps[0].response_diff()


# --- other personas ------------------------------------------------------------------------------


def brother(hook: str, **options: Any) -> Any:
    """Return a plugin that lets another persona answer."""

    async def answers(request: Request, send: Send) -> Response:
        other = persona("You are the other.")
        asked = request.messages[-1].text
        response: Response = await send.run(other, asked, live=True, **options)
        return response

    return SimpleNamespace(__name__="brother", **{hook: hookimpl(answers)})


@in_modes
@pytest.mark.parametrize("hook", ["run", "chat"])
def test_the_text_of_another_persona_flows(mode: str, hook: str) -> None:
    running, upstream = runner(["Hello, you!"], plugins=[brother(hook)], size=2)
    response = in_mode(mode, running, persona(), "Hi!")
    assert response.text == "Hello, you!"
    assert upstream.requests[0].system == "You are the other."
    assert upstream.requests[0].model == "test/model"
    assert response.messages == (Message("assistant", "Hello, you!"),)
    if mode in ("stream", "astream"):
        first = next(iter(running.stream(persona(), "Hi!")))
        assert first == "He"


@in_modes
def test_its_rounds_of_tools_flow_as_well(mode: str) -> None:
    for hook in ("run", "chat"):
        running, _ = runner([CALL, "It is 3."], plugins=[brother(hook, tools=[ADD])])
        response = in_mode(mode, running, persona(), "1 + 2?")
        assert response.text == "I add.\n\nIt is 3."
        assert response.spent.usage == Usage(4, 8, 12, incomplete=True)


def test_after_its_text_nothing_else_can_be_sent() -> None:
    async def chat(request: Request, send: Send) -> Response:
        await send.run(persona("Other."), "?", live=True)
        return await send(request)

    running, _ = runner(plugins=[plugin(chat)])
    with pytest.raises(StreamStarted):
        list(running.stream(persona(), "Hi!"))


def test_a_tool_has_no_stream() -> None:
    class Asks:
        @hookimpl
        async def tool(self, call: ToolCall, send: SendTool) -> ToolResult:
            answer = await send.run(persona("Other."), "?", live=True)
            return ToolResult(call.id, answer.text)

    running, _ = runner([CALL, "3."], plugins=[Asks(), Brings()])
    with pytest.raises(PluginError, match=r"send.run\(live=True\) in its tool hook"):
        running.run(persona(), "?")


@in_modes
def test_a_tool_hook_runs_another_persona_with_the_model_of_the_run(mode: str) -> None:
    class Asks:
        @hookimpl
        async def tool(self, call: ToolCall, send: SendTool) -> ToolResult:
            return ToolResult(call.id, (await send.run(persona("Other."), "?")).text)

    running, upstream = runner([CALL, "inner", "3."], plugins=[Asks(), Brings()])
    assert in_mode(mode, running, persona(), "?", model="test/big").text == "I add.\n\n3."
    assert {request.model for request in upstream.requests} == {"test/big"}
    assert upstream.requests[-1].messages[-1].text == "inner"


@in_modes
def test_a_persona_is_rendered_without_being_run(mode: str) -> None:
    async def run(request: Request, send: Send) -> Response:
        other = persona("You know {{ what }}.", variables={"what": ""})
        rendered = await send.render(other, "Who?", variables={"what": "all"})
        return await send.live(request.replace(messages=rendered.messages))

    running, upstream = runner(plugins=[around(run)])
    assert in_mode(mode, running, persona(), "Hi!").text == "Hello!"
    assert [message.text for message in upstream.requests[0].messages] == ["You know all.", "Who?"]


def test_a_dry_run_shows_what_would_be_sent() -> None:
    running, upstream = runner(plugins=[around(frames), plugin(shouts)])
    assert running.prepare(persona(), "Hi!").system == "You are a test.\n\nthree"
    assert not upstream.requests


# --- the history of a conversation ---------------------------------------------------------------


class Summary:
    """Replaces a long history by a summary, once."""

    def __init__(self, longest: int = 5) -> None:
        self.longest = longest

    @hookimpl
    async def run(self, request: Request, send: Send) -> Response | None:
        if len(request.history) <= self.longest:
            return None
        told = "\n".join(f"{message.role}: {message.text}" for message in request.history[:-2])
        short = await send.run(persona("Summarise."), told)
        kept = (Message("user", f"So far: {short.text}"), *request.history[-2:])
        response = await send.live(request.with_history(kept))
        return response.replace(history=kept)


@pytest.mark.parametrize("mode", MODES)
def test_a_summary_replaces_the_history(mode: str) -> None:
    def answer(request: Request) -> str:
        return "SHORT" if request.system == "Summarise." else f"answer {request.messages[-1].text}"

    running, upstream = runner([answer], plugins=[Summary()])
    talk = running.conversation(persona(messages=[{"user": "example"}]))
    for number in range(4):
        if mode == "run":
            talk.run(str(number))
        elif mode == "stream":
            list(talk.stream(str(number)))
        elif mode == "arun":
            asyncio.run(talk.arun(str(number)))
        else:
            stream = talk.astream(str(number))

            async def read(stream: Any = stream) -> None:
                async for _ in stream:
                    pass

            asyncio.run(read())
    summaries = [request for request in upstream.requests if request.system == "Summarise."]
    assert [request.messages[-1].text for request in summaries] == [
        "user: 0\nassistant: answer 0\nuser: 1\nassistant: answer 1"
    ]
    assert [message.text for message in talk.messages] == [
        *("So far: SHORT", "2", "answer 2", "3", "answer 3"),
    ]
    sent = upstream.requests[-1].messages
    assert [message.text for message in sent[:3]] == ["You are a test.", "example", "So far: SHORT"]


def test_a_changed_history_cannot_be_replaced() -> None:
    async def changes(request: Request, send: Send) -> Response:
        return await send.live(request.map_text(str.upper))

    async def replaces_it(request: Request, send: Send) -> Response:
        return await send.live(request.with_history([]))

    running, _ = runner(plugins=[around(changes, "one"), around(replaces_it, "two")])
    talk = running.conversation(persona())
    with pytest.raises(PluginError, match="has none: it is not one of a conversation"):
        talk.run("a")
    quiet, _ = runner()
    old = quiet.conversation(persona())
    old.run("a")
    talk = running.conversation(persona(), messages=old.messages)
    with pytest.raises(PluginError, match="no longer contains it"):
        talk.run("b")


def test_the_log_has_the_history_that_replaced_the_other(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.db")
    answers = ["one", "two", "three", "SHORT", "four", "five"]
    config = Config(model="test/model", path=())
    running = Runner(config, plugins=[Summary()], backend=Upstream(answers), log=log)
    talk = running.conversation(persona())
    for number in range(4):
        talk.run(str(number))
    again = resume(running, "last", persona())
    assert again.messages == talk.messages
    assert [message.text for message in again.messages] == [
        *("So far: SHORT", "2", "three", "3", "four"),
    ]
    again.run("4")
    assert len(again.messages) == 7
    running.close()


def test_a_history_that_a_single_run_returns_is_logged(tmp_path: Path) -> None:
    async def run(request: Request, send: Send) -> Response:
        response = await send.live(request)
        return response.replace(history=(Message("user", "before"),))

    log = RunLog(tmp_path / "log.db")
    config = Config(model="test/model", path=())
    running = Runner(config, plugins=[around(run)], backend=Upstream(), log=log)
    running.run(persona(), "Hi")
    (row,) = log.find()
    assert row.history == (Message("user", "before"), Message("user", "Hi"))
    running.close()


def test_the_first_of_two_equal_messages_is_the_history() -> None:
    async def run(request: Request, send: Send) -> Response:
        return await send.live(request.with_history([Message("user", "SHORT")]))

    running, upstream = runner(plugins=[around(run)])
    again = Message("user", "again")
    running.conversation(persona(), messages=[again]).run("again")
    assert [message.text for message in upstream.requests[0].messages[1:]] == ["SHORT", "again"]


def test_a_run_inside_replaces_no_history_of_the_outer_one() -> None:
    async def run(request: Request, send: Send) -> Response:
        if request.system == "Other.":
            response = await send.live(request)
            return response.replace(history=())
        return await send.run(persona("Other."), "?", live=True)

    running, _ = runner(plugins=[around(run, "one"), around(run, "two")])
    talk = running.conversation(persona())
    talk.run("1")
    talk.run("2")
    assert [message.text for message in talk.messages] == ["1", "Hello!", "2", "Hello!"]


@in_modes
def test_the_value_of_another_persona_is_not_that_of_the_run(mode: str) -> None:
    async def run(request: Request, send: Send) -> Response:
        if request.system == "Other.":
            return await send.live(request)
        schema = {"type": "object", "required": ["a"]}
        return await send.run(persona("Other."), "?", output=schema)

    running, _ = runner(['{"a": 1}'], plugins=[around(run)])
    with pytest.raises(PersonakitError, match="'b' is a required property"):
        in_mode(mode, running, persona(), "?", output={"type": "object", "required": ["b"]})


@pytest.mark.parametrize("history", ["abc", [("user", "x")], 3, ["a"]])
def test_a_history_has_messages(history: Any) -> None:
    with pytest.raises(UsageError, match=r"Response.history takes messages, found (str|tuple|int)"):
        Response("x").replace(history=history)


def test_the_notes_are_a_mapping() -> None:
    with pytest.raises(TypeError, match="metadata must be a mapping of names, found str"):
        Response("x").replace(metadata="text")
