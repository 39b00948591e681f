"""``%persona keys``: type a key that this process uses, and that no file gets."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from personakit.base import Secret
from personakit.cli.shared import output
from personakit.errors import UsageError, did_you_mean
from personakit.keys import TYPED
from personakit.providers import EMBEDDED

if TYPE_CHECKING:
    from personakit.runner import Runner

HELP = """\
Usage: %persona keys PROVIDER

  Ask for the key of a provider at a hidden prompt, and use it until this
  process ends; no file contains it. `%persona keys openai` asks for that of
  OpenAI."""
_PASTED = (
    "never write a key into a cell: the file keeps it. If this was a real key, clear the cell and "
    "replace the key at the provider"
)


def ask(runner: Runner, words: list[str], *, alone: bool) -> None:
    """Ask for the key of a provider, and use it until the process ends.

    Args:
        runner: Knows the providers.
        words: What follows ``keys``.
        alone: Whether the magic has no text below it.

    Raises:
        UsageError: The provider is unknown or uses no key, or no valid key was typed.
    """
    if alone and {"-h", "--help"} & {*words}:
        output.echo(HELP)
        return
    name = _provider(runner, _named(words, alone=alone))
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


def _named(words: list[str], *, alone: bool) -> str:
    """Return the only word, which names a provider. Another one may be a key: none is repeated."""
    names = [word for word in words if not word.startswith("-")]
    if len(names) > 1 or not alone or any("=" in word for word in words):
        raise UsageError(f"expected one provider, as in %persona keys openai; {_PASTED}")
    if len(names) < len(words):
        raise UsageError(
            "%persona keys has no options: write only the provider, as in %persona keys openai; "
            "it asks for the key at a hidden prompt"
        )
    if not names:
        raise UsageError(
            "no provider: write its name, as in %persona keys openai; it asks for the key at a "
            "hidden prompt"
        )
    return names[0]


def _provider(runner: Runner, name: str) -> str:
    """Return the name of a provider that uses a key; an unknown one is not repeated."""
    provider = runner.router.find_provider(name)
    if name == EMBEDDED or (provider is not None and provider.connect is not None):
        raise UsageError(f"models of provider {name!r} use no key")
    if provider is None:
        known = sorted({*runner.config.providers, *runner.plugins.every("provider")})
        hint = did_you_mean(name, known) or f" (known: {', '.join(known)}); {_PASTED}"
        raise UsageError(f"no provider has that name{hint}")
    return provider.name
