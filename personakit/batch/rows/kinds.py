"""The kinds of files, by suffix and by content."""

from __future__ import annotations

from pathlib import Path

from personakit.batch.rows.csv_file import CSVFile
from personakit.batch.rows.jsonl_file import JSONLFile, is_array
from personakit.batch.rows.source import File, Source, TextFile
from personakit.errors import UsageError

SPOOLED = ".rows"
"""The suffix of files that hold what standard input had."""
_CSV = (".csv", ".tsv")
_JSONL = (".jsonl", ".ndjson")


def open_source(path: Path) -> Source:
    """Return the source of a file.

    Args:
        path: A file that ends in ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` or ``.parquet``; all
            but the last also with ``.gz`` after it.

    Raises:
        UsageError: It is of another kind, or does not exist.
    """
    suffix = path.suffix.lower()
    packed = suffix == ".gz"
    if packed:
        suffix = Path(path.stem).suffix.lower()
    if suffix in _CSV:
        return CSVFile(path)
    if suffix in _JSONL:
        return JSONLFile(path)
    if suffix == ".parquet" and not packed:
        from personakit.batch.rows.parquet import ParquetFile  # noqa: PLC0415

        return ParquetFile(path)
    if suffix == SPOOLED and not packed:
        return _sniffed(path)
    if suffix == ".json" and not packed and _start(TextFile(path)) == "[":
        raise is_array(path)
    File(path)  # that there is none, or that it is a pipe, is said first
    hint = ""
    if suffix == ".json":
        hint = "; if it has an object in each line, rename it to .jsonl"
    if suffix in (".xlsx", ".xls", ".ods"):
        hint = "; save the sheet as CSV, in UTF-8"
    raise UsageError(f"{path}: expected a file that ends in .csv, .jsonl or .parquet{hint}")


def _sniffed(path: Path) -> Source:
    """Return the source of a file by its content."""
    if not path.exists():
        return CSVFile(path)  # it raises the error
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        from personakit.batch.rows.parquet import ParquetFile  # noqa: PLC0415

        return ParquetFile(path)
    if head.startswith(b"\x1f\x8b"):
        raise UsageError(f"{path}: it is compressed; pipe it through gunzip first")
    return JSONLFile(path) if _start(TextFile(path)) in ("{", "[") else CSVFile(path)


def _start(file: TextFile) -> str:
    """Return the first character that is no space; empty if there is none."""
    with file.text() as text:
        while piece := text.read(1 << 12):
            if start := piece.lstrip()[:1]:
                return start
    return ""
