"""Keys that come from a file, standard input or a terminal, and never from an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.base import Secret
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.runner import Runner

OPTION = "--key-file"
_LARGEST = 1 << 16


def key_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that names the file of a key."""
    text = "Take the key of the model's provider from FILE; - is standard input."
    return click.option(OPTION, "key_file", metavar="FILE", help=text)(function)


def use_key(runner: Runner, file: str | None, model: str | None, texts: Iterable[str] = ()) -> None:
    """Use the key in a file for the provider of a model, and for no other.

    Args:
        runner: The runner that will send the requests.
        file: What the option gives; None changes nothing.
        model: The model of the run; none for the embedded one.
        texts: Whatever else may be read from standard input, where it is ``-``.

    Raises:
        UsageError: The file holds no key, the model takes none, or standard input is to be both.
    """
    if file is None:
        return
    if not model:
        raise UsageError(f"{OPTION} is for the provider of a model; choose one with -m")
    provider, _ = runner.router.find_model(model)
    if provider.connect is not None:
        raise UsageError(f"{OPTION}: models of provider {provider.name!r} take no key")
    if file == "-" and any(text in ("-", "@-") for text in texts):
        raise UsageError(f"standard input is the key ({OPTION} -), so it cannot be a text as well")
    runner.router.keys.given[provider.name] = read_key(file, provider.name)


def read_key(file: str, name: str) -> Secret:
    """Return the key in a file; ``-`` is standard input, on a terminal typed without an echo.

    Args:
        file: The path.
        name: The provider, which a terminal is asked for.

    Raises:
        UsageError: There is no key in it.
        click.Abort: Nothing was typed.
    """
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        key = Secret(click.prompt(f"Key of {name} (not shown)", hide_input=True, err=True).strip())
        where = "what was typed"
    else:
        key = _in_file(file)
        where = "standard input" if file == "-" else f"the file that {OPTION} names"
    if fault := key.fault():
        raise UsageError(f"the key in {where} {fault}")
    return key


def _in_file(file: str) -> Secret:
    """Return what a file holds, of which an error shows nothing."""
    try:
        if file != "-":
            with Path(file).expanduser().open("rb") as stream:
                return _key(stream.read(_LARGEST))
        if sys.stdin is None or sys.stdin.closed:
            return Secret("")
        return _key(sys.stdin.buffer.read(_LARGEST))
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or "no such file"
    # Not the path: the key itself is often given in its place.
    raise UsageError(f"{OPTION} takes the path of a file, not the key; that file: {said}")


def _key(data: bytes) -> Secret:
    return Secret(data.decode("utf-8-sig", "replace").strip())
