"""`personakit ask`: a question without a persona, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Commands

from personakit.log import RunLog
from personakit.testing import Reply, Server

MODEL = ("-m", "openai/test-model")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.write("chef.yaml", 'system: You cook.\nprompt: "Guest: {{ input }}"\n')
    commands.write("cat.png", PNG)
    return commands


def said(server: Server, number: int = -1) -> list[tuple[str, Any]]:
    messages = server.requests[number].body["messages"]
    return [(message["role"], message["content"]) for message in messages]


def test_a_question_is_sent_alone_or_after_a_system_message(call: Commands) -> None:
    call.write("system.txt", "From {{ a }} file.")
    with Server(["Kale."]) as server:
        env = server.environ()
        assert call("ask", "What is {{ in }}", "season?", *MODEL, **env) == (0, "Kale.\n", "")
        assert said(server) == [("user", "What is {{ in }} season?")]
        assert call("ask", "Hi", "-s", "Be {% brief %}", *MODEL, **env).code == 0
        assert said(server) == [("system", "Be {% brief %}"), ("user", "Hi")]
        assert call("ask", "Hi", "-s", "@system.txt", *MODEL, **env).code == 0
        assert said(server)[0] == ("system", "From {{ a }} file.")
        assert call("ask", *MODEL, "-s", "@-", "Hi", stdin="From a pipe.", **env).code == 0
        assert said(server)[0] == ("system", "From a pipe.")
        assert call("ask", *MODEL, stdin="Piped?", **env).code == 0
        assert said(server) == [("user", "Piped?")]
        assert call("ask", "-s", "", "Look:", "-", *MODEL, stdin="x", **env).code == 0
        assert said(server) == [("user", "Look:\n\nx")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], 'no question; write one, as in `personakit ask "What is in season?"`'),
        (["-s", "You look."], "no question"),
        (["-s", "@nope.txt", "Hi"], "-s: cannot read nope.txt: No such file"),
        (["-s", "@-", "-"], "standard input can be read only once"),
        (["-v", "a=1", "Hi"], "No such option"),
        (["Hi", "--json-output"], "or with --schema"),
    ],
)
def test_wrong_usage_sends_nothing(call: Commands, words: list[str], message: str) -> None:
    with Server() as server:
        done = call("ask", *words, *MODEL, **server.environ())
        assert (done.code, done.out, server.requests) == (2, "", [])
    assert message in done.err


def test_the_options_of_run(call: Commands) -> None:
    with Server(["Kale."]) as server:
        env = server.environ()
        done = call("ask", "Hi", *MODEL, "-p", "temperature=0.1", "--usage", "--json", **env)
        assert json.loads(done.out)["persona"] == "ask"
        assert done.err.startswith("personakit: 5 tokens in")
        assert server.requests[0].body["temperature"] == 0.1
        assert call("ask", *MODEL, "-a", "cat.png", "--stream", **env).out == "Kale.\n"
        assert [part["type"] for part in said(server)[0][1]] == ["image_url"]
        done = call("ask", "Hi", *MODEL, "--dry-run", "--trace", **env)
        assert done.out == "--- user\nHi\n--- openai/test-model\n"
    with Server([Reply(b"{}", status=400)]) as server:
        done = call("ask", "Hi", *MODEL, "--trace", **server.environ())
        assert done.code == 1
        assert "model, failed" in done.err


def test_a_question_goes_on_with_ask_and_with_run(call: Commands) -> None:
    with Server(["1", "2", "3", "4", "5", "6"]) as server:
        env = server.environ()
        call("ask", "a", "-s", "Be {{ brief }}.", "-p", "temperature=0.3", *MODEL, **env)
        assert call("ask", "-c", "b", **env).out == "2\n"
        assert call("run", "-c", "c", **env).out == "3\n"
        assert said(server)[0] == ("system", "Be {{ brief }}.")
        assert [text for _, text in said(server)[1:]] == ["a", "1", "b", "2", "c"]
        assert server.requests[-1].body["temperature"] == 0.3
        # A persona, a system message of its own, and again the last one.
        assert call("run", "./chef.yaml", "-c", "d", **env).out == "4\n"
        assert said(server)[0] == ("system", "You cook.")
        assert call("ask", "-c", "e", **env).out == "5\n"
        assert (said(server)[0], said(server)[-1]) == (
            ("system", "You cook."),
            ("user", "Guest: e"),
        )
        assert call("ask", "-c", "-s", "Rhyme.", "f", **env).out == "6\n"
        assert said(server)[0] == ("system", "Rhyme.")
        assert [role for role, _ in said(server)] == ["system", *["user", "assistant"] * 5, "user"]


def test_a_question_without_a_system_message_goes_on_and_is_replayed(call: Commands) -> None:
    with Server(["1", "2", "2"]) as server:
        env = server.environ()
        call("ask", "a", *MODEL, **env)
        assert call("ask", "-c", "b", **env).out == "2\n"
        assert said(server) == [("user", "a"), ("assistant", "1"), ("user", "b")]
        done = call("log", "replay", "last", **env)
        assert (done.code, done.err) == (0, "the answer is the same\n")
        assert said(server, -1) == said(server, -2)
    log = RunLog(call.folder / "data" / "personakit" / "runs.db")
    assert {(row.persona, row.path) for row in log.find()} == {("ask", "<ask>")}
    log.close()


def test_a_persona_called_ask_is_another_one(call: Commands) -> None:
    call.write("ask.yaml", "system: You are a file.\n")
    with Server(["1", "2"]) as server:
        env = {**server.environ(), "PERSONAKIT_PATH": str(call.folder)}
        call("ask", "a", "-s", "You are typed.", *MODEL, **env)
        assert call("run", "-c", "b", **env).out == "2\n"
        assert said(server)[0] == ("system", "You are typed.")


def test_a_question_goes_on_in_a_chat_that_can_be_saved(call: Commands) -> None:
    with Server(["1", "2", "3"]) as server:
        env = server.environ()
        call("ask", "a", "-s", "Be {{ brief }}.", *MODEL, **env)
        done = call("chat", "-c", stdin="b\n/save talk.json\n/reset\n/load talk.json\nc\n", **env)
        assert (done.code, done.out) == (0, "2\n3\n")
        assert said(server)[0] == ("system", "Be {{ brief }}.")
        assert [text for _, text in said(server)[1:]] == ["a", "1", "b", "2", "c"]


def test_ask_is_listed_and_shows_its_options_on_a_terminal(shell: Any) -> None:
    done = shell("ask", "--help")
    assert all(option in done.stdout for option in ("--system", "--schema", "--fragment", "-x,"))
    assert "ask " in shell("--help").stdout
    with Server(["Kale."]) as server, shell.terminal("ask", "Hi", *MODEL, **server.environ()) as it:
        it.until("Kale.\n")
        assert it.end() == 0
