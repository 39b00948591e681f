"""Which worker sends a row whose content several rows have."""

from __future__ import annotations

import os
from pathlib import Path

from personakit.batch.records import Files, is_locked

_SIZE = 16


class Claims:
    """Files that workers create for the rows that repeat: who is the first, sends.

    Args:
        folder: The journal.
        run: The name of the run; `write_repeats` has said which rows repeat.
        own: The name of the worker's file of answers.
    """

    def __init__(self, folder: Path, run: str, own: str) -> None:
        self._journals, self._folder, self._own = folder, _folder(folder, run), own
        self._ids: frozenset[bytes] = frozenset()
        if run and (file := _repeats(folder, run)).exists():
            data = file.read_bytes()
            self._ids = frozenset(data[at : at + _SIZE] for at in range(0, len(data), _SIZE))
        self._name = self._folder / own
        if self._ids:
            self._name.write_text(own, "utf-8")

    def take(self, digest: bytes) -> bool:
        """Return whether this worker is to send a row.

        Args:
            digest: The 16 bytes of its key.
        """
        if digest not in self._ids:
            return True
        path = self._folder / digest.hex()
        try:
            # Unlike a new file, a link has its content from the beginning.
            path.hardlink_to(self._name)
        except FileExistsError:
            return path.exists() and path.read_text("utf-8") == self._own
        return True

    def free(self, digest: bytes) -> None:
        """Let another worker send a row if the one that was to do so has died."""
        path = self._folder / digest.hex()
        owner = path.read_text("utf-8") if path.exists() else ""
        if owner and not is_locked(Files.of(self._journals / owner).journal):
            path.unlink(missing_ok=True)


def write_repeats(folder: Path, run: str, digests: bytes) -> None:
    """Say which rows repeat.

    Args:
        folder: The journal.
        run: The name of the run.
        digests: The 16 bytes of each of their keys, one after the other.
    """
    if digests:
        _folder(folder, run).mkdir(exist_ok=True)
        beside = _repeats(folder, run).with_suffix(f".{os.getpid()}")
        beside.write_bytes(digests)
        beside.replace(_repeats(folder, run))


def _repeats(folder: Path, run: str) -> Path:
    return folder / f"{run}.repeats"


def _folder(folder: Path, run: str) -> Path:
    return folder / f"{run}.claims"
