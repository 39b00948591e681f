"""A personakit plugin that limits tokens and cost per run, per persona and per day."""

import contextlib
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from personakit import (
    Amount,
    Blocked,
    Event,
    LedgerError,
    Registry,
    Request,
    Reservation,
    Response,
    Send,
    Total,
    UserOption,
    hookimpl,
    io,
    metered,
)
from personakit_budget.days import day_around, default_folder, zone_of
from personakit_budget.ledger import NANO, Call, Ledger, by_scope

__all__ = ["Budget"]

_log = logging.getLogger("personakit")
# The runs that a tool starts by itself belong to its run.
_run: ContextVar[str] = ContextVar("personakit_budget_run", default="")
# The ledger and the request of a call that is being counted: another instance counts it no more.
_counted: ContextVar[tuple[Path, Request] | None] = ContextVar(
    "personakit_budget_counted", default=None
)


class _Limit(NamedTuple):
    """A limit: its option, its scope and its value in tokens or nano-dollars."""

    option: str
    scope: str
    money: bool
    value: int

    def left(self, spent: Mapping[str, Total]) -> int:
        sums = spent[self.scope]
        return self.value - (sums.nanos if self.money else sums.tokens)

    def shown(self, value: int) -> str:
        return f"${value / NANO:,.4f}" if self.money else f"{value:,} tokens"


@dataclass(eq=False)
class Budget:
    """Limits on tokens and cost per run, per persona and per day, shared by all processes.

    Attributes:
        run_tokens: Tokens that one run may use in all its model calls; None for no limit.
        run_usd: US dollars that one run may cost; None for no limit.
        persona_tokens: Tokens that a persona may use in a day; None for no limit.
        persona_usd: US dollars that a persona may cost in a day; None for no limit.
        day_tokens: Tokens that all personas together may use in a day; None for no limit.
        day_usd: US dollars that all personas together may cost in a day; None for no limit.
        folder: The folder of the ledger; None for `personakit/budget` in the user's state folder.
        timezone: The time zone whose midnight starts a day, such as "Europe/Paris".
        unknown_price: How a limit in dollars treats a model whose price is unknown: "allow"
            sends the call without counting its cost; "refuse" refuses it.

    Raises:
        ValueError: A limit is not above zero, or the time zone is unknown.
    """

    run_tokens: int | None = None
    run_usd: float | None = None
    persona_tokens: int | None = None
    persona_usd: float | None = None
    day_tokens: int | None = None
    day_usd: float | None = None
    folder: Annotated[str | None, UserOption("folder")] = None
    timezone: str = "UTC"
    unknown_price: Literal["allow", "refuse"] = "allow"

    every_call = True

    @dataclass
    class State:
        """What the calls of a run share, also those of the runs inside it.

        Attributes:
            run: The id of the run in the ledger.
            persona: The persona of the run; empty until it has started.
            summary: What was spent after the last call; None before the first one.
        """

        run: str = field(default_factory=lambda: uuid.uuid4().hex)
        persona: str = ""
        summary: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.zone = zone_of(self.timezone)
        self.limits = tuple(self._limits())
        self.ledger = Ledger(Path(self.folder).expanduser() if self.folder else default_folder())
        self.clock: Callable[[], float] = time.time
        self._warned: set[tuple[str, str]] = set()

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute `personakit budget`."""
        from personakit_budget.command import command  # noqa: PLC0415

        registry.command(command)

    @hookimpl
    def observe(self, event: Event, state: State) -> None:
        """Note the persona of the run: that of a run inside it pays from the same limits."""
        if event.name == "started" and not state.persona:
            state.persona, state.run = event.persona, _run.get() or state.run
            _run.set(state.run)

    @hookimpl
    async def run(self, request: Request, send: Send, state: State) -> Response:
        """Note in the answer what the whole run has spent."""
        # A resumed run pays from the limits of the run that was suspended.
        state.run = await io(str)(state.run)
        _run.set(state.run)
        response = await send.live(request)
        if state.summary is None and not send.spent.calls:
            return response
        summary = await io(self._summary)(request, state)
        return response.replace(metadata={**response.metadata, "budget": summary})

    @hookimpl
    async def chat(self, request: Request, send: Send, state: State) -> Response:
        """Reserve what the call may use, send it, and record what it used."""
        call, counted = self._call(request, state), _counted.get()
        ledger = self.ledger
        reservation = await ledger.soon(self._reserve, call, request)
        if counted is not None and counted[0] == self.ledger.path and counted[1] is request:
            await ledger.soon(ledger.release, reservation)
            return await send.live(request)

        def settle(amount: Amount) -> Amount:
            spent = ledger.settle(reservation, amount, now=self.clock())
            state.summary = self._summed(by_scope(spent))
            return amount

        _counted.set((ledger.path, request))
        try:
            response, amount = await metered(request, send, ledger, reservation, settle)
        finally:
            # Not with a token: an abandoned stream may be closed in another context.
            _counted.set(counted)
        self._warn(request.model, response, amount)
        cost = None if amount.nanos is None else amount.nanos / NANO
        return response.replace(cost=response.cost if response.cost is not None else cost)

    def _limits(self) -> Iterator[_Limit]:
        for scope in ("run", "persona", "day"):
            for unit in ("tokens", "usd"):
                option = f"{scope}_{unit}"
                value: float | None = getattr(self, option)
                if value is None:
                    continue
                if not (math.isfinite(value) and value > 0):
                    raise ValueError(
                        f"{option} is {value}; use a value above 0, or null for no limit"
                    )
                money = unit == "usd"
                yield _Limit(option, scope, money, round(value * NANO) if money else int(value))

    def _call(self, request: Request, state: State) -> Call:
        now = self.clock()
        since, _ = day_around(now, self.zone)
        persona = state.persona or request.persona
        return Call(state.run, persona, now, since.timestamp())

    def _reserve(self, call: Call, request: Request) -> Reservation:
        least, most = Amount.bounds(request)
        if self.unknown_price == "refuse" and least.nanos is None:
            option = next((limit.option for limit in self.limits if limit.money), None)
            if option:
                raise Blocked(
                    f"budget: the price of {request.model} is unknown, so {option} cannot be "
                    f"enforced; use another model, or set `unknown_price: allow` for the plugin "
                    f"budget"
                )

        def decide(spent: Mapping[str, Total]) -> Amount:
            tokens, nanos = most.tokens, most.nanos
            for limit in self.limits:
                left = limit.left(spent)
                need = least.nanos if limit.money else least.tokens
                if need is None:
                    continue
                if need > left:
                    raise Blocked(self._refusal(limit, call, limit.value - left, need))
                if not limit.money:
                    tokens = min(tokens, left)
                elif nanos is not None:
                    nanos = min(nanos, left)
            return Amount(tokens, nanos)

        try:
            return self.ledger.reserve_for(call, decide)
        except LedgerError as error:
            # Blocked, because `on_error: skip` would ignore any other error.
            raise Blocked(f"budget: nothing was sent: {error}") from error

    def _refusal(self, limit: _Limit, call: Call, used: int, need: int) -> str:
        whose = {"run": "this run", "persona": f"persona {call.persona!r}", "day": "all personas"}
        _, end = day_around(call.time, self.zone)
        when = "the next run starts at zero"
        if limit.scope != "run":
            when = f"the limit resets at {end:%Y-%m-%d %H:%M} {self.timezone}"
        shown = limit.shown
        return (
            f"budget: the limit {limit.option} of {whose[limit.scope]} is {shown(limit.value)}; "
            f"{shown(used)} are used or reserved, and this call may use {shown(need)}; {when}; "
            f"to continue, raise {limit.option} of the plugin budget, or lower max_tokens"
        )

    def _summed(self, spent: Mapping[str, Total]) -> dict[str, Any]:
        run = spent["run"]
        left = {
            limit.option: max(limit.left(spent), 0) / (NANO if limit.money else 1)
            for limit in self.limits
        }
        return {
            "tokens": run.tokens,
            "usd": None if run.unpriced else run.nanos / NANO,
            "left": {name: n if name.endswith("usd") else int(n) for name, n in left.items()},
        }

    def _summary(self, request: Request, state: State) -> dict[str, Any] | None:
        """Return what was spent after the last call, which may have been in another process."""
        if state.summary is not None:
            return state.summary
        with contextlib.suppress(LedgerError):
            return self._summed(self.ledger.spent_by(self._call(request, state)))
        return None

    def _warn(self, model: str, response: Response, amount: Amount) -> None:
        """Log once for each model what cannot be counted, and what to set."""
        money = next((limit.option for limit in self.limits if limit.money), None)
        warnings = {}
        if response.usage is None:
            warnings["usage"] = (
                f"{model} reports no tokens that can be counted; an estimate of "
                f"{amount.tokens:,} tokens counts instead; set `stream_usage: true` for its "
                f"provider if it is off, and max_tokens to limit each call"
            )
        if money is not None and amount.nanos is None:
            warnings["price"] = (
                f"the price of {model} is unknown, so its calls do not count for {money}; set "
                f"`unknown_price: refuse` to refuse them, or a limit in tokens"
            )
        for kind, warning in warnings.items():
            if (model, kind) not in self._warned:
                self._warned.add((model, kind))
                _log.warning("personakit: budget: %s", warning)
