"""What a line of the magic asks for: its options are those of `personakit run`."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from personakit.cli.shared import answers, continuing, limits
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.hints import option_error
from personakit.cli.shared.options import allowing, attach_option, choices
from personakit.errors import UsageError

NAME = "%%persona"
# Quotes join words; an apostrophe without a second one is a letter.
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*'|["'])+""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


class Word(NamedTuple):
    """A word of a line, without its quotes.

    Attributes:
        text: The word.
        start: Where it begins in the line.
    """

    text: str
    start: int


class Asked(NamedTuple):
    """The parts of a line.

    Attributes:
        words: The persona, and the words after it; without the options.
        options: The values of the options, by their names.
        rest: The line from each of the words on, as it is written.
    """

    words: tuple[str, ...]
    options: dict[str, Any]
    rest: tuple[str, ...]


def words_of(line: str) -> list[Word]:
    """Return the words of a line; a backslash is a letter, as in the paths of Windows."""
    return [
        Word(_QUOTED.sub(lambda quoted: quoted[1] or quoted[2] or "", found[0]), found.start())
        for found in _WORD.finditer(line)
    ]


def _identifier(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not value.isidentifier() or keyword.iskeyword(value)):
        raise click.BadParameter(f"expected a name of Python, found {value!r}", ctx, param)
    return value


def _as(about: str) -> Callable[..., Any]:
    return click.option("--as", "result", metavar="NAME", callback=_identifier, help=about)


_SPELLED = {
    "attach": ("FILE|URL", "Attach an image, a PDF or an audio file. Repeatable."),
    "deadline": ("SECONDS", "How long the whole run may take. Default: 1800."),
    "goes_on": (None, "Continue the last conversation of this notebook, or the one of --as, with "
                "the persona that answered last."),
    "pairs": ("NAME[=VALUE]", "Set a variable; NAME alone takes the variable of the notebook, and "
              "NAME=@FILE reads the value from a file. Repeatable."),
    "traced": (None, "Show below the answer what each plugin changed, whether it held the answer "
               "back, and the time it took."),
}  # fmt: skip
"""What differs from a terminal: the value and the description of an option, by its parameter."""


@functools.cache
def run_command() -> click.Command:
    """Return the command of a cell that runs a persona."""
    return _command(
        "PERSONA [OPTIONS]",
        "A persona answers. The cell is the prompt; on one line, what follows the persona. "
        "`-v NAME` takes the variable of the notebook, with its type.\n\n"
        "`%persona` lists the personas, `%persona NAME` shows one, `%%persona new NAME` writes "
        "one, and `%persona keys PROVIDER` asks for a key.",
        continuing.options, choices, attach_option, answers.trace_option, allowing, limits.options,
        answers.log_option, _as("Assign the response to this name. Default: answer."),
        click.option("--quiet", is_flag=True, help="Show no line below the answer."),
        click.option("--images", is_flag=True, help="Show images that the answer links to. Their "
                     "servers see that, and what their addresses contain."),
    )  # fmt: skip


@functools.cache
def new_command() -> click.Command:
    """Return the command of a cell that writes a persona."""
    return _command(
        "new NAME [OPTIONS]",
        "The cell is the YAML of a persona, which can be used at once under its name.",
        choices,
        click.option("--save", is_flag=True, help="Write it to personas/NAME.yaml."),
        click.option("--force", is_flag=True, help="With --save, replace the file, after showing a "
                     "diff."),
        _as("Assign the Persona to this name."),
    )  # fmt: skip


def _command(usage: str, about: str, *options: Callable[..., Any]) -> click.Command:
    @decorated_by(*options)
    def run() -> None: ...

    made: click.Command = click.command(
        "persona", help=about, options_metavar=usage,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(run)  # fmt: skip
    for option in made.params:
        if option.name in _SPELLED and isinstance(option, click.Option):
            option.metavar, option.help = _SPELLED[option.name]
    made.allow_interspersed_args = False
    return made


def decorated_by(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that adds options."""
    return lambda function: decorated(function, *options)


def parse(line: str, command: click.Command, *, most: int | None = None) -> Asked:
    """Return the parts of a line; options may stand before and between the first words.

    Args:
        line: What follows the name of the magic.
        command: The options.
        most: The number of words between which options are read; None for all.

    Raises:
        UsageError: An option is unknown or has a wrong value.
    """
    words = words_of(line)
    taken: list[str] = []
    found: list[Word] = []
    left = words
    try:
        while True:
            count = len(left) - len(_left(command, [word.text for word in left]))
            taken += [word.text for word in left[:count]]
            left = left[count:]
            if not left or (most is not None and len(found) == most):
                break
            found.append(left[0])
            left = left[1:]
        found += left
        context = command.make_context(NAME, taken)
    except click.NoSuchOption as error:
        raise UsageError(_message(option_error(error))) from None
    except click.UsageError as error:
        raise UsageError(_message(error)) from None
    rest = tuple(line[word.start :].strip() for word in found)
    return Asked(tuple(word.text for word in found), context.params, rest)


def _left(command: click.Command, words: Sequence[str]) -> list[str]:
    """Return the words from the first one on that is neither an option nor its value."""
    with click.Context(command, **command.context_settings) as context:
        _, left, _ = command.make_parser(context).parse_args(list(words))
        return list(left)


def _message(error: click.UsageError) -> str:
    return f"{error.format_message()} (`%persona --help` lists the options)"
