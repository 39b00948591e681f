"""One child process that serves one model, seen from its parent."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from pathlib import Path

from personakit import BackendError, Endpoint, Secret
from personakit_local.child import Job
from personakit_local.settings import Settings

CHILD = Path(__file__).with_name("child.py")
_HOLDS_A_KEY = re.compile("API_?KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD|PASSWD", re.IGNORECASE)
TAIL = 8
"""Lines of the child's output that an error carries."""

LONGEST = 400
"""Tokens of an answer of the embedded model, at most."""


class Server:
    """A child process and the address where it answers.

    Attributes:
        endpoint: The address; `None` until `wait` has returned.
    """

    endpoint: Endpoint | None = None

    def __init__(self, file: Path, name: str, *, embedded: bool, settings: Settings) -> None:
        """Start the child; `wait` waits for it.

        Args:
            file: A GGUF file.
            name: What responses call the model.
            embedded: Whether the file is the embedded model, whose sampling is tuned.
            settings: How to run it.
        """
        # It never writes more that makes sense: beyond it counts, or repeats itself.
        self._longest = LONGEST if embedded else None
        self.name = name
        self.file = file
        self.timeout = settings.start_timeout
        self.api_key = Secret(secrets.token_urlsafe(32))
        job: Job = {
            "path": str(file),
            "name": name,
            "embedded": embedded,
            "api_key": "",
            "parent": os.getpid(),
            "threads": settings.threads,
            "parallel": settings.parallel,
            "context": settings.context,
        }
        self.process = subprocess.Popen(  # noqa: S603 - its arguments are ours
            # -P: the script's folder is not a place to import from.
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            # It needs no key of the user's, and what is not there cannot get out.
            env={k: v for k, v in os.environ.items() if not _HOLDS_A_KEY.search(k)},
            # Out of the terminal's group: Ctrl-C is for the parent, which decides.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        # By pipe: other users can read a command line, and children inherit an environment.
        self._send(json.dumps({**job, "api_key": self.api_key.reveal()}).encode() + b"\n")

    @property
    def alive(self) -> bool:
        """Whether the child is running; a system call, no more."""
        return self.process.poll() is None

    def wait(self) -> Endpoint:
        """Wait until the child answers.

        Raises:
            BackendError: It ended before, or was not up within `Settings.start_timeout`.
        """
        stdout = self.process.stdout
        assert stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(self.timeout, end)
        timer.daemon = True
        timer.start()
        said: list[str] = []
        try:
            for line in iter(stdout.readline, b""):
                if line.startswith(b'{"url": '):
                    url = json.loads(line)["url"]
                    self.endpoint = Endpoint(f"{url}/v1", self.api_key, self.name, self._longest)
                    return self.endpoint
                said.append(line.decode(errors="replace").rstrip())
        finally:
            timer.cancel()
            timer.join()  # a later fork is to find no thread
            stdout.close()
        raise self._failure(said, late=late.is_set())

    def close(self) -> None:
        """End the child, at once even if it is answering, and collect it; may be called again."""
        self._hang_up()
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Let go of the child in a forked copy of its parent: it is not the copy's to end."""
        self._hang_up()
        # Popen would warn, when collected, of a process that still runs.
        self.process.returncode = 0

    def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended already: `wait` says why
            self.process.stdin.write(line)

    def _hang_up(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _failure(self, said: list[str], *, late: bool) -> BackendError:
        status = self.process.wait()
        if late:
            what = (
                f"was not up within {self.timeout:g} s; set PERSONAKIT_LOCAL_START_TIMEOUT to more"
            )
        elif status < 0:
            what = f"was ended by signal {-status}"
        else:
            what = f"ended with exit code {status}"
        tail = "".join(f"\n  {line}" for line in said[-TAIL:])
        return BackendError(f"the server of the local model {self.file} {what}{tail}")
