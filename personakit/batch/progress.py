"""How far a batch is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from personakit.batch.records import State
from personakit.batch.results import Result
from personakit.batch.rows import Checked
from personakit.rate import Controller, Learnt

_WINDOW = 30.0
"""Seconds over which the speed is measured."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is.

    Attributes:
        rows: The rows of the source that can be sent, those with a result included.
        done: Those with an answer.
        failed: Those that failed for good.
        invalid: The rows that were left out, since they do not fit the persona's variables.
        before: Those with a result of an earlier process, among `done` and `failed`.
        seconds: Since this process began.
        rate: Rows a second, over the last half minute; None before the first result.
        left: Seconds until the last row, at that rate; None if unknown.
        tokens: Tokens of the rows of this process, as far as they are known.
        cost: US dollars of these rows; None if that of one is unknown.
        expected: US dollars of the rows of this process at its end; None if unknown.
        all_tokens: Tokens of the rows of all processes, as far as they are known.
        all_cost: US dollars of these rows; None if that of one is unknown.
        learnt: What is known of the provider.
    """

    rows: int
    done: int
    failed: int
    invalid: int
    before: int
    seconds: float
    rate: float | None
    left: float | None
    tokens: int
    cost: float | None
    expected: float | None
    all_tokens: int
    all_cost: float | None
    learnt: Learnt

    @property
    def in_flight(self) -> int:
        """The requests under way."""
        return self.learnt.in_flight


@dataclass(slots=True)
class Used:
    """What the rows of this process took, over all runs of a `Batch`.

    Attributes:
        rows: The rows that have ended.
        tokens: Their tokens, as far as they are known.
        cost: Their US dollars; None if that of one is unknown.
        known: Their US dollars, as far as they are known.
        before: The rows that had a result when this process began; None before that.
        began: When that was, by the clock of the meters.
    """

    rows: int = 0
    tokens: int = 0
    cost: float | None = 0.0
    known: float = 0.0
    before: int | None = None
    began: float = field(default_factory=time.monotonic)


class Meter:
    """Counts the results of a batch.

    Args:
        checked: What the check of the table found.
        state: What the files of the batch say, kept up to date by the journal.
        used: What this process has used; it is changed.
        target: The rows that are to be run now.
        controller: What is known of the provider.
        clock: Returns seconds.

    Attributes:
        ended_rows: The rows that have ended.
        answered: Those of them with an answer.
    """

    def __init__(
        self,
        checked: Checked,
        state: State,
        used: Used,
        target: int,
        controller: Controller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checked, self._state, self._used, self._target = checked, state, used, target
        self._controller, self._clock = controller, clock
        if used.before is None:
            used.before = state.done.count + state.failed.count
        self._recent: deque[tuple[float, int]] = deque([(clock(), 0)])
        self.ended_rows = self.answered = 0

    def ended(self, result: Result) -> None:
        """Count a result, after it was written."""
        self.ended_rows += 1
        self.answered += result.ok
        used, cost = self._used, result.cost
        used.rows += 1
        used.tokens += result.tokens or 0
        used.known += cost or 0.0
        used.cost = None if cost is None or used.cost is None else used.cost + cost
        now = self._clock()
        if now - self._recent[-1][0] >= 1:
            self._recent.append((now, self.ended_rows))
            while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW:
                self._recent.popleft()

    def progress(self) -> Progress:
        """Return how far the batch is now."""
        now, (since, count) = self._clock(), self._recent[0]
        state, used, ended = self._state, self._used, self.ended_rows
        rate = (ended - count) / (now - since) if ended and now > since else None
        left = max(0, self._target - ended)
        each = None if used.cost is None or not used.rows else used.cost / used.rows
        return Progress(
            rows=self._checked.rows,
            done=state.done.count,
            failed=state.failed.count,
            invalid=self._checked.invalid,
            before=used.before or 0,
            seconds=now - used.began,
            rate=rate,
            left=left / rate if rate else None,
            tokens=used.tokens,
            cost=used.cost,
            expected=None if each is None else each * (used.rows + left),
            all_tokens=state.tokens,
            all_cost=state.cost,
            learnt=self._controller.learnt(),
        )
