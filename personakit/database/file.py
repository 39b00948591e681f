"""A SQLite file that many processes write without losing a committed row.

It uses the write-ahead log, ``BEGIN IMMEDIATE`` for every writing transaction, and retries. A
transaction that begins with a read cannot wait for the lock that it needs later
(https://sqlite.org/lang_transaction.html#immediate).
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personakit.base import check_file, create_file
from personakit.database.checkpoints import PAGES, Checkpoints
from personakit.database.errors import DatabaseError, Fault, lacks_sharing
from personakit.database.places import identity, networked

if TYPE_CHECKING:
    import sqlite3


T = TypeVar("T")

WAIT = 30.0
"""Seconds to wait for other processes that write."""
_LOOK = 0.2
"""Seconds after which it is looked again whether the file of a service was replaced."""

_VERSION = (
    "SELECT user_version, application_id, EXISTS (SELECT 1 FROM sqlite_master) "
    "FROM pragma_user_version, pragma_application_id"
)


@dataclass(frozen=True, slots=True)
class Format:
    """What a file contains, and how its faults are worded.

    Attributes:
        mark: The application id that identifies the file. The next number is the id of a file
            that cannot use the write-ahead log.
        migrations: The statements that migrate each version of the schema to the next one.
        error: The class of the errors.
        explain: Returns the message for a fault of the file at a path, with what to do.
        earlier: Called for a file without a mark that has tables, in the transaction that creates
            the new ones: takes over an earlier form of the file and returns True, or returns False
            if the file is another program's.
        apart: Whether the write-ahead log is moved to the file in a thread, so that no commit
            waits for the disk.
    """

    mark: int
    migrations: Sequence[Sequence[str]]
    error: type[DatabaseError]
    explain: Callable[[Path, Fault], str]
    earlier: Callable[[sqlite3.Connection], bool] | None = None
    apart: bool = False


class Database:
    """A SQLite file; the first write creates it, private to the user.

    Args:
        path: The file.
        form: What it contains.
    """

    def __init__(self, path: Path, form: Format) -> None:
        self.path = path
        self._form = form
        self._inherited: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._forget()

    def _forget(self) -> None:
        """Reset the state: at first, and in a forked process, whose parent owns the connection."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # Kept and never used: closing it here would harm the parent's connection.
        self._inherited, self._connection = self._connection, None
        self._file: tuple[int, int] | None = None
        self._timeout = 0
        self._checkpoints: Checkpoints | None = None
        self._looked = -_LOOK

    def write(self, action: Callable[[sqlite3.Connection], T], wait: float = WAIT) -> T:
        """Return the result of an action that runs in a transaction of its own.

        Raises:
            DatabaseError: The transaction failed, or could not begin within `wait` seconds.
        """

        def attempt() -> T:
            result = self._transaction("IMMEDIATE", action)
            if self._checkpoints is not None:
                self._checkpoints.committed()
            return result

        return self._patiently(attempt, wait)

    def read(self, action: Callable[[sqlite3.Connection], T], wait: float = WAIT) -> T:
        """Return the result of an action that only reads, from one snapshot.

        Raises:
            DatabaseError: The file cannot be read.
        """
        try:
            return self._patiently(lambda: self._transaction("DEFERRED", action), wait)
        except DatabaseError as error:
            if not lacks_sharing(error.__cause__):
                raise
            return self._unchanging(action, error)

    def _unchanging(self, action: Callable[[sqlite3.Connection], T], before: DatabaseError) -> T:
        """Read a file on a read-only file system, where SQLite cannot use locks."""
        import sqlite3  # noqa: PLC0415

        name = f"{self.path.absolute().as_uri()}?immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(name, uri=True)) as connection:
                return action(connection)
        except sqlite3.Error:
            raise before from None

    @property
    def is_quick(self) -> bool:
        """Whether no commit waits for the disk; False until the file is open."""
        return self._checkpoints is not None and self._pid == os.getpid()

    def compact(self) -> None:
        """Free the space of removed rows, so that none of their text stays in the file."""

        def vacuum() -> None:
            connection = self._opened()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._patiently(vacuum, WAIT)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._pid == os.getpid():
            with self._lock:
                self._drop()

    def __del__(self) -> None:
        # An open connection causes a ResourceWarning when it is garbage collected.
        with contextlib.suppress(Exception):
            if self._pid == os.getpid():
                self._drop()

    def _patiently(self, attempt: Callable[[], T], wait: float) -> T:
        import sqlite3  # noqa: PLC0415

        if self._pid != os.getpid():
            self._forget()
        deadline = time.monotonic() + wait
        if not self._lock.acquire(timeout=wait):
            raise self._error(Fault("another thread holds the lock", "thread"))
        try:
            while True:
                try:
                    self._until(deadline)
                    return attempt()
                except (sqlite3.Error, OSError) as error:
                    fault = Fault.of(error)
                    if fault.kind != "locked":
                        self._drop()
                    if fault.kind != "locked" or time.monotonic() >= deadline:
                        raise self._error(fault) from error
                    # SQLite refuses some locks at once, whatever the busy timeout is.
                    time.sleep(min(random.uniform(0.001, 0.02), wait / 8))  # noqa: S311
        finally:
            self._lock.release()

    def _error(self, fault: Fault) -> DatabaseError:
        return fault.error(self._form.error, self._form.explain(self.path, fault))

    def _until(self, deadline: float) -> None:
        """Set the busy timeout of SQLite to the time left, within a tenth of a second."""
        left = max(0, int((deadline - time.monotonic()) * 1000))
        if left == self._timeout or (left and abs(left - self._timeout) < 100):
            return
        self._timeout = left
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {left}")

    def _transaction(self, kind: str, action: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._opened()
        connection.execute(f"BEGIN {kind}")
        try:
            result = action(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):
                connection.execute("ROLLBACK")
            raise
        return result

    # --- opening --------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        """Return the connection; reconnect if the file was replaced."""
        clock = time.monotonic()
        if self._connection is not None:
            # A service has several transactions a request, and its file is hardly ever replaced.
            if self._form.apart and clock - self._looked < _LOOK:
                return self._connection
            if identity(self.path) == self._file:
                self._looked = clock
                return self._connection
        self._drop()
        # SQLite would wait for a FIFO, and read a device without an end.
        check_file(self.path)
        for suffix in ("-wal", "-shm", "-journal"):
            # It reports a folder itself, and can do without shared memory.
            with contextlib.suppress(IsADirectoryError):
                check_file(f"{self.path}{suffix}")
        create_file(self.path)
        try:
            self._connection = self._ready(remote=networked(self.path))
        except Exception as error:
            # Some file systems lack the shared memory that the write-ahead log needs.
            if not lacks_sharing(error):
                raise
            try:
                self._connection = self._ready(remote=True)
            except Exception:
                raise error from None
        self._file = identity(self.path)
        return self._connection

    def _ready(self, *, remote: bool) -> sqlite3.Connection:
        """Return a connection to the file, migrated to the newest version."""
        import sqlite3  # noqa: PLC0415

        connection = sqlite3.connect(
            self.path, timeout=self._timeout / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            # A file that once could not use the write-ahead log never uses it again.
            remote = remote or self._version(connection)[1] == self._form.mark + 1
            if not remote:
                self._log_ahead(connection)
                if self._form.apart:
                    connection.execute(f"PRAGMA wal_autocheckpoint = {2 * PAGES}")
                    self._checkpoints = self._checkpoints or Checkpoints(self.path)
            else:
                # In this mode, leaving the write-ahead log does not need shared memory.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
            self._migrate(connection, self._form.mark + remote)
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _log_ahead(connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
            # Only a transaction shows whether the file system supports it.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        # A row survives the end of the process, and the file is never corrupted:
        # https://sqlite.org/pragma.html#pragma_synchronous
        connection.execute("PRAGMA synchronous = NORMAL")

    def _migrate(self, connection: sqlite3.Connection, mark: int) -> None:
        form = self._form
        newest = len(form.migrations)
        if self._version(connection) == (newest, mark):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated the file meanwhile.
            version, before, used = connection.execute(_VERSION).fetchone()
            foreign = bool(used and not (version or before))
            for statements in form.migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            if foreign and not (form.earlier and form.earlier(connection)):
                raise self._error(Fault("its tables are unknown", "foreign"))
            connection.execute(f"PRAGMA application_id = {mark}")
            connection.execute(f"PRAGMA user_version = {newest}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):
                connection.execute("ROLLBACK")
            raise

    def _version(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Return the version of the schema, and the mark.

        Raises:
            DatabaseError: The version is newer, or the file belongs to another program.
        """
        # One statement, so that the values are of one moment: another process may be migrating.
        version, mark, used = connection.execute(_VERSION).fetchone()
        newest, own = len(self._form.migrations), self._form.mark
        earlier = self._form.earlier is not None and not (version or mark)
        if (version or mark or used) and mark not in (own, own + 1) and not earlier:
            raise self._error(Fault("its mark is unknown", "foreign"))
        if version > newest:
            text = f"its version is {version}, the newest supported one is {newest}"
            raise self._error(Fault(text, "newer"))
        return version, mark

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
