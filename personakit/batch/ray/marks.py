"""A file that asks the workers of a run to stop."""

from __future__ import annotations

import os
from pathlib import Path

from personakit.batch.ray.mirror import Mirror


def stop_run(folder: Path, run: str, why: str, mirror: Mirror | None = None) -> None:
    """Ask the workers of a run to begin no further row.

    Args:
        folder: Their journal.
        run: The name of the run.
        why: What they say of it.
        mirror: Copies the folder to the other machines; None if they see it.
    """
    mark = _mark(folder, run)
    beside = mark.with_name(f"{mark.name}.{os.urandom(4).hex()}")
    beside.write_text(why, "utf-8")
    beside.replace(mark)
    if mirror is not None:
        mirror.write(mark.name)


def stopped(folder: Path, run: str) -> str | None:
    """Return why the workers of a run are to stop; None if they are not."""
    try:
        return _mark(folder, run).read_text("utf-8")
    except FileNotFoundError:
        return None


def _mark(folder: Path, run: str) -> Path:
    return folder / f"{run}.stop"
