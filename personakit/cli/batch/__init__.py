"""`personakit batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from personakit.cli.batch import export, run, status
from personakit.cli.shared.groups import Group, is_persona

_COMMANDS = (status.command, export.command)


class Batch(Group):
    """A group of which a persona in the place of a command means `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments of the group, or of `run` if they name no other command."""
        names = [str(each.name) for each in _COMMANDS]
        if not args or args[0] in (*names, *self.get_help_option_names(ctx)):
            return super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _check_command(ctx, args[0], names)
        return super().parse_args(ctx, ["run", *args])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of `run`, and the other commands after it."""
        run.command.format_help(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl(
                [(str(each.name), each.get_short_help_str(80)) for each in _COMMANDS]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return the commands, personas and options that start with the typed text."""
        if incomplete.startswith("-"):
            return run.command.shell_complete(ctx, incomplete)
        items = [i for i in super().shell_complete(ctx, incomplete) if i.value != run.command.name]
        return [*items, *run.PERSONA.shell_complete(ctx, run.command.params[0], incomplete)]


def _check_command(ctx: click.Context, word: str, names: list[str]) -> None:
    """Raise UsageError for a word that is nearly one of the commands, and no persona."""
    from personakit.errors import did_you_mean  # noqa: PLC0415

    near = did_you_mean(word, names)
    if near and not (is_persona(word) or Path(word).exists()):
        raise click.UsageError(f"no command and no persona {word[:80]!r}{near}", ctx)


@click.group("batch", cls=Batch)
def command() -> None:
    """Run a persona for each row of a table."""


command.add_command(run.command)
for each in _COMMANDS:
    command.add_command(each)
