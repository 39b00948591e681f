"""What a batch sends, writes and yields."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.batches import (
    MODEL,
    SOURCE,
    Counting,
    failures,
    lines,
    numbered,
    persona,
    runner_of,
    texts,
)

from personakit import (
    AuthenticationFailed,
    BackendError,
    Config,
    ModelNotFound,
    Persona,
    PersonaError,
    QuotaExhausted,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    UsageError,
    hookimpl,
)
from personakit.batch import Batch, BatchStopped, Result, status
from personakit.testing import Upstream


def fake(*answers: Any) -> tuple[Upstream, Runner]:
    """Return a fake model and a runner that sends to it."""
    upstream = Upstream(list(answers) or ["yes"])
    config = Config(model=MODEL, path=(), environ={"OPENAI_API_KEY": "k"})
    return upstream, Runner(config, backend=upstream, log=False)


def text_of(request: Request) -> str:
    return request.messages[-1].text or ""


def test_each_row_is_answered_and_written_once(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Counting() as server, runner_of(server) as runner:
        rows = [{"text": "one", "id": 7}, {"text": "two", "id": 8}]
        batch = Batch(persona(), rows, out=out, runner=runner, key="id", keep=["id"])
        results = list(batch.run())
        assert server.asked == Counter({"one": 1, "two": 1})
    assert [result.ok for result in results] == [True, True]
    found = sorted(lines(out), key=lambda line: line["index"])
    assert [line["text"] for line in found] == ["about one", "about two"]
    assert [line["key"] for line in found] == ["7", "8"]
    assert [line["row"] for line in found] == [{"id": 7}, {"id": 8}]
    assert {*found[0]} == {
        "key", "index", "row", "text", "finish_reason", "model", "usage", "cost", "run",
    }  # fmt: skip
    assert {result.line["key"] for result in results} == {"7", "8"}


def test_a_row_that_fails_is_written_beside_the_answers(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        if text_of(request) == "bad":
            raise BackendError("the upstream rejects it", status=400)
        return "yes"

    upstream, runner = fake(answer)
    out = tmp_path / "out.jsonl"
    with runner:
        rows = [{"text": "good"}, {"text": "bad"}]
        results = list(Batch(persona(), rows, out=out, runner=runner).run())
        assert sorted(result.ok for result in results) == [False, True]
        again = list(Batch(persona(), rows, out=out, runner=runner).run())
        assert again == []
        retried = list(Batch(persona(), rows, out=out, runner=runner, retry_failed=True).run())
    assert [result.ok for result in retried] == [False]
    (failed, second) = failures(out)
    assert failed["index"] == second["index"] == 1
    assert failed["code"] == "backend_error"
    assert "the upstream rejects it" in failed["error"]
    assert failed["attempts"] == 1
    assert len(upstream.requests) == 3


def test_equal_rows_are_sent_once_and_each_has_its_line(tmp_path: Path) -> None:
    upstream, runner = fake()
    out = tmp_path / "out.jsonl"
    rows = [{"text": "same"}, {"text": "other"}, {"text": "same"}, {"text": "same"}]
    with runner:
        results = list(Batch(persona(), rows, out=out, runner=runner).run())
    assert len(results) == 4
    assert Counter(map(text_of, upstream.requests)) == Counter({"same": 1, "other": 1})
    found = lines(out)
    assert sorted(line["index"] for line in found) == [0, 1, 2, 3]
    repeats = [line for line in found if "same_as" in line]
    assert [line["cost"] for line in repeats] == [0.0, 0.0]
    out = tmp_path / "each.jsonl"
    upstream, runner = fake()
    with runner:
        list(Batch(persona(), rows, out=out, runner=runner, dedupe=False).run())
    assert len(upstream.requests) == 4


def test_a_refusal_for_the_rate_fails_no_row_and_is_no_attempt(tmp_path: Path) -> None:
    with Counting() as server, runner_of(server) as runner:
        server.refused = 30
        out = tmp_path / "out.jsonl"
        batch = Batch(persona(), numbered(10), out=out, runner=runner, attempts=1)
        assert [result.ok for result in batch.run()] == [True] * 10
        progress = batch.progress()
    assert progress is not None
    assert progress.learnt.refused == 30
    assert failures(out) == []


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("wrong key", status=401),
        ModelNotFound("no such model", status=404),
        QuotaExhausted("no money left", status=429),
    ],
    ids=["key", "model", "quota"],
)
def test_an_error_of_all_rows_stops_the_batch_which_goes_on_later(
    error: BackendError, tmp_path: Path
) -> None:
    broken = [True]

    def answer(request: Request) -> str:
        if broken[0] and text_of(request) == "row 5":
            raise error
        return "yes"

    upstream, runner = fake(answer)
    out = tmp_path / "out.jsonl"
    with runner:
        batch = Batch(persona(), numbered(50), out=out, runner=runner, concurrency=2)
        with pytest.raises(BatchStopped, match=str(error).split(";", maxsplit=1)[0]) as caught:
            list(batch.run())
        assert isinstance(caught.value.__cause__, type(error))
        assert len(upstream.requests) < 20
        broken[0] = False
        list(Batch(persona(), numbered(50), out=out, runner=runner).run())
    assert failures(out) == []
    assert sorted(line["index"] for line in lines(out)) == list(range(50))
    counts = Counter(map(text_of, upstream.requests))
    assert counts.pop("row 5") == 2
    assert set(counts.values()) == {1}


def test_a_batch_whose_first_rows_all_fail_stops(tmp_path: Path) -> None:
    upstream, runner = fake(BackendError("unknown parameter", status=400))
    with runner:
        out = tmp_path / "out.jsonl"
        batch = Batch(persona(), numbered(500), out=out, runner=runner, max_failures=10)
        with pytest.raises(BatchStopped, match=r"the first 1\d rows failed, all of them"):
            list(batch.run())
    assert len(upstream.requests) < 40


def test_a_limit_and_a_budget_begin_no_further_row(tmp_path: Path) -> None:
    upstream, runner = fake()
    out = tmp_path / "out.jsonl"
    with runner:
        assert len(list(Batch(persona(), numbered(30), out=out, runner=runner, limit=4).run())) == 4
        assert len(list(Batch(persona(), numbered(30), out=out, runner=runner, limit=3).run())) == 3
        assert status(out).done == len(upstream.requests) == 7
        batch = Batch(persona(), numbered(30), out=out, runner=runner, max_usd=1)
        with pytest.raises(UsageError, match="max_usd needs the price of the model"):
            list(batch.run())

    def dear(request: Request) -> Response:
        return Response("yes", model="openai/gpt-5-mini", usage=None, cost=0.25)

    upstream, runner = fake(dear)
    out = tmp_path / "dear.jsonl"
    with runner:
        batch = Batch(
            persona(), numbered(30), out=out, runner=runner, model="openai/gpt-5-mini", max_usd=2
        )
        with pytest.raises(BatchStopped, match=r"the limit of \$2\.0000 is reached"):
            list(batch.run())
    assert len(upstream.requests) == 8


def test_leaving_the_loop_ends_the_rows_under_way_and_the_batch_goes_on(tmp_path: Path) -> None:
    with Counting(delay=0.01) as server, runner_of(server) as runner:
        out = tmp_path / "out.jsonl"
        batch = Batch(persona(), numbered(60), out=out, runner=runner, concurrency=4)
        for result in batch.run():
            assert result.ok
            break
        assert 0 < status(out).done < 60
        assert status(out).in_flight == 0
        list(batch.run())
        assert server.paid == Counter(row["text"] for row in numbered(60))
    assert texts(lines(out)) == sorted(f"about row {number}" for number in range(60))


def test_results_come_in_the_running_loop_too(tmp_path: Path) -> None:
    _, runner = fake()
    batch = Batch(persona(), numbered(5), out=tmp_path / "out.jsonl", runner=runner)

    async def main() -> list[Result]:
        return [result async for result in batch.arun()]

    with runner:
        assert sorted(result.row.index for result in asyncio.run(main())) == [0, 1, 2, 3, 4]


class Upper:
    """Changes what is answered, and refuses some rows."""

    name = "upper"

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request)
        return response.replace(text=response.text.upper())


def test_plugins_work_as_in_a_run(tmp_path: Path) -> None:
    with Counting() as server, runner_of(server, plugins=[Upper()]) as runner:
        out = tmp_path / "out.jsonl"
        source = SOURCE + "plugins: [{redact: {entities: [email]}}, cache, retry]\n"
        found = Persona.parse(source, "tagger.yaml")
        own = secrets.token_hex(8)  # answers of an earlier run of this test may be kept
        rows = [{"text": f"write to ada@example.com {own}"}, {"text": f"two {own}"}]
        list(Batch(found, rows, out=out, runner=runner).run())
        assert not [text for text in server.asked if "ada@example.com" in text]
        assert f"ABOUT TWO {own.upper()}" in texts(lines(out))
        other = tmp_path / "again.jsonl"
        list(Batch(found, rows, out=other, runner=runner).run())
        assert sum(server.asked.values()) == 2  # the cache has answered


def test_the_retry_plugin_waits_for_the_same_controller(tmp_path: Path) -> None:
    """A provider that refuses for a second is not asked again by a plugin before that."""

    def answer(request: Request) -> str:
        if len(upstream.requests) <= 4:
            raise RateLimited("slow down", status=429, retry_after=0.3)
        return "yes"

    upstream, runner = fake(answer)
    found = Persona.parse(SOURCE + "plugins: [{retry: {attempts: 2, backoff: 0}}]\n", "p.yaml")
    with runner:
        out = tmp_path / "out.jsonl"
        batch = Batch(found, numbered(4), out=out, runner=runner, concurrency=4)
        assert [result.ok for result in batch.run()] == [True] * 4
    assert len(upstream.requests) == 8


def test_an_answer_with_a_schema_is_written_parsed(tmp_path: Path) -> None:
    schema = "output: {type: object, properties: {n: {type: integer}}, required: [n]}\n"
    _, runner = fake('{"n": 3}', "no json")
    out = tmp_path / "out.jsonl"
    with runner:
        found = Persona.parse(SOURCE + schema, "p.yaml")
        list(Batch(found, numbered(2), out=out, runner=runner, concurrency=1).run())
    (line,) = lines(out)
    assert line["parsed"] == {"n": 3}
    (failed,) = failures(out)
    assert failed["code"] == "invalid_answer"


def test_a_row_that_waits_for_a_person_is_a_failure_with_its_question(tmp_path: Path) -> None:
    class Asks:
        name = "asks"

        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            import personakit

            await personakit.ask("Send it?", choices=("yes", "no"))
            return await send(request)

    upstream = Upstream(["yes"])
    config = Config(model=MODEL, path=(), environ={"OPENAI_API_KEY": "k"})
    out = tmp_path / "out.jsonl"
    with Runner(config, backend=upstream, plugins=[Asks()], log=False) as runner:
        list(Batch(persona(), numbered(1), out=out, runner=runner).run())
    (failed,) = failures(out)
    assert failed["questions"] == ["Send it?"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": "answers.csv"}, "must be a file that ends in .jsonl"),
        ({"concurrency": 0}, "concurrency must be 1 to 10,000, found 0"),
        ({"in_flight": "resnd"}, "in_flight must be ask, resend or fail, found 'resnd'"),
        ({"limitt": 3}, "unknown argument 'limitt'; did you mean 'limit'"),
        ({"max_usd": -1}, "max_usd must be a number above 0, found -1"),
        ({"keep": "text"}, "keep must be a list of columns"),
        ({"key": "idd"}, "idd"),
        ({"variables": {"tex": "x"}}, "unknown variable 'tex'"),
    ],
)
def test_a_wrong_argument_sends_and_writes_nothing(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    upstream, runner = fake()
    arguments = {"out": tmp_path / "out.jsonl", **given}
    arguments["out"] = tmp_path / arguments["out"]
    with runner, pytest.raises(UsageError, match=message):
        list(Batch(persona(), numbered(2), runner=runner, **arguments).run())
    assert upstream.requests == []
    assert {path.suffix for path in tmp_path.iterdir()} <= {".rows"}


def test_a_persona_whose_plugins_are_wrong_writes_nothing(tmp_path: Path) -> None:
    upstream, runner = fake()
    found = Persona.parse(SOURCE + "plugins: [cache, {redact: {entities: [email]}}]\n", "p.yaml")
    with runner, pytest.raises(PersonaError, match="'redact' must be outside of 'cache'"):
        list(Batch(found, numbered(3), out=tmp_path / "out.jsonl", runner=runner).run())
    assert upstream.requests == []
    assert {path.suffix for path in tmp_path.iterdir()} <= {".rows"}


def test_lines_are_json_of_one_line_each(tmp_path: Path) -> None:
    _, runner = fake("a\nb\u2028c\u0085\ud83d\ude00")
    out = tmp_path / "out.jsonl"
    with runner:
        list(Batch(persona(), numbered(3), out=out, runner=runner).run())
    data = out.read_bytes()
    assert data.count(b"\n") == 3
    assert all(json.loads(line)["index"] in range(3) for line in data.split(b"\n")[:-1])
