"""Sending a model call whose amount was reserved, and counting what it used in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from personakit.errors import BackendError, PluginError
from personakit.hookspecs import Send
from personakit.ledger.amounts import Amount, Reservation, text_tokens
from personakit.ledger.errors import LedgerError
from personakit.ledger.ledger import Ledger
from personakit.messages import Request, Response

T = TypeVar("T")


async def metered(
    request: Request,
    send: Send,
    ledger: Ledger,
    reservation: Reservation,
    settle: Callable[[Amount], T],
) -> tuple[Response, T]:
    """Send a request from a `chat` hook, live, and count what it used, also if it fails.

    Call it in a plugin with ``every_call = True``, after `Ledger.reserve`.

    Args:
        request: The request.
        send: The `send` of the hook.
        ledger: The ledger with the reservation.
        reservation: The reservation for the request, which is released if nothing was used.
        settle: Settles the reservation with what was used: by the usage that the upstream reports,
            or by an estimate if it reports none or the call was interrupted. See `Ledger.soon`.

    Returns:
        The response, and the result of `settle`.

    Raises:
        LedgerError: What the call used could not be counted.
        BaseException: The error of the call, in which case those of the ledger are dropped: the
            reservation counts until it expires.
    """
    meter = _Meter()
    ledger.running += 1
    try:
        response = await send.live(request, filter=meter)
    except BaseException as error:
        used = _used(request, meter.text, error)
        with contextlib.suppress(LedgerError):
            if used is None:
                await ledger.surely(ledger.release, reservation)
            else:
                await ledger.surely(settle, used)
        raise
    else:
        return response, await ledger.surely(settle, Amount.taken(request, response))
    finally:
        ledger.running -= 1


def _used(request: Request, text: str, error: BaseException) -> Amount | None:
    """Return the known or estimated use of a call that failed; None if it used nothing."""
    paid = error.response if isinstance(error, BackendError | PluginError) else None
    if isinstance(paid, Response):
        return Amount.taken(request, paid)
    arrived = text_tokens(text)
    # A cancelled call has still sent its prompt, and a lost answer may have been paid.
    left = isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)
    if isinstance(error, BackendError):
        arrived = max(arrived, text_tokens(error.partial))
        left = bool(error.lost) or error.is_paid
    return Amount.estimate(request, arrived) if arrived or left else None


class _Meter:
    """A filter that passes text and reasoning through and keeps a copy, as both are paid."""

    def __init__(self) -> None:
        self.text = ""

    def feed(self, text: str) -> str:
        self.text += text
        return text

    feed_reasoning = feed

    def flush(self) -> str:
        return ""
