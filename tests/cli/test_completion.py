"""Completion: what is completed, and that real shells replace the right part of a line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit.cli import group
from personakit.cli.shared.shells import answers, script, shells

BREAKS = " \t\n\"'@><=;|&(:"
PERSONA = """\
description: A test
system: "{{ guests }} {{ diet }} {{ loud }} {{ place }}"
variables:
  guests: {type: integer, default: 2, description: "People: at the table"}
  diet: {enum: [any, vegan, vegetarian], default: any}
  loud: false
  place: {enum: ["in town", "at home"], default: "in town"}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a persona, as a user with an alias and a list of models."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": str(tmp_path), "PERSONAKIT_PLUGINS": "redact,retry"}.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "PERSONAKIT_CONFIG", "PERSONAKIT_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "table.yaml").write_text(PERSONA)
    (tmp_path / ".config" / "personakit").mkdir(parents=True)
    (tmp_path / ".config" / "personakit" / "aliases.json").write_text('{"fast": "openai/a-1"}')
    (tmp_path / ".cache" / "personakit").mkdir(parents=True)
    kept = {
        "openai": ["https://api.openai.com/v1", 1.0, [["a-1", None], ["b-1", 9]]],
        "ollama": ["http://localhost:11434/v1", 1.0, [["q:4b", None]]],
    }
    (tmp_path / ".cache" / "personakit" / "models.json").write_text(json.dumps(kept))
    return tmp_path


def completed(line: str, shell: str = "fish", **environ: str) -> list[str]:
    """Return the texts that complete a line."""
    env = {"_PERSONAKIT_COMPLETE": shell, "COMP_LINE": line, **environ}
    rows = [answer.split("\t") for answer in answers(group, env)]
    return [text if kind == "plain" else f"({kind})" for kind, text, _ in rows]


CASES = {
    "personakit ru": ["run"],
    "personakit comp": ["completion"],
    "personakit run tab": ["table"],
    "personakit chat tab": ["table"],
    "personakit show tab": ["table"],
    "personakit lint tab": ["table"],
    "personakit test tab": ["table"],
    "personakit log list --persona tab": ["table"],
    "personakit run table -v gu": ["guests="],
    "personakit run table -v ": ["guests=", "diet=", "loud=", "place="],
    "personakit run table --variable=di": ["--variable=diet="],
    "personakit run table -v diet=ve": ["diet=vegan", "diet=vegetarian"],
    "personakit render table -v loud=": ["loud=true", "loud=false"],
    "personakit run table -v guests=": [],
    "personakit run table -v place=@": ["(file)"],
    "personakit run table -v zzz=": [],
    "personakit run nobody -v gu": [],
    "personakit run -v gu": [],
    "personakit run table -m fa": ["fast"],
    "personakit run table -m loc": ["local"],
    "personakit run table -m ope": ["openai/", "openrouter/"],
    "personakit run table -m openai/": ["openai/a-1", "openai/b-1"],
    "personakit run table -m ollama/q:": ["ollama/q:4b"],
    "personakit run table -m groq/": [],
    "personakit run table --model=openai/a": ["--model=openai/a-1"],
    "personakit test -m fa": ["fast"],
    "personakit run table -p temp": ["temperature="],
    "personakit plugins show re": ["redact", "retry"],
    "personakit keys set gr": ["groq"],
    "personakit models al": ["alias"],
    "personakit models gro": ["groq"],
    "personakit models alias fa": ["fast"],
    "personakit models --re": ["--refresh"],
    "personakit completion z": ["zsh"],
    "personakit run --conversation ": [],
    "personakit run 'tab": ["table"],
}


@pytest.mark.parametrize("line", CASES)
def test_what_is_completed(line: str) -> None:
    assert completed(line) == CASES[line]


# Bash replaces only what follows the last of its word breaks.
IN_BASH = {
    "personakit run table -v gu": ["guests="],
    "personakit run table -v diet=ve": ["vegan", "vegetarian"],
    'personakit run table -v "diet=veg': ["diet=vegan", "diet=vegetarian"],
    'personakit run table -v diet="veg': ["vegan", "vegetarian"],
    "personakit run table -m ollama/q:": ["4b"],
    "personakit run table -m ollama/q": ["ollama/q:4b"],
    "personakit run table --model=openai/a": ["openai/a-1"],
    "personakit run table -v place=in": [r"in\ town"],
    'personakit run table -v "place=in': ["place=in town"],
}


@pytest.mark.parametrize("line", IN_BASH)
def test_bash_keeps_what_it_takes_for_another_word(line: str) -> None:
    assert completed(line, "bash", COMP_WORDBREAKS=BREAKS) == IN_BASH[line]


def test_a_user_may_have_other_word_breaks() -> None:
    assert completed("personakit run table -v loud=t", "bash", COMP_WORDBREAKS=" \n") == [
        "loud=true"
    ]


def test_nothing_is_sent_while_completing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("a completion opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert completed("personakit run table -m openai/a") == ["openai/a-1"]
    assert completed("personakit models oll") == ["ollama"]


def run(line: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a script does."""
    env = {**os.environ, "_PERSONAKIT_COMPLETE": "bash", "COMP_LINE": line, **environ}
    return subprocess.run(
        [sys.executable, "-m", "personakit"],
        env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_errors_print_nothing(home: Path) -> None:
    (home / ".config" / "personakit" / "config.yaml").write_text("model: [")
    done = run("personakit run table -m ", home)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_completion_loads_neither_plugins_nor_the_client(home: Path) -> None:
    program = (
        # A measurement of coverage loads modules of its own, before.
        "import sys\nbefore = set(sys.modules)\n"
        "from personakit.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "for name in 'openai jinja2 rich sqlite3 genai_prices personakit.runner'.split():\n"
        "    assert name not in sys.modules.keys() - before, name\n"
    )
    env = {**os.environ, "_PERSONAKIT_COMPLETE": "zsh", "COMP_LINE": "personakit run table -v g"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("plain\tguests=\tPeople: at the table\n", "")


LINE = st.text(st.sampled_from("ab ='\"\\:@/-tmvé\t") | st.characters(codec="utf-8"), max_size=20)


@given(LINE, st.sampled_from(["bash", "zsh", "fish"]))
def test_any_line_can_be_completed(line: str, shell: str) -> None:
    environ = {"_PERSONAKIT_COMPLETE": shell, "COMP_LINE": f"personakit run table {line}",
               "COMP_WORDBREAKS": BREAKS}  # fmt: skip
    for answer in answers(group, environ):
        assert answer.count("\t") == 2
        assert answer.replace("\t", "").isprintable()


# --- real shells ---------------------------------------------------------------------------------


def program(home: Path) -> str:
    """Install a program `personakit` in a folder of PATH; return the PATH."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    file = folder / "personakit"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m personakit "$@"\n')
    file.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def type_into(argv: list[str], home: Path, setup: str, typed: str, wanted: str) -> str:
    """Type a text and Tab into a shell on a terminal; return what it shows until `wanted`."""
    import pty
    import select
    import time

    env = {**os.environ, "PATH": program(home), "TERM": "xterm", "COLUMNS": "200", "PS1": "$ "}
    process, terminal = pty.fork()
    if not process:
        os.chdir(home)
        os.execvpe(argv[0], argv, env)
    shown = ""

    def read(until: str) -> None:
        nonlocal shown
        end = time.monotonic() + 60
        while until not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")

    try:
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        read("ready\r\n")
        shown = ""
        os.write(terminal, f"{typed}\t".encode())
        read(wanted)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)
    return shown


SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--private", "--no-config"],
}
SETUP = {
    "bash": 'eval "$(personakit completion bash)"',
    "zsh": 'autoload -Uz compinit && compinit -u -D; eval "$(personakit completion zsh)"',
    "fish": "personakit completion fish | source",
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("personakit run table -v loud=tr", "ue"), ("personakit run table -m ollama/q:", "4b")],
)
def test_a_real_shell_completes_a_value(shell: str, typed: str, wanted: str, home: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    shown = type_into(SHELLS[shell], home, SETUP[shell], typed, wanted)
    assert wanted in shown.rpartition(typed[-2:])[2] or typed + wanted in shown


def test_the_functions_of_bash_alone(home: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (home / "script").write_text(script("bash"))
    code = (
        "source ./script; COMP_LINE='personakit run table -v diet=v --json'; COMP_POINT=30\n"
        f"COMP_WORDBREAKS={BREAKS!r}\n".replace("\\'", "'\"'\"'")
        + "_personakit_completion personakit; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p"
    )
    env = {**os.environ, "PATH": program(home)}
    done = subprocess.run(
        ["bash", "-c", code],
        env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == ["vegan", "vegetarian"], done
    assert "-F _personakit_completion personakit" in done.stdout


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", shells())
def test_the_command_prints_a_script_with_instructions(shell: str, terminal: Any) -> None:
    done = terminal("completion", SHELL=f"/usr/bin/{shell}")
    assert done.stdout == script(shell) + "\n"
    assert f"# Completion of personakit for {shell}." in done.stdout
    assert f"personakit completion {shell}" in done.stdout


WRONG = {
    ("zhs", ""): "no completion for the shell 'zhs'; did you mean 'zsh'?",
    ("tcsh", ""): "no completion for the shell 'tcsh'; ",
    ("", "/bin/ksh"): "no completion for the shell 'ksh' (from $SHELL); expected one of bash, zsh",
    ("", ""): "SHELL is not set; name the shell: personakit completion bash (bash, zsh, fish)",
}


@pytest.mark.parametrize(("named", "login"), WRONG)
def test_an_unknown_shell(named: str, login: str, terminal: Any) -> None:
    done = terminal("completion", *([named] if named else []), SHELL=login)
    assert done.returncode == 2
    assert WRONG[named, login] in done.stderr
