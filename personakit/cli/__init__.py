"""The command line. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import sys
from typing import Any

import click

from personakit.cli.shared import streams
from personakit.cli.shared.groups import Group, suggesting
from personakit.cli.shared.terminal import SUSPENDED, guard_streams

COMMANDS = {
    "ask": "Ask a question without a persona.",
    "batch": "Run a persona for each row of a table.",
    "chat": "Talk with a persona, or without one.",
    "completion": "Print the script that completes commands in your shell.",
    "edit": "Open a persona in your editor, and check it afterwards.",
    "export": "Write a persona as a file of another tool.",
    "import": "Write prompts of other tools as persona files.",
    "keys": "Store, list and remove the API keys of providers.",
    "lint": "Check persona files and report all problems.",
    "list": "List the personas that can be run.",
    "log": "List, show, search, replay, export and remove logged runs.",
    "models": "List models with their prices, and name them by aliases.",
    "new": "Write a new persona file.",
    "plugins": "List the installed plugins, show one, or write a new one.",
    "render": "Show the messages of a persona without sending them.",
    "run": "Run a persona and print the answer.",
    "schema": "Print the JSON Schema of persona files, for editors.",
    "serve": "Serve personas as models of an OpenAI-compatible API.",
    "show": "Show a persona: its variables, parameters and texts.",
    "suspended": "List, show and remove the runs that wait for an answer.",
    "test": "Run the tests of personas.",
}

_MODULES = {"import": "importing"}  # `import` is no name of a module


class _Group(Group):
    """A group of the commands of this package and those of plugins, which are imported on use."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an option of another tool is an error that names ours."""
        from personakit.errors import front  # noqa: PLC0415

        try:
            with front("terminal"):
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            from personakit.cli.shared.hints import option_error  # noqa: PLC0415

            raise option_error(error) from None

    def hint(self, ctx: click.Context, word: str) -> str:
        """Return what to write for an unknown command."""
        from personakit.cli.shared.hints import command_hint  # noqa: PLC0415

        return command_hint(word) or super().hint(ctx, word)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *self._contributed()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"personakit.cli.{_MODULES.get(cmd_name, cmd_name)}")
            command: click.Command = module.command
            return command
        return suggesting(self._contributed().get(cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Listing the commands must not import their modules.
        rows = list(COMMANDS.items())
        rows += [(n, c.get_short_help_str()) for n, c in self._contributed().items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return the commands that start with the typed text, without importing them."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = {name: text for name, text in COMMANDS.items() if name.startswith(incomplete)}
        if not found:
            contributed = self._contributed().items()
            found = {n: c.get_short_help_str() for n, c in contributed if n.startswith(incomplete)}
        return [CompletionItem(name, help=text) for name, text in sorted(found.items())]

    @staticmethod
    def _contributed() -> dict[str, Any]:
        from personakit.runner import default_runner  # noqa: PLC0415

        # A command of a plugin may speak a protocol on standard output.
        with streams.aside():
            return default_runner().plugins.every("command")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
# An import of the package would be a circle, and its metadata takes 40 ms to read.
@click.version_option(sys.modules["personakit"].__version__, prog_name="personakit")
def group() -> None:
    """Personas as YAML files: render them, run them, share them.

    \b
    personakit run chef "A quick vegan dinner for two" -v guests=2
    """  # noqa: D301


def main() -> None:
    """Run the command line and exit: 0, 1 for a failed run, 2 for wrong usage or invalid files.

    The code is 3 if a run waits for a person.
    """
    # Most objects of a command live until it exits. Collecting garbage at the default rate and
    # again at exit took a quarter of the time of a first answer.
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)
    if os.environ.get("_PERSONAKIT_COMPLETE"):
        sys.exit(_complete())
    streams.prepare()
    guard_streams()
    sys.exit(_outcome())


def _complete() -> int:
    """Answer the completion script of a shell; an error must not disturb what is being typed."""
    from personakit.cli.shared.shells import answers  # noqa: PLC0415

    with contextlib.suppress(Exception, SystemExit):
        for line in answers(group, os.environ):
            sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "replace"))
        sys.stdout.flush()
    return 0


# Names of files may be other bytes.
_PATHS = ("PERSONAKIT_CONFIG", "PERSONAKIT_LOG", "PERSONAKIT_PATH")


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _is_utf_8(argument: str) -> bool:
    try:
        os.fsencode(argument).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _arguments() -> list[str]:
    """Return the arguments as text.

    Raises:
        UsageError: An argument is not UTF-8.
    """
    from personakit.errors import UsageError  # noqa: PLC0415

    for name, value in os.environ.items():
        if name.startswith("PERSONAKIT_") and name not in _PATHS and not _is_text(value):
            raise UsageError(f"{name} is not UTF-8; correct the variable, or unset it")
    arguments = sys.argv[1:]
    for number, argument in enumerate(arguments):
        # In the C locale, Python can open the name of a file only as it stands.
        if _is_text(argument) or (_is_utf_8(argument) and os.path.exists(argument)):  # noqa: PTH110
            continue
        try:
            # In the C locale, Python decodes UTF-8 as surrogates, too.
            arguments[number] = os.fsencode(argument).decode("utf-8")
        except UnicodeDecodeError as error:
            shown = os.fsencode(argument)[:60].decode("ascii", "backslashreplace")
            raise UsageError(
                f"argument '{shown}' is not UTF-8 (byte {error.start}); convert it, or pass the "
                f"text through standard input after `iconv -t utf-8`"
            ) from None
    return arguments


def _outcome() -> int:
    from personakit.errors import PersonakitError  # noqa: PLC0415

    try:
        result = group(_arguments(), prog_name="personakit", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except PersonakitError as error:
        if error.exit_code == SUSPENDED:
            from personakit.cli.shared.resuming import show_suspended  # noqa: PLC0415

            show_suspended(error)
        else:
            _say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except SystemExit:
        # click ends a command whose output has no reader with another code.
        if streams.has_no_reader():
            return 141
        raise
    except BrokenPipeError:
        return 141
    except RecursionError:
        _say("the input is nested too deep")
        return 2
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 1
    return result if isinstance(result, int) else 0


def _show(error: click.ClickException) -> None:
    if not isinstance(error, click.UsageError):
        _say(error.format_message())
        return
    if error.ctx is not None:
        error.ctx.color = True  # a pipe gets escape sequences unchanged
    error.show()


def _say(message: str) -> None:
    from personakit.cli.shared.output import say_error  # noqa: PLC0415

    say_error(message)
