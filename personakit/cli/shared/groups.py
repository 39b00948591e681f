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
            raise _unknown(ctx, args[0], self.hint(ctx, args[0])) from None

    def hint(self, ctx: click.Context, word: str) -> str:
        """Return what to write for an unknown command, as ``; …``."""
        return _nearest(self, ctx, word)


def suggesting(command: click.Command | None) -> click.Command | None:
    """Return a command of a plugin; a group of click's suggests the nearest command from now on.

    Args:
        command: The command; None if there is none.
    """
    if not isinstance(command, click.Group) or isinstance(command, Group):
        return command
    if "resolve_command" in vars(command):  # the object is the same in each call
        return command
    group, resolve = command, command.resolve_command

    def resolved(
        ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, inner, rest = resolve(ctx, args)
        except click.UsageError:
            raise _unknown(ctx, args[0], _nearest(group, ctx, args[0])) from None
        return name, suggesting(inner), rest

    command.resolve_command = resolved  # type: ignore[method-assign]
    return command


def _nearest(group: click.Group, ctx: click.Context, word: str) -> str:
    from personakit.errors import did_you_mean  # noqa: PLC0415

    options = {name for parameter in group.params for name in parameter.opts}
    if f"--{word}" in options:
        return f"; it is an option: {ctx.command_path} --{word}"
    if "--personas" in options and is_persona(word):
        return f"; it is a persona: {ctx.command_path} --personas {word}"
    near = did_you_mean(word, group.list_commands(ctx))
    return near or f"; `{ctx.command_path} --help` lists them"


def is_persona(word: str) -> bool:
    """Return whether a word is the name of a persona that has a file."""
    from personakit.base import NAME  # noqa: PLC0415
    from personakit.runner import default_runner  # noqa: PLC0415

    return bool(NAME.match(word)) and default_runner().library.file(word) is not None


def _unknown(ctx: click.Context, word: str, hint: str) -> click.UsageError:
    return click.UsageError(f"unknown command {word[:80]!r}{hint}", ctx)
