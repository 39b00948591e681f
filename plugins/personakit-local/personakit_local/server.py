"""The parent's view of a child process that serves one model."""

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
from personakit_local.sampling import LONGEST, SAMPLING
from personakit_local.settings import Settings

CHILD = Path(__file__).with_name("child.py")
_HOLDS_A_KEY = re.compile("API_?KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD|PASSWD", re.IGNORECASE)
TAIL = 8
"""The most lines of the child's output in an error."""


class Server:
    """A child process and its endpoint.

    Attributes:
        endpoint: The endpoint; `None` until `wait` returns.
    """

    endpoint: Endpoint | None = None

    def __init__(self, file: Path, name: str, *, embedded: bool, settings: Settings) -> None:
        """Start the child without waiting for it.

        Args:
            file: A GGUF file.
            name: The model name in responses.
            embedded: Whether the file is the embedded model, whose sampling is tuned.
            settings: How to run it.
        """
        self._longest = LONGEST if embedded else None
        self._sampling = SAMPLING if embedded else None
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
            # -P: do not import from the script's folder.
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            # The child needs no API keys, so it must not be able to leak them.
            env={k: v for k, v in os.environ.items() if not _HOLDS_A_KEY.search(k)},
            # Leave the terminal's process group, so that only the parent handles Ctrl-C.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        # Send the key by pipe: other users can read a command line, and children inherit the
        # environment.
        self._send(json.dumps({**job, "api_key": self.api_key.reveal()}).encode() + b"\n")

    @property
    def alive(self) -> bool:
        """Whether the child is running; costs one system call."""
        return self.process.poll() is None

    def wait(self) -> Endpoint:
        """Wait until the child is ready, and return its endpoint.

        Raises:
            BackendError: The child ended, or was not ready within `Settings.start_timeout`.
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
        output: list[str] = []
        try:
            for line in iter(stdout.readline, b""):
                if line.startswith(b'{"url": '):
                    url = json.loads(line)["url"]
                    self.endpoint = Endpoint(
                        f"{url}/v1", self.api_key, self.name, self._longest, self._sampling
                    )
                    return self.endpoint
                output.append(line.decode(errors="replace").rstrip())
        finally:
            timer.cancel()
            timer.join()  # so that a later fork does not copy a process with threads
            stdout.close()
        raise self._failure(output, late=late.is_set())

    def close(self) -> None:
        """Kill the child, even while it is answering, and wait for it; may be called again."""
        self._hang_up()
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Release the child in a forked process, without ending it."""
        self._hang_up()
        # Otherwise Popen warns about a running process when it is garbage-collected.
        self.process.returncode = 0

    def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended already: `wait` reports why
            self.process.stdin.write(line)

    def _hang_up(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _failure(self, output: list[str], *, late: bool) -> BackendError:
        status = self.process.wait()
        if late:
            what = (
                f"was not ready within {self.timeout:g} s; "
                f"set PERSONAKIT_LOCAL_START_TIMEOUT to more seconds"
            )
        elif status < 0:
            what = f"was killed by signal {-status}"
        else:
            what = f"exited with code {status}"
        tail = "".join(f"\n  {line}" for line in output[-TAIL:])
        return BackendError(f"the server of the local model {self.file} {what}{tail}")
