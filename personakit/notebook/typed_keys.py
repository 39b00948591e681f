"""``%persona keys``: type a key that this process uses, and that no file gets."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from personakit.base import Secret
from personakit.cli.shared import output
from personakit.errors import UsageError
from personakit.keys import TYPED

if TYPE_CHECKING:
    from personakit.runner import Runner


def ask(runner: Runner, words: list[str], *, alone: bool) -> None:
    """Ask for the key of a provider, and use it until the process ends.

    Args:
        runner: Knows the providers.
        words: What follows ``keys``.
        alone: Whether the magic has no cell below it.

    Raises:
        UsageError: The provider is unknown, or no valid key was typed.
    """
    if len(words) != 1 or words[0].startswith("-") or not alone:
        # A second word, or a cell, may be the key: it is not repeated.
        raise UsageError(
            "expected one provider, as in %persona keys openai; never write a key into a cell: the "
            "file keeps it. If this was a real key, clear the cell and replace it at the provider"
        )
    name = runner.router.provider(words[0]).name
    try:
        key = Secret(getpass.getpass(f"Key of {name} (not shown): ").strip())
    except (EOFError, RuntimeError):  # ipykernel's error for a front end without input
        raise UsageError(
            f"nobody can be asked for the key of {name!r} here: set its environment variable "
            f"before the notebook starts, or run `personakit keys set {name}` in a terminal"
        ) from None
    if fault := key.fault():
        raise UsageError(f"the typed key {fault}")
    TYPED[name] = key
    output.line(f"The key of {name} is kept until this process ends; no file contains it.")
