"""Events that differ in their text alone are not parsed each; the answer is the same."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from personakit import Persona, Runner
from personakit.errors import InvalidAnswer
from personakit.messages import Response
from personakit.testing import Reply, Server

HEAD: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
TEXTS = [
    "Lentils ", "", 'say "hi"', "\\", 'end\\"', "line\nline\r\n\r\n", "ü", "😀", "\u2028", "\t",
    '"},"logprobs":null}]}', 'data: {"content":"', "[DONE]",
]  # fmt: skip


def event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {**HEAD, **more, "choices": [choice]}


def written(events: Sequence[Any], end: str = "\n\n", *, tight: bool = False) -> bytes:
    separators = (",", ":") if tight else None
    lines = [
        each if isinstance(each, bytes) else json.dumps(each, separators=separators).encode()
        for each in (*events, b"[DONE]")
    ]
    return b"".join(b"data: " + line + end.encode() for line in lines)


def streamed(body: bytes, cut: int) -> Response[Any]:
    """Return the response to a body that arrives in parts of some bytes; 0 for in one."""
    reply = Reply(body, headers={"content-type": "text/event-stream"})
    with Server([reply], cut=cut) as server, Runner(config=server.config()) as runner:
        stream = runner.stream(Persona.parse("system: Hi"), "Hi")
        text = "".join(stream)
    assert text == stream.response.text
    return stream.response


def text_of(events: Sequence[dict[str, Any]]) -> str:
    choices = (choice for each in events for choice in each["choices"])
    return "".join(c["delta"].get("content") or "" for c in choices if c["index"] == 0)


def seen(response: Response[Any]) -> tuple[Any, ...]:
    calls = [(call.name, call.arguments) for call in response.tool_calls]
    return response.text, response.raw, response.usage, response.finish_reason, calls


CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OTHERS = [
    event({"content": "x"}, created=2),
    event({"content": "x"}, system_fingerprint="fp"),
    event({"content": "x", "role": "assistant"}),
    event({"content": "x", "reasoning_content": "y"}),
    event({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}),
    event({"content": None}),
    event({"tool_calls": [CALL]}),
    {**HEAD, "choices": []},
    {**HEAD, "choices": [{"index": 1, "delta": {"content": "another choice"}}]},
]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("tight", [False, True])
def test_the_answer_is_that_of_events_which_are_parsed(end: str, tight: bool) -> None:
    for seed in range(8):
        rng = random.Random(seed)
        events = [event({"role": "assistant", "content": ""})]
        events += [event({"content": rng.choice(TEXTS)}) for _ in range(40)]
        for other in rng.sample(OTHERS, 4):
            events.insert(rng.randrange(1, len(events)), other)
        events.append(event({}, "stop"))
        body = written(events, end, tight=tight)
        assert streamed(body, 0).text == text_of(events), seed
        # Parts of 9 bytes have no whole event, so each is parsed.
        assert seen(streamed(body, 0)) == seen(streamed(body, 9)), seed


def test_each_other_event_may_stand_between() -> None:
    for other in OTHERS:
        events = [event({"content": text}) for text in TEXTS]
        events = [*events, other, *events, event({}, "stop")]
        body = written(events)
        assert seen(streamed(body, 0)) == seen(streamed(body, 9)), other


def test_a_character_may_be_cut_in_two() -> None:
    first, second = (json.dumps(event({"content": "?"})).replace("?", half).encode()
                     for half in ("\\ud83d", "\\ude00"))  # fmt: skip
    plain = event({"content": "a"})
    body = written([plain, plain, plain, first, second, plain, event({}, "stop")])
    assert streamed(body, 0).text == "aaa😀a"


def test_a_key_may_be_there_twice() -> None:
    twice = json.dumps(event({"content": "%"})).replace('"%"', '"1", "content": "2"').encode()
    beside = json.dumps(event({"content": "3"}, content="4")).encode()
    body = written([twice, twice, beside, beside, event({}, "stop")])
    assert streamed(body, 0).text == "2233"


@pytest.mark.parametrize("broken", [b'"\\x"', b'"a', b'"a" "b"', b'"\xff', b'"a\x01"', b'"a", "b"'])
def test_a_broken_event_ends_the_answer(broken: bytes) -> None:
    plain = event({"content": "a"})
    bad = json.dumps(plain).encode().replace(b'"a"', broken)
    body = written([plain, plain, plain, bad, event({}, "stop")])
    with pytest.raises(InvalidAnswer) as raised:
        streamed(body, 0)
    assert raised.value.partial == "aaa"
