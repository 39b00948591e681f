"""The options that limit the time of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypedDict

import click

from personakit.cli.shared.groups import decorated


class Limits(TypedDict, total=False):
    """The time limits, as keyword arguments of `Runner.run`."""

    timeout: float | None
    deadline: float | None


class Seconds(click.ParamType[float]):
    """A number of seconds above 0."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a number of seconds."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            self.fail(f"expected a number of seconds above 0, found {value!r}", param, ctx)
        return seconds


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--timeout` and `--deadline`."""
    return decorated(
        function,
        click.option("--timeout", type=Seconds(), metavar="SECONDS",
                     help="How long to wait for data from the server. Default: 600."),
        click.option("--deadline", type=Seconds(), metavar="SECONDS",
                     help="How long the whole run may take; in a chat, a turn. Default: 1800."),
    )  # fmt: skip


def taken(given: dict[str, Any]) -> Limits:
    """Remove the time limits from the options of a command and return them."""
    return {"timeout": given.pop("timeout"), "deadline": given.pop("deadline")}
