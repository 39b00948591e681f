"""A fake of the Messages API on loopback, and Anthropic's own types to hold both sides to."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from anthropic import types
from pydantic import TypeAdapter

from personakit import Config, Provider, Runner
from personakit.testing import Reply, Server

BODY: Any = TypeAdapter(types.MessageCreateParams)
EVENT: Any = TypeAdapter(types.RawMessageStreamEvent)
Block = dict[str, Any]

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "signature": ("signature_delta", "signature"),
    "input": ("input_json_delta", "partial_json"),
}


def plain(value: Any) -> Any:
    """Return a validated value as JSON; pydantic validates an iterable when it is read."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | None) else [plain(it) for it in value]


def check(body: Any) -> None:
    """Check the body of a request: Anthropic's types know all that is in it.

    The types are those of the API's version 2026-10-21, which lacks two parameters of the version
    that the plugin asks for.
    """
    sent = json.loads(json.dumps(body))
    for name in ("temperature", "top_p"):
        sent.pop(name, None)
    assert plain(BODY.validate_python(sent)) == sent


def message(*content: Block, stop: str = "end_turn", **usage: int) -> Block:
    """Return an answer, which Anthropic's types accept."""
    counts = {"input_tokens": 10, "output_tokens": 5, **usage}
    answer: Block = {"id": "msg_1", "type": "message", "role": "assistant"}
    answer |= {
        "model": "claude-test",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": counts,
    }
    types.Message.model_validate(answer, strict=False)
    return answer


def events(answer: Block, size: int = 3) -> Iterator[Block]:
    """Yield the events of a streamed answer, as the API sends them."""
    counts = {**answer["usage"], "output_tokens": 1}
    start = {**answer, "content": [], "stop_reason": None, "usage": counts}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(answer["content"]):
        streamed = {key: block[key] for key in _DELTAS if key in block}
        citations = block.get("citations") or ()
        empty = {key: {} if key == "input" else "" for key in streamed}
        first = {**block, **empty, **({"citations": []} if citations else {})}
        yield {"type": "content_block_start", "index": index, "content_block": first}
        for key, value in streamed.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            kind, name = _DELTAS[key]
            for at in range(0, len(text), size):
                delta = {"type": kind, name: text[at : at + size]}
                yield {"type": "content_block_delta", "index": index, "delta": delta}
        for citation in citations:
            delta = {"type": "citations_delta", "citation": citation}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    used = {"output_tokens": answer["usage"]["output_tokens"]}
    yield {"type": "message_delta", "delta": end, "usage": used}
    yield {"type": "message_stop"}


def streamed(parts: Iterator[Block]) -> bytes:
    lines = (f"event: {part['type']}\ndata: {json.dumps(part)}\n\n" for part in parts)
    return "".join(lines).encode()


class Fake(Server):
    """Answers messages from a list, whole or streamed; checks each body by Anthropic's types."""

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        check(body)
        if not body.get("stream") or answer.get("type") != "message":
            return super().reply(answer, body)
        sent = list(events(answer, self.size))
        for event in sent:
            if event["type"] != "ping":
                EVENT.validate_python(event)
        return Reply(streamed(iter(sent)), headers={"content-type": "text/event-stream"})

    @property
    def bodies(self) -> list[Any]:
        return [request.body for request in self.requests]


Serving = Callable[[Sequence[Any]], AbstractContextManager[tuple[Runner, Fake]]]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """Return a context manager with a runner and the fake that it asks, the same for all tests."""
    with Fake() as fake:
        provider = Provider("anthropic", fake.base_url, key_env="ANTHROPIC_API_KEY")
        config = Config(
            model="anthropic/claude-opus-5-5",
            path=(),
            providers={"anthropic": provider},
            environ={"ANTHROPIC_API_KEY": "sk-ant-test"},
        )

        @contextmanager
        def answering(answers: Sequence[Any]) -> Iterator[tuple[Runner, Fake]]:
            fake.answers = answers
            fake.requests.clear()
            yield runner, fake

        with Runner(config) as runner:
            yield answering


@pytest.fixture(scope="session")
def answer() -> Callable[..., Block]:
    """Return the function that makes an answer of blocks."""
    return message


@pytest.fixture(scope="session")
def pieces() -> Callable[..., bytes]:
    """Return the function that turns an answer into the bytes of a stream."""
    return lambda answer, size=3: streamed(events(answer, size))


@pytest.fixture(scope="session")
def checked() -> Callable[[Any], None]:
    """Return the function that checks the body of a request by Anthropic's types."""
    return check
