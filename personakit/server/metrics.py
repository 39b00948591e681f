"""The metrics of the server, in the text format of Prometheus.

The names follow https://prometheus.io/docs/practices/naming/. Each worker counts in files of its
own below the folder in PROMETHEUS_MULTIPROC_DIR, where that is set; `Metrics.text` adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from prometheus_client import Metric

    from personakit.usage import Usage

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that prometheus_client reads when it is imported."""
OTHER = "-"
"""The value of a label that is not known, or beyond the most series."""
MOST_SERIES = 10_000
_LABELS = ("persona", "status", "key")
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_KINDS = {
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
}


class Metrics:
    """What one process of the server counts. No method raises an error.

    Args:
        behind: Returns the number of rows of the run log that are not written yet.
    """

    def __init__(self, behind: Callable[[], int] | None = None) -> None:
        self._behind_now = behind
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "requests", "Requests for a persona, by the status of their answer.", *_LABELS
        )
        self._refused = self._counter(
            "refused", "Requests that were refused before a run, by reason.", "reason"
        )
        tokens = self._counter(
            "tokens",
            "Tokens that upstreams counted. cached and cache_write are parts of prompt, reasoning "
            "is a part of completion.",
            "kind",
        )
        self._tokens = [(tokens.labels(kind), name) for kind, name in _KINDS.items()]
        self._cost = self._counter(
            "cost_dollars", "US dollars paid to upstreams, as far as prices are known."
        )
        self._seconds = self._histogram(
            "request_seconds", "Seconds from a request to the end of its answer."
        )
        self._first = self._histogram(
            "first_event_seconds", "Seconds from a request to the first event of its stream."
        )
        self._in_flight = self._gauge("in_flight", "Runs that have started and not ended.")
        self._behind = self._gauge(
            "log_rows_behind", "Rows of the run log that are not written yet."
        )
        self._series: dict[tuple[str, str, str], Any] = {}
        self._reasons: dict[str, Any] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"personakit_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        full = f"personakit_{name}"
        return Histogram(full, text, buckets=_SECONDS, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        """Return a gauge that is the sum over the workers that run."""
        full = f"personakit_{name}"
        return Gauge(full, text, multiprocess_mode="livesum", registry=self._registry)

    def started(self) -> None:
        """Count a run that starts."""
        self._in_flight.inc()

    def ended(
        self,
        *,
        persona: str,
        key: str,
        status: str,
        seconds: float,
        first: float | None,
        usage: Usage | None,
        cost: float | None,
    ) -> None:
        """Count a run that has ended, which `started` counted.

        Args:
            persona: The name of a persona of the library; ``-`` for any other. What a client sends
                must not be here: each value takes memory until the server ends.
            key: The name of the key of the ledger; empty without one.
            status: The status of the answer, or ``cancelled``.
            seconds: The time from the request to the end of the answer.
            first: The time from the request to the first event of a stream; None without one.
            usage: What upstreams counted; None if they did not.
            cost: US dollars; None if unknown.
        """
        self._in_flight.dec()
        self._request(persona or OTHER, status, key or OTHER).inc()
        self._seconds.observe(seconds)
        if first is not None:
            self._first.observe(first)
        if usage is not None:
            for counter, name in self._tokens:
                if (count := getattr(usage, name)) > 0:
                    counter.inc(count)
        if cost is not None and cost > 0:
            self._cost.inc(cost)

    def refused(self, reason: str) -> None:
        """Count a request that was refused before a run.

        Args:
            reason: A word of the server, such as ``unknown_key``; never what a client sent.
        """
        counter = self._reasons.get(reason)
        if counter is None:
            counter = self._reasons[reason] = self._refused.labels(reason)
        counter.inc()

    def refresh(self) -> None:
        """Note the values that change without a request, for the other workers to show."""
        if self._behind_now is not None:
            self._behind.set(self._behind_now())

    def text(self) -> tuple[bytes, str]:
        """Return the metrics of all workers and their content type.

        With several workers this reads the files of each, which can take some milliseconds.
        """
        self.refresh()
        registry = self._registry
        if os.environ.get(FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(_Shown(registry)), CONTENT_TYPE_LATEST

    def _request(self, persona: str, status: str, key: str) -> Any:
        # `labels()` of the library takes longer than the rest of `ended`.
        counter = self._series.get((persona, status, key))
        if counter is None:
            if len(self._series) >= MOST_SERIES:
                persona = key = OTHER
            counter = self._requests.labels(persona, status, key)
            self._series[persona, status, key] = counter
        return counter


class _Shown:
    """A registry without the times at which its series began, which would double their number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


def count_as(number: int) -> None:
    """Let this process count in the files of a worker, and go on with the counts in them.

    By default each process has files of its own, which would be more with every restart.

    Args:
        number: The number of the worker; no other process that runs has it.
    """
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def forget(number: int, folder: Path) -> None:
    """Remove what a worker that has ended noted as its present state; its counts stay.

    Args:
        number: The number of the worker.
        folder: The folder of the metrics.
    """
    mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]
