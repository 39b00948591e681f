"""The run log: every run is in it, from any number of processes, and it never costs an answer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    AuthenticationFailed,
    Blocked,
    Config,
    Message,
    PluginError,
    Provider,
    Registry,
    Request,
    Response,
    Runner,
    ToolCall,
    Trace,
    Usage,
    hookimpl,
)
from personakit.config import LogSettings
from personakit.errors import BackendError, ConfigError, UpstreamUnavailable, UsageError
from personakit.frozen import freeze
from personakit.log import LogError, Recorder, Row, RunLog, Where
from personakit.log.database import Database, networked
from personakit.log.migrations import MARK, MIGRATIONS
from personakit.log.repair import repair
from personakit.log.row import new_id
from personakit.testing import MODES, Reply, Server, Upstream, in_mode, persona

in_modes = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    made = RunLog(tmp_path / "data" / "runs.db")
    yield made
    made.close()


def running(log: Any, answers: Any = ("Hello!",), **more: Any) -> Runner:
    upstream = Upstream(answers, fail_after=more.pop("fail_after", None))
    plugins = more.pop("plugins", ())
    config = Config(model="test/model", path=(), **more)
    return Runner(config, plugins=plugins, backend=upstream, log=log)


def only(log: RunLog) -> Row:
    (row,) = log.find()
    return row


def made(text: str = "An answer.", *, at: float | None = None, **fields: Any) -> Row:
    """Return a row that no run made."""
    asked = fields.pop("asked", "Hi!")
    request = Request(fields.pop("model", "test/model"), (Message("user", asked),))
    answer = (Message("assistant", text),)
    started = new_id(time.time() if at is None else at)
    return Row(started, request, text=text, messages=answer, **{"persona": "ann", **fields})


@in_modes
def test_a_run_is_a_row(mode: str, log: RunLog) -> None:
    runner = running(log)
    who = persona("You are {{ name }}.", variables={"name": "Ann"}, version="1.2")
    response = in_mode(mode, runner, who, "Hi!", conversation="talk", parameters={"seed": 7})
    row = only(log)
    assert row.rendered == runner.render(who, "Hi!", parameters={"seed": 7})
    assert (row.persona, row.version, row.path) == ("test", "1.2", "test.yaml")
    assert row.hash == runner.hash(who)
    assert (row.model, row.variables, row.asked) == ("test/model", {"name": "Ann"}, "Hi!")
    assert row.conversation == "talk"
    assert (row.text, row.finish_reason, row.usage) == ("Hello!", "stop", response.usage)
    assert row.messages == response.messages == (Message("assistant", "Hello!"),)
    assert (row.sent, row.error, row.calls) == (None, None, 1)
    assert [step["way"] for step in row.trace] == ["answered"]
    assert 0 < row.timings.total < 60
    assert (row.timings.first_text is not None) == ("stream" in mode)
    runner.close()


class Loud:
    @hookimpl
    async def chat(self, request: Request, send: Any) -> Response:
        response: Response = await send(request.with_system("Be loud."))
        return response.replace(text=response.text.upper())


@in_modes
def test_what_plugins_changed_is_kept(mode: str, log: RunLog) -> None:
    runner = running(log, plugins=[Loud()])
    in_mode(mode, runner, persona(), "Hi!")
    row = only(log)
    assert row.rendered.system == "You are a test."
    assert row.sent is not None
    assert row.sent.system == "You are a test.\n\nBe loud."
    assert row.text == "HELLO!"
    outer = row.trace[0]
    assert (outer["hook"], outer["depth"], outer["way"]) == ("chat", 0, "held")
    assert "Be loud." in outer["request"]
    assert '+  "text": "HELLO!"' in outer["response"]
    runner.close()


def test_the_calls_of_tools_are_in_the_row(log: RunLog) -> None:
    class Weather:
        @hookimpl
        def setup(self, registry: Any) -> None:
            def weather(town: str) -> str:
                """Return the weather of a town."""
                return f"rain in {town}"

            registry.tool(weather)

    call = ToolCall("c1", "weather", '{"town": "Lyon"}')
    first = Response("", tool_calls=(call,), finish_reason="tool_calls", usage=Usage(1, 2, 3))
    runner = running(log, [first, "Take a coat."], plugins=[Weather()])
    response = runner.run(persona(tools=["weather"]), "Lyon?")
    row = only(log)
    assert row.messages == response.messages
    assert row.tool_calls == (call,)
    assert (row.calls, row.sent, row.usage) == (2, None, response.usage)
    assert [tool.name for tool in row.rendered.tools] == ["weather"]
    assert [found.row.id for found in log.search("rain coat")] == [row.id]
    runner.close()


@in_modes
def test_a_run_that_fails_is_a_row_with_what_had_arrived(mode: str, log: RunLog) -> None:
    runner = running(log, fail_after=3)
    with pytest.raises(ConnectionError):
        in_mode(mode, runner, persona(), "Hi!")
    row = only(log)
    assert row.error is not None
    assert row.error["type"] == "ConnectionError"
    assert row.text == ("Hel" if "stream" in mode else "")
    assert row.messages == ()
    runner.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UpstreamUnavailable("gone", partial="Half an", status=503, request_id="r1"), "Half an"),
        (PluginError("broke", plugin="loud", response=Response("Paid for.")), "Paid for."),
        (Blocked("not here"), ""),
    ],
)
def test_an_error_says_what_it_was(error: Exception, text: str, log: RunLog) -> None:
    runner = running(log, [error])
    with pytest.raises(type(error)):
        runner.run(persona(), "Hi!")
    row = only(log)
    assert row.text == text
    assert row.error is not None
    assert row.error["type"] == type(error).__name__
    assert row.error["message"] == str(error)
    assert row.error.get("status") == getattr(error, "status", None)
    runner.close()


def test_a_stream_that_is_closed_leaves_what_went_out(log: RunLog) -> None:
    runner = running(log, ["Hello, world."])
    with runner.stream(persona(), "Hi!") as stream:
        assert next(stream) == "Hel"
    runner.close()
    row = only(log)
    assert row.error is not None
    assert (row.error["type"], row.text) == ("Abandoned", "Hel")


def test_an_async_stream_that_is_closed_leaves_what_went_out(log: RunLog) -> None:
    runner = running(log, ["Hello, world."])

    async def run() -> None:
        async with runner.astream(persona(), "Hi!") as stream:
            assert await anext(stream) == "Hel"
        await runner.aclose()

    asyncio.run(run())
    row = only(log)
    assert row.error is not None
    assert (row.error["type"], row.text) == ("Abandoned", "Hel")


def test_many_runs_at_once_are_all_there(log: RunLog) -> None:
    runner = running(log)

    async def run() -> None:
        await asyncio.gather(*(runner.arun(persona(), f"{n}") for n in range(100)))
        await runner.aclose()

    asyncio.run(run())
    assert {row.asked for row in log.find()} == {str(n) for n in range(100)}


def test_a_trace_of_the_callers_own_is_used(log: RunLog) -> None:
    runner, trace = running(log), Trace()
    runner.run(persona(), "Hi!", trace=trace)
    assert len(trace.steps) == len(only(log).trace) == 1
    runner.close()


def test_other_runs_within_a_run_and_dry_runs_are_no_rows(log: RunLog) -> None:
    class Judge:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            await send.run(persona("You judge."), "Is it good?")
            response: Response = await send(request)
            return response

    runner = running(log, plugins=[Judge()])
    runner.prepare(persona(), "Hi!")
    assert list(log.find()) == []
    runner.run(persona(), "Hi!")
    assert only(log).asked == "Hi!"
    runner.close()


# --- where it is, and when -------------------------------------------------------------------


def config(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(f"model: test/model\n{text}", "utf-8")
    env = {"PERSONAKIT_CONFIG": str(file), "XDG_DATA_HOME": str(folder / "share"), **environ}
    return Config.read(env)


@pytest.mark.parametrize(
    ("text", "argument", "logged"),
    [
        ("", None, False),
        ("", True, True),
        ("", False, False),
        ("log: {python: true}", None, True),
        ("log: {python: true}", False, False),
        ("log: off", True, False),
        ("log: false", True, False),
        ("log: on", None, False),
    ],
)
def test_python_is_logged_where_it_is_asked_for(
    text: str, argument: bool | None, logged: bool, tmp_path: Path
) -> None:
    runner = Runner(config(tmp_path, text), backend=Upstream(), log=argument)
    runner.run(persona(), "Hi!")
    runner.close()
    assert (tmp_path / "share" / "personakit" / "runs.db").exists() is logged


def test_the_environment_names_the_file_or_turns_it_off(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    runner = Runner(config(tmp_path, "", PERSONAKIT_LOG=str(other)), backend=Upstream(), log=True)
    runner.run(persona(), "Hi!")
    runner.close()
    assert other.exists()
    off = Runner(config(tmp_path, "", PERSONAKIT_LOG="off"), backend=Upstream(), log=True)
    off.run(persona(), "Hi!")
    off.close()
    assert not (tmp_path / "share").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log: sometimes", "log: expected off or a mapping, found a string 'sometimes'; write"),
        ("log: {max_age: 90}", "max_age: expected an age such as 90d, 12h or 2w, found an integer"),
        ("log: {max_size: 5 apples}", "max_size: expected a size such as 500MB"),
        ("log: {max_age: 0d}", "max_age: expected an age"),
        ("log: {max_ages: 90d}", "unknown key 'max_ages'; did you mean 'max_age'?"),
        ("log: {python: yes}", "python: expected true or false"),
    ],
)
def test_what_is_wrong_in_the_config_is_said(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, text)
    assert "config.yaml:2:" in str(caught.value)
    assert message in str(caught.value)


def test_ages_and_sizes(tmp_path: Path) -> None:
    found = config(tmp_path, "log: {max_age: 1.5d, max_size: 2MiB}").log
    assert (found.max_age, found.max_size) == (129_600.0, 2_097_152)
    none = config(tmp_path, "log: {max_age: none, max_size: none}").log
    assert (none.max_age, none.max_size) == (None, None)
    assert config(tmp_path, "").log == LogSettings(max_size=1_000_000_000)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_only_the_user_can_read_it(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        log = RunLog(tmp_path / "share" / "data" / "runs.db")
        log.write(made())
    finally:
        os.umask(before)
    folder = log.path.parent
    assert [each.stat().st_mode & 0o777 for each in (folder, folder.parent)] == [0o700] * 2
    files = list(folder.iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    log.close()


def test_without_a_log_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    code = """
import sys
from personakit import Config, Runner
from personakit.testing import Upstream, persona
Runner(Config(model="test/x", path=()), backend=Upstream()).run(persona(), "Hi!")
assert not {"sqlite3", "personakit.runlog", "personakit.recorder"} & set(sys.modules)
"""
    # Measuring coverage loads sqlite3.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    args = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(args, check=True, cwd=tmp_path, env=env)


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
    written = Row(new_id(time.time()), rendered, persona="who", text=text, messages=said)
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
    for name, message in [("00", "several runs"), ("zz", "no run begins"), ("", "no run begins")]:
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
    took = Usage(100, 50, 150, cached_tokens=80, reasoning_tokens=30)
    response = running(log, [Response("Hello!", usage=took, attempts=3)]).run(persona(), "Hi!")
    row = only(log)
    assert row.usage == response.usage == took
    assert row.to_json()["usage"] == dataclasses.asdict(took)
    assert [step["attempts"] for step in row.trace] == [3]


def first_version(path: Path, count: int) -> None:
    """Write a file as the first version of the log had it."""
    database = Database(path, MIGRATIONS[:1], MARK)
    values = made("Old. " * 100, usage=Usage(1, 2, 3)).values()
    names = [name for name in values if name not in ("cached_tokens", "reasoning_tokens")]
    insert = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join(f':{n}' for n in names)})"
    rows = [{**values, "id": new_id(1000.0 + number)} for number in range(count)]
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


# --- many processes, and none of them ends well ------------------------------------------------

WRITER = """
import os, sys, time
from personakit import Message, Request
from personakit.rows import Row, new_id
from personakit.runlog import RunLog

log = RunLog(sys.argv[1])
for number in range(int(sys.argv[2])):
    asked = Request("test/model", (Message("user", f"{number} " + "word " * 100),))
    row = Row(new_id(time.time()), asked, persona="ann", text="An answer. " * 50)
    log.write(row)
    os.write(1, (row.id + "\\n").encode())
"""


def writer(log: RunLog, rows: int, out: Any) -> subprocess.Popen[bytes]:
    code = [sys.executable, "-W", "error", "-c", WRITER, str(log.path), str(rows)]
    return subprocess.Popen(code, stdout=out)


def intact(path: Path) -> set[str]:
    """Check a log as a whole; return its ids."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO texts(texts, rank) VALUES ('integrity-check', 1)")
        return {row[0] for row in connection.execute("SELECT id FROM runs")}
    finally:
        connection.close()


def test_processes_that_all_begin_at_once_lose_no_row(log: RunLog, tmp_path: Path) -> None:
    outputs = [(tmp_path / f"{number}").open("wb+") for number in range(8)]
    processes = [writer(log, 25, output) for output in outputs]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert len(intact(log.path)) == 8 * 25
    for output in outputs:
        output.close()


def test_no_row_that_was_taken_is_lost_when_processes_are_killed(
    log: RunLog, tmp_path: Path
) -> None:
    chance = random.Random(7)
    outputs = [tmp_path / f"{number}" for number in range(12)]
    for batch in (outputs[:4], outputs[4:8], outputs[8:]):
        files = [output.open("wb") for output in batch]
        processes = [writer(log, 100_000, file) for file in files]
        for process, output in zip(processes, batch, strict=True):
            wanted, until = chance.randrange(1, 500), time.monotonic() + 30
            while output.stat().st_size < wanted and time.monotonic() < until:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        for file in files:
            file.close()
    # A line that was cut by the end of its process was not said.
    said = [line for output in outputs for line in output.read_text().split("\n")[:-1]]
    assert len(said) > 12
    assert set(said) <= intact(log.path)


def test_a_process_that_was_forked_opens_it_anew(log: RunLog) -> None:
    log.write(made("parent"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.write(made("child"))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    log.write(made("parent again"))
    assert {row.text for row in log.find()} == {"parent", "child", "parent again"}
    assert len(intact(log.path)) == 3


def test_a_runner_that_was_forked_goes_on_logging(log: RunLog) -> None:
    runner = running(log)
    runner.run(persona(), "parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            runner.run(persona(), "child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    runner.close()
    assert [row.asked for row in log.find()] == ["child", "parent"]


def test_a_log_that_is_replaced_is_opened_anew(log: RunLog) -> None:
    log.write(made("before"))
    log.path.rename(log.path.with_name("moved.db"))
    log.write(made("after"))
    assert [row.text for row in log.find()] == ["after"]


# --- a log that cannot be written ----------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"no database\n" * 1000)


def folder(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def newer(path: Path) -> None:
    log = RunLog(path)
    log.write(made())
    log.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def somebody_elses(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def device(path: Path) -> None:
    path.symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (garbage, "is damaged (file is not a database); `personakit log repair` keeps"),
        (folder, "is a folder: unable to open database file; PERSONAKIT_LOG names another file"),
        (below_a_file, "PERSONAKIT_LOG names another file, and `log: off`"),
        (newer, "was written by a newer personakit (its version is 99, the newest known here is"),
        (somebody_elses, "is another program's database; name another file"),
        (device, "PERSONAKIT_LOG"),
    ],
)
@in_modes
def test_a_log_that_cannot_be_written_costs_one_warning(
    mode: str,
    spoil: Callable[[Path], None],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "data" / "runs.db"
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() and spoil is not device else b""
    runner = running(RunLog(path))
    with caplog.at_level(logging.WARNING, "personakit"):
        for _ in range(3):
            assert in_mode(mode, runner, persona(), "Hi!").text == "Hello!"
        runner.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("personakit: not in the run log: ")
    if spoil is not device:
        assert message in said
        assert not path.is_file() or path.read_bytes() == before


def test_a_full_disk_costs_no_row_that_is_there(tmp_path: Path) -> None:
    code = """
import resource, sys, time
from personakit import Message, Request
from personakit.rows import Row, new_id
from personakit.runlog import RunLog

log, written = RunLog(sys.argv[1]), 0
asked = Request("test/model", (Message("user", "word " * 1000),))
try:
    for number in range(500):
        log.write(Row(new_id(time.time()), asked))
        written += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
except Exception as error:
    print(written, error)
"""
    path = tmp_path / "runs.db"
    args = [sys.executable, "-W", "error", "-c", code, str(path)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=True)
    written, _, said = done.stdout.partition(" ")
    assert str(path) in said
    assert len(intact(path)) == int(written) > 0


def test_without_shared_memory_it_does_without_the_write_ahead_log(log: RunLog) -> None:
    log.path.parent.mkdir()
    Path(f"{log.path}-shm").mkdir()
    for text in ("a", "b"):
        log.write(made(text))
        log.close()
    assert [row.text for row in log.find()] == ["b", "a"]
    log.close()
    # So it stays, for those who could as well.
    Path(f"{log.path}-shm").rmdir()
    log.write(made("c"))
    assert sorted(file.name for file in log.path.parent.iterdir()) == ["runs.db"]


@pytest.mark.parametrize(
    ("mounts", "remote"),
    [
        ("/dev/sda / ext4 rw 0 0\n", False),
        ("/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n", True),
        ("server:/ / nfs rw 0 0\n/dev/sda /home/ann ext4 rw 0 0\n", False),
        ("/dev/sda / ext4 rw 0 0\n//pc/my\\040home /home/ann cifs rw 0 0\nx\n", True),
        ("", False),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(mounts: str, remote: bool) -> None:
    assert networked(Path("/home/ann/.local/share/runs.db"), mounts) is remote


@in_modes
def test_a_log_that_is_locked_holds_nobody_up(
    mode: str, log: RunLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder = Recorder(log, patience=0.05)
    runner = running(recorder)
    for _ in range(3):
        assert in_mode(mode, runner, persona(), "Hi!").text == "Hello!"
    other.execute("COMMIT")
    other.close()
    runner.close()
    # Once it is free, what had to wait is written.
    assert [row.text for row in log.find()] == ["Hello!"] * 3 + ["before"]
    assert caplog.records == []


def test_many_runs_get_their_answers_while_the_log_is_locked(log: RunLog) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    runner = running(Recorder(log, patience=0.2))

    async def run() -> None:
        answers = await asyncio.gather(*(runner.arun(persona(), f"{n}") for n in range(50)))
        assert [answer.text for answer in answers] == ["Hello!"] * 50
        other.execute("COMMIT")
        await runner.aclose()

    asyncio.run(run())
    other.close()
    assert len(list(log.find())) == 51


def test_a_log_that_stays_locked_is_an_error_that_says_so(log: RunLog) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogError, match="is locked by another process") as caught:
        log.write(made("not now"), wait=0.1)
    assert caught.value.locked
    other.close()
    assert [row.text for row in log.find()] == ["before"]


@pytest.mark.parametrize("log", ["runs.db", Path("runs.db"), 1])
def test_a_log_that_is_none_is_not_taken_for_the_user_s(log: Any) -> None:
    with pytest.raises(UsageError, match=r"log: expected True, False or a RunLog\(path\), found"):
        Runner(Config(), log=log)
