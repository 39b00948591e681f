"""What the commands share: the options that choose a request, and ways to print."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from personakit.cli.groups import decorated
from personakit.config import Config
from personakit.errors import UsageError, VariableError, did_you_mean
from personakit.persona import parameters, yaml

if TYPE_CHECKING:
    from personakit.attachments import Attachment
    from personakit.library import Library
    from personakit.log import Recorder
    from personakit.persona import Persona
    from personakit.runner import Runner


MAX_TABLE = 1000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class PersonaName(click.ParamType[str]):
    """A persona's name or path, completed by the shell."""

    name = "persona"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with what is typed."""
        names = library().names()
        items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return items or [CompletionItem(incomplete, type="file")]


def runner(*, log: bool | None = None) -> Runner:
    """Return the runner that every command uses.

    Args:
        log: For a command that runs personas: whether its runs are logged, unless the config has
            ``log: off``. The row is written while the answer is printed already.
    """
    from personakit.base import only_sync  # noqa: PLC0415
    from personakit.runner import Runner, default_runner  # noqa: PLC0415

    only_sync.set(True)
    if log is None:
        made = default_runner()
    else:
        config = Config.read()
        made = Runner(config, log=_recorder(config) if log and config.log.on else False)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(made.close)
    return made


def _recorder(config: Config) -> Recorder:
    from personakit.log import Recorder, RunLog  # noqa: PLC0415

    return Recorder(RunLog.of(config), patience=0)


def library() -> Library:
    """Return the personas of the runner, without what running them takes to import."""
    from personakit.config import user_cache  # noqa: PLC0415
    from personakit.library import Library  # noqa: PLC0415

    config = Config.read()
    return Library(config.path, cache=user_cache(config.environ))


def request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add PERSONA, PROMPT and the options that choose variables, model and parameters."""
    function = click.argument("prompt", nargs=-1)(choices(function))
    return click.argument("persona", type=PersonaName())(function)


def choices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose variables, model and parameters."""
    return decorated(
        function,
        click.option("-v", "--variable", "pairs", multiple=True, metavar="NAME=VALUE",
                     help="Set a variable; NAME=@FILE takes the text of a file. Repeatable."),
        click.option("--variables", "file", metavar="FILE",
                     help="Set variables from a JSON or YAML file."),
        click.option("-m", "--model", metavar="MODEL",
                     help="provider/model, such as openai/gpt-5-mini or local."),
        click.option("-p", "--parameter", "settings", multiple=True, metavar="NAME=VALUE",
                     help="Set a parameter, such as temperature=0.2. Repeatable."),
    )  # fmt: skip


def chosen(
    persona: Persona, pairs: tuple[str, ...], file: str | None, settings: tuple[str, ...]
) -> dict[str, Any]:
    """Return the variables and parameters that the options give, each by its type.

    Raises:
        UsageError: An option has no ``=``, a file cannot be read, or a value is of no use.
    """
    variables: dict[str, Any] = _mapping(file) if file is not None else {}
    for pair in pairs:
        name, value = split_pair(pair, "-v")
        declared = persona.variables.get(name)
        text = read_text(value[1:], "-v") if value.startswith("@") else value
        variables[name] = declared.convert(text) if declared is not None else text
    given = {}
    for pair in settings:
        name, value = split_pair(pair, "-p")
        given[name] = parameters.convert(name, value)
    return {"variables": variables, "parameters": given}


def split_pair(pair: str, option: str) -> tuple[str, str]:
    """Return the two sides of a ``NAME=VALUE``.

    Raises:
        UsageError: It is none.
    """
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} takes NAME=VALUE, found {pair!r}")
    return name, value


def _mapping(file: str) -> dict[str, Any]:
    """Return the mapping in a JSON or YAML file."""
    found = yaml.parse(read_text(file, "--variables"), file).data
    if not isinstance(found, dict):
        raise VariableError(f"{file}: expected a mapping of variables to values")
    return found


def read_text(file: str, option: str) -> str:
    """Return the text of a file that an option names; ``-`` is standard input.

    Raises:
        UsageError: It cannot be read, or is not UTF-8.
    """
    if file == "-":
        return stdin_text()
    path = Path(file).expanduser()
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {file} is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise unreadable(path, option, error) from None


def unreadable(path: Path, option: str, error: OSError) -> UsageError:
    """Return the error for a file that an option names and that cannot be read."""
    near = did_you_mean(path.name, _neighbours(path))
    return UsageError(f"{option}: cannot read {path}: {error.strerror}{near}")


def _neighbours(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def stdin_text() -> str:
    """Return standard input as text.

    Raises:
        UsageError: It is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8 (byte {error.start}); `-a -` attaches an image, a PDF or "
            f"sound, where the command takes it"
        ) from None


def prompt_text(words: tuple[str, ...]) -> str | None:
    """Return the prompt: the words, in which ``-`` is standard input, or what is piped in.

    With words, standard input is read for a ``-`` only: a loop that reads its lines from there
    would lose them otherwise. None when there is neither.
    """
    if words:
        if "-" not in words:
            return " ".join(words)
        return "\n\n".join(stdin_text() if word == "-" else word for word in words)
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    return stdin_text() or None


def attached(
    sources: tuple[str, ...], words: tuple[str, ...]
) -> tuple[list[Attachment], str | None]:
    """Return the attachments that options name, and the prompt; one of them may be piped in.

    Raises:
        UsageError: An attachment cannot be sent, or standard input is wanted twice.
    """
    if not sources:
        return [], prompt_text(words)
    from personakit.attachments import Attachment  # noqa: PLC0415

    if (*sources, *words).count("-") > 1:
        raise UsageError("standard input can be read once: only one `-`, in -a or in the prompt")
    made = [
        Attachment.from_stream(sys.stdin.buffer, "standard input")
        if source == "-"
        else Attachment.of(source)
        for source in sources
    ]
    return made, (" ".join(words) or None) if "-" in sources else prompt_text(words)


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print a value as JSON on standard output; a compact one is one line."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def print_answer(text: str, end: str = "\n") -> None:
    """Print what a model said: as it is into a pipe, made harmless on a terminal."""
    sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + end)
    sys.stdout.flush()


def say_error(message: str) -> None:
    """Print on standard error what went wrong."""
    click.echo(f"Error: {printable(message)}", err=True)


def printable(text: str) -> str:
    """Return a text without the control characters that would steer a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def table(title: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows: as a table on a terminal, with tabs between the columns into a pipe."""
    if not sys.stdout.isatty():
        rows = iter(rows)
        while piece := list(itertools.islice(rows, 1000)):
            click.echo(_lines(piece))
        return
    rows = list(rows)
    if len(rows) > MAX_TABLE:
        # rich looks at each cell several times: 100,000 rows would take half a minute.
        width = max(len(row[0]) for row in rows)
        click.echo(_lines([(f"{first:<{width}}  {'  '.join(more)}",) for first, *more in rows]))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in title:
        made.add_column(name, overflow="fold", no_wrap=name == title[0])
    for row in rows:
        cells = [Text(printable(cell)) for cell in row]
        cells[0].stylize("cyan")
        made.add_row(*cells)
    Console().print(made)


def _lines(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines with tabs between the cells, made harmless."""
    text = "\n".join(map("\t".join, rows))
    ends = text.count("\n") == len(rows) - 1
    # Looking at a thousand rows at once takes a tenth of the time of looking at each cell.
    if ends and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    clean = (tuple(printable(cell).replace("\n", " ") for cell in row) for row in rows)
    return "\n".join(map("\t".join, clean))


def progress(doing: str) -> Callable[[int, int], None]:
    """Return what is told how much of a work is done; it shows that once a second has gone by.

    Only on a terminal, on standard error; the line is gone when all is done.
    """
    if not sys.stderr.isatty():
        return lambda done, total: None
    begun: list[float] = []
    bars: list[tuple[Any, Any]] = []

    def told(done: int, total: int) -> None:
        if not begun:
            begun.append(time.monotonic())
        if bars and done % 100 == 0:
            bars[0][0].update(bars[0][1], completed=done, total=total)
        elif not bars and done < total and time.monotonic() - begun[0] > 1:
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import Progress  # noqa: PLC0415

            bar = Progress(console=Console(stderr=True), transient=True)
            bars.append((bar, bar.add_task(doing, total=total, completed=done)))
            bar.start()
        if bars and done == total:
            bars.pop()[0].stop()
            begun.clear()

    return told


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen mapping as one that can be printed."""
    from personakit.frozen import thaw  # noqa: PLC0415

    return dict(thaw(value))


def settings(parameters: Mapping[str, Any]) -> str:
    """Return parameters as ``-p`` takes them: ``name=value, name=value``."""
    shown = plain(parameters).items()
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in shown)
