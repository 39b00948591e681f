"""Standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CLOSED = [
    "".join(parts)
    for count in (1, 2, 3)
    for parts in itertools.combinations((" <&-", " >&-", " 2>&-"), count)
]


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PERSONAKIT_PLUGINS": ""}
    line = command.replace("personakit", f"{sys.executable} -m personakit")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=env, cwd=folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text("system: Hello\n")
    return tmp_path


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_streams_change_nothing(folder: Path, closed: str) -> None:
    # The log is opened by the run, and must not become one of the streams.
    done = run(folder, f"personakit run a.yaml Hi -m openai/x{closed}")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    (log,) = folder.rglob("*.db")
    with contextlib.closing(sqlite3.connect(log)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("render a.yaml >/dev/full", 1, "Error: standard output: No space left on device\n"),
        ("render a.yaml 2>/dev/full", 0, ""),
        ("render none.yaml 2>/dev/full", 2, ""),
        ("render none.yaml >/dev/full 2>/dev/full", 2, ""),
        ("render a.yaml >/dev/full 2>/dev/full", 1, ""),
        ("render a.yaml <&- >/dev/full 2>&-", 1, ""),
        ("schema | (exec <&-)", 141, ""),
        ("--help | (exec <&-; sleep 1)", 141, ""),
    ],
)
def test_streams_that_cannot_be_written(folder: Path, command: str, code: int, error: str) -> None:
    done = run(folder, f"personakit {command}")
    assert (done.returncode, done.stderr) == (code, error)


def test_what_a_plugin_prints_while_it_is_loaded_is_not_the_output_of_its_command(
    tmp_path: Path,
) -> None:
    (tmp_path / "loud.py").write_text(
        "import os\n"
        "import click\n"
        "from personakit import hookimpl\n"
        "print('loaded')\n"
        "os.system('echo by a process')\n"
        "class Loud:\n"
        "    @staticmethod\n"
        "    @hookimpl\n"
        "    def setup(registry):\n"
        "        registry.command(click.Command('shout', callback=lambda: print('Hello!')))\n"
    )
    info = tmp_path / "loud-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[personakit]\nloud = loud:Loud\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "personakit", "shout"],
        env={**env, "PERSONAKIT_PLUGINS": "loud"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Hello!\n")
    assert sorted(done.stderr.splitlines()) == ["by a process", "loaded"]
