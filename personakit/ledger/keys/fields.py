"""The values of a key as a person writes them: checked, with what would be right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from personakit.base import describe
from personakit.errors import UsageError, did_you_mean
from personakit.ledger.keys.key import Key

MONEY = ("usd_day", "usd_month")
COUNTS = ("tokens_day", "tokens_month", "rpm", "concurrent", "max_tokens")
LISTS = ("personas", "models")
NAMES = (*LISTS, *MONEY, *COUNTS, "until")
_LARGEST = {"usd_day": 10**6, "usd_month": 10**6, "rpm": 10**6, "concurrent": 10**5}
_MANY = 10**12


def key(name: str, values: Mapping[str, Any], created: float) -> Key:
    """Return a key with some values.

    Raises:
        UsageError: A value is wrong, or a name is unknown.
    """
    fault = name_fault(name)
    checked: dict[str, Any] = {}
    for field, value in values.items():
        if fault:
            break
        if field not in NAMES:
            known = did_you_mean(field, NAMES) or f" (known: {', '.join(NAMES)})"
            fault = f"a key has no {field!r}{known}"
        elif value is not None:
            checked[field], fault = read(field, value)
    if fault:
        raise UsageError(fault)
    return Key(name, created=created, **checked)


def name_fault(name: Any) -> str:
    """Return what is wrong with the name of a key; empty if nothing is."""
    if (
        isinstance(name, str)
        and 0 < len(name) <= 100
        and name.isprintable()
        and name.strip() == name
    ):
        return ""
    return f"name: expected 1 to 100 printable characters such as anna, found {describe(name)}"


def read(field: str, value: Any) -> tuple[Any, str]:
    """Return the value of a field, and what is wrong with it; empty if nothing is."""
    if field == "until":
        return _until(value)
    if field in LISTS:
        return _patterns(field, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    largest = _LARGEST.get(field, _MANY)
    if field in MONEY:
        if number and math.isfinite(value) and 0 <= value <= largest:
            return float(value), ""
        wanted = f"US dollars from 0 to {largest:,}, such as 2.50"
    else:
        least = int(field in ("rpm", "concurrent", "max_tokens"))
        if number and isinstance(value, int) and least <= value <= largest:
            return value, ""
        wanted = f"an integer from {least} to {largest:,}, such as 60"
    return None, f"{field}: expected {wanted}, found {describe(value)}; null is no limit"


def _patterns(field: str, value: Any) -> tuple[tuple[str, ...], str]:
    listed = (value,) if isinstance(value, str) else value
    is_list = isinstance(listed, list | tuple)
    if is_list and all(isinstance(one, str) and one.strip() for one in listed):
        return tuple(listed), ""
    return (), f"{field}: expected patterns such as [chef, 'code-*'], found {describe(value)}"


def _until(value: Any) -> tuple[float | None, str]:
    """Return the Unix time of a date or a time; without a time zone, it is one of UTC."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value), ""
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = value.isoformat()
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return float(moment.timestamp()), ""
    except (ValueError, AttributeError, OverflowError, TypeError):
        wanted = "a date such as 2027-01-31 or a time such as 2027-01-31T18:00+01:00"
        return None, f"until: expected {wanted}, found {describe(value)}"
