"""The options that say how long a run may take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypedDict

import click

from personakit.cli.shared.groups import decorated


class Limits(TypedDict, total=False):
    """What `Runner.run` takes of them."""

    timeout: float | None
    deadline: float | None


class Seconds(click.ParamType[float]):
    """A number of seconds above 0."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number of seconds that a text says."""
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not 0 < found < math.inf:
            self.fail(f"expected a number of seconds above 0, found {value!r}", param, ctx)
        return found


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--timeout` and `--deadline`."""
    return decorated(
        function,
        click.option("--timeout", type=Seconds(), metavar="SECONDS",
                     help="How long the model's side may stay silent. Default: 600."),
        click.option("--deadline", type=Seconds(), metavar="SECONDS",
                     help="How long the whole run may take; in a chat, a turn. Default: 1800."),
    )  # fmt: skip


def taken(given: dict[str, Any]) -> Limits:
    """Take the two out of what a command was given."""
    return {"timeout": given.pop("timeout"), "deadline": given.pop("deadline")}
