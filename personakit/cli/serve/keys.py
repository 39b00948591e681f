"""`personakit serve keys`."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted, dollars
from personakit.cli.shared import output
from personakit.cli.shared.groups import Group, decorated
from personakit.cli.shared.options import make_library
from personakit.config import Config
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.ledger import Key, Ledger

LIMITS = ("usd_day", "usd_month", "tokens_day", "tokens_month", "rpm", "concurrent", "max_tokens")
_DAY = 86_400
_NANO = 1_000_000_000
_MOST = 1_000_000_000_000


class Amount(click.ParamType[float]):
    """A number within limits.

    Args:
        what: What is expected, with an example.
        least: The smallest value.
        whole: Whether it must be an integer.
    """

    name = "amount"

    def __init__(self, what: str, least: int = 0, *, whole: bool = True) -> None:
        self.what, self.least, self.whole = what, least, whole

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a number."""
        try:
            number: float = int(value) if self.whole else float(value)
        except ValueError:
            number = math.nan
        if not self.least <= number <= _MOST:
            self.fail(f"expected {self.what}, found {value!r}", param, ctx)
        return number


class Date(click.ParamType[float]):
    """A date or a time in the future, as its Unix time; without a time zone in UTC."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a date."""
        try:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = moment.timestamp()
        except (ValueError, OverflowError):
            wanted = "a date such as 2027-01-31 or a time such as 2027-01-31T18:00+01:00"
            self.fail(f"expected {wanted}, found {value!r}", param, ctx)
        if seconds <= time.time():
            self.fail(f"{value} is not in the future", param, ctx)
        return seconds


def ledger_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--ledger`."""
    return click.option("--ledger", "file", metavar="FILE", help="The file of keys and budgets. "
                        "Default: that of the server.")(function)  # fmt: skip


def limits(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that limit a key."""
    count = Amount("an integer above 0, such as 60", 1)
    tokens = Amount("tokens, such as 500000")
    money = Amount("US dollars, such as 2.50", whole=False)
    return decorated(
        function,
        click.option("--personas", metavar="NAMES", help="Names and patterns of the personas that "
                     "it may use, separated by commas. Default: all."),
        click.option("--models", metavar="NAMES", help="Names and patterns of the models that it "
                     "may choose itself, such as 'openai/*'. Default: none."),
        click.option("--usd-day", type=money, metavar="USD", help="US dollars a day (UTC)."),
        click.option("--usd-month", type=money, metavar="USD", help="US dollars a month (UTC)."),
        click.option("--tokens-day", type=tokens, metavar="TOKENS", help="Tokens a day (UTC)."),
        click.option("--tokens-month", type=tokens, metavar="TOKENS",
                     help="Tokens a month (UTC)."),
        click.option("--rpm", type=count, metavar="NUMBER", help="Requests a minute."),
        click.option("--concurrent", type=count, metavar="NUMBER",
                     help="Requests at the same time."),
        click.option("--max-tokens", type=count, metavar="TOKENS",
                     help="Tokens of an answer."),
        click.option("--until", type=Date(), metavar="DATE",
                     help="Refuse it from this date on (UTC)."),
    )  # fmt: skip


@click.group("keys", cls=Group)
def keys() -> None:
    """Make, list, revoke and import the keys of the server.

    The keys of providers are another thing: `personakit keys`.
    """


@keys.command("new")
@click.argument("name")
@limits
@ledger_option
def new(
    name: str, file: str | None, personas: str | None, models: str | None, **given: Any
) -> None:
    """Make a key called NAME and print it, once: only its hash is stored.

    \b
      personakit serve keys new anna --personas chef,'code-*' --usd-day 2 --rpm 60
    """  # noqa: D301
    lists = {"personas": _patterns("--personas", personas), "models": _patterns("--models", models)}
    given |= {option: value for option, value in lists.items() if value is not None}
    with _ledger(file) as ledger:
        key, token = ledger.new_key(name, **{k: v for k, v in given.items() if v is not None})
    output.echo(token)
    output.line(f"{key.name}: {_allowed(key)}; store the key now, it is not shown again", err=True)
    for message in make_library().unmatched(key.personas):
        output.line(f"note: {message}", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ledger_option
def list_(file: str | None, as_json: bool) -> None:
    """List the keys: what they may use, and what they have spent today and this month (UTC)."""
    now = time.time()
    with _ledger(file) as ledger:
        found = ledger.keys()
        today, month = _spent(ledger, now)
    nothing = (0, 0.0)
    spent = [(today.get(key.name, nothing), month.get(key.name, nothing)) for key in found]
    if as_json:
        output.print_json([_json(key, *both, now) for key, both in zip(found, spent, strict=True)])
        return
    rows = [
        (
            key.name,
            ", ".join(key.personas),
            _limits(key) or "none",
            *(f"{dollars(usd)}, {counted(tokens, 'token')}" for tokens, usd in both),
            "" if key.until is None else _date(key.until),
            _state(key, now),
        )
        for key, both in zip(found, spent, strict=True)
    ]
    output.table(("name", "personas", "limits", "today", "month", "until", "state"), rows)
    if not rows:
        output.line("no key; `personakit serve keys new NAME` makes one", err=True)


@keys.command("revoke")
@click.argument("name")
@ledger_option
def revoke(name: str, file: str | None) -> None:
    """Revoke the key called NAME: running servers refuse it within a second."""
    with _ledger(file) as ledger:
        ledger.revoke(name)
    output.line(f"{name}: the key is refused from now on", err=True)


@keys.command("import")
@click.argument("source", metavar="FILE")
@ledger_option
def import_(source: str, file: str | None) -> None:
    """Import the keys of a YAML FILE, all or none; a key of the same name is replaced."""
    with _ledger(file) as ledger:
        found = ledger.import_keys(Path(source))
    for key in found:
        output.line(f"{key.name}: {_allowed(key)}", err=True)
    output.line(f"{counted(len(found), 'key')} imported", err=True)


def _ledger(file: str | None) -> Any:
    """Return the ledger of an option or of the config, which closes it at the end of a block."""
    from contextlib import closing  # noqa: PLC0415

    from personakit.ledger import Ledger  # noqa: PLC0415
    from personakit.server import Settings  # noqa: PLC0415

    return closing(Ledger(Settings.of(Config.read(), ledger=file).ledger))


def _patterns(option: str, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    found = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if "" in found:
        raise UsageError(f"{option}: expected names separated by commas, found {value[:80]!r}")
    return found


def _spent(
    ledger: Ledger, now: float
) -> tuple[dict[str, tuple[int, float]], dict[str, tuple[int, float]]]:
    """Return the tokens and US dollars that each key has spent today and this month."""
    first = calendar.timegm((*time.gmtime(now)[:2], 1, 0, 0, 0))
    day, month = (
        {
            name.removeprefix("key:").removesuffix(end): (total.tokens, total.nanos / _NANO)
            for name, total in ledger.totals("key:", since, now=now).items()
            if name.endswith(end)
        }
        for since, end in ((now // _DAY * _DAY, ":day"), (first, ":month"))
    )
    return day, month


def _allowed(key: Key) -> str:
    what = "all personas" if key.personas == ("*",) else ", ".join(key.personas)
    more = _limits(key)
    until = "" if key.until is None else f"until {_date(key.until)}"
    return f"may use {'; '.join(filter(None, (what, ', '.join(filter(None, (more, until))))))}"


def _limits(key: Key) -> str:
    """Return the limits of a key as a text; empty for none."""
    words = {
        "usd_day": "${:,.2f} a day",
        "usd_month": "${:,.2f} a month",
        "tokens_day": "{:,} tokens a day",
        "tokens_month": "{:,} tokens a month",
        "rpm": "{:,} requests a minute",
        "concurrent": "{:,} at the same time",
        "max_tokens": "{:,} tokens an answer",
    }
    values = ((text, getattr(key, name)) for name, text in words.items())
    return ", ".join(text.format(value) for text, value in values if value is not None)


def _date(moment: float) -> str:
    text = time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))
    return text.removesuffix(" 00:00")


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expired(now) else "valid"


def _json(
    key: Key, today: tuple[int, float], month: tuple[int, float], now: float
) -> dict[str, Any]:
    return {
        "name": key.name,
        "personas": list(key.personas),
        "models": list(key.models),
        **{name: getattr(key, name) for name in LIMITS},
        "until": key.until,
        "created": key.created,
        "revoked": key.revoked,
        "state": _state(key, now),
        "today": {"tokens": today[0], "usd": today[1]},
        "month": {"tokens": month[0], "usd": month[1]},
    }
