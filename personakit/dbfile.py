"""The file of a database: made private, told from another one, and where it is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

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


def make_private(path: Path) -> None:
    """Make a file that only the user can read, in a folder that only the user can enter."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
    # Never opened when it exists: closing it would drop the locks that SQLite holds on it.
    with contextlib.suppress(FileExistsError):
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if os.name == "posix":
                os.fchmod(made, 0o600)
        finally:
            os.close(made)


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
