"""Read files through Ray Data, with the readers and the checks of a batch in one process."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ray.data.datasource import FileBasedDatasource

from personakit.batch.ray.blocks import pyarrow
from personakit.batch.ray.identity import Identities
from personakit.batch.ray.storage import Place
from personakit.batch.rows import Columns, Invalid, Row, open_source
from personakit.errors import UsageError
from personakit.persona import Reference
from personakit.runner import Runner

_AT_ONCE = 64
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


class RowsSource(FileBasedDatasource):  # type: ignore[misc]
    """The rows of files for a persona, checked.

    A row has the columns ``file``, ``line``, ``key`` (of the output), ``id`` (32 hexadecimal
    digits), ``variables``, ``input``, ``kept`` and ``faults``; all but the first three are JSON.

    Args:
        place: A file, or a folder of files.
        persona: The persona, as each node finds it.
        columns: How the columns are used.
        dedupe: Whether rows with equal content have the same id.
    """

    def __init__(self, place: Place, persona: Reference, columns: Columns, *, dedupe: bool) -> None:
        super().__init__(place.path, filesystem=place.filesystem)
        self._local, self._reference = place.is_local, persona
        self._columns, self._dedupe = columns, dedupe

    def resolve_compression(self, path: str, open_args: Mapping[str, Any]) -> str | None:
        """Return None: files that are compressed are read as they are."""
        return None

    def _read_stream(self, f: Any, path: str) -> Iterator[Any]:
        if self._local:
            yield from self._blocks(Path(path), path)
            return
        with tempfile.TemporaryDirectory(prefix="personakit-") as folder:
            copy = Path(folder) / PurePosixPath(path).name
            with copy.open("wb") as file:
                shutil.copyfileobj(f, file, 1 << 20)
            yield from self._blocks(copy, path)

    def _blocks(self, file: Path, name: str) -> Iterator[Any]:
        try:
            runner = Runner()
            persona = runner.load(self._reference)
            source = open_source(file)
            source.name = name
            identities = Identities(persona, self._columns, dedupe=self._dedupe)
            reader = identities.reader(source)
            seen: set[str] = set()
            rows: list[dict[str, Any]] = []
            for index, record in enumerate(source.records(reader.needed)):
                if not reader.has_columns:
                    seen.update(record.values)
                row = identities.row(reader, index, record)
                rows.append({"file": name, "line": record.line, **self._cells(identities, row)})
                if len(rows) == _AT_ONCE:
                    yield _table(rows)
                    rows = []
            if seen:
                reader.check_columns(sorted(seen))
            yield _table(rows)
        except UsageError as error:
            raise UsageError(str(error).replace(str(file), name)) from None

    def _cells(self, identities: Identities, row: Row | Invalid) -> dict[str, Any]:
        if isinstance(row, Invalid):
            return {"faults": _encode(row.faults)}
        return {
            # Half of a pair of surrogates has no bytes in UTF-8.
            "key": row.key.encode("utf-8", "replace").decode(),
            "id": identities.id_of(row),
            "variables": _encode(row.variables),
            "input": None if row.input is None else _encode(row.input),
            "kept": _encode(dict(row.kept)) if row.kept else None,
        }


def _table(rows: list[dict[str, Any]]) -> Any:
    arrow = pyarrow()
    text, number = arrow.string(), arrow.int64()
    names = "file line key id variables input kept faults".split()
    schema = arrow.schema([(name, number if name == "line" else text) for name in names])
    return arrow.Table.from_pylist(rows, schema)
