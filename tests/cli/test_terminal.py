"""No text controls a terminal, whatever it comes from and whichever command prints it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit.base import printable
from personakit.testing import Reply, Server

# In each field that a terminal may show.
MIDDLE = "\x9b31m\x7f\u202e\u2066\u200f\u061c\u2028"
CANARY = f"\x1b]0;PWN\x07\x1b[2J\x1b[31mRED{MIDDLE}\x85\rEND"
YAML = json.dumps(CANARY)
# What the commands write on purpose: colours, and rich's cursor.
OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2?K|1A)|\r(?=\n|\x1b)")
HOSTILE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# Runs each command as its entry point does, in one process: starting one takes longer.
DRIVER = """
import json, os, sys
from personakit import cli
from personakit.runner import default_runner
streams = sys.stdout, sys.stderr
for number, args in enumerate(json.loads(os.environ["COMMANDS"])):
    default_runner.cache_clear()
    vars(cli).pop("list", None)  # the module of a command hides what is built in
    sys.argv, (sys.stdout, sys.stderr) = ["personakit", *args], streams
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    for stream in sys.stdout, sys.stderr:
        stream.flush()
    os.write(1, f"\\n<<<{number} {code}>>>\\n".encode())
"""

PLUGIN = f'''
"""A module."""
import logging, sys, warnings
import click
from personakit import PersonakitError, ToolResult, hookimpl
CANARY = {CANARY!r}

@click.command("shout", short_help=CANARY, help=CANARY)
def command():
    click.echo(CANARY, color=True)
    click.echo(CANARY.encode())
    print(CANARY, file=sys.stderr)
    logging.warning(CANARY)
    warnings.warn(CANARY)
    raise click.ClickException(CANARY)

class Loud:
    __doc__ = CANARY
    def __init__(self, word: str = CANARY):
        self.word = word
    @staticmethod
    @hookimpl
    def setup(registry):
        registry.command(command)
        registry.format("raw", lambda request: CANARY)
        registry.tool(look)
    @hookimpl
    async def chat(self, request, send):
        response = await send.live(request)
        if "fails" in request.model:
            raise PersonakitError(CANARY)
        return response

def look(place: str) -> str:
    """Look."""
    return CANARY

class Broken:
    @staticmethod
    @hookimpl
    def setup(registry):
        raise ValueError(CANARY)
'''

PERSONA = f"""
description: {YAML}
version: {YAML}
authors: [{YAML}]
license: {YAML}
source: {YAML}
tags: [{YAML}]
parameters: {{stop: {YAML}}}
variables:
  v: {{type: string, default: {YAML}, description: {YAML}, example: {YAML}}}
  w: {{type: string, enum: [{YAML}, b], default: {YAML}}}
system: {YAML}
messages:
  - {{user: {YAML}}}
  - {{assistant: {YAML}}}
prompt: "{{{{ v }}}} {{{{ input }}}}"
tests:
  - name: {YAML}
    render: {{contains: [{json.dumps(CANARY + "?")}]}}
"""


class Loud(Server):
    """A server that sends the canary in each field; the model chooses what goes wrong."""

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        kind = str(body["model"]).partition("-")[0]
        if kind == "refused":
            error = {"error": {"message": CANARY, "type": CANARY, "code": CANARY}}
            name = {"x-request-id": "r\x9b31m"}
            return Reply(json.dumps(error).encode(), status=400, headers=name)
        message: dict[str, Any] = {"role": "assistant", "content": CANARY}
        message["reasoning_content"] = CANARY
        reason = CANARY if kind == "odd" else "length" if kind == "cut" else "stop"
        if kind == "tools" and body["messages"][-1]["role"] != "tool":
            place = json.dumps({"place": CANARY})
            function = {"name": "look", "arguments": place}
            call = {"index": 0, "id": CANARY, "type": "function", "function": function}
            message, reason = {**message, "tool_calls": [call]}, "tool_calls"
        part = "delta" if body.get("stream") else "message"
        choice = {"index": 0, part: message, "finish_reason": reason}
        data = {"id": CANARY, "model": CANARY, "object": CANARY, "choices": [choice]}
        if not body.get("stream"):
            return Reply(json.dumps(data).encode())
        texts = [{"content": text} for text in CANARY]  # cut after each character
        first = {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}
        events = [{**data, "choices": [{**first, "delta": delta}]} for delta in texts]
        lines = [f"data: {json.dumps(event)}\n\n" for event in (*events, data)]
        kinds = {"content-type": "text/event-stream"}
        return Reply("".join([*lines, "data: [DONE]\n\n"]).encode(), headers=kinds)


LOUD = f"bad{CANARY}.yaml"
# A mark after a command says what its output contains: the canary, JSON, or neither.
SHOWN, IS_JSON, LINES, ANY = "shown", "json", "json lines", "any"
COMMANDS: list[tuple[list[str], str]] = [
    (["show", "loud.yaml"], SHOWN),
    (["show", "loud.yaml", "--json"], IS_JSON),
    (["list"], SHOWN),
    (["list", "--json"], IS_JSON),
    (["lint", "loud.yaml", LOUD], SHOWN),
    (["lint", "loud.yaml", LOUD, "--json"], IS_JSON),
    (["lint", LOUD, "--format", "github"], SHOWN),
    (["test", "loud.yaml"], SHOWN),
    (["test", "loud.yaml", "-v", "-k", CANARY], SHOWN),
    (["render", "loud.yaml", CANARY], SHOWN),
    (["render", "loud.yaml", "Hi", "--json"], IS_JSON),
    (["render", "loud.yaml", "Hi", "--explain", "--tokens"], LINES),
    (["render", "loud.yaml", "Hi", "--diff", f"v=x{CANARY}"], SHOWN),
    (["render", "loud.yaml", "Hi", "--format", "raw"], SHOWN),
    (["render", "loud.yaml", "--format", CANARY], ANY),
    (["render", "loud.yaml", "-v", f"w={CANARY}?"], ANY),
    (["render", LOUD], SHOWN),
    (["run", "loud.yaml", "Hi", "--usage", "--trace"], SHOWN),
    (["run", "loud.yaml", "Hi", "--no-stream"], SHOWN),
    (["run", "loud.yaml", "Hi", "--json"], IS_JSON),
    (["run", "loud.yaml", "Hi", "--dry-run"], SHOWN),
    (["run", "loud.yaml", "Hi", "-m", "openai/tools"], SHOWN),
    (["run", "loud.yaml", "Hi", "-m", "openai/cut"], SHOWN),
    (["run", "loud.yaml", "Hi", "-m", "openai/odd", "--no-stream"], SHOWN),
    (["run", "loud.yaml", "Hi", "-m", "openai/refused", "--trace"], ANY),
    (["run", "loud.yaml", "Hi", "-m", f"openai/fails-{CANARY}"], SHOWN),
    (["run", "tooled.yaml", "Hi", "-m", "openai/tools", "--no-stream", "--trace"], SHOWN),
    (["run", "loud.yaml", "Hi", "-m", f"{CANARY}/x"], ANY),
    (["run", "-c", CANARY, "-m", "openai/x"], SHOWN),
    (["run", CANARY], ANY),
    (["chat", "loud.yaml", "-m", CANARY], ANY),
    (["log", "list"], SHOWN),
    (["log", "list", "--json"], IS_JSON),
    (["log", "show", "--trace"], SHOWN),
    (["log", "show", "--json"], IS_JSON),
    (["log", "search", "RED*"], SHOWN),
    (["log", "search", "RED*", "--json"], IS_JSON),
    (["log", "stats", "--by", "model"], SHOWN),
    (["log", "stats", "--json"], IS_JSON),
    (["log", "export"], LINES),
    (["log", "replay", "-m", "openai/y"], ANY),
    (["log", "list", "--since", CANARY], ANY),
    (["plugins"], SHOWN),
    (["plugins", "--json"], IS_JSON),
    (["plugins", "show", "loud"], SHOWN),
    (["plugins", "show", "broken"], SHOWN),
    (["plugins", "show", CANARY], ANY),
    (["keys", "list"], ANY),
    (["keys", "rm", CANARY], ANY),
    (["new", "greeter", "--extends", CANARY], ANY),
    (["new", CANARY], ANY),
    (["schema"], IS_JSON),
    (["shout"], SHOWN),
    (["shout", "--help"], ANY),
    (["--help"], ANY),
    (["--version"], ANY),
    ([CANARY], ANY),
    (["run", f"--{CANARY}"], ANY),
    (["budget"], ANY),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loud.yaml").write_text(PERSONA)
    (tmp_path / "tooled.yaml").write_text(PERSONA + "tools: [look]\nplugins: [loud]\n")
    (tmp_path / LOUD).write_text(f"system: {YAML}\nsytem: x\nmodel: [{YAML}]\n")
    library = tmp_path / "library"
    library.mkdir()
    (library / "loud.yaml").write_text(PERSONA)
    (library / f"{CANARY[:9]}.yaml").write_text("system: Hi.\n")
    site = tmp_path / "site"
    info = site / "loud-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\x9b31m\n")
    entries = "[personakit]\nloud = louder:Loud\nbroken = louder:Broken\n"
    (info / "entry_points.txt").write_text(entries)
    (site / "louder.py").write_text(PLUGIN)
    return tmp_path


def environment(folder: Path, server: Server) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "COV_"))}
    config = {"model": "openai/plain", "providers": {"mine": {"base_url": f"http://{CANARY}/v1"}}}
    (folder / "config.yaml").write_text(json.dumps(config))
    return {
        **kept,
        **server.environ(),
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm",
        "PYTHONPATH": str(folder / "site"),
        "PERSONAKIT_CONFIG": str(folder / "config.yaml"),
        "PERSONAKIT_PATH": str(folder / "library"),
        "PERSONAKIT_PLUGINS": "loud,broken,budget",
        "COMMANDS": json.dumps([args for args, _ in COMMANDS]),
    }


def on_terminal(folder: Path, env: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 20_000, 0, 0))
    # A carriage return must not come from the terminal's own translation of newlines.
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    data = bytearray()

    def read() -> None:
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:
                return
            data.extend(piece)

    reader = threading.Thread(target=read)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        cwd=folder, env=env,
    )  # fmt: skip
    os.close(theirs)
    reader.start()
    code = process.wait(120)
    reader.join(60)
    os.close(ours)
    assert code == 0, data[-3000:]
    return data.decode("utf-8")


def outputs(text: str) -> list[str]:
    """Return the output of each command."""
    parts = re.split(r"\n<<<\d+ [-\w]+>>>\n", text)
    assert len(parts) == len(COMMANDS) + 1, parts[-1]
    return parts[:-1]


def test_on_a_terminal_every_command_shows_control_characters_as_marks(folder: Path) -> None:
    with Loud() as server:
        texts = outputs(on_terminal(folder, environment(folder, server)))
    assert [found for found in map(unsafe, COMMANDS, texts) if found] == []


def unsafe(command: tuple[list[str], str], text: str) -> Any:
    """Return what is wrong in the output of a command on a terminal; None for nothing."""
    args, kind = command
    plain = OWN.sub("", text)
    wrong: Any = HOSTILE.findall(plain) or "\x1b[31mRED" in text or "Traceback" in text
    if kind != ANY and printable(MIDDLE) not in plain:
        wrong = "not shown"
    elif kind == IS_JSON:
        start = min(plain.find(mark) for mark in "{[" if mark in plain)
        value, _ = json.JSONDecoder().raw_decode(plain[start:])
        wrong = wrong or MIDDLE not in json.dumps(value, ensure_ascii=False)
    return (args, wrong, plain) if wrong else None


def test_a_pipe_gets_every_character(folder: Path) -> None:
    with Loud() as server:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=folder, env=environment(folder, server), timeout=120,
            check=True,
        )  # fmt: skip
    texts = outputs(done.stdout.decode())
    assert [found for found in map(changed, COMMANDS, texts) if found] == []


def changed(command: tuple[list[str], str], text: str) -> Any:
    """Return what is wrong in the output of a command in a pipe; None for nothing."""
    args, kind = command
    wanted = f"\x1b[31mRED{MIDDLE}" if kind == SHOWN else MIDDLE
    wrong = (kind != ANY and wanted not in text) or printable(MIDDLE) in text
    return (args, text) if wrong else None


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu"]), max_size=20))
def test_marks_are_escapes_of_json(text: str) -> None:
    pieces = "".join(map(printable, text))
    assert printable(text) == pieces
    assert HOSTILE.search(pieces) is None
    pieces.encode()
    whole = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == whole
