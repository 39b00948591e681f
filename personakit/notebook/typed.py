"""What is typed in a notebook: keys that no file gets, and answers to questions."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from personakit.base import Secret
from personakit.errors import UsageError, did_you_mean
from personakit.keys import TYPED
from personakit.providers import EMBEDDED

if TYPE_CHECKING:
    from personakit.journal import Question
    from personakit.runner import Runner

_WIDTH = 100
"""The cells of a line of a question."""
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
    from personakit.cli.shared import output  # noqa: PLC0415

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


def notebook_asker() -> Callable[[Question], str | None] | None:
    """Return what asks the person in front of a notebook; None if nobody is there.

    A person is there in IPython on a terminal, and in a cell of a front end with an input box.
    `nbconvert` and `papermill` have none.
    """
    shell = _shell()
    if shell is None:
        return None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        # What the front end says with each cell; `input` raises where it is false.
        return _answer if getattr(kernel, "_allow_stdin", True) and _in_cell(kernel) else None
    from personakit.cli.shared.terminal import is_attended  # noqa: PLC0415

    if not is_attended():
        return None
    from personakit.cli.shared.questions import ask  # noqa: PLC0415

    return ask


def _in_cell(kernel: Any) -> bool:
    """Return whether a cell runs: a front end shows no input box for the click of a button."""
    try:
        return bool(kernel.get_parent("shell")["header"]["msg_type"] == "execute_request")
    except (AttributeError, KeyError, TypeError):
        return True  # a kernel that does not say


def _shell() -> Any:
    """Return the shell of IPython; None if there is none. IPython is not imported for it."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def _answer(question: Question) -> str | None:
    from personakit.cli.shared.questions import answered, asking  # noqa: PLC0415

    try:
        with asking, _ending():
            return answered(question, _say, _read, _WIDTH)
    except _Ended:
        return None


class _Ended(BaseException):
    """Raised in a thread whose cell has ended while it waits for an answer."""


@contextmanager
def _ending() -> Iterator[None]:
    """End the block with its cell: else it would take the answer to a question of a later one.

    A stopped cell ends only what its main thread does; an async tool of the sync API, and every
    question of the async API, waits in another one.
    """
    if threading.current_thread() is threading.main_thread():
        yield
        return
    import ctypes  # noqa: PLC0415

    thread, events = ctypes.c_ulong(threading.get_ident()), _shell().events

    def end(*_: object) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_Ended))

    events.register("post_run_cell", end)
    try:
        yield
    finally:
        events.unregister("post_run_cell", end)


def _say(line: str, *, strong: bool = False) -> None:
    from personakit.cli.shared import output  # noqa: PLC0415

    output.echo(line)


def _read(prompt: str) -> str | None:
    try:
        return input(prompt)
    except (EOFError, RuntimeError):  # ipykernel's error for a front end without input
        return None
