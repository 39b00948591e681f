"""The store: texts in an SQLite file, which may fail and never harms."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache  # type: ignore[import-untyped]

LOG = logging.getLogger("personakit.cache")
FILE = diskcache.core.DBNAME
WAIT = 1.0
"""Seconds to wait for another process that is writing."""


class TextDisk(diskcache.Disk):  # type: ignore[misc]
    """Keeps texts in the database, and nothing else.

    diskcache would unpickle what a row calls a pickle, and read and delete the files that a row
    names; a file that came from elsewhere could make it do either.
    """

    def store(self, value: str, read: bool, key: object = None) -> tuple[int, int, None, str]:
        """Return the columns of a row: size and name of a file, which there is not, and a text."""
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> str:
        """Return the text of a row; none when it holds something else."""
        return value if isinstance(value, str) else ""

    def remove(self, file_path: object) -> None:
        """Leave the file system alone."""


class Store:
    """Texts under keys, for any number of threads and processes.

    What goes wrong is logged, once. The next use tries again.

    Args:
        folder: Where the file is; None for the user's cache folder.
        max_size: Bytes that the file may have, by and large.
    """

    def __init__(self, folder: Path | None, max_size: int) -> None:
        self._folder = folder
        self._max_size = max_size
        # Threads that open it at the same time each do; whose is kept makes no difference.
        self._opened: Any = None
        self._warned = False

    def get(self, key: str) -> str | None:
        """Return the text under a key, "" when there is none; None when the store is unusable."""
        found: str | None = self._use("get", key, "")
        return found

    def set(self, key: str, text: str, ttl: float | None) -> None:
        """Keep a text, for `ttl` seconds; None for as long as there is room."""
        self._use("set", key, text, ttl)

    def _use(self, action: str, *args: object) -> Any:
        try:
            opened = self._opened
            if opened is None or not Path(opened.directory, FILE).exists():
                opened = self._opened = self._open()
            # Closes the connection of this thread, which may never come here again.
            with closing(opened):
                return getattr(opened, action)(*args)
        # Whatever is wrong with a store, the model can still be asked.
        except Exception as error:
            self._opened = None
            if not self._warned:
                self._warned = True
                LOG.warning(
                    "the store of answers in %s cannot be used (%s: %s), so the model is asked; "
                    "if this stays so, delete cache.db in it or set the option `folder` to another",
                    self._folder or "the user's cache folder",
                    type(error).__name__,
                    str(error) or "it stayed locked",
                )
            return None

    def _open(self) -> Any:
        self._folder = folder = self._folder or user_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / FILE
        # SQLite gives the files beside it the same mode.
        file.touch(mode=0o600)
        # diskcache would wait a minute for a locked file when it opens one.
        with closing(sqlite3.connect(file, timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return diskcache.Cache(
            folder,
            timeout=WAIT,
            disk=TextDisk,
            size_limit=self._max_size,
            eviction_policy="least-recently-used",
        )


def user_folder() -> Path:
    """Return the folder for those who name none."""
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_cache_path("personakit", appauthor=False) / "answers"


def expanded(folder: str) -> Path | None:
    """Return a folder as diskcache would understand it; None for an empty one."""
    return Path(os.path.expandvars(folder)).expanduser().absolute() if folder else None
