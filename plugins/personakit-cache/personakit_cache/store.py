"""The store: texts in an SQLite file, whose failures never fail a run."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache  # type: ignore[import-untyped]

from personakit import check_file, create_file, data_folder

LOG = logging.getLogger("personakit.cache")
FILE = diskcache.core.DBNAME
WAIT = 1.0
"""Seconds to wait while another process writes."""


class TextDisk(diskcache.Disk):  # type: ignore[misc]
    """A disk that keeps texts in the database, and nothing else.

    diskcache unpickles a row that is marked as a pickle, and reads and deletes the files that a row
    names. A database file from elsewhere could make it do either.
    """

    def store(self, value: str, read: bool, key: object = None) -> tuple[int, int, None, str]:
        """Return the columns of a row: the text, and no file."""
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> str:
        """Return the text of a row, "" if the value is not a text."""
        return value if isinstance(value, str) else ""

    def remove(self, file_path: object) -> None:
        """Do nothing: rows have no files."""


class Store:
    """A key-value store of texts, shared by threads and processes.

    The first failure is logged, and each use tries again.

    Args:
        folder: The folder of the file; None for the user's cache folder.
        max_size: The most bytes of the file, approximately.
    """

    def __init__(self, folder: Path | None, max_size: int) -> None:
        self._folder = folder
        self._max_size = max_size
        # Threads may open it at the same time; it does not matter whose object is kept.
        self._opened: Any = None
        self._warned = False

    def get(self, key: str) -> str | None:
        """Return the text under `key`, "" if it is missing; None if the store is unusable."""
        text: str | None = self._use("get", key, "")
        return text

    def set(self, key: str, text: str, ttl: float | None) -> None:
        """Store a text for `ttl` seconds; None for as long as there is room."""
        self._use("set", key, text, ttl)

    def _use(self, action: str, *args: object) -> Any:
        try:
            opened = self._opened
            if opened is None or not Path(opened.directory, FILE).exists():
                opened = self._opened = self._open()
            # Closes this thread's connection: the thread may never use the store again.
            with closing(opened):
                return getattr(opened, action)(*args)
        # A broken store must not fail a run: the model can still answer.
        except Exception as error:
            self._opened = None
            if not self._warned:
                self._warned = True
                LOG.warning(
                    "the response cache in %s cannot be used (%s: %s), so the model is asked; "
                    "if this persists, delete cache.db there or set `folder` to another folder",
                    self._folder or "the user's cache folder",
                    type(error).__name__,
                    str(error) or "the file stayed locked",
                )
            return None

    def _open(self) -> Any:
        self._folder = folder = self._folder or user_folder()
        file = folder / FILE
        check_file(file)
        create_file(file)
        # Fail early: diskcache waits a minute when it opens a locked file.
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
    """Return the default folder of the store."""
    return data_folder("answers", "cache", create=False)


def expanded(folder: str) -> Path | None:
    """Return `folder` expanded as diskcache does; None if it is empty."""
    return Path(os.path.expandvars(folder)).expanduser().absolute() if folder else None
