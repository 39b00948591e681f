"""An upstream in a process of its own, which writes down every request that it gets."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from personakit.testing import Reply, Server


class Counting(Server):
    """Answers each request in capitals after a while, and notes its last message first.

    A message that begins with ``refuse`` gets status 400, one with ``deny`` 401.
    """

    def __init__(self, file: Path, wait: float) -> None:
        super().__init__()
        self._file, self._wait, self._lock = (
            file.open("a", encoding="utf-8"),
            wait,
            threading.Lock(),
        )

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        """Return the reply to a request."""
        text = body["messages"][-1]["content"]
        with self._lock:
            self._file.write(f"{text}\n")
            self._file.flush()
        time.sleep(self._wait)
        for word, status in (("refuse", 400), ("deny", 401)):
            if text.startswith(word):
                return Reply(b'{"error": {"message": "No."}}', status=status)
        return super().reply(text.upper(), body)


class Upstream:
    """The process, as tests see it.

    Attributes:
        base_url: Where it is.
    """

    def __init__(self, base_url: str, file: Path) -> None:
        self.base_url, self._file = base_url, file

    def environ(self) -> dict[str, str]:
        """Return the environment variables that direct the openai provider to it."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "test-key"}

    def counts(self) -> Counter[str]:
        """Return how often each message was received."""
        return Counter(self._file.read_text("utf-8").splitlines())


@contextmanager
def upstream(folder: Path, wait: float = 0.0) -> Iterator[Upstream]:
    """Run an upstream in a process of its own.

    Args:
        folder: Where it writes.
        wait: Seconds before it answers.
    """
    file = folder / "upstream.txt"
    file.touch()
    program = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.counting_upstream", str(file), str(wait)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=program,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield Upstream(process.stdout.readline().strip(), file)
        finally:
            process.send_signal(signal.SIGKILL)


def main() -> None:
    """Serve until standard input ends, which it does when the test ends."""
    with Counting(Path(sys.argv[1]), float(sys.argv[2])) as server:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
