"""Helpers for commands: combined decorators, and groups that suggest the nearest command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click


def decorated(function: Callable[..., Any], *decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Apply decorators to a function as if they were written above it in this order."""
    return functools.reduce(lambda made, add: add(made), reversed(decorators), function)


class Group(click.Group):
    """A group that suggests the nearest command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            message = f"unknown command {args[0][:80]!r}{self.hint(ctx, args[0])}"
            raise click.UsageError(message, ctx) from None

    def hint(self, ctx: click.Context, word: str) -> str:
        """Return what to write for an unknown command, as ``; …``."""
        from personakit.errors import did_you_mean  # noqa: PLC0415

        near = did_you_mean(word, self.list_commands(ctx))
        return near or f"; `{ctx.command_path} --help` lists them"
