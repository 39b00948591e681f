"""The journals of all workers: each writes its own, and reads what the others have written."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from personakit.batch.records import Files, State, is_locked, lines_from, recovered
from personakit.batch.rows import Digests
from personakit.errors import UsageError

_KEY = slice(len('{"key":"'), len('{"key":"') + 32)
_SENT = slice(len('{"sent":"'), len('{"sent":"') + 32)
_ENDS = [
    (slice(len(start), len(start) + 32), start) for start in (b'{"returned":"', b'{"gave_up":"')
]
_SIZE = 16
_OFFSET = 48
"""The bits of an offset in a file; the number of the file stands above."""
_NONE = (1 << 64) - 1


def segments_of(folder: Path) -> list[Files]:
    """Return the files of each worker that has written into a folder, in a fixed order."""
    return [Files.of(each.with_suffix("")) for each in sorted(folder.glob("*.jsonl.journal"))]


@dataclass(slots=True)
class _File:
    """A file of answers or of failures, and how far it has been read."""

    path: Path
    is_failures: bool
    size: int = 0
    handle: IO[bytes] | None = None

    def line(self, offset: int) -> bytes:
        """Return the line that begins at an offset."""
        if self.handle is None:
            self.handle = self.path.open("rb")
        self.handle.seek(offset)
        return self.handle.readline()


@dataclass(slots=True)
class _Log:
    """A journal, how far it has been read, and the keys that were sent and have no end in it."""

    files: Files
    size: int = 0
    open: dict[bytes, int] = field(default_factory=dict)


class Segments:
    """The results in a folder by the keys of their rows, which are 32 hexadecimal digits.

    Memory holds some 40 bytes for each result, and no content.

    Args:
        folder: The folder.
        run: The beginning of the names of this run's segments. Failures of other runs are not
            found if they are to be sent again.
        retry_failed: Whether they are.
        watch: Whether to keep which keys are under way elsewhere.

    Attributes:
        answers: The keys with an answer.
        failures: Those that failed for good and have no answer.
        listener: Called with the name of the worker's file and each line that is read.
    """

    def __init__(
        self, folder: Path, run: str = "", *, retry_failed: bool = False, watch: bool = False
    ) -> None:
        self._folder, self._run, self._retry, self._watch = folder, run, retry_failed, watch
        self._files: list[_File] = []
        self._logs: list[_Log] = []
        self._known: set[str] = set()
        self._digests, self._places = Digests(), array("Q")
        self.answers = self.failures = 0
        self.listener: Callable[[str, bytes], None] | None = None

    def refresh(self) -> None:
        """Read what was written since the last time."""
        for files in segments_of(self._folder):
            name = files.answers.name
            if name not in self._known:
                self._known.add(name)
                self._logs.append(_Log(files))
                self._files.append(_File(files.answers, is_failures=False))
                if not self._retry or name.startswith(self._run or "\0"):
                    self._files.append(_File(files.failures, is_failures=True))
        # The journal first: what was sent before the answers were read may have ended.
        for log in self._logs if self._watch else ():
            self._read_log(log)
        for number, file in enumerate(self._files):
            for offset, line in lines_from(file.path, file.size):
                self._add(number, offset, _digest(line, _KEY, file.path))
                file.size = offset + len(line)
                if self.listener is not None:
                    self.listener(file.path.name, line)

    def _read_log(self, log: _Log) -> None:
        for offset, line in lines_from(log.files.journal, log.size):
            log.size = offset + len(line)
            if line.startswith(b'{"sent"'):
                log.open[_digest(line, _SENT, log.files.journal)] = json.loads(line)["n"]
            for where, start in _ENDS:
                if line.startswith(start):
                    log.open.pop(_digest(line, where, log.files.journal), None)

    def _add(self, number: int, offset: int, digest: bytes) -> None:
        for log in self._logs if self._watch else ():
            log.open.pop(digest, None)
        at, place = self._digests.add(digest), number << _OFFSET | offset
        failed = self._files[number].is_failures
        if at == len(self._places):
            self._places.append(place)
        elif failed and not self._is_failure(at):
            return
        else:
            self._forget(at)
            self._places[at] = place
        self.failures += failed
        self.answers += not failed

    def _forget(self, at: int) -> None:
        failed = self._is_failure(at)
        self.failures -= failed
        self.answers -= not failed

    def _is_failure(self, at: int) -> bool:
        return self._files[self._places[at] >> _OFFSET].is_failures

    def find(self, digest: bytes) -> dict[str, Any] | None:
        """Return the line of a row's answer, or of its failure; None if it has none.

        Args:
            digest: The 16 bytes of its key.
        """
        at = self._digests.find(digest)
        if at is None:
            return None
        number, offset = divmod(self._places[at], 1 << _OFFSET)
        line: dict[str, Any] = json.loads(self._files[number].line(offset))
        return line

    def has_failed(self, digest: bytes) -> bool | None:
        """Return whether a row has failed, False if it has an answer; None if it has neither.

        Args:
            digest: The 16 bytes of its key.
        """
        at = self._digests.find(digest)
        return None if at is None else self._is_failure(at)

    def sent(self, digest: bytes, own: str) -> tuple[int, bool] | None:
        """Return how often a row without a result was sent, and whether its worker still lives.

        Args:
            digest: The 16 bytes of its key.
            own: The name of the caller's file of answers, which is left out.

        Returns:
            None if no other worker has sent it.
        """
        for log in self._logs:
            if digest in log.open and log.files.answers.name != own:
                return log.open[digest], is_locked(log.files.journal)
        return None

    def in_flight(self) -> int:
        """Return how many rows of this run's segments were sent and have no end, if watched."""
        logs = [log for log in self._logs if log.files.answers.name.startswith(self._run)]
        return sum(len(log.open) for log in logs)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            if file.handle is not None:
                file.handle.close()
                file.handle = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the segments in a folder say.

    Attributes:
        done: The rows with an answer, those with equal content once.
        failed: Those that failed for good and have no answer.
        in_flight: Those that were sent and have neither.
        again: How often a row was under way when its worker died, and was answered by another.
        tokens: Tokens, as far as they are known.
        paid: US dollars, as far as they are known.
        unpriced: The results of which they are not.
        segments: The workers that have written.
        under_way: How often each row was sent that was sent and has neither, by its key.
    """

    done: int = 0
    failed: int = 0
    in_flight: int = 0
    again: int = 0
    tokens: int = 0
    paid: float = 0.0
    unpriced: int = 0
    segments: int = 0
    under_way: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost(self) -> float | None:
        """US dollars; None if that of a row is unknown."""
        return None if self.unpriced else self.paid

    @property
    def mean_cost(self) -> float | None:
        """US dollars of a row, of those of which they are known; None if of none."""
        count = self.done + self.failed - self.unpriced
        return self.paid / count if count > 0 else None


def summary(folder: Path, run: str = "") -> Summary:
    """Return what the segments in a folder say.

    Args:
        folder: The folder.
        run: Only those whose names begin so; empty for all.

    Raises:
        UsageError: A line is not one of a batch.
    """
    ends = Digests()
    answered = bytearray()
    lost: list[tuple[str, int]] = []
    tokens, paid, unpriced, count = 0, 0.0, 0, 0
    for files in segments_of(folder):
        if not files.answers.name.startswith(run):
            continue
        count += 1
        head = files.first_head()
        table = head.table if head is not None else ""
        state: State = recovered(files[:3], files.known, table, lambda _, place: place)
        tokens, paid = tokens + state.tokens, paid + state.paid
        unpriced += state.unpriced
        lost += [(key, number) for key, (_, number) in state.in_flight.items()]
        for is_answer, path in ((False, files.failures), (True, files.answers)):
            for digest in _digests(path):
                number = ends.add(digest)
                if number == len(answered):
                    answered.append(is_answer)
                answered[number] |= is_answer
    done = sum(answered)
    under_way: Counter[str] = Counter()
    for key, number in lost:
        if ends.find(bytes.fromhex(key)) is None:
            under_way[key] += number
    again = sum(key not in under_way for key, _ in lost)
    failed, in_flight = len(ends) - done, len(under_way)
    return Summary(done, failed, in_flight, again, tokens, paid, unpriced, count, under_way)


def _digests(path: Path) -> Iterator[bytes]:
    for _, line in lines_from(path):
        yield _digest(line, _KEY, path)


def _digest(line: bytes, where: slice, path: Path) -> bytes:
    """Return the 16 bytes of the key in a line.

    Raises:
        UsageError: It has none.
    """
    try:
        digest = bytes.fromhex(line[where].decode())
    except ValueError:
        digest = b""
    if len(digest) != _SIZE:
        raise UsageError(
            f"{path}: expected a line of a worker, found {line[:60]!r}; restore the file, or "
            "choose another journal"
        )
    return digest
