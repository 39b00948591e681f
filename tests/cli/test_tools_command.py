"""`-T` and `--functions` of `run`, `chat` and `log replay`: what is sent, and what is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import plugin
from helpers.backend import DONE, chunk, whole

from personakit.testing import Reply, Server

FUNCTIONS = '''
def weather(city: str) -> str:
    """Return the forecast."""
    print("asked for", city)
    if city == "Nowhere":
        raise ValueError("no \\x1b[31msuch city")
    return f"{city}:\\n" + "sun " * 100
'''
EVENTS = {"content-type": "text/event-stream"}


class Asking(Server):
    """A server whose model calls `weather` twice before it answers."""

    def reply(self, answer: Any, body: Any) -> Reply:
        if body["messages"][-1]["role"] == "tool" or not body.get("tools"):
            return super().reply("It is sunny.", body)
        calls = [
            {"index": number, "id": str(number), "type": "function",
             "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
            for number, city in enumerate(("Lyon", "Nowhere"))
        ]  # fmt: skip
        message = {"role": "assistant", "content": "Let me see.", "tool_calls": calls}
        if not body.get("stream"):
            return Reply(json.dumps(whole(message, "tool_calls")).encode())
        return Reply(chunk(message) + chunk(reason="tool_calls") + DONE, headers=EVENTS)


@pytest.fixture
def server() -> Iterator[Server]:
    with Asking() as server:
        yield server


@pytest.fixture
def run(shell: Any, server: Server) -> Any:
    """Run `personakit` where a plugin provides `search`, and mine.py has a function."""
    shell.write("ann.yaml", "system: You help.\nmodel: openai/m\n")
    shell.write("mine.py", FUNCTIONS)
    site = plugin.install(shell.folder / "site")
    shell.env |= {**server.environ(), "PYTHONPATH": site, "PERSONAKIT_PLUGINS": "web"}
    return shell


def names(request: Any) -> list[str]:
    return [tool["function"]["name"] for tool in request.body.get("tools", ())]


def test_each_call_is_shown_on_standard_error(run: Any, server: Server) -> None:
    done = run("run", "ann.yaml", "Hi", "--functions", "mine.py", "-T", "search", "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["text"] == "Let me see.\n\nIt is sunny."
    first, second, third, fourth = done.stderr.splitlines()
    assert (first, third) == ("asked for Lyon", "asked for Nowhere")
    assert second.startswith('personakit: weather {"city": "Lyon"} → Lyon: sun sun ')
    assert "… (406 characters) (0." in second
    failed = (
        'personakit: weather {"city": "Nowhere"} → failed: ValueError: no \x1b[31msuch city (0.'
    )
    assert fourth.startswith(failed)
    assert names(server.requests[0]) == ["weather", "search"]
    # A run that goes on does not remember them.
    goes_on = run("run", "-c", "And?", "-T", "sea*", "--stream")
    assert (goes_on.returncode, goes_on.stdout[-13:]) == (0, "It is sunny.\n"), goes_on
    assert names(server.requests[2]) == ["search"]
    # Neither does a replay, which is not what is replayed next.
    again = run("log", "replay", "-T", "search", "--no-log")
    assert names(server.requests[-1]) == ["search"], again


def test_on_a_terminal_a_call_stands_on_a_line_of_its_own(run: Any) -> None:
    with run.terminal("run", "ann.yaml", "Hi", "--functions", "mine.py") as session:
        assert session.end() == 0
    lines = re.sub(r"\x1b\[2m[^\n]*?\x1b\[K", "", session.text).splitlines()
    assert lines[0] == "Let me see."
    assert lines[2].startswith('personakit: weather {"city": "Lyon"} → Lyon: sun')
    assert "no \\u001b[31msuch city" in session.text
    assert lines[-1] == "It is sunny."


def test_a_dry_run_shows_the_tools(run: Any, server: Server) -> None:
    args = ("run", "ann.yaml", "Hi", "--dry-run", "--functions", "mine.py", "-T", "search")
    assert (
        "--- tools\nweather(city): Return the forecast.\nsearch(words): Search the web.\n---"
    ) in run(*args).stdout
    shown = json.loads(run(*args, "--json").stdout)
    assert [tool["function"]["name"] for tool in shown["tools"]] == ["weather", "search"]
    assert server.requests == []


@pytest.mark.parametrize("command", ["run", "chat"])
def test_what_is_wrong_is_said_before_anything_is_sent(
    command: str, run: Any, server: Server
) -> None:
    unknown = run(command, "ann.yaml", "-T", "serch", stdin="Hi")
    assert unknown.returncode == 2
    assert "-T serch: no tool of this name; did you mean 'search'?" in unknown.stderr
    assert "installed tools: search (web)" in unknown.stderr
    run.write("ann.yaml", "system: x\ntools: [search]\nmodel: openai/m\n")
    run.write("mine.py", "\ndef search(): ...\n")
    twice = run(command, "ann.yaml", "-T", "search", "--functions", "mine.py", stdin="Hi")
    assert (twice.returncode, "mine.py:2: persona 'ann' has a tool 'search'" in twice.stderr) == (
        2,
        True,
    )
    assert server.requests == []


def test_a_provider_without_tools(run: Any, server: Server) -> None:
    config = {"providers": {"plain": {"base_url": server.base_url, "tools": False}}}
    run.write("home/.config/personakit/config.yaml", json.dumps(config))
    done = run("run", "ann.yaml", "Hi", "-T", "search", "-m", "plain/x")
    assert done.returncode != 0
    assert "'plain' does not support tools (search)" in done.stderr
    assert "leave out -T and --functions" in done.stderr
    assert server.requests == []


def test_a_tool_that_a_hook_adds_is_allowed(run: Any, server: Server) -> None:
    module = (
        "from personakit import Tool, hookimpl\nclass Adds:\n    @hookimpl\n"
        "    def chat(self, request):\n"
        "        return request.with_tools(Tool('added', print, touches=['files']))\n"
    )
    run.write("site/web_plugin.py", plugin.MODULE + module)
    run.write(
        "site/web-1.0.dist-info/entry_points.txt",
        "[personakit]\nweb = web_plugin:Web\nadds = web_plugin:Adds\n",
    )
    run.env["PERSONAKIT_PLUGINS"] = "adds"
    run.write("ann.yaml", "system: x\nplugins: [adds]\nmodel: openai/m\n")
    assert "-T added" in run("run", "ann.yaml", "Hi").stderr
    assert run("run", "ann.yaml", "Hi", "-T", "added").returncode == 0
    assert "did you mean 'added'" not in run("run", "ann.yaml", "Hi", "-T", "aded").stdout


def test_in_a_chat(run: Any, server: Server) -> None:
    args = ("chat", "ann.yaml", "--functions", "mine.py")
    piped = run(*args, stdin="Hi\n")
    assert piped.stdout == "Let me see.\n\nIt is sunny.\n"
    assert piped.stderr.count("weather {") == 2
    with run.terminal(*args) as session:
        session.until("leaves")
        session.press("Hi\r")
        session.until("5 messages")
        session.press("\x04")
        assert session.end() == 0
    shown = session.text
    first, call, last = map(shown.find, ("Let me see.", "weather {", "It is sunny."))
    # The text of a round is drawn once or more before its calls, never after them.
    assert -1 < first <= shown.rfind("Let me see.") < call < last


def test_completion_names_the_tools(run: Any) -> None:
    done = run(_PERSONAKIT_COMPLETE="fish", COMP_LINE="personakit run ann.yaml -T se")
    assert done.stdout.startswith("plain\tsearch\t")
