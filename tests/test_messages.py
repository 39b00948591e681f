"""Messages, requests and responses: values that can be replaced and never changed."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    Event,
    Message,
    Request,
    Response,
    Timings,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from personakit.frozen import FrozenDict, freeze, thaw

CALL = ToolCall("call_1", "weather", '{"city": "Lyon"}')
PARTS = [{"type": "text", "text": "Look: "}, {"type": "image_url", "image_url": {"url": "data:"}}]
REQUEST = Request(
    "openai/x",
    (Message("system", "You are a chef."), Message("user", "Hi!")),
    {"temperature": 0.5, "stop": ["a"], "metadata": {"k": "v"}},
    "chef",
    {"guests": 2, "names": ["Ann"]},
)
VALUES: list[Any] = [
    CALL,
    ToolResult("call_1", "sunny", is_error=True),
    Message("assistant", None, (CALL,)),
    Message("user", PARTS),  # type: ignore[arg-type]
    REQUEST,
    Usage(1, 2, 3),
    Timings(1.0, 2.0, 1.5),
    Response(
        "Hello!", (CALL,), "stop", usage=Usage(1, 2, 3), request=REQUEST, raw={"a": [{"b": 1}]}
    ),
    Event("started", "run", request=REQUEST),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_and_can_be_copied_pickled_and_compared(value: Any) -> None:
    for name in (field.name for field in dataclasses.fields(value)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert again == value
        assert repr(again) == repr(value)
    assert dataclasses.replace(value) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=2), max_size=2)
CALLS = st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=2)
SAID = st.builds(
    Message, st.sampled_from(["user", "assistant"]), st.text() | OBJECTS, CALLS, items=OBJECTS
)
ASKED = st.builds(
    Request,
    st.text(),
    st.lists(SAID, max_size=2),
    variables=st.dictionaries(st.text(max_size=3), JSON, max_size=2),
    tools=st.lists(st.just(Tool("roll", print)) | st.just(Tool("ask")), max_size=2),
)
ANSWERS = st.builds(
    Response,
    st.text(),
    CALLS,
    usage=st.none() | st.just(Usage(1, 2, 3)),
    request=st.none() | ASKED,
    parsed=JSON,
    messages=st.lists(SAID, max_size=2).map(tuple),
    items=OBJECTS,
    annotations=OBJECTS,
)


@given(SAID | ASKED | ANSWERS)
def test_every_value_is_equal_to_its_copies(value: Any) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), value.replace()):
        assert again == value
        assert value == again


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(a=1),
        lambda d: d.__setitem__("a", 1),
        lambda d: d.__delitem__("metadata"),
        lambda d: d.clear(),
        lambda d: d.pop("stop"),
        lambda d: d.popitem(),
        lambda d: d.setdefault("a", 1),
        lambda d: d.__ior__({"a": 1}),
        lambda d: d["metadata"].update(a=1),
    ],
)
def test_a_mapping_of_a_value_refuses_every_change(change: Callable[[Any], Any]) -> None:
    before = json.dumps(REQUEST.parameters)
    with pytest.raises(
        TypeError, match=r"read-only: create a new one, as in {\*\*old, 'key': value}"
    ):
        change(REQUEST.parameters)
    assert json.dumps(REQUEST.parameters) == before


def test_what_goes_in_stays_the_giver_s() -> None:
    messages, parameters = [Message("user", "a")], {"stop": ["a"]}
    calls = [CALL]
    raw: dict[str, list[Any]] = {"choices": [{}]}
    request = Request("x", messages, parameters, variables=parameters)  # type: ignore[arg-type]
    response = Response("x", calls, raw=raw, metadata=raw)  # type: ignore[arg-type]
    message = Message("assistant", None, calls)  # type: ignore[arg-type]
    messages.clear()
    parameters["stop"].append("b")
    calls.clear()
    raw["choices"].clear()
    assert request.messages == (Message("user", "a"),)
    assert request.parameters == request.variables == {"stop": ("a",)}
    assert response.tool_calls == message.tool_calls == (CALL,)
    assert response.raw == response.metadata == {"choices": ({},)}


def test_a_response_may_name_the_type_of_its_value() -> None:
    response = Response[int]("3", parsed=3)
    assert response == Response("3", parsed=3)
    assert pickle.loads(pickle.dumps(response)) == copy.deepcopy(response) == response
    with pytest.raises(AttributeError, match="cannot assign to field 'other'"):
        response.other = 1  # type: ignore[attr-defined]


def test_frozen_data_is_json_and_thaws_to_the_receiver_s_own() -> None:
    data = {"a": [1, {"b": None}], "c": {"d": "e"}}
    frozen = freeze(data)
    assert isinstance(frozen["a"][1], FrozenDict)
    assert freeze(frozen) is frozen
    assert json.loads(json.dumps(frozen)) == data
    mine = thaw(frozen)
    assert mine == data
    mine["a"][1]["b"] = 2
    mine["c"].clear()
    assert thaw(frozen) == data
    assert frozen | {"f": 1} == {**frozen, "f": 1}


def test_a_message_of_text_and_one_of_parts() -> None:
    text, parts = Message("user", "abc"), Message("user", PARTS)  # type: ignore[arg-type]
    assert (text.text, parts.text, Message("assistant").text) == ("abc", "Look: ", "")
    assert text.map_text(str.upper).content == "ABC"
    upper = parts.map_text(str.upper)
    assert upper.text == "LOOK: "
    assert upper.content is not None
    assert upper.content[1] == PARTS[1]
    empty = Message("assistant", None, (CALL,))
    assert empty.map_text(str.upper) == empty
    assert text.replace(role="system").role == "system"


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Message("system", "a"), {"role": "system", "content": "a"}),
        (Message("user", PARTS), {"role": "user", "content": PARTS}),  # type: ignore[arg-type]
        (
            Message("assistant", None, (CALL,)),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Lyon"}'},
                    }
                ],
            },
        ),
        (
            Message("tool", "sunny", tool_call_id="call_1"),
            {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
        ),
    ],
)
def test_a_message_as_the_api_takes_it(message: Message, body: dict[str, Any]) -> None:
    assert message.to_api() == body


@pytest.mark.parametrize(
    ("messages", "system", "after"),
    [
        ((), "", "More."),
        ((Message("user", "Hi!"),), "", "More."),
        (
            (Message("system", "You are.\n"), Message("user", "Hi!")),
            "You are.\n",
            "You are.\n\nMore.",
        ),
        ((Message("system", [{"type": "text", "text": "You."}]),), "You.", "You.More."),  # type: ignore[arg-type]
    ],
)
def test_with_system_adds_a_paragraph_to_the_system_message(
    messages: tuple[Message, ...], system: str, after: str
) -> None:
    request = Request("x", messages)
    assert request.system == system
    changed = request.with_system("More.")
    assert changed.system == after
    assert [m for m in changed.messages if m.role == "user"] == [
        m for m in messages if m.role == "user"
    ]
    assert request.messages == messages


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"n": [1, null]}', {"n": [1, None]}),
        ("", {}),
        (" ", {}),
        ("[1]", {"arguments": "[1]"}),
        ('{"n": NaN}', {"arguments": '{"n": NaN}'}),
        ('{"n": ', {"arguments": '{"n": '}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_arguments_of_a_call_are_an_object(arguments: str, value: Any) -> None:
    assert ToolCall("a", "f", arguments).parsed == value


def test_a_request_is_changed_by_replacing() -> None:
    assert REQUEST.map_text(str.upper).system == "YOU ARE A CHEF."
    longer = REQUEST.with_messages(Message("assistant", "Hello!"), Message("user", "Bye!"))
    assert [message.text for message in longer.messages[2:]] == ["Hello!", "Bye!"]
    assert REQUEST.replace(max_retries=0).max_retries == 0
    assert len(REQUEST.messages) == 2
    assert CALL.replace(arguments="{}").arguments == "{}"
    assert ToolResult("1", "a").replace(content="b").content == "b"


def test_a_response_goes_on_as_a_message() -> None:
    assert Response("Hello!").message == Message("assistant", "Hello!")
    assert Response("", (CALL,)).message == Message("assistant", None, (CALL,))
    assert "raw" not in repr(Response("x", raw={"secret": 1}))
