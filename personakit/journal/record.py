"""The record of a run: what it asked for and what it got, so that it can be run again from there.

It is kept in memory until a person is asked; from then on it is also in a journal, to which every
step is written before the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from personakit.base import run_id
from personakit.errors import Blocked, JournalError, ReplayMismatch
from personakit.journal.entries import KINDS, PAID, VERSION, Entry, Journal
from personakit.journal.questions import Asker, OnSuspend, Question
from personakit.journal.storage import JournalStorage
from personakit.journal.values import NotStorable, different

Header = Callable[[], dict[str, Any]]
"""Returns the first line of a journal: the persona, the request and the options of the run."""

_log = logging.getLogger("personakit")
_CUT = ("started", "again")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the questions of a run go.

    Attributes:
        storage: Returns what keeps the journals.
        asker: Asks a person; None if nobody is there.
        on_suspend: What happens if nobody answers.
    """

    storage: Callable[[], JournalStorage]
    asker: Asker | None = None
    on_suspend: OnSuspend = "raise"


class Record:
    """What a run asked for and what it got.

    Args:
        desk: Where its questions go.
        header: Returns the start of the run.
        identity: The id of the run that is resumed; empty for a new one.
        journal: Its journal.
        answers: The new answers, by the ids of their questions.
        is_brief: Whether it is of something that cannot be resumed, and is in no journal.

    Attributes:
        id: The id of the run; empty until it is in a journal.
        old: What happened before the run was resumed, by place.
        inner: The places within which something of that happened.
        is_again: Whether the run is resumed.
        before: The places of questions from before the run was resumed.
        is_open: Whether the run is under way.
        is_kept: Whether it is in a journal.
        is_attended: Whether somebody answers.
        shown: How much of the answer the caller has received.
    """

    def __init__(
        self,
        desk: Desk,
        header: Header,
        *,
        identity: str = "",
        journal: Journal | None = None,
        answers: dict[str, str] | None = None,
        is_brief: bool = False,
    ) -> None:
        self.is_brief, self.is_attended = is_brief, desk.asker is not None
        self.desk, self._header = desk, header
        self.id, self.is_open, self.is_kept = identity, True, journal is not None
        self.old = dict(journal.entries) if journal else {}
        self.answers = {**(journal.answers if journal else {}), **(answers or {})}
        self.asked: dict[str, Question] = dict(journal.questions) if journal else {}
        self.before = frozenset(self.asked)
        self.is_again = bool(self.old or self.asked)
        self.waiting: list[Question] = []
        self.shown: dict[str, Any] = dict(journal.shown) if journal else {}
        self.hashes: dict[int, tuple[Any, str]] = {}
        self._shown = dict(self.shown)
        self.inner = {at[:n] for at in self.old for n, c in enumerate(at) if c == "."}
        self._entries: list[Entry] = []
        self._used: set[str] = set()
        self._buffer: list[dict[str, Any]] = []
        self._size = journal.size if journal else 0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self.asking = threading.Lock()
        self.broken: ReplayMismatch | None = None

    # --- what happened before --------------------------------------------------------------------

    def find(self, scope: Any, kind: str, at: str, subject: Any) -> Entry | None:
        """Return what happened at a place before the run was resumed; None if nothing did.

        Raises:
            ReplayMismatch: Something else happened there.
        """
        if self.broken is not None:
            raise self.broken
        if not self.is_again:
            return None
        old = self.old.get(at)
        if old is None:
            if at in self.before:
                self.mismatch(scope, Entry(at, "ask"), kind)
            if at in self.inner and kind != "run":
                self.mismatch(scope, Entry(at, "send"), kind)
            return None
        entry = Entry(at, kind, subject, hashes=self.hashes)
        if old.kind != kind:
            self.mismatch(scope, old, kind)
        if parts := different(old.digest, entry.digest):
            self.mismatch(scope, old, kind, f": its {parts} differs")
        self._used.add(at)
        return old

    def mismatch(self, scope: Any, old: Entry, kind: str, how: str = "") -> NoReturn:
        """Raise the error of a run that is not the recorded one.

        Raises:
            ReplayMismatch: Always.
        """
        who = "the run" if scope is None or scope.layer is None else str(scope.layer)
        what = "another question" if kind == old.kind == "ask" else KINDS.get(kind, "")
        now = f"{who} now asks for {what}{how}" if kind else f"{who} no longer asks for it"
        self.broken = ReplayMismatch(
            f"run {self.id} cannot go on: at step {old.at} it asked for {KINDS[old.kind]} before "
            f"it was suspended, {now}. The code, the options or the order of a plugin has changed, "
            f"or a hook depends on time, chance or I/O that does not go through personakit. "
            f"Restore it, or begin a new run; the journal is unchanged",
            plugin=getattr(getattr(scope, "layer", None), "plugin", ""),
        )
        raise self.broken

    def check_used(self) -> None:
        """Check that everything that was paid before the run was resumed was asked for again.

        Raises:
            ReplayMismatch: It was not.
        """
        if self.broken is not None:
            raise self.broken
        if not self.is_again:
            return
        for at, old in self.old.items():
            around = {at[:n] for n, character in enumerate(at) if character == "."}
            if old.kind in PAID and old.state == "done" and not self._used & {at, *around}:
                self.mismatch(None, old, "")

    # --- what happens now ------------------------------------------------------------------------

    def start(self, entry: Entry) -> None:
        """Record that something starts."""
        with self._lock:
            self._entries.append(entry)
            if self.is_kept:
                self._buffer.append(entry.began())

    def end(self, entry: Entry, state: str) -> None:
        """Record how something has ended."""
        with self._lock:
            entry.state = state
            if self.is_kept and (line := entry.ended()) is not None:
                self._buffer.append(line)

    def note(self, entry: Entry) -> None:
        """Record something that has ended already."""
        self.start(entry)
        self.end(entry, "done")

    def question(self, question: Question) -> None:
        """Record a question; from the first one on the run is in a journal."""
        with self._lock:
            if question.id not in self.asked:
                self.asked[question.id] = question
                if self.is_kept:
                    self._buffer.append(_question(question))

    def answer(self, question: Question, answer: str) -> None:
        """Record the answer to a question."""
        with self._lock:
            self.answers[question.id] = answer
            if self.is_kept:
                self._buffer.append({"at": question.id, "answer": answer})

    def seed(self, at: str) -> random.Random:
        """Return random numbers, which are the same when the run is resumed."""
        if not self.id:
            self.id = run_id(time.time())
        return random.Random(f"{self.id}:{at}")  # noqa: S311 - for plugins, not for secrets

    # --- the journal -----------------------------------------------------------------------------

    def keep(self) -> None:
        """Write the record to a journal, if it is in none yet.

        Raises:
            JournalError: It cannot be written.
        """
        if self.is_kept or self.is_brief:
            return
        try:
            start = self._header()
        except NotStorable as error:
            raise JournalError(
                f"this run cannot wait for a person: {error}; pass plain data in its request"
            ) from error
        with self._lock:
            if self.is_kept:
                return
            self.id = self.id or run_id(time.time())
            lines = [{"journal": VERSION, "id": self.id, "time": time.time(), **start}]
            for entry in self._entries:
                lines += [entry.began(), *filter(None, [entry.ended()])]
            lines += map(_question, self.asked.values())
            lines += [{"at": at, "answer": text} for at, text in self.answers.items()]
            # What others begin and end while this is written comes after it.
            self._buffer, self.is_kept = lines, True
        try:
            self.flush()
        except JournalError:
            with self._lock:
                self.is_kept = False
                self._buffer.clear()
            raise

    def resume(self, answers: dict[str, str]) -> None:
        """Write that the run goes on with new answers; another process that runs it then stops."""
        self._add({"resumed": time.time(), "by": [platform.node(), os.getpid()]})
        for at, text in answers.items():
            self._add({"at": at, "answer": text})
        self.flush()

    def _add(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._buffer.append(line)

    @property
    def unwritten(self) -> bool:
        """Whether something has to be written before the run goes on."""
        return bool(self._buffer)

    def flush(self) -> None:
        """Write what is not in the journal yet.

        Raises:
            JournalError: It cannot be written, or another process goes on with the run.
        """
        with self._writing:
            with self._lock:
                lines, shown = list(self._buffer), dict(self.shown)
            if not lines:
                return
            more = [{"shown": shown}] if shown else []
            self.desk.storage().append(self.id, self._size, _lines([*lines, *more]))
            with self._lock:
                self._size += len(lines) + len(more)
                self._shown = shown
                # The others wait for this: what is no longer in the buffer is written.
                del self._buffer[: len(lines)]

    def leave(self, left: dict[str, Any]) -> None:
        """Write the state of a suspended run, and end the record."""
        self.keep()
        self._add({"left": left})
        self.flush()
        self.is_open = False

    def fail(self, error: BaseException) -> None:
        """Keep the journal of a run that failed, so that what was paid is not paid again.

        What failed is done again when the run is resumed. That of a run that a hook refused is
        removed: the hook would refuse it again.
        """
        self.is_open = False
        if not self.is_kept:
            return
        failed = self._culprits(error)
        for entry in failed:
            self._add({"at": entry.at, "again": True})
            entry.state = "again"
        if isinstance(error, Blocked) and not failed:
            with contextlib.suppress(JournalError):
                self.finish()
            return
        if any(each.kind == "model" and each.state in _CUT for each in self._entries):
            # Its text is not that of the answer that is asked for again.
            self.shown = self._shown
        try:
            self._add({"failed": type(error).__name__})
            self.flush()
        except JournalError as fault:
            if not isinstance(error, JournalError):
                _log.warning("personakit: journal of run %s is not whole: %s", self.id, fault)

    def _culprits(self, error: BaseException) -> list[Entry]:
        """Return the calls that failed with the error that ended the run.

        An earlier error, which the hook handled, is in the context of that: it stays as it was.
        """
        every = (*self.old.values(), *self._entries)
        seen = set()
        cause: BaseException | None = error
        while cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            if found := [e for e in every if e.state == "failed" and e.result is cause]:
                return found
            cause = cause.__cause__ or cause.__context__
        return []

    def finish(self) -> None:
        """End the record; its journal is removed."""
        self.is_open = False
        if self.is_kept:
            self.desk.storage().remove(self.id)


def _question(question: Question) -> dict[str, Any]:
    values = {name: getattr(question, name) for name in ("text", "details", "plugin")}
    return {"at": question.id, "question": {**values, "choices": list(question.choices)}}


def _lines(lines: Iterable[dict[str, Any]]) -> list[str]:
    return [json.dumps(line, separators=(",", ":")) for line in lines]
