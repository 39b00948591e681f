"""What commands are made with: options in one, and groups that know what was meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click


def decorated(function: Callable[..., Any], *decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with decorators, as if they stood above it in this order."""
    return functools.reduce(lambda made, add: add(made), reversed(decorators), function)


class Group(click.Group):
    """Names the nearest command when there is none of the name that was given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from personakit.errors import did_you_mean  # noqa: PLC0415

            hint = did_you_mean(args[0], self.list_commands(ctx))
            message = f"no command {args[0]!r}{hint or f'; `{ctx.command_path} --help` lists them'}"
            raise click.UsageError(message, ctx) from None
