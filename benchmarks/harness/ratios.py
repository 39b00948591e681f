"""Tables out of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.bench import Cell, Table
from benchmarks.harness.contest import Measured

MICRO = 1e6


def ratio(value: float, base: float) -> float | None:
    """Return a ratio; None when one side is missing."""
    return value / base if value and base else None


def by_cost(
    title: str, found: Mapping[str, Measured], base: str, *, note: str = "", per: int = 1
) -> Table:
    """Return a table of the CPU and time that one repetition takes, as multiples of `base`.

    Args:
        title: What it says.
        found: What a contest gave.
        base: The side that is 1.
        note: What one must know to read it.
        per: What one repetition consists of, such as 500 events.
    """
    one = found.get(base, Measured())
    rows: list[list[Cell]] = []
    for name, measured in ranked(found).items():
        rows.append(
            [
                name,
                ratio(measured.cpu, one.cpu),
                ratio(measured.wall, one.wall),
                measured.cpu * MICRO / per,
                measured.wall * MICRO / per,
            ]
        )
    columns = [title.partition(":")[0], "CPU", "time", "CPU µs", "time µs"]
    return Table(title, columns, rows, note, 1, missing(found), versions(found))


def ranked(found: Mapping[str, Measured]) -> dict[str, Measured]:
    """Return those that took part, the cheapest first."""
    there = ((name, side) for name, side in found.items() if not side.missing)
    return dict(sorted(there, key=lambda pair: pair[1].cpu))


def missing(found: Mapping[str, Measured]) -> dict[str, str]:
    """Return why sides did not take part."""
    return {name: side.missing for name, side in found.items() if side.missing}


def versions(found: Mapping[str, Measured]) -> dict[str, str]:
    """Return the versions of those that took part."""
    every: dict[str, Any] = {}
    for side in found.values():
        every |= side.versions
    return every
