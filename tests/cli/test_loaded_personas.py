"""The commands with personas that a plugin loads, such as db:chef."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Commands
from helpers.run_log import made

from personakit import Registry, Runner, hookimpl
from personakit.cli import group
from personakit.cli.shared.shells import answers
from personakit.conversation import persona_of
from personakit.testing import Server
from personakit.testing import runner as fake_runner

MODEL = ("-m", "openai/test-model")
ROWS = {
    "chef": "description: Cooks.\nsystem: You are the chef of the database, {{ tone }}.\n"
    "variables: {tone: calm}\n"
    "tests:\n- name: short\n  render: {contains: the database}\n"
    "- name: asks\n  prompt: Hi\n  expect: {contains: x}\n",
    "bad": "sistem: x\n",
    "tea room": "description: y\nsystem: x\n",
}


class Rows:
    """A plugin with personas in a table."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.loader("db", Rows.load, list=lambda: {name: f"The {name}." for name in ROWS})

    @staticmethod
    def load(rest: str) -> str:
        if rest == "down":
            raise ConnectionError("no route to host")
        return ROWS[rest]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the plugin as a package that declares its scheme."""
    info = tmp_path / "site" / "acme_db-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-db\nVersion: 1.0\n")
    value = f"{__name__}:Rows"
    (info / "entry_points.txt").write_text(
        f"[personakit]\ndb = {value}\n[personakit.loaders]\ndb = {value}\n"
    )
    monkeypatch.syspath_prepend(info.parent)


@pytest.fixture
def cli(tmp_path: Path, site: None) -> Commands:
    commands = Commands(tmp_path)
    commands.env["PERSONAKIT_PLUGINS"] = "db"
    (tmp_path / "personas").mkdir()
    return commands


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Soup.", "Wine.", "Bread.", "Cheese."]) as running:
        yield running


def system(server: Server) -> list[str]:
    return [request.body["messages"][0]["content"] for request in server.requests]


def test_the_name_stays_in_the_log_and_in_what_continues(cli: Commands, server: Server) -> None:
    env = server.environ()
    first = cli("run", "db:chef", "Dinner?", *MODEL, "--json", **env)
    assert json.loads(first.out)["persona"] == "db:chef"
    assert cli("run", "-c", "And then?", **env).out == "Wine.\n"
    assert cli("chat", "-c", stdin="More?\n", **env).out == "Bread.\n"
    listed = cli("log", "list", "--persona", "db:chef", "--json").out
    assert [row["persona"] for row in json.loads(listed)] == ["db:chef"] * 3
    assert "db:chef" in cli("log", "show").out
    assert "Cheese." in cli("log", "replay", **env).out
    assert system(server) == ["You are the chef of the database, calm."] * 4
    assert [len(request.body["messages"]) for request in server.requests] == [2, 4, 6, 6]


def test_a_run_of_an_earlier_version_continues_with_its_persona() -> None:
    class Mine(Rows):
        pass

    running: Runner = fake_runner(plugins=[Mine])[0]
    row = dataclasses.replace(made(), persona="chef", path="db:chef")
    assert persona_of(running, row).name == "db:chef"


def test_a_chat_shows_the_name_and_completes_it(cli: Commands, shell: Any, server: Server) -> None:
    root = Path(__file__).parents[2]
    folders = cli.folder / "site", root, root / "tests"
    env = {"PERSONAKIT_PLUGINS": "db", "PYTHONPATH": os.pathsep.join(map(str, folders))}
    with shell.terminal("chat", "db:chef", *MODEL, **server.environ(), **env) as session:
        session.until("/help lists the commands")
        session.until("db:chef · openai/test-model")
        session.say("Dinner?")
        session.until("Soup.")
        session.press("/persona db:te\t")
        session.until("db:tea room")
        session.press("a room\r")
        session.until("db:tea room answers now")


def test_lists(cli: Commands) -> None:
    lines = cli("list").out.splitlines()
    assert lines[-3:] == [
        "db:bad\tThe bad.\t",
        "db:chef\tThe chef.\t",
        "db:tea room\tThe tea room.\t",
    ]
    assert len(lines) > 25
    assert cli("list", "db:", "tea").out == "db:tea room\tThe tea room.\t\n"
    assert json.loads(cli("list", "db:", "chef", "--json").out) == [
        {
            "name": "db:chef",
            "description": "The chef.",
            "tags": [],
            "version": "",
            "path": "db:chef",
        }
    ]
    assert cli("list", "zz:").err == "no persona matches zz:; `personakit list` shows all\n"
    assert "db:" not in cli("list", PERSONAKIT_PLUGINS="").out


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ("show db:chef", 0, "db:chef: Cooks."),
        ("render db:chef Hi", 0, "You are the chef of the database, calm."),
        ("render db:chef Hi --explain", 0, "db:chef:2"),
        ("render mine Hi --explain", 0, "extends db:chef  db:chef"),
        ("render db:chef Hi -v tone=loud", 0, "the database, loud."),
        ("lint db:chef", 0, "1 file checked, nothing found"),
        ("lint mine db:chef", 0, "2 files checked, nothing found"),
        (
            "lint db:bad",
            1,
            "db:bad:1:1: error: unknown key 'sistem'; did you mean 'system'? [PK010]",
        ),
        ("lint db:cheff", 2, "(KeyError: 'cheff'); did you mean 'db:chef'?"),
        (
            "lint db:down",
            2,
            "db:down: plugin 'db' cannot load it: ConnectionError: no route to host",
        ),
        ("lint zz:chef", 2, "no installed plugin provides the scheme 'zz:'"),
        ("lint outer.yaml", 1, "outer.yaml:2:10: error: extends: db:chef is not allowed: only a"),
        ("run outer.yaml Hi", 2, "outer.yaml:2:10: extends: db:chef is not allowed"),
        ("run db:down Hi", 2, "Error: db:down: plugin 'db' cannot load it: ConnectionError"),
        ("run db:cheff Hi", 2, "no persona 'db:cheff': plugin 'db' does not have it"),
        ("test db:chef -k short", 0, "1 passed"),
        ("test db:chef -k asks -m openai/x", 1, "'db:chef' is not a file"),
        ("edit db:chef", 2, "db:chef cannot be edited: it is not in a file, a plugin loads it"),
        ("new other --extends db:chef", 0, "Wrote personas/other.yaml"),
        ("new other --extends db:cheff", 2, "did you mean 'db:chef'?"),
    ],
)
def test_commands(cli: Commands, args: str, code: int, text: str) -> None:
    mine = "description: d\nextends: db:chef\n"
    cli.write("personas/mine.yaml", mine)
    cli.write("outer.yaml", mine)
    done = cli(*args.split())
    assert done.code == code, done
    assert text in done.out + done.err


@pytest.mark.parametrize(
    ("line", "shell_name", "expected"),
    [
        ("run d", "fish", "db:"),
        ("run db:", "fish", "db:bad db:chef db:tea room"),
        ("lint db:ch", "zsh", "db:chef"),
        ("run db:t", "bash", r"tea\ room"),
        ("run zz:", "fish", "(file)"),
        ("run db:chef -v ", "fish", "tone="),
    ],
)
def test_completion(
    cli: Commands, monkeypatch: pytest.MonkeyPatch, line: str, shell_name: str, expected: str
) -> None:
    monkeypatch.chdir(cli.folder)
    for name, value in cli.env.items():
        monkeypatch.setenv(name, value or "")
    env = {
        "_PERSONAKIT_COMPLETE": shell_name,
        "COMP_LINE": f"personakit {line}",
        "COMP_WORDBREAKS": " :=",
    }
    rows = [row.split("\t") for row in answers(group, env)]
    texts = [text if kind == "plain" else f"({kind})" for kind, text, _ in rows]
    assert " ".join(texts if line != "run d" else texts[-1:]) == expected
