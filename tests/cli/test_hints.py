"""What commands say about the words of other tools, and about a prompt without a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.cli import Commands

from personakit.cli import COMMANDS, group
from personakit.cli.shared import hints
from personakit.testing import Server

MODEL = ("-m", "openai/test-model")


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.write(
        "greeter.yaml",
        "system: Greet.\nvariables: {language: {enum: [English, French], default: English}}\n",
    )
    return commands


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chef", "Dinner"], "unknown command 'chef'; it is a persona: `personakit run chef`"),
        (["./x.yaml"], "unknown command './x.yaml'; it is a persona: `personakit run ./x.yaml`"),
        (["Why is it so?"], "; `personakit ask TEXT` asks a question"),
        (["Why?"], "; `personakit ask TEXT` asks a question"),
        (["logs"], "; `personakit log list` lists the runs"),
        (["similar", "x"], "; texts are searched by the plugin rag"),
        (["mcp"], "unknown command 'mcp'; the plugin mcp has it: "),
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["zzzz"], "unknown command 'zzzz'; `"),
        (["ask", "-o", "temperature", "0"], "; use -p NAME=VALUE, such as -p temperature=0.2"),
        (["chat", "-t", "chef"], "; a template is a persona: `personakit run PERSONA`"),
        (["run", "chef", "--cid", "7"], "; use --conversation ID"),
        (["run", "chef", "-s", "x"], "; a persona has its own system message; `personakit ask -s"),
        (["ask", "-v", "a=1", "x"], "; only a persona has variables"),
        (["ask", "--td", "x"], "; each tool call is shown"),
        (["ask", "--shema", "x"], "--schema"),
        (["list", "-t"], "requires an argument"),
        (["run", "./greeter.yaml", "-p", "language=French"], ": write -v language=French"),
        (["run", "./greeter.yaml", "-v", "temperature=0"], ": write -p temperature=0"),
        (["chat", "chef", "-s", "x"], "-s is the system message of a chat without PERSONA"),
        (["chat", "-s", "@-"], "standard input is used by -s @-"),
    ],
)
def test_an_error_names_what_to_write(call: Commands, words: list[str], message: str) -> None:
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


PLUGIN = """
import click
from personakit import hookimpl

outer = click.Group("outer")
inner = click.Group("inner")
outer.add_command(inner)
inner.add_command(click.Command("list"))

class Outer:
    @staticmethod
    @hookimpl
    def setup(registry):
        registry.command(outer)
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inr"], "unknown command 'inr'; did you mean 'inner'?"),
        (["zzz"], "unknown command 'zzz'; `personakit outer --help` lists them"),
        (["inner", "lst"], "unknown command 'lst'; did you mean 'list'?"),
        (["inner", "zzz"], "unknown command 'zzz'; `personakit outer inner --help` lists them"),
    ],
)
def test_plain_groups_of_plugins_suggest_commands(
    tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "outer.py").write_text(PLUGIN)
    info = tmp_path / "outer-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outer\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[personakit]\nouter = outer:Outer\n")
    done = subprocess.run(
        [sys.executable, "-m", "personakit", "outer", *words],
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path),
            "PERSONAKIT_PLUGINS": "outer",
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr


def test_hints_are_for_names_that_are_free() -> None:
    assert not hints.COMMANDS.keys() & COMMANDS.keys()
    context = group.make_context("personakit", ["ask"])
    command = group.get_command(context, "ask")
    assert command is not None
    taken = {option for parameter in command.params for option in parameter.opts}
    assert (hints.OPTIONS.keys() | hints._SHORT.keys()) & taken == {"-s", "--system"}


def test_a_chat_without_a_persona(call: Commands) -> None:
    with Server(["1", "2", "3", "4"]) as server:
        env = server.environ()
        done = call("chat", *MODEL, stdin="a\nb\n", **env)
        assert (done.code, done.out) == (0, "1\n2\n")
        assert [m["role"] for m in server.requests[-1].body["messages"]] == [
            "user", "assistant", "user",
        ]  # fmt: skip
        done = call("chat", *MODEL, "-s", "Be {{ brief }}.", "-n", stdin="c\n", **env)
        assert server.requests[-1].body["messages"][0]["content"] == "Be {{ brief }}."
        assert call("chat", "-c", stdin="d\n", **env).out == "4\n"
    assert [m["content"] for m in server.requests[-1].body["messages"]] == ["a", "1", "b", "2", "d"]


def test_short_options(call: Commands) -> None:
    with Server() as server:
        env = server.environ()
        assert "tokens in" in call("ask", "Hi", "-u", "-n", *MODEL, **env).err
        assert call("log", "list", "--json", **env).out == "[]\n"


def test_a_typo_of_a_persona_is_sent_and_named(call: Commands) -> None:
    with Server(["1", "2", "3"]) as server:
        env = server.environ()
        call("ask", "Hi", *MODEL, **env)
        done = call("run", "-c", "chf", "And?", **env)
        assert (done.code, done.out) == (0, "2\n")
        assert "no persona 'chf', so it is sent as the first word; did you mean 'chef'?" in done.err
        assert server.requests[-1].body["messages"][-1]["content"] == "chf And?"
        assert call("run", "-c", "And", "for three?", **env) == (0, "3\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["log", "list", "-n", "x"], "expected a whole number from 0 on, found 'x'"),
        (["log", "search", "a", "-n", "0"], "expected a whole number from 1 on, found '0'"),
        (
            ["ask", "Hi", *MODEL, "--schema", "p.yaml"],
            "p.yaml:1:1: expected a JSON Schema, found a",
        ),
        (["chat", *MODEL], "OPENAI_API_KEY"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_sent(
    call: Commands, words: list[str], message: str
) -> None:
    call.write("p.yaml", "system: Greet.\n")
    done = call(*words, OPENAI_API_KEY="")
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_personas_are_searched(call: Commands) -> None:
    found = call("list", "CHEF")
    assert (found.code, found.out.split("\t")[0], found.err) == (0, "chef", "")
    tags = found.out.strip().split("\t")[-1].split(", ")
    assert "chef\t" in call("list", "-t", tags[0]).out
    assert (
        f"no persona has the tag '{tags[0]}x'; did you mean"
        in call("list", "-t", f"{tags[0]}x").err
    )
    assert call("list", "zzz", "-t", tags[0]).err.startswith("no persona matches zzz, tag ")


def test_a_folder_of_personas_is_named_once(call: Commands) -> None:
    (call.folder / "personas").mkdir()
    env = {"PERSONAKIT_PATH": str(call.folder / "personas")}
    assert str(call.folder) not in call("run", "nobody", "Hi", *MODEL, **env).err
