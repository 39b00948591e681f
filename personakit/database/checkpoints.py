"""Moving what is in the write-ahead log to the file, in a thread of its own.

SQLite does it in the commit that fills the log, and waits for the disk there
(https://sqlite.org/wal.html#ckpt). An event loop that commits would stand still meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

COMMITS = 1000
"""Commits of this process after which the log is moved."""

PAGES = 8000
"""Pages in the log from which on writers have to wait for a moment, so that it does not grow."""


class Checkpoints:
    """The checkpoints of a file. Its methods are called by one thread at a time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = 0
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Count a commit, and start a checkpoint when it is time for one."""
        self._commits += 1
        if self._commits < COMMITS or (self._thread is not None and self._thread.is_alive()):
            return
        self._commits = 0
        self._thread = threading.Thread(
            target=self._move, name="personakit-checkpoint", daemon=True
        )
        # The process is exiting, or has reached its limit of threads: SQLite does it later.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def _move(self) -> None:
        import sqlite3  # noqa: PLC0415

        name = f"{self._path.absolute().as_uri()}?mode=rw"
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(
                sqlite3.connect(name, uri=True, timeout=1.0, isolation_level=None)
            ) as connection,
        ):
            # This one waits for no reader and no writer.
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > PAGES:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
