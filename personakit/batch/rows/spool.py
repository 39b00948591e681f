"""Rows that can be read only once, kept in a file beside the output."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from personakit.base import private_files
from personakit.batch.rows.kinds import SPOOLED, open_source
from personakit.batch.rows.source import Source
from personakit.errors import UsageError, spelled

_PIECE = 1 << 20
STANDARD_INPUT = "-"


def open_rows(rows: str | Path | Iterable[Mapping[str, Any]], out: Path, *, begun: bool) -> Source:
    """Return the source of the rows of a batch.

    Standard input and iterables are written to a file beside the output first: rows are read more
    than once. If the batch has begun, they must be the same as before.

    Args:
        rows: The path of a file, ``-`` for standard input, or mappings.
        out: The file of the answers.
        begun: Whether there are answers to these rows already.

    Raises:
        UsageError: They cannot be read, or are others than before.
    """
    if isinstance(rows, str | Path) and str(rows) != STANDARD_INPUT:
        return open_source(Path(rows))
    spool = out.with_name(f"{out.name}{SPOOLED}")
    if isinstance(rows, str | Path):
        stream = sys.stdin.buffer
        if sys.stdin.isatty():
            if not spool.exists():
                raise UsageError(
                    "no rows on standard input, which is a terminal; pipe a table into the "
                    "command, or give the name of a file"
                )
            return open_source(spool)
        title, pieces = "standard input", _pieces(stream)
    else:
        title, pieces = "rows", _lines(rows)
    _keep(spool, pieces, title, begun=begun)
    return open_source(spool)


def _keep(spool: Path, pieces: Iterator[bytes], title: str, *, begun: bool) -> None:
    """Write rows to a file; if it has the same ones already, it stays as it is."""
    new = spool.with_name(f"{spool.name}.new")
    try:
        try:
            private_files.replace(new, pieces)
            if spool.exists() and _digest(spool) == _digest(new):
                return
            if spool.exists() and begun:
                way = spelled(python=f"rows={str(spool)!r}", terminal=f"{spool} in the place of -")
                raise UsageError(
                    f"{title}: the rows are not those of {spool}, which the answers belong to; "
                    f"give the same ones, go on with {way}, or choose another output"
                )
            new.replace(spool)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{title}: the rows cannot be written to {spool}: {error.strerror or error}"
        ) from None


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield rows as lines of JSON."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise _no_row("rows", rows)
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise _no_row(f"rows[{index}]", row)
        try:
            yield (encode(dict(row)) + "\n").encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"rows[{index}]: expected values of JSON: text, numbers, true, false, None, lists "
                f"and dicts; {error}"
            ) from None


def _no_row(name: str, value: Any) -> UsageError:
    kind = type(value).__name__
    hint = ""
    if name == "rows[0]" and isinstance(value, str):
        hint = "; of a DataFrame, give df.to_dict('records')"
    return UsageError(
        f"{name}: expected the path of a file, or mappings of columns to values, found {kind}{hint}"
    )
