"""What a run paid and what its plugins noted, as the command line shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.cli import Commands

from personakit.testing import Reply, Server

PERSONA = """
system: You are Ann.
plugins:
  - guard: {input: {judge: judge}}
  - budget: {day_tokens: 1000000}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["allow", "Hello from Lyon."]) as made:
        yield made


@pytest.fixture
def commands(tmp_path: Path, server: Server) -> Commands:
    commands = Commands(tmp_path)
    commands.env |= {
        **server.environ(),
        "PERSONAKIT_PLUGINS": "guard,budget",
        "PERSONAKIT_MODEL": "openai/test-model",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    commands.write("ann.yaml", PERSONA)
    commands.write("judge.yaml", "system: Say allow if the text is polite.\n")
    commands.env["PERSONAKIT_PATH"] = str(tmp_path)
    return commands


def test_usage_json_and_the_log_count_every_call(commands: Commands) -> None:
    done = commands("run", "ann", "Hi!", "--json", "-u")
    assert done.code == 0, done.err
    written = json.loads(done.out)
    assert written["spent"]["calls"] == 2
    total = written["spent"]["usage"]["total_tokens"]
    assert total > written["usage"]["total_tokens"]
    assert written["metadata"]["budget"]["tokens"] == total
    assert ", 2 calls, openai/test-model" in done.err
    row = json.loads(commands("log", "show", "--json").out)
    assert row["usage"]["total_tokens"] == total
    assert row["calls"] == 2
    assert row["notes"]["budget"]["tokens"] == total
    shown = commands("log", "show").out
    assert f'"tokens": {total}' in shown
    assert "2 model calls" in shown


def test_runs_are_found_by_their_notes(commands: Commands) -> None:
    commands("run", "ann", "Hi!")
    (row,) = json.loads(commands("log", "list", "--json").out)
    total = row["usage"]["total_tokens"]
    found = [f"budget.tokens={total}", f"budget.left.day_tokens={1_000_000 - total}"]
    for where in (["--where", found[0]], ["--where", found[0], "--where", found[1]]):
        assert json.loads(commands("log", "list", "--json", *where).out) == [row]
    for missing in ("budget.tokens=1", "budget=x", "other=b", "budget.usd=0"):
        assert json.loads(commands("log", "list", "--json", "--where", missing).out) == []
    assert json.loads(commands("log", "list", "--json", "--where", "budget.usd=null").out) == [row]


@pytest.mark.parametrize("wrong", ["variant", "=b", "a..b=1", '"=1'])
def test_a_wrong_condition_says_how_to_write_it(commands: Commands, wrong: str) -> None:
    done = commands("log", "list", "--where", wrong)
    assert done.code == 2
    assert "expected NAME=VALUE, such as variant=b or budget.tokens=120" in done.err


def test_a_failed_run_shows_what_it_paid(commands: Commands, server: Server) -> None:
    server.answers = ["allow", Reply(b"{}", 400)]
    done = commands("run", "ann", "Hi!", "-u")
    assert done.code == 1
    assert " tokens in, 5 out, cost unknown\n" in done.err
    row = json.loads(commands("log", "show", "--json").out)
    assert row["usage"]["total_tokens"] > 0
    assert row["error"]["type"] == "BadRequest"
