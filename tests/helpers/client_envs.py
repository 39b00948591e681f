"""Environments for clients that are no dependencies of the project: one of Python, one of Node.js.

They are made when they are first needed, in ``build/clients``, which git ignores, and are kept
until what they are made of changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parent.parent / "server" / "clients"
PROGRAMS = CLIENTS / "programs"
CACHE = Path(__file__).parent.parent.parent / "build" / "clients"


def python_program(name: str | Path, *arguments: str) -> Any:
    """Run a program with the Python clients; return the JSON that it prints.

    Args:
        name: A name in the folder of the programs, or the path of another one.
        arguments: What the program gets.
    """
    return _json([python_script("python"), str(PROGRAMS / name), *arguments])


def python_script(name: str) -> str:
    """Return the path of a program in the environment with the Python clients."""
    uv = _tool("uv", "pip install uv")
    wanted = CLIENTS / "python.txt"
    # The base, because an environment of an environment is none of its own.
    base = str(sys._base_executable)  # type: ignore[attr-defined]
    folder = _folder("python", [wanted], base)
    interpreter = folder / "bin" / "python"
    install = [uv, "pip", "install", "-q", "--python", str(interpreter), "-r", str(wanted)]
    _made(folder, [[uv, "venv", "-q", "--python", base, str(folder)], install])
    return str(interpreter.with_name(name))


def node_program(name: str, *arguments: str) -> Any:
    """Run a program with the Node.js clients; return the JSON that it prints."""
    return _json([*node_words(name, (PROGRAMS / name).read_text("utf-8")), *arguments])


def node_words(name: str, program: str) -> list[str]:
    """Return the command that runs the text of a program with the Node.js clients."""
    node, folder = _node()
    # A module finds the packages in a folder above its own.
    file = folder / name
    file.write_text(program, "utf-8")
    return [node, str(file)]


def node_script(package: str, name: str) -> list[str]:
    """Return the command that runs a program of one of the Node.js packages."""
    node, folder = _node()
    home = folder / "node_modules" / package
    programs = json.loads((home / "package.json").read_text("utf-8"))["bin"]
    return [node, str(home / programs[name])]


def _node() -> tuple[str, Path]:
    """Return Node.js and the folder of its clients.

    The lock file also installs Node.js itself: the machine's own may be too old for the clients.
    """
    npm = _tool("npm", "apt-get install npm")
    files = [CLIENTS / "package.json", CLIENTS / "package-lock.json"]
    folder = _folder("node", files)
    # npm warns that the machine's Node.js is too old; it is not what runs the clients.
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    _made(folder, [[*install, "--prefix", str(folder)]], files)
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    node = folder / "node_modules" / f"node-{system}-{machine}" / "bin" / "node"
    if not node.exists():
        pytest.skip(f"npm has no Node.js for {system} on {machine}")
    return str(node), folder


def run(
    words: Sequence[str], folder: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a program without anybody's keys, proxies and settings.

    Args:
        words: The command.
        folder: Where it runs; None for the folder of temporary files.
        environ: Further variables.
    """
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    return subprocess.run(
        words, env={**kept, **environ}, cwd=folder or tempfile.gettempdir(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _json(words: Sequence[str]) -> Any:
    quiet = {"LANGSMITH_TRACING": "false", "OPENAI_LOG": "", "PYTHONWARNINGS": "ignore"}
    done = run(words, None, **quiet)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _tool(name: str, install: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: {install}")
    return found


def _folder(name: str, files: Sequence[Path], *more: str) -> Path:
    digest = hashlib.sha256(
        "\n".join([*(file.read_text("utf-8") for file in files), *more]).encode()
    )
    return CACHE / f"{name}-{digest.hexdigest()[:16]}"


def _made(folder: Path, commands: Sequence[Sequence[str]], files: Sequence[Path] = ()) -> None:
    """Make an environment, in one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    done = folder / "made"
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in files:
            shutil.copyfile(file, folder / file.name)
        for words in commands:
            # Elsewhere, because the project's own settings of uv are not the clients'.
            ran = subprocess.run(
                words, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{' '.join(words)}\n{ran.stdout}{ran.stderr}"
        done.touch()
