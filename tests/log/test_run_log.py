"""The run log: every run is in it, from any number of processes, and it never costs an answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.run_log import config, in_modes, made, only, running

from personakit import (
    Blocked,
    Message,
    PluginError,
    Request,
    Response,
    Runner,
    ToolCall,
    Trace,
    Usage,
    hookimpl,
)
from personakit.config import LogSettings
from personakit.errors import ConfigError, UpstreamUnavailable
from personakit.log.run_log import RunLog
from personakit.testing import Upstream, in_mode, persona


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
assert not {"sqlite3", "personakit.log", "personakit.log.run_log"} & set(sys.modules)
"""
    # Measuring coverage loads sqlite3.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    args = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(args, check=True, cwd=tmp_path, env=env)
