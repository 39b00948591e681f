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
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personakit.base import check_file, create_file
from personakit.errors import UsageError

if TYPE_CHECKING:
    import sqlite3


T = TypeVar("T")

WAIT = 30.0
"""Seconds to wait for other processes that write."""

# The result codes of SQLite that are handled: https://sqlite.org/rescode.html
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _PROTOCOL, _NOTADB = (
    5, 6, 8, 10, 11, 13, 14, 15, 26,
)  # fmt: skip
_WAITING = (_BUSY, _LOCKED, _PROTOCOL)
# The codes of a file system without shared memory, and of a read-only one.
_NO_SHARING = (_READONLY, _IOERR, _CANTOPEN)
_VERSION = (
    "SELECT user_version, application_id, EXISTS (SELECT 1 FROM sqlite_master) "
    "FROM pragma_user_version, pragma_application_id"
)


class LogError(UsageError):
    """The run log cannot be read or written.

    Attributes:
        locked: Whether another process or thread holds a lock, so that waiting may help.
        damaged: Whether the file is damaged.
    """

    def __init__(self, message: str, *, locked: bool = False, damaged: bool = False) -> None:
        super().__init__(message)
        self.locked = locked
        self.damaged = damaged


class Database:
    """A SQLite file; the first write creates it, private to the user.

    Args:
        path: The file.
        migrations: The statements that migrate each version of the schema to the next one.
        mark: The application id that identifies the file. The next number is the id of a file
            that cannot use the write-ahead log.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]], mark: int) -> None:
        self.path = path
        self._migrations = migrations
        self._mark = mark
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

    def write(self, action: Callable[[sqlite3.Connection], T], wait: float = WAIT) -> T:
        """Return the result of an action that runs in a transaction of its own.

        Raises:
            LogError: The transaction failed, or could not begin within `wait` seconds.
        """
        return self._patiently(lambda: self._transaction("IMMEDIATE", action), wait)

    def read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of an action that only reads, from one snapshot.

        Raises:
            LogError: The file cannot be read.
        """
        try:
            return self._patiently(lambda: self._transaction("DEFERRED", action), WAIT)
        except LogError as error:
            if error.__cause__ is None or _code(error.__cause__) not in _NO_SHARING:
                raise
            return self._unchanging(action, error)

    def _unchanging(self, action: Callable[[sqlite3.Connection], T], before: LogError) -> T:
        """Read a file on a read-only file system, where SQLite cannot use locks."""
        import sqlite3  # noqa: PLC0415

        name = f"{self.path.absolute().as_uri()}?immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(name, uri=True)) as connection:
                return action(connection)
        except sqlite3.Error:
            raise before from None

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
            raise LogError(f"{self.path} is locked by another thread", locked=True)
        try:
            while True:
                try:
                    self._until(deadline)
                    return attempt()
                except (sqlite3.Error, OSError) as error:
                    self._drop()
                    code = _code(error)
                    if code not in _WAITING or time.monotonic() >= deadline:
                        raise LogError(
                            _explained(self.path, error),
                            locked=code in _WAITING,
                            damaged=code in (_CORRUPT, _NOTADB),
                        ) from error
                    # SQLite refuses some locks at once, whatever the busy timeout is.
                    time.sleep(random.uniform(0.001, 0.02))  # noqa: S311
        finally:
            self._lock.release()

    def _until(self, deadline: float) -> None:
        """Set the busy timeout of SQLite to the time left."""
        left = max(0, int((deadline - time.monotonic()) * 1000))
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
        if self._connection is not None and identity(self.path) == self._file:
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
            if _code(error) not in _NO_SHARING:
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
            remote = remote or self._version(connection)[1] == self._mark + 1
            if not remote:
                self._log_ahead(connection)
            else:
                # In this mode, leaving the write-ahead log does not need shared memory.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
            self._migrate(connection, self._mark + remote)
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
        newest = len(self._migrations)
        if self._version(connection) == (newest, mark):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated the file meanwhile.
            for statements in self._migrations[self._version(connection)[0] :]:
                for statement in statements:
                    connection.execute(statement)
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
            LogError: The version is newer, or the file belongs to another program.
        """
        # One statement, so that the values are of one moment: another process may be migrating.
        version, mark, used = connection.execute(_VERSION).fetchone()
        if (version or mark or used) and mark not in (self._mark, self._mark + 1):
            raise LogError(
                f"{self.path} is another program's database; set PERSONAKIT_LOG to another file"
            )
        if version > len(self._migrations):
            raise LogError(
                f"{self.path} was written by a newer personakit (its version is {version}, the "
                f"newest supported one is {len(self._migrations)}); upgrade personakit, or set "
                f"PERSONAKIT_LOG to another file"
            )
        return version, mark

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _code(error: BaseException) -> int:
    """Return the primary result code of a SQLite error; 0 for any other error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explained(path: Path, error: Exception) -> str:
    """Return a message with the fault of a file, and what to do."""
    code = _code(error)
    if code in _WAITING:
        return f"{path} is locked by another process"
    if code in (_CORRUPT, _NOTADB):
        return f"{path} is damaged ({error}); `personakit log repair` recovers the readable runs"
    if code == _FULL:
        return f"{path}: no space left ({error}); free some with `personakit log rm --before 30d`"
    other = "set PERSONAKIT_LOG to another file, or turn the log off with `log: off` in the config"
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}; {other}"
    if path.is_dir():
        return f"{path} is a folder: {error}; {other}"
    if not os.access(path.parent, os.W_OK):
        return f"{path}: its folder is not writable: {error}; {other}"
    return f"{path}: {error}; {other}"


_REMOTE = frozenset(
    "9p afs ceph cifs davfs fuse.sshfs glusterfs lustre ncpfs nfs nfs4 smb3".split()
)


def identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, which change when it is replaced; None if missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def networked(path: Path, mounts: str | None = None) -> bool:
    """Return whether a file is on a network file system, where a write-ahead log is not safe.

    Args:
        path: The file.
        mounts: The content of /proc/self/mounts; None reads it. The result is False if that file
            cannot be read.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
        except OSError:
            return False
    kinds: dict[str, str] = {}
    for line in mounts.splitlines():
        _, point, kind, *_ = *line.split(" "), "", ""
        kinds[point.replace("\\040", " ")] = kind
    real = path.absolute().resolve()
    return next((kinds[str(at)] in _REMOTE for at in real.parents if str(at) in kinds), False)
