"""The files of a batch: answers, failures, and what was sent. One process writes them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from personakit.batch.records.files import Appender, is_locked, lines_from
from personakit.batch.records.head import FORMAT, Head
from personakit.batch.records.index import Index
from personakit.batch.records.lines import lost_line
from personakit.batch.records.recovery import recovered
from personakit.batch.records.space import Space
from personakit.batch.records.state import State
from personakit.batch.rows import Row
from personakit.errors import UsageError, spelled

_INDEX_EVERY = 10.0
# A value that JSON has no type for, such as a date of Parquet, is written as text.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class Files(NamedTuple):
    """The paths of the files of a batch.

    Attributes:
        answers: One line for each row with an answer.
        failures: One line for each time that a row failed for good.
        journal: What was sent, and what was given up.
        known: The index: what the others say, to be read faster.
    """

    answers: Path
    failures: Path
    journal: Path
    known: Path

    @classmethod
    def of(cls, out: Path) -> Files:
        """Return the files beside a file of answers."""
        return cls(
            out,
            out.with_name(f"{out.stem}.failed{out.suffix}"),
            out.with_name(f"{out.name}.journal"),
            out.with_name(f"{out.name}.index"),
        )

    @property
    def have_begun(self) -> bool:
        """Whether there is a journal with a head: answers may belong to it."""
        return self.journal.exists() and self.journal.stat().st_size > 0

    def first_head(self) -> Head | None:
        """Return the first head in the journal; None if there is none, or it is damaged."""
        for _, line in lines_from(self.journal):
            try:
                return Head.of(json.loads(line)["head"])
            except (ValueError, KeyError, TypeError):
                return None
        return None

    def checked(self, head: Head) -> dict[str, Any] | None:
        """Return what the check of a table found; None if it was not checked by these rules."""
        result = None
        for _, line in lines_from(self.journal):
            if line.startswith(b'{"checked"'):
                value = json.loads(line)
                result = value["checked"] if value["rules"] == head.rules else None
        return result

    def heads(self) -> list[Head]:
        """Return the heads in the journal: the first, and one for each change after it.

        Raises:
            UsageError: It is not a journal, or one of a later version.
        """
        heads = []
        for at, line in lines_from(self.journal):
            if at and not line.startswith(b'{"head"'):
                continue
            try:
                heads.append(Head.of(json.loads(line)["head"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UsageError(f"{self.journal}: it is not the journal of a batch") from None
            if heads[-1].format > FORMAT:
                raise UsageError(
                    f"{self.journal}: its format {heads[-1].format} is one of a later version of "
                    "personakit; upgrade personakit"
                )
        return heads


class Journal:
    """Writes the files of a batch; use `open_journal`.

    Attributes:
        files: The files.
        head: What the answers depend on.
        state: What the files say.
        unsynced: The results that may not be on the disk yet.
    """

    def __init__(self, files: Files, head: Head, *, durable: bool) -> None:
        self.files, self.head, self._durable = files, head, durable
        self.state = State()
        self._log = Appender(files.journal)
        if not self._log.lock():
            self._log.close()
            raise _locked(files)
        self._answers, self._failures = Appender(files.answers), Appender(files.failures)
        self._space = Space(files.answers)
        self._indexed = time.monotonic()
        self.unsynced = 0

    def recover(self, places: Callable[[str, int], int | None]) -> None:
        """Read what an earlier process has written; cut a torn last line.

        Args:
            places: See `recovered`.

        Raises:
            UsageError: A line is not one of a batch.
            OSError: A file cannot be read or written.
        """
        for file in (self._answers, self._failures, self._log):
            file.cut()
        files = self.files
        state = self.state = recovered(files[:3], files.known, self.head.table, places)
        for key in state.half:
            self._write(self._log, {"gave_up": key})
        # The index may not be of this table, and its bits of the files as they were before.
        self.checkpoint()

    def checked(self, value: Mapping[str, Any]) -> None:
        """Note what the check of the table found, so that it need not be checked again."""
        self._write(self._log, {"checked": value, "rules": self.head.rules})

    def begin(self, heads: list[Head]) -> None:
        """Write the head, unless the last one is equal, and that this process begins."""
        if not heads or heads[-1].to_dict() != self.head.to_dict():
            self._write(self._log, {"head": self.head.to_dict()})
        self._write(self._log, {"began": os.getpid(), "t": round(time.time(), 3)})

    def fail_in_flight(self) -> None:
        """Count the rows that were under way when the last process ended as failed."""
        for key, (place, number) in list(self.state.in_flight.items()):
            row = Row(place, 0, key, b"", {})
            self.gave_up(row, lost_line(row, number))

    def sent(self, row: Row, number: int) -> None:
        """Note that a request of a row is about to leave.

        Args:
            row: The row.
            number: The number of the request of the row, from 1.

        Raises:
            OSError: It cannot be written, or there is no space for the answers to come; the request
                must not leave.
        """
        state = self.state
        self._space.check(len(state.in_flight) + 1)
        key, index = row.key, row.index
        line = f'{{"sent":{_encode(key)},"i":{index},"n":{number},"t":{time.time():.3f}}}\n'
        self._log.append(line.encode("utf-8", "surrogatepass"))
        state.in_flight[key] = index, number

    def returned(self, row: Row) -> None:
        """Note that a row that was sent has got nothing, and is to be sent again.

        Raises:
            OSError: It cannot be written.
        """
        self._write(self._log, {"returned": row.key})
        self.state.in_flight.pop(row.key, None)

    def answered(self, row: Row, line: Mapping[str, Any]) -> None:
        """Write the answer of a row.

        Raises:
            OSError: It cannot be written; the files are unchanged.
        """
        self._space.saw(self._write(self._answers, line))
        state = self.state
        state.done.add(row.index)
        state.failed.discard(row.index)
        self._ended(row, line)

    def gave_up(self, row: Row, line: Mapping[str, Any]) -> None:
        """Write the failure of a row.

        Raises:
            OSError: It cannot be written; the files are unchanged.
        """
        size = self._failures.size
        self._write(self._failures, line)
        try:
            self._write(self._log, {"gave_up": row.key})
        except BaseException:
            self._failures.shorten(size)
            raise
        self.state.failed.add(row.index)
        self._ended(row, line)

    def _ended(self, row: Row, line: Mapping[str, Any]) -> None:
        self.state.in_flight.pop(row.key, None)
        self.state.ended(line["usage"], line["cost"])
        self.unsynced += 1

    def flush(self) -> None:
        """Wait for the disk, if each result shall, and write the index now and then.

        Raises:
            OSError: The disk does not take the results.
        """
        if self._durable:
            self.sync()
        if time.monotonic() - self._indexed >= _INDEX_EVERY:
            self.checkpoint()

    @staticmethod
    def _write(file: Appender, value: Mapping[str, Any]) -> int:
        data = f"{_encode(value)}\n".encode("utf-8", "surrogatepass")
        file.append(data)
        return len(data)

    def sync(self) -> None:
        """Wait until what was written is on the disk.

        Raises:
            OSError: The disk does not take it.
        """
        self.unsynced = 0
        for file in (self._log, self._answers, self._failures):
            file.sync()

    def checkpoint(self) -> None:
        """Write the index, if there is space: it can be built anew."""
        self._indexed = time.monotonic()
        sizes = self._answers.size, self._failures.size, self._log.size
        files = self.files
        with contextlib.suppress(OSError):
            Index(self.state, sizes).write(files.known, files[:3], self.head.table)

    def close(self) -> None:
        """Wait for the disk, write the index and close the files.

        Raises:
            OSError: The disk does not take the results.
        """
        try:
            self.sync()
            self.checkpoint()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the files as they are."""
        for file in (self._answers, self._failures, self._log):
            file.close()


def check_unlocked(files: Files) -> None:
    """Check that no process writes the files of a batch.

    Raises:
        UsageError: One does.
    """
    if is_locked(files.journal):
        raise _locked(files)


def _locked(files: Files) -> UsageError:
    return UsageError(
        f"{files.answers}: another process writes it{_writer(files.journal)}; wait for it, or see "
        f"how far it is: personakit batch status {files.answers}"
    )


def open_journal(
    out: Path, head: Head, *, durable: bool = False, force_mixed: bool = False
) -> tuple[Journal, list[Head]]:
    """Return the journal of a batch, locked for this process, and the heads in it.

    Args:
        out: The file of the answers.
        head: What the answers depend on.
        durable: Whether each answer waits for the disk.
        force_mixed: Whether answers of another persona, model or other settings are kept.

    Raises:
        UsageError: Another process writes it, it is not of a batch, or of another one.
        OSError: A file cannot be opened.
    """
    files = Files.of(out)
    _check_output(files)
    journal = Journal(files, head, durable=durable)
    try:
        # Only now: another process may have written them before it ended.
        return journal, read_heads(out, head, force_mixed=force_mixed)
    except BaseException:
        journal.abandon()
        raise


def read_heads(out: Path, head: Head, *, force_mixed: bool = False) -> list[Head]:
    """Return the heads in the journal of a batch, without writing anything.

    Args:
        out: The file of the answers.
        head: What the answers to come depend on.
        force_mixed: Whether answers of another persona, model or other settings are kept.

    Raises:
        UsageError: It is not of a batch, or of another one.
    """
    files = Files.of(out)
    _check_output(files)
    heads = files.heads()
    if not heads and (_has_lines(out) or _has_lines(files.failures)):
        raise UsageError(
            f"{files.journal}: its first line is missing, so it is not known to what the answers "
            f"in {out} belong; restore the file, or choose another output"
        )
    changes = head.changes(heads[-1]) if heads else []
    if changes and not force_mixed and any(map(_has_lines, files[:2])):
        option = spelled(python="force_mixed=True", terminal="--force-mixed")
        raise UsageError(
            f"{out}: its answers would not fit those to come: {'; '.join(changes)}. Undo that, "
            f"choose another output, or go on with both kinds of answers: {option}"
        )
    return heads


def _check_output(files: Files) -> None:
    """Raise UsageError for a file with content that is not the output of a batch."""
    if _has_lines(files.answers) and not files.journal.exists():
        raise UsageError(
            f"{files.answers}: it exists and has no journal ({files.journal.name}), so it is not "
            "the output of a batch; choose another file, or remove it"
        )


def _has_lines(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _writer(journal: Path) -> str:
    """Return which process writes a journal, as a clause in brackets; empty if unknown."""
    last = None
    for _, line in lines_from(journal):
        if line.startswith(b'{"began"'):
            last = line
    return f" (process {json.loads(last)['began']})" if last else ""
