"""Standard input as a part of the prompt: what is read, where it stands, and what is not read."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Commands

from personakit.testing import Server

MODEL = ("-m", "openai/test-model")


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.write("chef.yaml", 'system: You cook.\nprompt: "Guest: {{ input }}"\n')
    return commands


@pytest.mark.parametrize(
    ("words", "stdin", "prompt"),
    [
        (["Explain", "this"], "SECRET\n", "Explain this\n\nSECRET\n"),
        (["Explain", "this", "-", "in", "brief"], "x", "Explain this\n\nx\n\nin brief"),
        (["-", "Explain it"], "x", "x\n\nExplain it"),
        ([], "x\n", "x\n"),
        (["Why?"], "", "Why?"),
        (["Why?"], " \n", "Why?"),
        (["Why?", "-s", "@-"], "x", "Why?"),
        (["Why?", "-f", "-"], "x", '<document name="standard input">\nx\n</document>\n\nWhy?'),
        (["Why?", "--key-file", "-"], "sk-key", "Why?"),
    ],
)
def test_where_it_stands(call: Commands, words: list[str], stdin: str, prompt: str) -> None:
    with Server() as server:
        assert call("ask", *words, *MODEL, stdin=stdin, **server.environ()).code == 0
    assert server.requests[-1].body["messages"][-1]["content"] == prompt


def test_run_and_render_read_it_as_ask_does(call: Commands) -> None:
    shown = "Guest: Soup?\n\nleeks\n"
    assert shown in call("render", "./chef.yaml", "Soup?", stdin="leeks\n").out
    with Server() as server:
        env = server.environ()
        call("run", "./chef.yaml", "Soup?", *MODEL, stdin="leeks\n", **env)
        call("run", "-c", "Else?", *MODEL, stdin="kale\n", **env)
        call("ask", "-c", "Else?", *MODEL, stdin="miso\n", **env)
    said = [request.body["messages"][-1]["content"] for request in server.requests]
    assert said == [shown, "Guest: Else?\n\nkale\n", "Guest: Else?\n\nmiso\n"]


@pytest.mark.parametrize("words", [["-"], ["Why?", "-"], ["Why?", "-f", "-"]])
@pytest.mark.parametrize("stdin", ["", "\n"])
def test_nothing_is_sent_for_an_empty_one(call: Commands, words: list[str], stdin: str) -> None:
    with Server() as server:
        done = call("ask", *words, *MODEL, stdin=stdin, **server.environ())
        assert (done.code, done.out, server.requests) == (2, "", [])
    assert "-` stands for standard input, which is empty; pipe a text in, or omit it" in done.err


def test_a_socket_and_a_device_are_not_read(shell: Any) -> None:
    shell.write("chef.yaml", "system: You cook.\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for stdin in (theirs.fileno(), subprocess.DEVNULL):
            done = subprocess.run(
                shell.args("render", "./chef.yaml", "Soup?"), stdin=stdin, capture_output=True,
                cwd=shell.folder, env=shell.env, timeout=60, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_that_gives_nothing_is_named_once(shell: Any) -> None:
    shell.write("chef.yaml", "system: You cook.\n")
    with subprocess.Popen(
        shell.args("render", "./chef.yaml", "Soup?"), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=shell.folder, env=shell.env,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        awaited = process.stderr.readline()
        out, err = process.communicate(b"leeks", timeout=60)
    assert awaited.startswith(
        b"personakit: waiting for standard input, which is a pipe; `< /dev/nu"
    )
    assert (b"Soup?\n\nleeks" in out, err) == (True, b"")
