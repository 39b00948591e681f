"""What several test modules need: plugins that are installed, as a package would install them."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

_folders = itertools.count()
# How long an example takes depends on what else the machine does.
settings.register_profile("personakit", deadline=None)
settings.load_profile("personakit")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install plugins of a distribution: by name a class, or what an entry point says."""

    def install(distribution: str = "acme", /, **plugins: Any) -> None:
        site = tmp_path / f"site-{next(_folders)}"
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        lines = [
            f"{name} = {it if isinstance(it, str) else f'{it.__module__}:{it.__qualname__}'}"
            for name, it in plugins.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(["[personakit]", *lines, ""]))
        monkeypatch.syspath_prepend(site)

    return install


@pytest.fixture
def terminal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `personakit` with arguments in an empty folder, away from the user's own set-up."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PERSONAKIT_PLUGINS": "",
        **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "PYTHON", "COV_"))},
    }

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "personakit", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env | more,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return run


class Session:
    """A command on a terminal."""

    def __init__(self, args: list[str], folder: Path, env: dict[str, str]) -> None:
        self.fd, theirs = pty.openpty()
        self.resize(80, 24)
        # Opened by the leader of a session, it becomes the terminal that Ctrl-C and resizing reach.
        args = ["/bin/sh", "-c", ': <"$0"; exec "$@"', os.ttyname(theirs), *args]
        self.process = subprocess.Popen(
            args, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.text = ""
        self.seen = 0

    def until(self, wanted: str) -> str:
        """Return what is printed up to a text, since the last one."""
        while (found := self.text.find(wanted, self.seen)) < 0:
            assert self.read(), f"no {wanted!r} in {self.text[self.seen :]!r}"
        before, self.seen = self.text[self.seen : found], found + len(wanted)
        return before

    def read(self) -> bool:
        """Read on; return False at the end."""
        ready, _, _ = select.select([self.fd], [], [], 60)
        assert ready, f"nothing came after {self.text[self.seen :]!r}"
        try:
            part = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += part.decode().replace("\r\n", "\n")
        if b"\x1b[6n" in part:
            os.write(self.fd, b"\x1b[1;1R")  # where the cursor is, as a terminal answers
        return bool(part)

    def say(self, line: str) -> None:
        """Type a line."""
        os.write(self.fd, f"{line}\n".encode())

    def press(self, keys: str) -> None:
        """Press keys, as a terminal sends them."""
        os.write(self.fd, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C while the process waits for a key.

        A signal between the printing of a question and the reading of its answer is seen by
        Python at the next key only: no person is that fast, a test is.
        """
        process = psutil.Process(self.process.pid)
        while process.status() not in {psutil.STATUS_SLEEPING, psutil.STATUS_ZOMBIE}:
            time.sleep(0.01)
        self.process.send_signal(signal.SIGINT)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        while self.read():
            pass
        return self.process.wait(60)


class Shell:
    """Runs `python -m personakit` in an empty folder, away from the user's own set-up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "PERSONAKIT_PLUGINS": "",
            **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "PYTHON", "COV_"))},
        }

    def args(self, *args: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "personakit", *args]

    def __call__(
        self, *args: str, stdin: str | bytes = b"", **env: str
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            self.args(*args), input=data, capture_output=True, cwd=self.folder,
            env={**self.env, **env}, timeout=60, check=False,
        )  # fmt: skip
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(args, done.returncode, out, err)

    @contextmanager
    def terminal(self, *args: str, **env: str) -> Iterator[Session]:
        session = Session(self.args(*args), self.folder, {**self.env, "TERM": "xterm", **env})
        try:
            yield session
        finally:
            if session.process.poll() is None:
                session.process.kill()
                session.process.wait(60)
            os.close(session.fd)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The command line, in a folder of its own."""
    return Shell(tmp_path)
