"""The index of a batch: what its files said up to a place, so that they need not be read again.

It can be removed at any time: it is then built anew from the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personakit.base import private_files
from personakit.batch.records.state import Bits, State

_FORMAT = 1
_TAIL = 4096
_SUM = 32
"""The bytes of the hash with which the file begins."""


@dataclass(frozen=True, slots=True)
class Index:
    """A state, and up to where it has the files.

    Attributes:
        state: The state.
        sizes: The bytes of the answers, the failures and the journal that it has.
    """

    state: State
    sizes: tuple[int, int, int]

    def write(self, path: Path, files: tuple[Path, Path, Path], digest: str) -> None:
        """Write the index.

        Args:
            path: Its file.
            files: The files of the answers, the failures and the journal.
            digest: What tells the table and its order from another one.
        """
        state = self.state
        done = bytes(state.done)
        head = {
            "format": _FORMAT,
            "table": digest,
            "sizes": self.sizes,
            "tails": [_tail(file, size) for file, size in zip(files, self.sizes, strict=True)],
            "done": len(done),
            "in_flight": state.in_flight,
            "tokens": state.tokens,
            "paid": state.paid,
            "unpriced": state.unpriced,
        }
        body = json.dumps(head).encode() + b"\n" + done + bytes(state.failed)
        private_files.replace(path, (_sum(body), body), mode=None)


def read_index(path: Path, files: tuple[Path, Path, Path], digest: str) -> Index | None:
    """Return the index in a file; None if it is missing, damaged, or of other files."""
    try:
        data = path.read_bytes()
        total, body = data[:_SUM], data[_SUM:]
        if total != _sum(body):
            return None
        head_line, _, bits = body.partition(b"\n")
        head: dict[str, Any] = json.loads(head_line)
        if head["format"] != _FORMAT or head["table"] != digest:
            return None
        sizes = head["sizes"]
        if head["tails"] != [_tail(file, size) for file, size in zip(files, sizes, strict=True)]:
            return None
        state = State(
            Bits(bits[: head["done"]]),
            Bits(bits[head["done"] :]),
            {key: tuple(value) for key, value in head["in_flight"].items()},
            head["tokens"],
            head["paid"],
            head["unpriced"],
        )
    except (OSError, ValueError, KeyError):
        return None
    return Index(state, tuple(sizes))


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _tail(path: Path, size: int) -> str:
    """Return a hash of what a file has before a place: another file has another one."""
    if not size:
        return ""
    start = max(0, size - _TAIL)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(size - start)
    if len(data) != size - start:
        raise OSError(f"{os.fspath(path)} has become shorter")
    return hashlib.sha256(data).hexdigest()
