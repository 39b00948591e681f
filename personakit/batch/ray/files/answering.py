"""The worker of `personakit batch --engine ray`: rows of checked files in, rows of output out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from personakit.batch.exports import harmless, typed
from personakit.batch.ray import blocks
from personakit.batch.ray.results import values
from personakit.batch.ray.worker import Worker
from personakit.batch.rows import Invalid, Row

KEY = "key"


class FilesWorker(Worker):
    """Answers the rows of a `RowsSource`.

    Args:
        persona: See `Worker`.
        journal: See `Worker`.
        kinds: The types of the columns that are copied, by their names.
        is_csv: Whether texts that a spreadsheet would take for formulas are marked.
        options: The other arguments of a `Worker`.
    """

    def __init__(
        self,
        persona: str | Path,
        journal: str | Path,
        *,
        kinds: Mapping[str, str],
        is_csv: bool,
        **options: Any,
    ) -> None:
        super().__init__(persona, journal, **options)
        self._kinds, self._is_csv = {name: kind or "string" for name, kind in kinds.items()}, is_csv

    def _rows(self, table: Any) -> Sequence[Row | Invalid]:
        result: list[Row | Invalid] = []
        for row in table.to_pylist():
            self._count += 1
            if row["faults"] is not None:
                result.append(Invalid(*map(tuple, json.loads(row["faults"]))))
                continue
            variables = json.loads(row["variables"])
            text = None if row["input"] is None else json.loads(row["input"])
            result.append(Row(self._count, row["line"], row["id"], b"", variables, text))
        return result

    def _output(self, table: Any, lines: Sequence[dict[str, Any] | None], block: Any) -> Any:
        arrow = blocks.pyarrow()
        faults = table.column("faults")
        pairs = [
            (at, result)
            for at, result in enumerate(map(values, lines))
            if result is not None and not faults[at].is_valid
        ]
        taken = table.take(arrow.array([at for at, _ in pairs], arrow.int64()))
        cells: dict[str, tuple[str, list[Any]]] = {KEY: ("string", taken.column(KEY).to_pylist())}
        kept = [json.loads(each or "{}") for each in taken.column("kept").to_pylist()]
        for name, kind in self._kinds.items():
            cells[name] = kind, [typed(row.get(name), kind) for row in kept]
        for name, (end, kind) in zip(
            blocks.names_of(self._column), blocks.COLUMNS.items(), strict=True
        ):
            cells[name] = kind, [result[end] for _, result in pairs]
        if self._is_csv:
            cells = {
                name: (kind, [*map(harmless, column)] if kind == "string" else column)
                for name, (kind, column) in cells.items()
            }
        return arrow.table(
            [arrow.array(column, blocks.type_of(kind)) for kind, column in cells.values()],
            names=[*cells],
        )
