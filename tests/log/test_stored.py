"""What is stored in the run log, found in it and removed from it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.run_log import made, only, running
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    AuthenticationFailed,
    Config,
    Message,
    Provider,
    Registry,
    Request,
    Response,
    Runner,
    ToolCall,
    Usage,
    hookimpl,
)
from personakit.base import run_id
from personakit.database import Database
from personakit.errors import BackendError
from personakit.frozen import freeze
from personakit.log import LogError
from personakit.log.migrations import MIGRATIONS, Where
from personakit.log.repair import repair
from personakit.log.row import Row
from personakit.log.run_log import FORMAT, RunLog
from personakit.testing import Reply, Server, persona

# --- what is stored ----------------------------------------------------------------------------


anything = st.text(st.characters(codec=None)) | st.sampled_from(
    ["\ud800", "a\0b", "\udcff\n", "🙂"]
)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def one_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunLog]:
    made = RunLog(tmp_path_factory.mktemp("log") / "runs.db")
    yield made
    made.close()


@given(text=anything, variables=st.dictionaries(anything, plain, max_size=3))
def test_any_text_comes_back(text: str, variables: dict[str, Any], one_log: RunLog) -> None:
    call = ToolCall("c", "tool", text)
    rendered = Request(
        "test/model",
        (Message("system", text), Message("user", freeze([{"type": "text", "text": text}]))),
        {"stop": [text]},
        "who",
        variables,
    )
    said = (Message("assistant", text, (call,)), Message("tool", text, (), "c"))
    written = Row(run_id(time.time()), rendered, persona="who", text=text, messages=said)
    one_log.write(written)
    row = one_log.get(written.id)
    assert row.rendered == rendered
    assert row.messages == said
    assert row.text == text.encode("utf-8", "replace").decode()
    one_log.search(text)
    json.dumps(row.to_json(), allow_nan=False)


def test_what_json_cannot_hold_goes_in_as_text(log: RunLog) -> None:
    class Silent:
        def __str__(self) -> str:
            raise ValueError("no text")

    values = {"path": Path("x"), "silent": Silent(), "far": float("inf"), "near": 0.5}
    log.write(made(trace=({"values": values},)))
    assert only(log).trace[0]["values"] == {
        "path": "x", "silent": "<Silent>", "far": "inf", "near": 0.5
    }  # fmt: skip


def test_keys_are_not_in_it(tmp_path: Path, log: RunLog) -> None:
    key, header, literal = "sk-canary-0123456789", "Bearer canary-abcdefgh", "canary-in-the-config"

    class Careless:
        @hookimpl
        def chat(self, request: Request) -> Request:
            more = {"extra_headers": {"X-Key": "canary-header-value"}, "user": key}
            return request.replace(parameters={**request.parameters, **more})

    providers = {
        "test": Provider("test", key_env="TEST_KEY"),
        "other": Provider("other", api_key=literal, headers=(("Authorization", header),)),
    }
    said = f'no such key: {key}, {literal} or "{header}" (canary-abcdefgh)'
    runner = running(
        log,
        [BackendError(said, partial=key)],
        plugins=[Careless()],
        providers=providers,
        environ={"TEST_KEY": key},
    )
    with pytest.raises(BackendError):
        runner.run(persona(), f"My key is {key}.")
    row = only(log)
    assert row.error is not None
    assert row.error["message"].startswith("no such key: ***, *** or")
    assert row.asked == "My key is ***."
    runner.close()
    held = b"".join(file.read_bytes() for file in log.path.parent.iterdir())
    assert b"canary" not in held


def test_keys_of_plugins_are_not_in_it_even_when_they_are_refused(log: RunLog) -> None:
    with Server([Reply(b'{"error": {"message": "no"}}', 401)] * 2) as server:

        class Acme:
            @staticmethod
            @hookimpl
            def setup(registry: Registry) -> None:
                registry.secret("vault", lambda rest: f"canary-{rest}")
                registry.provider("named", base_url=server.base_url, key_env="ACME_KEY")

        vaulted = Provider("vaulted", server.base_url, api_key="vault:123456")
        environ = {"ACME_KEY": "canary-of-a-variable"}
        config = Config(
            path=(), select=frozenset(), environ=environ, providers={"vaulted": vaulted}
        )
        runner = Runner(config, plugins=[Acme], log=log)
        for provider, key in (("named", "canary-of-a-variable"), ("vaulted", "canary-123456")):
            with pytest.raises(AuthenticationFailed):
                runner.run(persona(), f"It is {key}.", model=f"{provider}/m")
        runner.close()
    assert [row.asked for row in log.find()] == ["It is ***."] * 2
    held = b"".join(file.read_bytes() for file in log.path.parent.iterdir())
    assert b"canary" not in held


def test_conversations(log: RunLog) -> None:
    assert log.last_conversation() is None
    assert not log.path.exists()
    for at, (text, conversation) in enumerate([("a", None), ("b", "t"), ("c", None), ("d", "t")]):
        log.write(made(text, at=100.0 + at, conversation=conversation))
    assert log.last_conversation() == "t"
    assert [row.text for row in log.conversation("t")] == ["b", "d"]
    last = made("e", at=200.0)
    log.write(last)
    # A run of its own is a conversation that one can go on with, under its own id.
    assert log.last_conversation() == last.id
    log.write(made("f", at=201.0, conversation=last.id))
    assert [row.text for row in log.conversation(last.id)] == ["e", "f"]
    log.write(made("", at=300.0, error={"type": "Timeout", "message": "late"}))
    assert log.last_conversation() == last.id
    log.write(made("g", at=400.0, replays=last.id))
    assert log.last_conversation() == last.id


def test_what_is_replayed_if_no_run_is_named(log: RunLog) -> None:
    with pytest.raises(LogError, match="the run log is empty"):
        log.last_to_replay()
    failed = made("", at=100.0, error={"type": "Timeout", "message": "late"})
    log.write(failed)
    with pytest.raises(LogError, match=f"every run failed or is a replay.*{failed.id[:14]}"):
        log.last_to_replay()
    first = made("a", at=50.0)
    for row in (first, made("b", at=200.0, replays=first.id)):
        log.write(row)
    assert log.last_to_replay().id == first.id
    assert log.get("last").replays == first.id


def test_finding(log: RunLog) -> None:
    log.write(made("Crème brûlée", at=1000.0, asked="A dessert?", model="openai/small"))
    log.write(made("晩ご飯はカレーです", at=2000.0, persona="bob", answered_by="small-2026"))
    log.write(made("", at=3000.0, error={"type": "Timeout", "message": "no dessert in time"}))

    def texts(**where: Any) -> list[str]:
        return [row.text for row in log.find(Where(**where))]

    assert texts() == ["", "晩ご飯はカレーです", "Crème brûlée"]
    assert texts(persona="bob") == texts(model="small-2026") == ["晩ご飯はカレーです"]
    assert texts(model="small") == texts(model="openai/small") == ["Crème brûlée"]
    assert texts(since=2000.0, before=3000.0) == ["晩ご飯はカレーです"]
    assert texts(failed=True) == [""]
    assert len(list(log.find(limit=2))) == 2
    assert next(log.find(oldest_first=True)).text == "Crème brûlée"

    def found(words: str) -> list[str]:
        return [one.row.text for one in log.search(words)]

    assert found("brulee CREME") == ["Crème brûlée"]
    assert found("dessert") == ["", "Crème brûlée"]
    assert found("dess*") == ["", "Crème brûlée"]
    assert found("esser") == ["", "Crème brûlée"]  # within a word
    assert found("カレー") == ["晩ご飯はカレーです"]
    assert found("nothing of it") == found("100%") == found("") == []
    assert found('dessert" OR "x') == []
    assert [one.row.text for one in log.search("dessert", Where(failed=True))] == [""]
    assert "\x02dessert\x03" in log.search("dessert")[1].excerpt


def test_a_run_is_found_by_the_beginning_of_its_id(log: RunLog) -> None:
    first, second = made("a", at=1000.0), made("b", at=2000.0)
    log.write(first)
    log.write(second)
    assert log.get(first.id[:14].upper()).text == "a"
    assert log.get("last").text == "b"
    none = "no run id begins"
    for name, message in [("00", "several runs"), ("zz", none), ("", none)]:
        with pytest.raises(LogError, match=message):
            log.get(name)


def test_figures(log: RunLog) -> None:
    log.write(made(usage=Usage(1, 2, 3), cost=0.5))
    log.write(made(usage=Usage(10, 20, 30)))
    log.write(made(persona="bob", error={"type": "Timeout", "message": "late"}))
    (total,) = log.sums()
    assert (total.runs, total.failed, total.prompt_tokens, total.completion_tokens) == (
        3,
        1,
        11,
        22,
    )
    assert (total.cost, total.unknown) == (0.5, 2)
    assert [(one.name, one.runs) for one in log.sums("persona")] == [("ann", 2), ("bob", 1)]
    assert [one.runs for one in log.sums("day")] == [3]


def test_all_tokens_and_attempts_are_kept(log: RunLog) -> None:
    took = Usage(100, 50, 150, 80, 30, cache_write_tokens=10, incomplete=True)
    response = running(log, [Response("Hello!", usage=took, attempts=3)]).run(persona(), "Hi!")
    row = only(log)
    assert row.usage == response.usage == took
    assert row.to_json()["usage"] == dataclasses.asdict(took)
    assert [step["attempts"] for step in row.trace] == [3]


def first_version(path: Path, count: int) -> None:
    """Write a file as the first version of the log had it."""
    database = Database(path, dataclasses.replace(FORMAT, migrations=MIGRATIONS[:1]))
    values = made("Old. " * 100, usage=Usage(1, 2, 3)).values()
    later = "cached_tokens reasoning_tokens cache_write_tokens incomplete replays notes history"
    names = [name for name in values if name not in later.split()]
    insert = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join(f':{n}' for n in names)})"
    rows = [{**values, "id": run_id(1000.0 + number)} for number in range(count)]
    database.write(lambda connection: connection.executemany(insert, rows))
    database.close()


def test_a_file_of_the_first_version_goes_on(log: RunLog) -> None:
    first_version(log.path, 1)
    assert only(log).usage == Usage(1, 2, 3)
    log.write(made(usage=Usage(1, 2, 3, 1, 2)))
    assert [row.usage for row in log.find()] == [Usage(1, 2, 3, 1, 2), Usage(1, 2, 3)]
    assert len(log.search("old")) == 1


def test_a_damaged_file_of_the_first_version_is_mended(log: RunLog) -> None:
    first_version(log.path, 200)
    content = bytearray(log.path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    log.path.write_bytes(content)
    mended = repair(log)
    assert mended.aside is not None
    assert 100 < mended.runs < 200
    assert {row.usage for row in log.find()} == {Usage(1, 2, 3)}


def indexed(path: Path, word: str) -> int:
    """Return how many rows with a word are in the index of a log."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT count(*) FROM texts WHERE texts MATCH ?", (word,))
        return int(found.fetchone()[0])


def test_the_search_index_gets_rows_in_batches_and_before_a_search(log: RunLog) -> None:
    log.write(made("early bird"))
    assert indexed(log.path, "bird") == 0
    assert [one.excerpt for one in log.search("bird")] == ["early \x02bird\x03"]
    assert indexed(log.path, "bird") == 1
    for _ in range(199):
        log.write(made("a bird"))
    assert indexed(log.path, "bird") == 1
    log.write(made("the last bird"))
    assert indexed(log.path, "bird") == 201
    assert len(log.search("bird", limit=300)) == 201


def test_a_row_is_removed_whether_or_not_it_is_indexed(log: RunLog) -> None:
    log.write(made("indexed bird", at=1000.0))
    assert len(log.search("bird")) == 1
    log.write(made("other bird", at=1500.0))
    log.write(made("kept bird", at=2000.0))
    assert log.remove(Where(before=1800.0)) == 2
    assert [one.row.text for one in log.search("bird")] == ["kept bird"]
    # Its number is given to the next row, which is not indexed.
    assert log.remove() == 1
    log.write(made("new bird"))
    assert [one.row.text for one in log.search("bird")] == ["new bird"]
    assert repair(log).aside is None


def test_a_search_finds_rows_that_cannot_be_indexed(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db")
    log.write(made("first bird"))
    log.search("bird")
    log.write(made("second bird"))
    log.close()
    with contextlib.closing(sqlite3.connect(log.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # As a file system that is read-only does, for every user.
        connection.execute(
            "CREATE TRIGGER readonly BEFORE DELETE ON unindexed "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert [one.row.text for one in log.search("bird")] == ["second bird", "first bird"]
    log.close()


def test_what_is_removed_is_gone_from_the_file(log: RunLog) -> None:
    log.write(made("a canary sings", at=1000.0))
    log.write(made("kept", at=2000.0))
    assert log.remove(Where(before=1500.0)) == 1
    assert [row.text for row in log.find()] == ["kept"]
    assert log.search("canary") == []
    held = b"".join(file.read_bytes() for file in log.path.parent.iterdir())
    assert b"canary" not in held
    assert b"kept" in held


def test_old_runs_are_forgotten(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db", max_age=3600.0)
    log.write(made("old", at=time.time() - 7200))
    log.write(made("new"))
    assert [row.text for row in log.find()] == ["new"]
    log.close()


def test_it_stays_below_its_size(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db", max_size=500_000)
    for number in range(300):
        log.write(made(f"{number} " + "word " * 2000))
    assert log.path.stat().st_size < 700_000
    kept = [int(row.text.split()[0]) for row in log.find()]
    assert kept == list(range(299, 299 - len(kept), -1))
    assert len(kept) > 5
    log.close()
