"""The faults of a SQLite file, by their result codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from personakit.errors import UsageError

# The result codes of SQLite that are handled: https://sqlite.org/rescode.html
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _PROTOCOL, _NOTADB = (
    5, 6, 8, 10, 11, 13, 14, 15, 26,
)  # fmt: skip
_KINDS: dict[int, Literal["locked", "damaged", "full"]] = {
    **dict.fromkeys((_BUSY, _LOCKED, _PROTOCOL), "locked"),
    **dict.fromkeys((_CORRUPT, _NOTADB), "damaged"),
    _FULL: "full",
}


class DatabaseError(UsageError):
    """A file of SQLite cannot be read or written.

    Attributes:
        locked: Whether another process or thread holds a lock, so that waiting may help.
        damaged: Whether the file is damaged.
    """

    def __init__(self, message: str, *, locked: bool = False, damaged: bool = False) -> None:
        super().__init__(message)
        self.locked = locked
        self.damaged = damaged

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), dict(vars(self))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file.

    Attributes:
        text: The error of SQLite or of the operating system.
        kind: ``locked``, ``damaged``, ``full`` (the disk), ``thread`` (another thread of the
            process has had the file for too long), ``os`` (an error of the operating system),
            ``foreign`` (the file is another program's), ``newer`` (it was written by a newer
            version) or ``other``.
    """

    text: str
    kind: Literal["locked", "thread", "damaged", "full", "os", "foreign", "newer", "other"]

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """Return the fault that an error of SQLite or of the operating system is about."""
        if isinstance(error, OSError):
            return cls(error.strerror or str(error), "os")
        return cls(str(error), _KINDS.get(code(error), "other"))

    def error(self, kind: type[DatabaseError], message: str) -> DatabaseError:
        """Return the error to raise."""
        is_locked = self.kind in ("locked", "thread")
        return kind(message, locked=is_locked, damaged=self.kind == "damaged")


def code(error: BaseException) -> int:
    """Return the primary result code of a SQLite error; 0 for any other error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def lacks_sharing(error: BaseException | None) -> bool:
    """Return whether an error is that of a file system without shared memory, or a read-only one.

    Those are the only ones for which the file may be used in another way.
    """
    return error is not None and code(error) in (_READONLY, _IOERR, _CANTOPEN)
