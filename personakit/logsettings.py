"""What the config says of the run log: whether there is one, and how long it keeps what.

::

    log: off                                    # nowhere
    log: {python: true}                         # also for runs from Python, not only the command's
    log: {max_age: 90d, max_size: 500MB}        # `none` for no limit
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from personakit.base import describe
from personakit.persona import Checker

MAX_SIZE = 1_000_000_000
KEYS = ("python", "max_age", "max_size")
NONE = "none"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?([A-Za-z]{1,3})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the run log is kept.

    Attributes:
        on: False for no log at all, whatever else asks for one.
        python: Whether runs from Python are logged, too.
        max_age: Seconds after which a run is forgotten; None for never.
        max_size: Bytes that the log may take, about; the oldest runs go first. None for no limit.
    """

    on: bool = True
    python: bool = False
    max_age: float | None = None
    max_size: int | None = MAX_SIZE


def read_log(checker: Checker, value: Any) -> LogSettings:
    """Return what ``log:`` of a config says, noting what is wrong with it."""
    # YAML 1.2 has no `off`: it is a text.
    if value in (False, "off", True, "on"):
        return LogSettings(on=value in (True, "on"))
    if not isinstance(value, Mapping):
        example = "write `off`, or a mapping such as {max_age: 90d, max_size: 500MB}"
        checker.fail(f"log: expected off or a mapping, found {describe(value)}; {example}", "log")
        return LogSettings()
    checker.unknown(value, KEYS, "log")
    found: dict[str, Any] = {}
    if "python" in value:
        found["python"] = checker.boolean(value["python"], "log", "python")
    for key, read in (("max_age", seconds), ("max_size", size)):
        if value.get(key) == NONE:
            found[key] = None
        elif value.get(key) is not None:
            try:
                found[key] = read(value[key])
            except ValueError as error:
                checker.fail(f"{key}: {error}", "log", key)
    return LogSettings(**found)


def seconds(text: Any) -> float:
    """Return an age such as ``90d`` in seconds.

    Raises:
        ValueError: It is none.
    """
    return _amount(text, _SECONDS, "an age such as 90d, 12h or 2w")


def size(text: Any) -> int:
    """Return a size such as ``500MB`` in bytes.

    Raises:
        ValueError: It is none.
    """
    return int(_amount(text, _BYTES, "a size such as 500MB or 2GB"))


def _amount(text: Any, units: Mapping[str, int], wanted: str) -> float:
    found = _AMOUNT.match(text) if isinstance(text, str) else None
    unit = None
    if found is not None:
        unit = units.get(found[2]) or units.get(found[2].upper()) or units.get(found[2].lower())
    if found is None or unit is None or float(found[1]) == 0:
        raise ValueError(f"expected {wanted}, found {describe(text)}")
    return float(found[1]) * unit
