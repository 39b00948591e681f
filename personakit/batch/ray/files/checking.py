"""Check all rows of a cluster's files before anything is sent."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from personakit.batch.exports import kind_of
from personakit.batch.ray.blocks import pyarrow
from personakit.batch.rows import MOST_FAULTS, Checked, Digests, Fault

_SIZE = 16


def examined(table: Any) -> Any:
    """Return one row that says of a block of checked rows what the driver needs.

    Args:
        table: The rows of a `RowsSource`.
    """
    ids, names, lines = bytearray(), bytearray(), array("Q")
    faults: list[list[Any]] = []
    kinds: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for row in table.to_pylist():
        if row["faults"] is not None:
            if len(faults) < MOST_FAULTS:
                faults.append([row["file"], row["line"], json.loads(row["faults"])])
            counts["invalid"] = counts.get("invalid", 0) + 1
            continue
        ids += bytes.fromhex(row["id"])
        names += hashlib.blake2b(
            row["key"].encode("utf-8", "surrogatepass"), digest_size=_SIZE
        ).digest()
        lines.append(row["line"])
        for name, value in json.loads(row["kept"] or "{}").items():
            kinds.setdefault(name, set()).add(kind_of(value))
    files = [] if not table.num_rows else table.column("file").to_pylist()
    value = {
        "ids": bytes(ids), "names": bytes(names), "lines": lines.tobytes(),
        "faults": json.dumps(faults), "invalid": counts.get("invalid", 0),
        "kinds": json.dumps({name: sorted(each) for name, each in kinds.items()}),
        "file": files[0] if files else "", "size": table.nbytes,
    }  # fmt: skip
    return pyarrow().table({name: [each] for name, each in value.items()})


@dataclass(slots=True)
class Collected:
    """What the check of all blocks has found.

    Attributes:
        key: The column of the keys; None if rows are named by their content.
        contents: The ids of the rows, which are equal for rows that are sent once.
        weights: How many rows have the id with a number.
        ids: The ids one after the other, in the order of their numbers.
        kinds: The types of the columns that are kept.
        faults: What is wrong.
        invalid: How many rows cannot be sent.
        rows: How many can.
        repeated: How many have the key of another row, among `invalid`.
        size: The bytes of all rows in memory.
    """

    key: str | None
    contents: Digests = field(default_factory=Digests)
    weights: array[int] = field(default_factory=lambda: array("I"))
    ids: bytearray = field(default_factory=bytearray)
    kinds: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    invalid: int = 0
    rows: int = 0
    repeated: int = 0
    size: int = 0
    _names: Digests = field(default_factory=Digests)

    def add(self, row: Any, each: Callable[[int], None]) -> None:
        """Add what `examined` says of a block.

        Args:
            row: The row, as a dict.
            each: Called with the number of rows that were checked.
        """
        ids, names, file = row["ids"], row["names"], row["file"]
        lines = array("Q", row["lines"])
        self.invalid += row["invalid"]
        self.size += row["size"]
        for name, line, faults in json.loads(row["faults"]):
            if len(self.faults) < MOST_FAULTS:
                self.faults += [Fault(name, line, column, text) for column, text in faults]
        for name, kinds in json.loads(row["kinds"]).items():
            self._widen(name, kinds)
        for at in range(0, len(ids), _SIZE):
            digest = ids[at : at + _SIZE]
            if self.key is not None and not self._is_new(names[at : at + _SIZE]):
                self.invalid += 1
                self.repeated += 1
                self._repeated(file, lines[at // _SIZE])
                continue
            number = self.contents.add(digest)
            if number == len(self.weights):
                self.weights.append(0)
                self.ids += digest
            self.weights[number] += 1
            self.rows += 1
        each(self.rows + self.invalid)

    def _is_new(self, name: bytes) -> bool:
        count = len(self._names)
        return self._names.add(name) == count

    def _repeated(self, file: str, line: int) -> None:
        if len(self.faults) < MOST_FAULTS:
            text = "another row has the same key; each row needs its own"
            self.faults.append(Fault(file, line, str(self.key), text))

    def _widen(self, name: str, kinds: list[str]) -> None:
        """Make the type of a column wide enough for more types."""
        known = {self.kinds.get(name, ""), *kinds} - {""}
        wide = "double" if known == {"int64", "double"} else "string"
        self.kinds[name] = known.pop() if len(known) == 1 else wide if known else ""

    def repeating(self) -> bytes:
        """Return the ids that several rows have, one after the other."""
        places = [at for at, weight in enumerate(self.weights) if weight > 1]
        return b"".join(bytes(self.ids[at * _SIZE : (at + 1) * _SIZE]) for at in places)

    def checked(self) -> Checked:
        """Return the result, as that of a table in one process."""
        repeats = self.rows - len(self.contents)
        faults = sorted(self.faults, key=lambda fault: (fault.source, fault.line))
        return Checked(self.rows, repeats, self.invalid, tuple(faults))
