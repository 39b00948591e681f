"""The backend of a batch: each request waits for its turn, is written down, then leaves."""

from __future__ import annotations

import contextlib
import time
from asyncio import sleep
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from personakit.backend import Clients, OpenAIBackend
from personakit.base import Emit, deadline
from personakit.batch.errors import Unsent
from personakit.batch.rows import Row
from personakit.errors import (
    BackendError,
    IncompleteAnswer,
    PersonakitError,
    RateLimited,
    Timeout,
    UpstreamUnavailable,
    UsageError,
)
from personakit.messages import Request, Response
from personakit.pipeline import Backend
from personakit.rate import Controller, listener
from personakit.runner import Runner

_TRANSIENT = (IncompleteAnswer, Timeout, UpstreamUnavailable)
_ERRORS = 400
"""The first HTTP status of an error. What is answered with one is not paid."""
_OVERLOADED = (503, 529)
_LIMIT = b"ratelimit"
_LOOK_EVERY = 0.02
"""Seconds between two answers whose headers are read: a fast provider says the same in each."""
_CHARACTERS = 4
"""Characters of a token, about."""
_LONGEST = 30.0
"""The longest wait in seconds before a request is sent again, unless the provider asks for more."""


@dataclass(slots=True)
class Sending:
    """A row while it runs.

    Attributes:
        row: The row.
        sent: The requests that have left.
        is_open: Whether one of them may have been paid.
        is_idle: Whether it waits until it may send.
        unsent: Why a request of it did not leave; None if none had to stay.
        failures: How often a request to a model failed since the last answer, and the last error.
    """

    row: Row
    sent: int = 0
    is_open: bool = False
    is_idle: bool = False
    unsent: Unsent | None = None
    failures: dict[str, tuple[int, BackendError]] = field(default_factory=dict)


current: ContextVar[Sending] = ContextVar("personakit_sending")


@dataclass(slots=True)
class Paced:
    """Sends the requests of a batch.

    Attributes:
        controllers: Returns the controller of a model's provider and key.
        note: Called with a row and the number of its request before that leaves. If it raises
            OSError, the request does not.
        attempts: The most attempts of a request. One that is refused for the rate does not count.
        stopping: Whether rows of which nothing can have been paid must not send any more.
        returned: Called with a row whose requests were all refused: nothing of it was paid.
    """

    controllers: Callable[[str], Controller]
    note: Callable[[Row, int], None]
    attempts: int
    stopping: bool = False
    returned: Callable[[Row], None] | None = None
    _inner: Backend = field(init=False)
    _own: OpenAIBackend | None = None
    _again: dict[str, float] = field(default_factory=dict)

    def runner(self, base: Runner) -> Runner:
        """Return a runner with the settings of another one that sends through this backend."""
        config, path, plugins, backend, log, ask, _, journals = base._given
        result = Runner(
            config,
            path=path,
            plugins=plugins,
            backend=self,
            log=log,
            ask=ask,
            journals=journals,
        )
        if backend is None:
            backend = self._own = OpenAIBackend(result.router, Clients())
        self._inner = backend
        return result

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Send a request when its provider's limits allow it; see `Backend.send`.

        A plugin that sends a request again after its last attempt has failed gets the same error.

        Raises:
            BackendError: All attempts have failed.
            Unsent: The request did not leave, since the batch stops.
        """
        sending, model = current.get(), request.model
        controller = self.controllers(model)
        # The retries of the client would pass the controller by.
        request = request.replace(max_retries=0)
        while True:
            count, last = sending.failures.get(model, (0, None))
            if last is not None and count >= self.attempts:
                raise last
            try:
                response = await self._once(sending, controller, request, emit)
            except RateLimited:
                continue  # the controller waits as long as the provider asks
            except _TRANSIENT as error:
                sending.failures[model] = count + 1, error
                streamed = error.partial and emit is not None
                if count + 1 >= self.attempts or streamed:
                    raise
                sending.is_idle = True
                try:
                    await sleep(_wait(count + 1, error))
                finally:
                    sending.is_idle = False
            else:
                if sending.failures:
                    sending.failures.pop(model, None)
                return response

    async def _once(
        self, sending: Sending, controller: Controller, request: Request, emit: Emit | None
    ) -> Response:
        heard: list[Any] = []
        length = sum([len(message.text or "") for message in request.messages])
        sending.is_idle = True
        try:
            # A provider may ask to wait for hours, which fails no row.
            with deadline.paused():
                permit = await controller.permit(length / _CHARACTERS)
        finally:
            sending.is_idle = False
        try:
            self._leave(sending)
        except BaseException:
            permit.unsent()
            raise
        token = listener.set(heard.append)
        try:
            response = await self._inner.send(request, emit)
        except RateLimited as error:
            permit.refused(error.retry_after, _limits(heard))
            self._refused(sending)
            raise
        except PersonakitError as error:
            status = getattr(error, "status", None)
            permit.failed(overloaded=status in _OVERLOADED)
            if isinstance(error, UsageError) or (status is not None and status >= _ERRORS):
                self._refused(sending)
            else:
                sending.is_open = True
            raise
        except BaseException:
            permit.failed(overloaded=False)
            sending.is_open = True
            raise
        finally:
            listener.reset(token)
        sending.is_open = True
        tokens = response.usage.total_tokens if response.usage else None
        permit.answered(tokens, _limits(heard) if self._looks(request.model) else {})
        return response

    def _looks(self, model: str) -> bool:
        """Return whether it is time to look at the headers of an answer of a model again."""
        now = time.monotonic()
        if now < self._again.get(model, 0.0):
            return False
        self._again[model] = now + _LOOK_EVERY
        return True

    def _leave(self, sending: Sending) -> None:
        """Note that a request is about to leave.

        Raises:
            Unsent: It must not.
        """
        if self.stopping and not sending.is_open:
            sending.unsent = Unsent("the batch stops")
            raise sending.unsent
        try:
            self.note(sending.row, sending.sent + 1)
        except OSError as error:
            sending.unsent = Unsent(str(error))
            raise sending.unsent from error
        sending.sent += 1

    def _refused(self, sending: Sending) -> None:
        """Note that a request was refused, unless an earlier one may have been paid."""
        if self.returned is not None and not sending.is_open:
            # A row that is in flight in the journal is only asked about in vain.
            with contextlib.suppress(OSError):
                self.returned(sending.row)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._own is not None:
            await self._own.aclose()


def _limits(heard: list[Any]) -> dict[str, str]:
    """Return the headers about limits of the last answer, by their names in lower case."""
    if not heard:
        return {}
    headers = heard[-1]
    if (raw := getattr(headers, "raw", None)) is not None:
        # A look-up in headers of HTTPX takes longer than this for all of them.
        pairs = [(name.lower(), value) for name, value in raw]
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in pairs
            if _LIMIT in name
        }
    return {name.lower(): value for name, value in headers.items()}


def _wait(failures: int, error: BackendError) -> float:
    """Return the seconds before the next attempt."""
    return error.retry_after or min(_LONGEST, 0.25 * 2**failures)
