"""The file of a database: told from another one, and where it is."""

from __future__ import annotations

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
