"""How far a batch on a cluster is, by the journals of its workers."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from personakit.batch.progress import Progress
from personakit.batch.ray.files.checking import Collected
from personakit.batch.ray.mirror import Mirror
from personakit.batch.ray.segments import Segments
from personakit.rate import Learnt

_EVERY = 1.0
_WINDOW = 30.0
_SIZE = 16


class Tally:
    """Counts the results in the journals of workers.

    Args:
        folder: The journals.
        run: The name of the run, with which its journals begin.
        collected: What the check of the rows has found.
        retry_failed: Whether failures of other runs do not count.
        mirror: Copies the journals to the folder; None if they are there.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        collected: Collected,
        *,
        retry_failed: bool,
        mirror: Mirror | None,
    ) -> None:
        self._mirror = mirror
        self._run, self._collected = run, collected
        self._segments = Segments(folder, run, retry_failed=retry_failed, watch=True)
        self._segments.listener = self._heard
        self._lock = threading.Lock()
        self._tokens = {True: 0, False: 0}
        self._paid = {True: 0.0, False: 0.0}
        self._unpriced = {True: 0, False: 0}
        self._began = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self._done = self._failed = 0
        self._refresh()
        self._count()
        self._before = self._done + self._failed

    def _heard(self, name: str, line: bytes) -> None:
        """Count the tokens and dollars of a line."""
        value, own = json.loads(line), name.startswith(self._run)
        if usage := value.get("usage"):
            self._tokens[own] += usage["total_tokens"]
        if (cost := value.get("cost")) is None:
            self._unpriced[own] += 1
        else:
            self._paid[own] += cost

    def _refresh(self) -> None:
        with self._lock:
            if self._mirror is not None:
                self._mirror.pull()
            self._segments.refresh()
            self._done, self._failed = self._segments.answers, self._segments.failures
        now = time.monotonic()
        self._recent.append((now, self._done + self._failed))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW:
            self._recent.popleft()

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """Read the journals once a second, and at the end count row by row."""
        ended = threading.Event()

        def main() -> None:
            while not ended.wait(_EVERY):
                # What is shown may be older for a while; at the end, it is an error.
                with contextlib.suppress(OSError):
                    self._refresh()

        thread = threading.Thread(target=main, name="personakit-tally", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._refresh()
            self._count()
            self._segments.close()

    def _count(self) -> None:
        """Count rows, of which several may have one result."""
        collected, done, failed = self._collected, 0, 0
        for number, weight in enumerate(collected.weights):
            digest = bytes(collected.ids[number * _SIZE : (number + 1) * _SIZE])
            failure = self._segments.has_failed(digest)
            done += weight if failure is False else 0
            failed += weight if failure else 0
        self._done, self._failed = done, failed

    def in_flight(self) -> int:
        """Return how many rows are under way in the workers of this run, about."""
        return self._segments.in_flight()

    def progress(self) -> Progress:
        """Return how far the batch is now."""
        now, collected = time.monotonic(), self._collected
        since, count = self._recent[0]
        ended = self._done + self._failed
        rate = (ended - count) / (now - since) if ended > count and now > since else None
        left = max(0, collected.rows - ended)
        rows = max(0, ended - self._before)
        cost = None if self._unpriced[True] else self._paid[True]
        each = None if cost is None or not rows else cost / rows
        unpriced = sum(self._unpriced.values())
        return Progress(
            rows=collected.rows,
            done=self._done,
            failed=self._failed,
            invalid=collected.invalid,
            before=self._before,
            seconds=now - self._began,
            rate=rate,
            left=left / rate if rate else None,
            tokens=self._tokens[True],
            cost=cost,
            expected=None if each is None else each * (rows + left),
            all_tokens=sum(self._tokens.values()),
            all_cost=None if unpriced else sum(self._paid.values()),
            learnt=Learnt(self.in_flight(), self.in_flight()),
        )
