"""Files and folders that only the user can read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE = 0o600
FOLDER = 0o700

# Held while a new file is open, so that no other thread of the process locks the file meanwhile.
_creating = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_creating.acquire,
        after_in_parent=_creating.release,
        after_in_child=_creating.release,
    )


def make_folder(path: Path) -> None:
    """Create a folder and its parents with mode 0700; existing folders stay as they are.

    Raises:
        OSError: It cannot be created, or a file has its name.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(FOLDER)
    except FileExistsError:
        # Asked only now: another process may have created it since the first check.
        if not path.is_dir():
            code = errno.ENOTDIR
            raise NotADirectoryError(code, os.strerror(code), str(path)) from None
    else:
        path.chmod(FOLDER)  # a umask may remove the user's own permissions


def create_file(path: str | os.PathLike[str]) -> None:
    """Create an empty file with mode 0600 if it does not exist; an existing file is not opened.

    A file of SQLite that is created with it stays private: SQLite gives its other files the mode of
    the first one. It may be in use: a process that closes a file loses its locks on it, those of
    SQLite in other threads included (https://sqlite.org/howtocorrupt.html, section 2.2).

    Args:
        path: The file; missing folders are created with mode 0700. See `check_file` for one that
            exists.

    Raises:
        OSError: It cannot be created.
    """
    make_folder(Path(path).parent)
    with _creating, contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE)
        try:
            if os.name == "posix":
                os.fchmod(handle, FILE)  # whatever the umask
        finally:
            os.close(handle)


def replace(path: Path, data: Iterable[bytes], *, mode: int | None = FILE) -> None:
    """Replace a file atomically: readers never see a partly written file.

    A symbolic link is followed and stays a link. A special file, such as a pipe or ``/dev/null``,
    is written to directly.

    Args:
        path: The file; a missing folder is created.
        data: The content, in chunks.
        mode: The mode, independent of the umask; None for 0666 reduced by the umask.

    Raises:
        OSError: It cannot be written; the file is unchanged.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            stream.writelines(data)
        return
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    beside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    # O_EXCL: never write through a file or link that somebody else created.
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
    try:
        with open(handle, "wb") as stream:  # noqa: PTH123 - Path.open takes no handle
            if os.name == "posix" and mode is not None:
                os.fchmod(handle, mode)
            stream.writelines(data)
            stream.flush()
            os.fsync(handle)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an advisory lock on a folder: other processes that call `locked` wait."""
    make_folder(folder)
    if os.name != "posix":
        yield
        return
    import fcntl  # noqa: PLC0415

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def fault(path: Path, handle: int) -> str:
    """Return an error message about the mode of an open file, with the command that fixes it.

    Empty if only the user can read and write it, or if the platform has no such modes.
    """
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if os.name != "posix" or not mode & 0o077:
        return ""
    import shlex  # noqa: PLC0415

    return (
        f"{path}: other users can read or change it (its mode is {mode:03o}), so it is not used; "
        f"run: chmod 600 {shlex.quote(str(path))}"
    )
