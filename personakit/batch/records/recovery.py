"""Read the state of a batch out of its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from personakit.batch.records.files import lines_from
from personakit.batch.records.index import read_index
from personakit.batch.records.state import State
from personakit.errors import UsageError

Places = Callable[[str, int], int | None]
_decode = json.JSONDecoder().raw_decode


def recovered(files: tuple[Path, Path, Path], index: Path, digest: str, places: Places) -> State:
    """Return what the files of a batch say.

    Args:
        files: The files of the answers, the failures and the journal.
        index: The file of the index.
        digest: What tells the table and its order from another one.
        places: Returns the place of a row in the source by its key and the place that the line
            has; None if the source no longer has it.

    Raises:
        UsageError: A line is not one of a batch.
    """
    known = read_index(index, files, digest)
    state, sizes = (known.state, known.sizes) if known else (State(), (0, 0, 0))
    journal = files[2]
    # What a batch that runs sends from now on may be answered before its answers are read.
    ends = (None, None, journal.stat().st_size if journal.exists() else 0)
    # Another head may be one of another table, in which a place is that of another row.
    heads = sum(line.startswith(b'{"head"') for _, line in lines_from(journal, sizes[2]))
    reader = _Reader(state, places, skips=heads <= 1)
    reads = (reader.answered, reader.failed, reader.noted)
    parts = list(zip(reads, files, sizes, ends, strict=True))
    for part in parts if heads <= 1 else reversed(parts):
        _read(*part)
    reader.close()
    return state


def _read(read: Callable[[dict[str, Any]], None], path: Path, size: int, end: int | None) -> None:
    """Pass on the values of the lines between two places of a file."""
    for at, line in lines_from(path, size):
        if at == end:
            break
        try:
            text = line.decode("utf-8", "surrogatepass")
            # Half of the time of `json.loads`, which looks for the encoding and for spaces.
            value, last = _decode(text)
            read(value if text[last:] == "\n" else json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _invalid(path, at, line) from None


class _Reader:
    """Reads lines into a state.

    If answers come first, rows that were sent and have one can be skipped: in a table of a million
    rows, those in flight would take more memory than all the rest.

    The order of lines in two files is not known. So each failure is written before the journal says
    that its row was given up, and the failures of a key are compared with how often it was.
    """

    def __init__(self, state: State, places: Places, *, skips: bool) -> None:
        self._state, self._places, self._skips = state, places, skips
        self._open: Counter[str] = Counter()

    def noted(self, value: dict[str, Any]) -> None:
        in_flight = self._state.in_flight
        if (key := value.get("sent")) is not None:
            place, number = self._places(key, value["i"]), value["n"]
            if place is not None and not (self._skips and place in self._state.done):
                in_flight[key] = place, number
        elif (key := value.get("returned")) is not None:
            in_flight.pop(key, None)
        elif (key := value.get("gave_up")) is not None:
            in_flight.pop(key, None)
            self._open[key] -= 1

    def failed(self, value: dict[str, Any]) -> None:
        self._open[value["key"]] += 1
        place = self._ended(value)
        if place is not None and place not in self._state.done:
            self._state.failed.add(place)

    def answered(self, value: dict[str, Any]) -> None:
        place = self._ended(value)
        self._state.in_flight.pop(value["key"], None)
        if place is not None:
            self._state.done.add(place)
            self._state.failed.discard(place)

    def _ended(self, value: dict[str, Any]) -> int | None:
        self._state.ended(value.get("usage"), value.get("cost"))
        return self._places(value["key"], value["index"])

    def close(self) -> None:
        """Take the rows out of those in flight whose process died between the two lines."""
        state = self._state
        state.half = tuple(key for key, count in self._open.items() if count > 0)
        for key in state.half:
            state.in_flight.pop(key, None)


def _invalid(path: Path, at: int, line: bytes) -> UsageError:
    return UsageError(
        f"{path}, byte {at}: expected a line of a batch, found {line[:40]!r}; restore the file, or "
        "choose another output"
    )
