"""Where a file is: which one it is, and whether it is on a network file system."""

from __future__ import annotations

from pathlib import Path

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
