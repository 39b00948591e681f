"""Files that nobody but the user may read, in folders that nobody else may look into."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE = 0o600
FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each with mode 0700; one that exists stays as it is.

    Raises:
        OSError: It cannot be made, or something else has its name.
    """
    if path.is_dir():
        return
    if path.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(FOLDER)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(FOLDER)  # a umask may have taken the user's own rights


def create(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none; one that exists is not even opened.

    Raises:
        OSError: It cannot be made.
    """
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE)
        try:
            if os.name == "posix":
                os.fchmod(made, FILE)  # whatever the umask
        finally:
            os.close(made)


def replace(path: Path, data: Iterable[bytes], *, mode: int | None = FILE) -> None:
    """Write a file as a whole: it is never seen half written.

    A symbolic link stays one, and the file that it leads to is replaced. What is no file, such as
    a pipe or ``/dev/null``, is written to as it is.

    Args:
        path: The file; its folder is made where it is missing.
        data: What it is to hold, in pieces.
        mode: Its mode, whatever the umask; None for what the umask leaves of 0666.

    Raises:
        OSError: It cannot be written; the file is what it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            stream.writelines(data)
        return
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    beside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    # Never through a file or a link that somebody else has put there.
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
    """Keep other processes out of a folder's files for as long as they ask this way as well."""
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
    """Return what is wrong with the mode of an open file, and the command that mends it.

    Empty when nobody but the user can read or write it, or where files have no such modes.
    """
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if os.name != "posix" or not mode & 0o077:
        return ""
    import shlex  # noqa: PLC0415

    return (
        f"{path}: other users can read or change it (its mode is {mode:03o}), so it is not used; "
        f"run: chmod 600 {shlex.quote(str(path))}"
    )
