"""What tells a row of a cluster from others, and what the answers of a worker depend on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from personakit.batch.ray.blocks import TableSource
from personakit.batch.ray.segments import segments_of
from personakit.batch.records import Head, head_of, model_of, read_heads
from personakit.batch.rows import Columns, Invalid, Reader, Record, Row, Source
from personakit.batch.settings import InFlight, Settings
from personakit.errors import UsageError, spelled
from personakit.persona import Persona
from personakit.runner import Runner

if TYPE_CHECKING:
    from personakit.tools import Tool


class WorkerOptions(TypedDict, total=False):
    """The keyword arguments of a worker that it has in common with a batch; see `BatchOptions`."""

    model: str | None
    parameters: Mapping[str, Any] | None
    tools: Iterable[Tool | Callable[..., Any]]
    timeout: float | None
    deadline: float | None
    concurrency: int | None
    rpm: float | None
    tpm: float | None
    attempts: int
    max_failures: int | None
    grace: float
    retry_failed: bool
    in_flight: InFlight
    durable: bool
    force_mixed: bool
    dedupe: bool


def settings_of(out: Path, columns: Columns, options: Mapping[str, Any]) -> Settings:
    """Return the settings of a worker.

    Raises:
        UsageError: An argument is not one of a worker, or its value is invalid.
    """
    result = Settings.of(out, columns, {"in_flight": "resend", **options})
    for name in options:
        if name not in WorkerOptions.__annotations__:
            raise UsageError(
                f"{name}: a worker knows its own rows alone, so it takes no {name!r}; use it with "
                "`personakit batch` in one process"
            )
    if result.in_flight == "ask":
        raise UsageError("in_flight must be resend or fail: nobody can be asked on a cluster")
    if not result.dedupe and columns.key is None:
        raise UsageError(
            "dedupe=False needs a key: without one, nothing tells rows with equal content apart; "
            "name their column with key"
        )
    return result


def check_way(in_flight: str, journal: object) -> None:
    """Check what becomes of rows under way, with a journal on storage that cannot append.

    Raises:
        UsageError: They shall not be sent again, which such a journal cannot promise.
    """
    if in_flight == "fail":
        option = spelled(python="in_flight='fail'", terminal="--in-flight fail")
        name = spelled(python="journal", terminal="--journal")
        raise UsageError(
            f"{option}: the journal {journal} does not know the rows of the last seconds before a "
            f"death; name a folder that all nodes share with {name}"
        )


def head_for(runner: Runner, persona: Persona, settings: Settings, source: str = "blocks") -> Head:
    """Return what the answers of a worker depend on.

    Args:
        runner: Runs the persona.
        persona: The persona.
        settings: The settings of the worker.
        source: Where the rows come from, for people.
    """
    model = model_of(runner, persona, settings.model)
    runner.router.find_model(model)
    return head_of(runner, persona, model, settings, TableSource(None, source))


def check_heads(folder: Path, head: Head, *, force_mixed: bool) -> None:
    """Check that the results in a folder fit those to come.

    Args:
        folder: The journal of the workers.
        head: What the results to come depend on.
        force_mixed: Whether results of another persona, model or other settings are kept.

    Raises:
        UsageError: They do not.
    """
    for files in segments_of(folder):
        read_heads(files.answers, head, force_mixed=force_mixed)


class Identities:
    """Reads rows, and gives each an id of 32 hexadecimal digits by its content.

    Args:
        persona: Declares the variables.
        columns: How the columns are used.
        dedupe: Whether rows with equal content have the same id; if not, their keys count, too.
    """

    def __init__(self, persona: Persona, columns: Columns, *, dedupe: bool) -> None:
        self._persona, self._columns, self._dedupe = persona, columns, dedupe
        self._reader: tuple[Any, Reader] | None = None

    def rows(self, table: Any, first: int) -> list[Row | Invalid]:
        """Return the rows of a table of Arrow, each with its id as its key, or what is wrong.

        Args:
            table: The table.
            first: The number of the first row in the worker.

        Raises:
            UsageError: It lacks a column.
        """
        source = TableSource(table)
        if self._reader is None or self._reader[0] != table.schema:
            self._reader = table.schema, self.reader(source)
        reader = self._reader[1]
        result: list[Row | Invalid] = []
        for at, record in enumerate(source.records(reader.needed)):
            row = self.row(reader, first + at, record)
            if isinstance(row, Row) and (id_ := self.id_of(row)) != row.key:
                row = dataclasses.replace(row, key=id_)
            result.append(row)
        return result

    def reader(self, source: Source) -> Reader:
        """Return a reader of the rows of a source.

        Raises:
            UsageError: The source lacks a column.
        """
        return Reader(source, self._columns, self._persona)

    def row(self, reader: Reader, number: int, record: Record) -> Row | Invalid:
        """Return a row, or what is wrong with it."""
        try:
            return reader.row(number, record)
        except Invalid as error:
            return error

    def id_of(self, row: Row) -> str:
        """Return the id of a row."""
        if self._dedupe:
            return row.content.hex()
        value = b"\0".join((row.key.encode("utf-8", "surrogatepass"), row.content))
        return hashlib.blake2b(value, digest_size=16).hexdigest()
