"""The command line in this process: a process of its own takes a third of a second."""

from __future__ import annotations

import contextvars
import gc
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

import click
from click.testing import CliRunner

from personakit.cli import group
from personakit.errors import PersonakitError
from personakit.runner import default_runner


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Commands:
    """Runs commands in a folder, away from the user's own set-up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str | None] = {
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PERSONAKIT_PLUGINS": "",
        }

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file."""
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def __call__(self, *args: str, stdin: str | bytes = b"", **env: str) -> Done:
        with self._apart():
            # In a context of its own: commands set variables that last as long as their process.
            result = contextvars.copy_context().run(
                CliRunner().invoke, group, args, stdin, {**self.env, **env}, standalone_mode=False
            )
        error, code, said = result.exception, result.return_value, result.stderr
        if isinstance(error, PersonakitError):
            code, said = error.exit_code, f"{said}Error: {error}\n"
        elif isinstance(error, click.ClickException):
            code, said = error.exit_code, f"{said}Error: {error.format_message()}\n"
        elif error is not None:
            raise error
        return Done(code if isinstance(code, int) else 0, result.stdout, said)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        default_runner.cache_clear()
        try:
            with chdir(self.folder):
                yield
        finally:
            default_runner.cache_clear()
            gc.enable()
