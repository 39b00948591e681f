"""Recordings: what was answered once is answered again, and nothing else is in the file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import RateLimited, UsageError
from personakit.codec import diffable, pretty, read_response, write_response
from personakit.messages import Message, Request, Response, ToolCall
from personakit.suite.cassettes import Cassette, Recording, Recordings, ReplayBackend, Unrecorded
from personakit.testing import Upstream
from personakit.usage import Usage

TEXT = st.text(st.characters(exclude_categories=())) | st.text('a \n\r\t\0\u2028\ud83d\ude00"\\')
COUNT = st.integers(0, 10**6)
RESPONSE = st.builds(
    Response,
    text=TEXT,
    tool_calls=st.lists(st.builds(ToolCall, id=TEXT, name=TEXT, arguments=TEXT), max_size=2),
    finish_reason=st.none() | TEXT,
    model=TEXT,
    usage=st.none() | st.builds(Usage, COUNT, COUNT, COUNT),
)
REQUEST = st.builds(
    Request,
    model=TEXT,
    messages=st.lists(st.builds(Message, st.sampled_from(["system", "user"]), TEXT), max_size=3),
    parameters=st.dictionaries(TEXT, TEXT | st.floats() | st.lists(TEXT, max_size=2), max_size=2),
)
HELLO = Request("m", (Message("user", "Hello"),))


def finish(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a call that never waits."""
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    response: Response = stop.value.value
    return response


def recorder(*answers: Any, **cassette: Any) -> tuple[ReplayBackend, Upstream]:
    upstream = Upstream(answers)
    return ReplayBackend(lambda: upstream, Cassette(**{"may_ask": True, **cassette})), upstream


def core(response: Response) -> tuple[Any, ...]:
    return (
        response.text, response.tool_calls, response.finish_reason, response.model, response.usage,
    )  # fmt: skip


@given(st.lists(st.tuples(REQUEST, RESPONSE), min_size=1, max_size=4))
def test_a_replay_gives_what_was_recorded_and_asks_nothing(
    exchanges: list[tuple[Request, Response]],
) -> None:
    recording, upstream = recorder(*(response for _, response in exchanges))
    first = [finish(recording.send(request)) for request, _ in exchanges]
    assert len(upstream.requests) == len(exchanges)
    # Through the text of a file, as it would be.
    kept = json.loads(pretty(recording.cassette.finished()).encode())
    replaying, silent = recorder(left=kept, may_ask=False)
    again = [finish(replaying.send(request)) for request, _ in exchanges]
    assert again == first
    assert silent.requests == []
    for (request, said), response in zip(exchanges, first, strict=True):
        assert response.request == request
        # JSON has no two halves of a surrogate pair side by side: they are one character.
        assert core(response) == core(read_response(write_response(said)))
        if not any(map(_paired, (said.text, said.model, said.finish_reason or ""))):
            assert (response.text, response.model) == (said.text, said.model)


def _paired(text: str) -> bool:
    return any("\ud800" <= a < "\udc00" <= b < "\ue000" for a, b in itertools.pairwise(text))


@given(REQUEST)
def test_what_is_written_is_json_of_plain_printable_characters(request: Request) -> None:
    text = pretty(diffable(request))
    assert json.loads(text) == diffable(request)
    text.encode("utf-8")
    assert not set(text) & set(map(chr, [*range(10), *range(11, 32), 0x7F, 0x202E, 0x2028]))


def test_requests_may_arrive_in_another_order() -> None:
    other = HELLO.replace(model="n")
    recording, _ = recorder("one", "two")
    for request in (HELLO, other):
        finish(recording.send(request))
    replaying, _ = recorder(left=recording.cassette.finished(), may_ask=False)
    assert [finish(replaying.send(r)).text for r in (other, HELLO)] == ["two", "one"]


def test_another_request_is_refused_with_the_difference() -> None:
    recording, _ = recorder("Hi")
    finish(recording.send(HELLO.replace(messages=[Message("user", "Hello\nyou")])))
    replaying, upstream = recorder("new", left=recording.cassette.finished())
    with pytest.raises(Unrecorded) as caught:
        finish(replaying.send(HELLO.replace(messages=[Message("user", "Hello\nme")])))
    assert '-        "you"' in caught.value.detail
    assert '+        "me"' in caught.value.detail
    assert upstream.requests == []


def test_without_a_recording_the_model_is_asked_only_if_it_may_be() -> None:
    asking, _ = recorder("Hi")
    assert finish(asking.send(HELLO)).text == "Hi"
    refusing, upstream = recorder("Hi", may_ask=False)
    with pytest.raises(Unrecorded, match="no recording"):
        finish(refusing.send(HELLO))
    assert upstream.requests == []


def test_an_error_before_an_answer_is_replayed_without_its_message() -> None:
    error = RateLimited("the key sk-secret is over its limit", status=429)
    recording, _ = recorder(error, "Hi")
    with pytest.raises(RateLimited, match="sk-secret"):
        finish(recording.send(HELLO))
    assert recording.cassette.finished() == []
    finish(recording.send(HELLO))
    kept = recording.cassette.finished()
    assert "sk-secret" not in pretty(kept)
    replaying, _ = recorder(left=kept, may_ask=False)
    with pytest.raises(RateLimited) as caught:
        finish(replaying.send(HELLO))
    assert caught.value.status == 429
    assert finish(replaying.send(HELLO)).text == "Hi"


def test_text_goes_out_at_once_where_it_streams() -> None:
    sent = []

    async def emit(text: str) -> None:
        sent.append(text)

    recording, _ = recorder("Hello!")
    assert finish(recording.send(HELLO, emit)).text == "Hello!"
    assert sent == ["Hello!"]


def test_no_header_and_no_key_is_recorded() -> None:
    given = {"extra_headers": {"x": "secret"}, "api_key": "secret", "temperature": 1}
    assert diffable(HELLO.replace(parameters=given))["parameters"] == {"temperature": 1}


def recording(text: str = "Hi") -> Recording:
    made, _ = recorder(text)
    finish(made.send(HELLO))
    return Recording("m", tuple(made.cassette.finished()))


def test_the_file_is_deterministic_sorted_and_never_half_written(tmp_path: Path) -> None:
    file = Recordings.of(str(tmp_path / "chef.yaml"))
    assert file.path == tmp_path / "recordings" / "chef.json"
    assert file.read() == {}
    tests = ["b", "a", "c"]
    for name in tests:
        file.write(name, recording("one\ntwo"), tests)
    first = file.path.read_bytes()
    for name in reversed(tests):
        file.write(name, recording("one\ntwo"), tests)
    assert file.path.read_bytes() == first
    assert list(json.loads(first)["tests"]) == ["a", "b", "c"]
    assert b'"one",\n' in first
    assert first.endswith(b"}\n")
    assert [path.name for path in file.path.parent.iterdir()] == ["chef.json"]
    assert file.read()["a"] == recording("one\ntwo")


def test_recordings_of_tests_that_are_no_more_are_dropped(tmp_path: Path) -> None:
    file = Recordings.of(str(tmp_path / "chef.yaml"))
    file.write("old", recording(), ["old"])
    file.write("new", recording(), ["new", "later"])
    assert list(file.read()) == ["new"]


def test_two_files_of_one_stem_have_two_recordings() -> None:
    assert len({Recordings.of(f"p/chef{end}").path for end in (".yaml", ".yml", ".json")}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1:1: not valid JSON"),
        ('{"format": 1,\n<<<<<<< ours', ":2:1: not valid JSON"),
        ("[]", "not a valid recordings file"),
        ('{"format": 2, "tests": {}}', "expected format 1, found 2"),
        ('{"format": 1, "tests": []}', "not a valid recordings file"),
        (
            '{"format": 1, "tests": {"a": {"model": "m", "exchanges": [{}]}}}',
            "key 'request' is missing",
        ),
        ('{"format": 1, "tests": {"a": {"model": "m", "exchanges": [{"request": 5}]}}}', "mapping"),
        (
            '{"format": 1, "tests": {"a": {"model": "m", "exchanges": '
            '[{"request": {}, "response": {"text": 5}}]}}}',
            "expected a string, found 5",
        ),
        (
            '{"format": 1, "tests": {"a": {"model": "m", "exchanges": '
            '[{"request": {}, "response": {"text": "", "annotations": 5}}]}}}',
            "expected a list of objects, found 5",
        ),
        (
            '{"format": 1, "tests": {"a": {"model": "m", "exchanges": '
            '[{"request": {}, "error": {"type": "SystemExit"}}]}}}',
            "unknown error type 'SystemExit'",
        ),
        ("[" * 100_000, "not a valid recordings file"),
    ],
)
def test_a_file_that_holds_no_recordings_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "chef.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        Recordings(path).read()
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "delete it and record again" in str(caught.value)


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: path.write_bytes(b"\xff")])
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "chef.json"
    spoil(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Recordings(path).read()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = Recordings.of(str(tmp_path / "nowhere" / "chef.yaml"))
    with pytest.raises(UsageError, match=r"chef\.json: cannot be written: No such file"):
        file.write("a", recording(), ["a"])


def test_embeddings_are_recorded_and_replayed() -> None:
    request = Request("openai/m", (Message("user", "a b"), Message("user", "b")), api="embeddings")
    backend, upstream = recorder()
    first = finish(backend.embed(["a b", "b"], request))
    stored = json.loads(pretty(backend.cassette.finished()))
    again, other = recorder(left=stored, may_ask=False)
    assert finish(again.embed(["a b", "b"], request)) == first
    assert (len(upstream.embedded), len(other.embedded)) == (1, 0)
    with pytest.raises(Unrecorded):
        finish(again.embed(["b"], request.replace(messages=request.messages[1:])))
