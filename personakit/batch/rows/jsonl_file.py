"""JSONL files: a JSON object in each line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from personakit.base import article, infer_type, read_json
from personakit.batch.rows.source import LONGEST_LINE, Record, TextFile, too_long
from personakit.errors import UsageError


class JSONLFile(TextFile):
    """A file with a JSON object in each line; empty lines are no rows."""

    def columns(self) -> tuple[str, ...] | None:
        """See `Source.columns`."""
        return None

    def is_untyped(self, column: str) -> bool:
        """See `Source.is_untyped`."""
        return False

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """See `Source.records`."""
        first = True
        with self.text(newline="\n") as file:
            line = 0
            while text := file.readline(LONGEST_LINE):
                line += 1
                if first and text.lstrip()[:1] == "[":
                    raise is_array(self.path)
                if len(text) == LONGEST_LINE:
                    raise too_long(self.path, line)
                if text.isspace():
                    continue
                first = False
                try:
                    values = read_json(text)
                except ValueError as error:
                    yield Record(line, {}, f"it is not JSON: {_explained(error)}")
                    continue
                if type(values) is dict:
                    yield Record(line, values)
                else:
                    kind = infer_type(values)
                    name = article(kind) if kind else "null"
                    message = f'expected a JSON object, as in {{"text": "…"}}, found {name}'
                    yield Record(line, {}, message)


def _explained(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return str(error)


def is_array(path: Path) -> UsageError:
    """Return the error for a file that holds one JSON array."""
    source, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".jsonl")))
    target = target if target != source else shlex.quote(str(path.with_suffix(".rows.jsonl")))
    return UsageError(
        f"{path}: it is one JSON array, and not JSONL, which has an object in each line; "
        f"convert it: jq -c '.[]' {source} > {target}"
    )
