"""The runs of callers: how many are admitted, and what is counted of each."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personakit.errors import PersonakitError, UsageError
from personakit.server.callers.access import Access, Caller
from personakit.server.callers.gate import Gate
from personakit.server.errors import is_servers, refusal
from personakit.server.http import Refusal
from personakit.server.metrics import Metrics

if TYPE_CHECKING:
    from personakit.usage import Spent

_log = logging.getLogger("personakit.server")


@dataclass(slots=True)
class Counted:
    """What is counted of a run.

    Attributes:
        spent: What its model calls used, such as `Response.spent`; None for nothing or unknown.
        first: When the first event of its stream was sent, on the clock of `time.perf_counter`;
            None without one.
    """

    spent: Spent | None = None
    first: float | None = None


class Runs:
    """Admits the runs of callers and counts them.

    Attributes:
        gate: Lets them in.
    """

    def __init__(self, access: Access, gate: Gate, metrics: Metrics) -> None:
        self._access, self.gate, self._metrics = access, gate, metrics

    @asynccontextmanager
    async def admitted(self, caller: Caller) -> AsyncIterator[None]:
        """Keep runs within the limits of the key and of the worker; wait for a free place.

        Raises:
            Refusal: There are too many (429, 503), or a limit or budget cannot be kept (503).
        """
        async with self._access.admitted(caller):
            await self.gate.enter()
            try:
                yield
            finally:
                self.gate.leave()

    @contextmanager
    def counted(self, persona: str, caller: Caller, request: str) -> Iterator[Counted]:
        """Count a run, which the block runs.

        Args:
            persona: The name of the persona.
            caller: Who asks.
            request: The id of the request, for the log.

        Raises:
            Refusal: The run failed: how the client is told the error, which the block raised.
            UsageError: As the block raised it: nothing was sent.
        """
        started, status, run = time.perf_counter(), "cancelled", Counted()
        self._metrics.started()
        try:
            yield run
            status = "ok"
        except PersonakitError as error:
            run.spent = error.spent
            if isinstance(error, UsageError):
                status = "refused"
                raise
            found = self.told(error, request)
            status = found.code or "error"
            if found.code != "budget_exceeded":
                found.reason = ""  # it is counted as a run
            raise found from error
        finally:
            spent = run.spent
            self._metrics.ended(
                persona=persona,
                key=caller.name,
                status=status,
                seconds=time.perf_counter() - started,
                first=None if run.first is None else run.first - started,
                usage=None if spent is None else spent.usage,
                cost=None if spent is None else spent.cost,
            )

    def told(self, error: PersonakitError, request: str) -> Refusal:
        """Return how a client is told an error; log one that the operator should read."""
        found = refusal(error)
        if is_servers(found):
            _log.error("personakit: request %s: %s", request, error)
        return found
