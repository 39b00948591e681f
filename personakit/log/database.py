"""One SQLite file that many processes write: opened with care, and no row that was taken is lost.

The recipe: the write-ahead log, every writing transaction begun with ``BEGIN IMMEDIATE``, and
patience. A transaction that begins with reading cannot wait for the lock that it needs later
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

from personakit.base import private_files
from personakit.errors import UsageError

if TYPE_CHECKING:
    import sqlite3


T = TypeVar("T")

WAIT = 30.0
"""Seconds to wait for other processes that write."""

# The result codes of SQLite that differ in what to do about them: https://sqlite.org/rescode.html
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _PROTOCOL, _NOTADB = (
    5, 6, 8, 10, 11, 13, 14, 15, 26,
)  # fmt: skip
_WAITING = (_BUSY, _LOCKED, _PROTOCOL)
# What comes of a file system that cannot share memory, and of one that cannot be written.
_NO_SHARING = (_READONLY, _IOERR, _CANTOPEN)


class LogError(UsageError):
    """The run log cannot be read or written as it is.

    Attributes:
        locked: Whether waiting would help: another process holds it.
        damaged: Whether the file itself is wrong.
    """

    def __init__(self, message: str, *, locked: bool = False, damaged: bool = False) -> None:
        super().__init__(message)
        self.locked = locked
        self.damaged = damaged


class Database:
    """A SQLite file; it is made, private to the user, when something is first written.

    Args:
        path: The file.
        migrations: The statements that lead from each version of the schema to the next one.
        mark: The application id that tells the file from other programs' databases; the next number
            is that of a file which must do without the write-ahead log.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]], mark: int) -> None:
        self.path = path
        self._migrations = migrations
        self._mark = mark
        self._inherited: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._forget()

    def _forget(self) -> None:
        """Start anew, as a process does that was forked: what it inherited is its parent's."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # Kept, and never touched: to close it here would harm the parent's.
        self._inherited, self._connection = self._connection, None
        self._file: tuple[int, int] | None = None
        self._timeout = 0

    def write(self, action: Callable[[sqlite3.Connection], T], wait: float = WAIT) -> T:
        """Return what an action gives that runs in a transaction of its own.

        Raises:
            LogError: It could not be done within `wait` seconds, or not at all.
        """
        return self._patiently(lambda: self._transaction("IMMEDIATE", action), wait)

    def read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Return what an action gives that only reads, and sees one state.

        Raises:
            LogError: It cannot be read.
        """
        try:
            return self._patiently(lambda: self._transaction("DEFERRED", action), WAIT)
        except LogError as error:
            if error.__cause__ is None or _code(error.__cause__) not in _NO_SHARING:
                raise
            return self._unchanging(action, error)

    def _unchanging(self, action: Callable[[sqlite3.Connection], T], before: LogError) -> T:
        """Read a file on a disk that cannot be written, where SQLite can keep no locks."""
        import sqlite3  # noqa: PLC0415

        name = f"{self.path.absolute().as_uri()}?immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(name, uri=True)) as connection:
                return action(connection)
        except sqlite3.Error:
            raise before from None

    def compact(self) -> None:
        """Give back the space of what was removed, so that nothing of it stays in the file."""

        def vacuum() -> None:
            connection = self._opened()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._patiently(vacuum, WAIT)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._pid == os.getpid():
            with self._lock:
                self._drop()

    def __del__(self) -> None:
        # A connection that is left to the garbage collector is a ResourceWarning.
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
                    # Some of SQLite's locks are refused at once, whatever the busy timeout is.
                    time.sleep(random.uniform(0.001, 0.02))  # noqa: S311
        finally:
            self._lock.release()

    def _until(self, deadline: float) -> None:
        """Let SQLite wait for other processes until then."""
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
        """Return the connection; a new one when the file is not the one that was opened."""
        if self._connection is not None and identity(self.path) == self._file:
            return self._connection
        self._drop()
        # Where it exists it stays closed: closing it would drop the locks that SQLite holds on it.
        private_files.create(self.path)
        try:
            self._connection = self._ready(remote=networked(self.path))
        except Exception as error:
            # The shared memory of the write-ahead log is what some file systems cannot give.
            if _code(error) not in _NO_SHARING:
                raise
            try:
                self._connection = self._ready(remote=True)
            except Exception:
                raise error from None
        self._file = identity(self.path)
        return self._connection

    def _ready(self, *, remote: bool) -> sqlite3.Connection:
        """Return a connection to a file that is of the newest version."""
        import sqlite3  # noqa: PLC0415

        connection = sqlite3.connect(
            self.path, timeout=self._timeout / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            # A file that had to do without the write-ahead log once stays so for everybody.
            remote = remote or self._version(connection)[1] == self._mark + 1
            if not remote:
                self._log_ahead(connection)
            else:
                # In this mode a write-ahead log needs no shared memory, so that it can be left.
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
            # Only now it shows whether the file system can do it.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        # Safe against the end of the process, and never corrupt; see
        # https://sqlite.org/pragma.html#pragma_synchronous
        connection.execute("PRAGMA synchronous = NORMAL")

    def _migrate(self, connection: sqlite3.Connection, mark: int) -> None:
        newest = len(self._migrations)
        if self._version(connection) == (newest, mark):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
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
            LogError: It is a newer one, or the file is somebody else's.
        """
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        mark: int = connection.execute("PRAGMA application_id").fetchone()[0]
        anything = found or mark or connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if anything and mark not in (self._mark, self._mark + 1):
            raise LogError(
                f"{self.path} is another program's database; name another file with PERSONAKIT_LOG"
            )
        if found > len(self._migrations):
            raise LogError(
                f"{self.path} was written by a newer personakit (its version is {found}, the "
                f"newest known here is {len(self._migrations)}); install that one, or name another "
                f"file with PERSONAKIT_LOG"
            )
        return found, mark

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _code(error: BaseException) -> int:
    """Return the primary result code of an error of SQLite; 0 for another one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explained(path: Path, error: Exception) -> str:
    """Return what is wrong with a file, and what to do."""
    code = _code(error)
    if code in _WAITING:
        return f"{path} is locked by another process"
    if code in (_CORRUPT, _NOTADB):
        return f"{path} is damaged ({error}); `personakit log repair` keeps what can be read"
    if code == _FULL:
        return (
            f"{path}: there is no room left ({error}); `personakit log rm --before 30d` makes some"
        )
    other = "PERSONAKIT_LOG names another file, and `log: off` in the config turns it off"
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}; {other}"
    if path.is_dir():
        return f"{path} is a folder: {error}; {other}"
    if not os.access(path.parent, os.W_OK):
        return f"{path}: its folder cannot be written: {error}; {other}"
    return f"{path}: {error}; {other}"


_REMOTE = frozenset(
    "9p afs ceph cifs davfs fuse.sshfs glusterfs lustre ncpfs nfs nfs4 smb3".split()
)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that was put in its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def networked(path: Path, mounts: str | None = None) -> bool:
    """Tell whether a file is on a network file system, where a write-ahead log is not safe.

    Args:
        path: The file.
        mounts: The content of /proc/self/mounts; None reads it. Without one nothing is known.
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
