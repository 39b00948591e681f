"""The pieces of a stream: whatever the cuts and the layers, together they are the response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from helpers.chain import KINDS, Replace, flows, made, plugin, replaces, run, shouts
from helpers.pieces import assembled, read_pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    BackendError,
    Config,
    IncompleteAnswer,
    Message,
    Piece,
    PluginError,
    Provider,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
    Tool,
    ToolCall,
    UpstreamUnavailable,
    Usage,
    UsageError,
)
from personakit.testing import Reply, Server, persona, runner

in_both = pytest.mark.parametrize("is_async", [False, True])
CALL = ToolCall("c1", "weather", '{"city": "Lyon"}')
NOTE = {"type": "url_citation", "url": "https://example.org/", "start_index": 0}
ANSWER = Response(
    "Sun ab.",
    tool_calls=(CALL,),
    reasoning="Let me see: ab.",
    annotations=(NOTE,),
    usage=Usage(3, 4, 7),
    finish_reason="tool_calls",
)


def weather(city: str) -> str:
    """Return the forecast for a city."""
    return f"{city}: sun"


class Thinking(Replace):
    """A filter that replaces a word in the text and, knowingly, in the reasoning."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(old, new)
        self.thoughts = Replace(old, new)

    def feed_reasoning(self, text: str) -> str:
        return self.thoughts.feed(text)

    def flush_reasoning(self) -> str:
        return self.thoughts.flush()


async def thinks(request: Request, send: Send) -> Response:
    return await send.live(request, filter=Thinking("ab", "<b>"))


async def waits_knowingly(request: Request, send: Send) -> Response:
    response = await send(request, reasoning=True)
    return response.replace(reasoning=response.reasoning.upper())


def same(text: str) -> str:
    return text


HIDING = {
    "shouts", "replaces", "replaces_again", "adds_header", "sends_twice", "passes_on",
    "forgets_return",
}  # fmt: skip
# What each plugin makes of the reasoning; None hides it, and all pieces but text.
KNOWN: dict[Callable[..., Any] | None, Callable[[str], str] | None] = {
    **{kind: None if kind and kind.__name__ in HIDING else same for kind in KINDS},
    thinks: lambda text: text.replace("ab", "<b>"),
    waits_knowingly: str.upper,
}


@in_both
def test_the_kinds_of_pieces(is_async: bool) -> None:
    running, _ = runner([ANSWER, Response("Take a hat.", usage=Usage(1, 1, 2))], size=4)
    pieces, response = read_pieces(running, is_async, tools=[weather])
    kinds = [piece.kind for piece in pieces]
    assert kinds[:9] == [*["reasoning"] * 4, *["text"] * 2, "tool_call", "annotation", "usage"]
    assert kinds[9:] == ["text", "text", "text", "usage"]
    found = assembled(pieces)
    assert found.text == response.text == "Sun ab.\n\nTake a hat."
    assert found.reasoning == response.reasoning == "Let me see: ab."
    assert found.calls == [CALL]
    assert pieces[6] == Piece(
        "tool_call", index=0, id="c1", name="weather", arguments=CALL.arguments
    )
    assert found.annotations == [NOTE]
    assert Usage.sum(found.usages) == response.usage == Usage(4, 5, 9)


@in_both
def test_reasoning_of_several_rounds_is_joined_as_text_is(is_async: bool) -> None:
    rounds = [
        Response("", tool_calls=(CALL,), reasoning="One."),
        Response("", tool_calls=(CALL.replace(id="c2"),)),
        Response("Hat.", reasoning="Three."),
    ]
    running, _ = runner(rounds)
    pieces, response = read_pieces(running, is_async, tools=[weather])
    found = assembled(pieces)
    assert (found.text, found.reasoning) == ("Hat.", "One.\n\nThree.")
    assert (response.text, response.reasoning) == (found.text, found.reasoning)
    assert [call.id for call in found.calls] == ["c1", "c2"]


kinds = st.lists(st.sampled_from([kind for kind in KNOWN if kind]), max_size=4)


@settings(max_examples=150)
@given(kinds, st.integers(0, 5), st.booleans(), st.text("ab \U0001f600é", max_size=12))
def test_pieces_are_the_response_behind_any_layers(
    layers: list[Callable[..., Any]], size: int, is_async: bool, thoughts: str
) -> None:
    answer = ANSWER.replace(reasoning=thoughts)
    plugins = [made(kind) for kind in layers]
    running, _ = runner([answer], plugins=plugins, size=size)
    pieces, response = read_pieces(running, is_async)
    found = assembled(pieces)
    assert found.text == response.text == "".join(running.stream(persona(), "Hi!"))
    assert found.reasoning == response.reasoning == running.run(persona(), "Hi!").reasoning
    inner = [kind.__name__ for kind in layers]
    if "answers_itself" in inner:
        layers = layers[: inner.index("answers_itself")]
        answer = Response("cached ab a")
    expected = answer.reasoning
    for kind in reversed(layers):
        known = KNOWN[kind]
        expected = known(expected) if known is not None else ""
    assert response.reasoning == expected
    # A plugin that knows of pieces lets them pass as they stand in its response.
    until = layers.index(waits_knowingly) if waits_knowingly in layers else len(layers)
    hidden = any(KNOWN[kind] is None for kind in layers[:until])
    assert found.calls == ([] if hidden else list(response.tool_calls))
    assert list(response.annotations) == found.annotations
    assert response.tool_calls == answer.tool_calls


@pytest.mark.parametrize("hides", [shouts, replaces])
@pytest.mark.parametrize("outside", [None, flows, thinks])
@pytest.mark.parametrize("inside", [None, flows, thinks])
@pytest.mark.parametrize("mode", ["run", "arun", "stream", "astream"])
def test_a_guard_is_not_bypassed(hides: Any, outside: Any, inside: Any, mode: str) -> None:
    layers = [plugin(kind) for kind in (outside, hides, inside) if kind]
    response, _ = run(mode, *layers, answers=[ANSWER])
    assert (response.reasoning, response.annotations) == ("", ())
    assert response.tool_calls == (CALL,)
    running, _ = runner([ANSWER], plugins=layers)
    pieces, _ = read_pieces(running, mode.startswith("a"))
    assert {piece.kind for piece in pieces} == {"text"}


def test_a_plugin_that_waits_sees_the_reasoning_itself() -> None:
    seen = []

    async def looks(request: Request, send: Send) -> Response:
        response = await send(request)
        seen.append((response.reasoning, response.annotations))
        return response.replace(reasoning="written by the plugin")

    response, _ = run("run", plugin(looks), answers=[ANSWER])
    assert seen == [("Let me see: ab.", (NOTE,))]
    assert response.reasoning == ""


@pytest.mark.parametrize("hides", [shouts, replaces, waits_knowingly, thinks])
@pytest.mark.parametrize("mode", ["run", "arun", "stream", "astream"])
def test_an_answer_that_cannot_be_used_has_no_hidden_reasoning(hides: Any, mode: str) -> None:
    error = IncompleteAnswer("cut", response=ANSWER)
    with pytest.raises(IncompleteAnswer) as caught:
        run(mode, plugin(hides), answers=[error])
    response = caught.value.response
    assert isinstance(response, Response)
    assert response.reasoning == ("" if hides in (shouts, replaces) else ANSWER.reasoning)


async def forgets_reasoning(request: Request, send: Send) -> Response:
    return (await send.live(request)).replace(reasoning="")


async def changes_calls(request: Request, send: Send) -> Response:
    return (await send.live(request)).replace(tool_calls=())


@pytest.mark.parametrize("mode", ["run", "arun", "stream", "astream"])
def test_what_was_shown_cannot_be_changed(mode: str) -> None:
    with pytest.raises(PluginError, match=r"returned reasoning .* use a filter with `send.live`"):
        run(mode, plugin(forgets_reasoning), answers=[ANSWER])
    # Calls are shown early to a reader of pieces alone.
    assert run(mode, plugin(changes_calls), answers=[ANSWER])[0].tool_calls == ()
    running, _ = runner([ANSWER], plugins=[plugin(changes_calls)])
    with pytest.raises(PluginError, match="returned tool calls"):
        read_pieces(running, mode.startswith("a"))


def test_no_second_attempt_after_a_piece() -> None:
    attempts = []

    async def again(request: Request, send: Send) -> Response:
        try:
            return await send.live(request)
        except BackendError:
            attempts.append(send.started)
            return await send.live(request)

    class Fails:
        async def send(self, request: Request, emit: Any = None) -> Response:
            if emit is not None:
                await emit.note(Piece("reasoning", "Hm."))
            raise UpstreamUnavailable("down")

    running = Runner(Config(model="a/b", path=()), plugins=[plugin(again)], backend=Fails())
    with pytest.raises(StreamStarted):
        read_pieces(running, False)
    with pytest.raises(UpstreamUnavailable):
        list(running.stream(persona(), "Hi!"))
    assert attempts == [True, False]


def test_one_way_of_reading() -> None:
    running, _ = runner()
    stream = running.stream(persona(), "Hi!")
    next(stream)
    with pytest.raises(UsageError, match="by its `pieces"):
        stream.pieces()
    stream = running.stream(persona(), "Hi!")
    pieces = stream.pieces()
    assert next(pieces) == Piece("text", "Hel")
    for read in (lambda: next(stream), lambda: iter(stream)):
        with pytest.raises(UsageError, match="either as text"):
            read()
    assert [piece.text for piece in stream.pieces() if piece.kind == "text"] == ["lo!"]
    assert stream.text == stream.response.text == "Hello!"
    with running.stream(persona(), "Hi!") as closed:
        next(closed.pieces())
    assert list(closed.pieces()) == []


def test_one_way_of_reading_asynchronously() -> None:
    running, _ = runner()

    async def read() -> None:
        stream = running.astream(persona(), "Hi!")
        await anext(stream)
        with pytest.raises(UsageError, match="either as text"):
            stream.pieces()
        await stream.aclose()
        async with running.astream(persona(), "Hi!") as stream:
            await anext(stream.pieces())
            with pytest.raises(UsageError, match="either as text"):
                await anext(stream)
            assert [piece.text async for piece in stream.pieces() if piece.text] == ["lo!"]
        assert stream.response.text == "Hello!"

    asyncio.run(read())


# --- from a server ------------------------------------------------------------------------------


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}], "model": "m"}


def part(index: int, arguments: str = "", **more: Any) -> dict[str, Any]:
    name = {"name": more.pop("name")} if "name" in more else {}
    function = {"arguments": arguments, **name}
    return delta(tool_calls=[{"index": index, "function": function, **more}])


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "model": "m"}


def streamed(*events: dict[str, Any], cut: int = 0, is_async: bool = False) -> Any:
    body = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    answer = Reply(body + b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"})
    tools = [Tool(name, None) for name in ("weather", "time")]
    with Server([answer], cut=cut) as server, Runner(server.config()) as running:
        return read_pieces(running, is_async, tools=tools)


@in_both
def test_arguments_arrive_as_the_model_writes_them(is_async: bool) -> None:
    pieces, response = streamed(
        delta(reasoning_content="Let "),
        delta(reasoning_content="me see."),
        delta(content="I "),
        delta(content="look."),
        part(0, "", id="c1", name="weather"),
        *[part(0, text) for text in ('{"ci', 'ty": "', "Ly", 'on"}')],
        part(1, '{"zone": 1}', id="c2", name="time"),
        END,
        cut=40,
        is_async=is_async,
    )
    calls = [piece for piece in pieces if piece.kind == "tool_call"]
    assert [(call.index, call.id, call.name) for call in calls] == (
        [(0, "c1", "weather")] * 4 + [(1, "c2", "time")]
    )
    assert "".join(piece.text for piece in pieces if piece.kind == "reasoning") == "Let me see."
    assert assembled(pieces).calls == list(response.tool_calls)


ODD = [
    # Each piece has all arguments so far.
    [part(0, text, id="c1", name="weather") for text in ('{"a"', '{"a": 1', '{"a": 1}')],
    # A placeholder comes first.
    [part(0, "{}", id="c1", name="weather"), part(0, '{"a": 1}', id="c1", name="weather")],
    # No ids, or the same for each.
    [part(0, '{"a": 1}', name="weather"), part(1, '{"b": 1}', name="time")],
    [part(0, '{"a": 1}', id="c", name="weather"), part(1, '{"b": 1}', id="c", name="time")],
    # The name comes last.
    [part(0, '{"a":', id="c1"), part(0, " 1}"), part(0, name="weather")],
    # No arguments.
    [part(0, "", id="c1", name="weather")],
    # Half a character.
    [part(0, '{"a": "\ud83d', id="c1", name="weather"), part(0, '\ude00"}')],
    [part(0, '{"a": "\ud83d', id="c1", name="weather"), part(0, '"}')],
]


@pytest.mark.parametrize("events", ODD)
def test_what_may_change_comes_at_the_end(events: list[dict[str, Any]]) -> None:
    pieces, response = streamed(*events, END)
    assert assembled(pieces).calls == list(response.tool_calls)


THOUGHTS = [
    ["<think>Hm. ", "So</think>", "Hat."],
    [{"reasoning": "A", "reasoning_content": "A"}, {"reasoning": "B", "reasoning_content": "B"}],
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]}
        for text in "AB"
    ],
    [{"reasoning": "\ud83d"}, {"reasoning": "\ude00"}, "Hat."],
    [{"reasoning": "\ud83d"}, "Hat."],
    [{"reasoning": "A"}, "<think>B</think>", {"reasoning": "C"}, "Hat."],
    [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "A"}]}]}, "Hat."],
]


@pytest.mark.parametrize("deltas", THOUGHTS)
def test_thoughts_in_all_their_places(deltas: list[Any]) -> None:
    events = [delta(**({"content": one} if isinstance(one, str) else one)) for one in deltas]
    pieces, response = streamed(*events, delta(content="!"), END)
    found = assembled(pieces)
    assert response.reasoning
    assert (found.text, found.reasoning) == (response.text, response.reasoning)


@settings(max_examples=40)
@given(st.integers(1, 400), st.booleans())
def test_pieces_do_not_depend_on_the_cuts(cut: int, is_async: bool) -> None:
    events = [
        *[delta(reasoning_content=text) for text in ("Let me ", "s\u00e9e \U0001f600")],
        *[delta(content=text) for text in ("I \U0001f600", " look.")],
        part(0, "", id="c1", name="weather"),
        *[part(0, text) for text in ('{"city": "', "Ly\u00f6n", '"}')],
        {**END, "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
    ]
    pieces, response = streamed(*events, cut=cut, is_async=is_async)
    found = assembled(pieces)
    assert found.text == response.text == "I \U0001f600 look."
    assert found.reasoning == response.reasoning == "Let me s\u00e9e \U0001f600"
    assert found.calls == [ToolCall("c1", "weather", '{"city": "Ly\u00f6n"}')]
    assert found.usages == [Usage(1, 2, 3)] == [response.usage]


def test_a_whole_answer_to_a_stream_has_pieces_too() -> None:
    message = {"content": "Hat.", "reasoning_content": "Hm."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "m"}
    with Server([body]) as server, Runner(server.config()) as running:
        pieces, _ = read_pieces(running, False)
    found = assembled(pieces)
    assert (found.text, found.reasoning) == ("Hat.", "Hm.")


CALLED = {
    "type": "function_call", "id": "fc", "call_id": "c1", "name": "weather",
    "arguments": '{"city": "Lyon"}',
}  # fmt: skip
THOUGHT = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm, so."}]}
RESPONSE = {
    "object": "response", "id": "resp", "model": "m", "status": "completed",
    "output": [THOUGHT, CALLED],
    "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
}  # fmt: skip


@pytest.mark.parametrize("taken", [False, True])
def test_pieces_of_the_responses_api(taken: bool) -> None:
    kind = "response.reasoning_summary_text.delta"
    events = [
        *[{"type": kind, "delta": text} for text in ("Hm, ", "so.")],
        {
            "type": "response.output_item.added", "output_index": 1,
            "item": {**CALLED, "arguments": ""},
        },
        *[
            {
                "type": "response.function_call_arguments.delta", "item_id": "fc",
                "output_index": 1, "delta": text,
            }
            for text in ('{"ci', 'ty": ', '"Lyon"', "}")
        ],
        {"type": "response.output_item.done", "output_index": 1, "item": CALLED},
        {"type": "response.completed", "response": RESPONSE},
    ]  # fmt: skip
    body = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    answer = Reply(body, headers={"content-type": "text/event-stream"})
    with Server([answer], cut=30) as server:
        provider = Provider("mine", server.base_url, key_required=False, api="responses")
        config = Config(model="mine/m", path=(), environ={}, providers={"mine": provider})
        earlier = Message("assistant", None, (CALL,)), Message("tool", "sun", tool_call_id="c1")
        request = Request("mine/m", (Message("user", "Hi!"), *(earlier if taken else ())))
        with Runner(config) as running:
            tools = [Tool("weather", None)]
            stream = running.stream(persona(), request, tools=tools)
            pieces = list(stream.pieces())
    found = assembled(pieces)
    assert found.reasoning == stream.response.reasoning == "Hm, so."
    assert found.calls == list(stream.response.tool_calls)
    assert [piece.kind for piece in pieces].count("tool_call") == (1 if taken else 4)
    assert found.usages == [Usage(1, 2, 3)]
