"""The budgets of keys: a plugin object that counts each model call of a key."""

from __future__ import annotations

import calendar
import functools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from personakit.base import time_left
from personakit.errors import Blocked
from personakit.hookspecs import Send, hookimpl
from personakit.ledger.amounts import NANO, Account, Amount, Reservation, Total
from personakit.ledger.errors import BudgetExceeded, LedgerError
from personakit.ledger.keys.key import Key, calling
from personakit.ledger.ledger import EXPIRES, Ledger
from personakit.ledger.metering import metered
from personakit.messages import Request, Response

DAY = 86_400
_NOTHING = Amount(0, 0)


class _Limit(NamedTuple):
    """A budget of a key.

    Attributes:
        name: The attribute of the key, such as ``usd_day``.
        place: 0 for that of the day, 1 for that of the month.
        money: Whether it is in nano-dollars, not tokens.
        value: The limit.
        ends: The Unix time at which it begins anew.
    """

    name: str
    place: int
    money: bool
    value: int
    ends: int

    def shown(self, value: int) -> str:
        return f"${value / NANO:,.4f}" if self.money else f"{value:,} tokens"


class KeyBudget:
    """A plugin that reserves and settles each model call against the budgets of `calling`.

        runner = Runner(plugins=[KeyBudget(ledger)])

    Without a key, it does nothing. The calls of a key without a budget are counted, nothing is
    reserved for them. If the ledger cannot be used, the calls of a key with a budget are refused;
    those of one without are not counted. Days and months are those of UTC. What a process that dies
    has reserved counts until the deadline of its runs.

    Args:
        ledger: The ledger.
    """

    every_call = True

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock: Callable[[], float] = time.time

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response | None:
        """Reserve what the call may use, send it, and count what it used.

        Raises:
            BudgetExceeded: It does not fit into a budget.
            Blocked: The ledger cannot be used, so nothing was sent; its cause is a `LedgerError`.
        """
        key = calling.get()
        if key is None:
            return None
        ledger = self.ledger
        if key.has_budget:
            left = time_left()
            seconds = EXPIRES if left is None else left + 60
            reservation = await ledger.soon(self._reserve, key, request, seconds)
        else:
            now = self.clock()
            reservation = Reservation(secrets.token_hex(16), accounts_of(key, now), _NOTHING, now)

        def settle(amount: Amount) -> None:
            try:
                ledger.settle(reservation, amount, sums=False, now=self.clock())
            except LedgerError as error:
                # `soon` waits in a thread for a file that is locked, and calls this again.
                if key.has_budget or (error.locked and not ledger.waits):
                    raise

        response, _ = await metered(request, send, ledger, reservation, settle)
        return response

    def _reserve(self, key: Key, request: Request, seconds: float) -> Reservation:
        now = self.clock()
        limits = _limits(key, int(now // DAY))
        least, most = Amount.bounds(request)
        money = next((limit for limit in limits if limit.money), None)
        if money is not None and least.nanos is None:
            raise BudgetExceeded(
                f"the price of {request.model} is unknown, so {money.name} of key {key.name!r} "
                f"cannot be kept; use a model whose price is known, or give the key a budget in "
                f"tokens instead, such as tokens_day"
            )

        def decide(spent: Sequence[Total]) -> Amount:
            tokens, nanos = most.tokens, most.nanos
            for limit in limits:
                total = spent[limit.place]
                left = limit.value - (total.nanos if limit.money else total.tokens)
                need = (least.nanos or 0) if limit.money else least.tokens
                if need > left:
                    raise _refusal(key, limit, limit.value - left, need, now)
                if not limit.money:
                    tokens = min(tokens, left)
                elif nanos is not None:
                    nanos = min(nanos, left)
            return Amount(tokens, nanos)

        try:
            return self.ledger.reserve(accounts_of(key, now), decide, seconds=seconds, now=now)
        except LedgerError as error:
            raise Blocked(f"nothing was sent: {error}") from error


def accounts_of(key: Key, now: float) -> tuple[Account, Account]:
    """Return the accounts of a key for the day and the month of a Unix time."""
    return _accounts(key.name, int(now // DAY))


@functools.lru_cache(maxsize=1024)
def _accounts(name: str, number: int) -> tuple[Account, Account]:
    """Return the accounts of a key for a day of Unix time and its month."""
    (day, _), (month, _) = _periods(number)
    return (
        Account(f"key:{name}:day", day, day),
        Account(f"key:{name}:month", month, month),
    )


@functools.lru_cache(maxsize=4)
def _periods(number: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the beginnings and ends of a day of Unix time and of its month, in UTC."""
    day = number * DAY
    year, month = time.gmtime(day)[:2]
    first = calendar.timegm((year, month, 1, 0, 0, 0))
    after = calendar.timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0))
    return (day, day + DAY), (first, after)


@functools.lru_cache(maxsize=1024)
def _limits(key: Key, number: int) -> tuple[_Limit, ...]:
    """Return the budgets of a key on a day of Unix time."""
    found = []
    for place, (unit, (_, ends)) in enumerate(zip(("day", "month"), _periods(number), strict=True)):
        for kind in ("tokens", "usd"):
            name = f"{kind}_{unit}"
            value: float | None = getattr(key, name)
            if value is not None:
                money = kind == "usd"
                whole = round(value * NANO) if money else int(value)
                found.append(_Limit(name, place, money, whole, ends))
    return tuple(found)


def _refusal(key: Key, limit: _Limit, used: int, need: int, now: float) -> BudgetExceeded:
    shown, least = limit.shown, "to continue, lower max_tokens or the length of the prompt"
    said = f"the budget {limit.name} of key {key.name!r} is {shown(limit.value)}"
    if need > limit.value:
        return BudgetExceeded(
            f"{said}, and this call may use {shown(need)}; {least}, or ask for a higher "
            f"{limit.name}"
        )
    until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(limit.ends))
    return BudgetExceeded(
        f"{said}; {shown(used)} are used or reserved, and this call may use {shown(need)}; it "
        f"begins anew at {until} UTC; {least}, or ask for a higher {limit.name}",
        retry_after=max(1.0, limit.ends - now),
    )
