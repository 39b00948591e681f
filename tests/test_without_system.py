"""A persona without a system message: all that reads, shows or continues one works."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.conversation import say, shown

from personakit.testing import MODES, Server, persona, runner

CAPITALS = """\
description: Names capitals.
messages:
  - user: France
  - assistant: Paris
prompt: "{{ input }}"
"""
ROMANS = """\
extends: capitals
description: Names ancient capitals.
messages:
  append:
    - user: Egypt
    - assistant: Memphis
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_conversation_sends_no_system_message(mode: str) -> None:
    running, upstream = runner(["Rome", "Madrid"])
    conversation = running.conversation(persona(None, prompt="Capital of {{ input }}?"))
    for turn in ("Italy", "Spain"):
        say(conversation, mode, turn)
    sent = upstream.requests[-1]
    assert sent.system == ""
    assert shown(sent.messages) == [
        ("user", "Capital of Italy?"),
        ("assistant", "Rome"),
        ("user", "Capital of Spain?"),
    ]


def test_what_is_added_to_the_system_message_becomes_one() -> None:
    request = runner()[0].render(persona(None, prompt="{{ input }}"), "Hi").with_system("Be brief.")
    assert shown(request.messages) == [("system", "Be brief."), ("user", "Hi")]


def test_few_shot_messages_alone_are_a_persona() -> None:
    running, _ = runner()
    found = persona(None, messages=[{"user": "France"}, {"assistant": "Paris"}])
    assert [role for role, _ in shown(running.render(found, "Italy").messages)] == [
        "user",
        "assistant",
        "user",
    ]
    assert running.hash(found) != running.hash(persona(None, messages=[{"user": "France"}]))


def test_messages_that_are_too_large_together_are_refused() -> None:
    half = {"user": "{{ 'x' * 150000 }}"}
    with pytest.raises(Exception, match=r"messages\.0\.user: the messages would be too large"):
        runner()[0].render(persona(None, messages=[half, half]))


def test_the_command_line(shell: Any) -> None:
    shell.write("personas/capitals.yaml", CAPITALS)
    shell.write("personas/romans.yaml", ROMANS)
    assert shell("lint", "--strict").returncode == 0
    explained = shell("render", "romans", "Italy", "--explain").stdout
    for place in ("capitals.yaml:3", "capitals.yaml:4", "romans.yaml:5", "romans.yaml:6"):
        assert place in explained
    assert "system" not in explained
    changes = shell("render", "romans", "Italy", "--diff", "capitals").stdout
    assert "-Memphis" in changes
    assert "Paris" not in changes
    data = json.loads(shell("show", "romans", "--json").stdout)
    assert (data["system"], len(data["messages"])) == (None, 4)
    assert "--- system" not in shell("show", "romans").stdout


def test_a_run_is_logged_and_continued(shell: Any) -> None:
    shell.write("personas/capitals.yaml", CAPITALS)
    with Server(["Rome", "Madrid"]) as server:
        more = {**server.environ(), "PERSONAKIT_LOG": "log.db"}
        first = shell("run", "capitals", "Italy", "-m", "openai/m", **more)
        assert (first.returncode, first.stdout.strip()) == (0, "Rome"), first.stderr
        second = shell("run", "-c", "Spain", **more)
        assert (second.returncode, second.stdout.strip()) == (0, "Madrid"), second.stderr
        sent = server.requests[-1].body["messages"]
    assert [(it["role"], it["content"]) for it in sent] == [
        ("user", "France"),
        ("assistant", "Paris"),
        ("user", "Italy"),
        ("assistant", "Rome"),
        ("user", "Spain"),
    ]


@pytest.mark.parametrize("system", ["", "Answer in capitals.\n"])
def test_a_new_persona_extends_one(shell: Any, system: str) -> None:
    shell.write("personas/capitals.yaml", CAPITALS)
    more = ("--system", system) if system else ()
    done = shell("new", "loud", "--extends", "capitals", *more)
    assert done.returncode == 0, done.stderr
    text = (shell.folder / "personas/loud.yaml").read_text("utf-8")
    assert "parent.system" not in text
    assert "#   append:\n" in text
    assert shell("render", "loud", "Italy").stdout.startswith(
        "--- system" if system else "--- user"
    )


def test_a_new_persona_shows_a_value_for_the_declared_items_of_its_parent(shell: Any) -> None:
    items = "{items: {properties: {name: {example: Ada}, age: 7}}}"
    shell.write(
        "personas/party.yaml", f"prompt: '{{{{ guests }}}}'\nvariables: {{guests: {items}}}\n"
    )
    assert shell("new", "own", "--extends", "party").returncode == 0
    text = (shell.folder / "personas/own.yaml").read_text("utf-8")
    assert '#   guests: {example: [{"name": "Ada", "age": 7}]}' in text
