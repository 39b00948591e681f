"""Read keys from a file, standard input or a terminal, but never from an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.base import Secret, printable, read_file
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.runner import Runner

OPTION = "--key-file"
_LARGEST = 1 << 16


def key_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--key-file`."""
    text = "Read the key of the model's provider from FILE; - is standard input."
    return click.option(OPTION, "key_file", metavar="FILE", help=text)(function)


def use_key(runner: Runner, file: str | None, model: str | None, texts: Iterable[str] = ()) -> None:
    """Use the key in a file for the provider of a model, and for no other provider.

    Args:
        runner: The runner that will send the requests.
        file: The value of the option; None changes nothing.
        model: The model of the run.
        texts: Other arguments; one that is ``-`` or ``@-`` reads standard input.

    Raises:
        UsageError: The file does not contain a valid key, no model is chosen, the model does not
            use a key, or standard input is used twice.
    """
    if file is None:
        return
    if not model:
        raise UsageError(
            f"{OPTION} requires a model, whose provider uses the key; choose one with -m"
        )
    provider, _ = runner.router.find_model(model)
    if provider.connect is not None:
        raise UsageError(f"{OPTION}: models of provider {provider.name!r} do not use a key")
    if file == "-" and any(text in ("-", "@-") for text in texts):
        raise UsageError(f"standard input is the key ({OPTION} -), so it cannot be text as well")
    runner.router.keys.given[provider.name] = read_key(file, provider.name)


def read_key(file: str, name: str) -> Secret:
    """Return the key in a file; ``-`` is standard input, or a hidden prompt on a terminal.

    Args:
        file: The path.
        name: The provider, which the prompt shows.

    Raises:
        UsageError: The file cannot be read or does not contain a valid key.
        click.Abort: The prompt was cancelled.
    """
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        key = Secret(
            click.prompt(printable(f"Key of {name} (not shown)"), hide_input=True, err=True).strip()
        )
        source = "the typed key"
    else:
        key = _in_file(file)
        source = f"the key in {'standard input' if file == '-' else f'the file of {OPTION}'}"
    if fault := key.fault():
        raise UsageError(f"{source} {fault}")
    return key


def _in_file(file: str) -> Secret:
    """Return the content of a file; errors show neither the content nor the path."""
    try:
        if file != "-":
            return _key(read_file(Path(file).expanduser(), _LARGEST))
        if sys.stdin is None or sys.stdin.closed:
            return Secret("")
        return _key(sys.stdin.buffer.read(_LARGEST))
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
    # Do not show the path: the key itself is often passed in its place.
    raise UsageError(f"{OPTION} expects the path of a file, not the key; cannot read it: {reason}")


def _key(data: bytes) -> Secret:
    return Secret(data.decode("utf-8-sig", "replace").strip())
