"""`personakit completion`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from personakit.cli.shared import completing, output, shells
from personakit.errors import UsageError, did_you_mean


@click.command("completion")
@click.argument("shell", required=False, metavar="[SHELL]", shell_complete=completing.shell)
def command(shell: str | None) -> None:
    """Print the script that completes commands in SHELL: bash, zsh or fish.

    Without SHELL, the script is that of your login shell ($SHELL). Its first lines say how to use
    it, for example:

    \b
      eval "$(personakit completion bash)"
    """  # noqa: D301
    known = ", ".join(shells.shells())
    name = shell or Path(os.environ.get("SHELL", "")).name
    if not name:
        raise UsageError(f"SHELL is not set; name the shell: personakit completion bash ({known})")
    if name not in shells.shells():
        hint = did_you_mean(shell or "", shells.shells()) or f"; expected one of {known}"
        source = "" if shell else " (from $SHELL)"
        raise UsageError(f"no completion for the shell {name[:80]!r}{source}{hint}")
    output.echo(shells.script(name))
