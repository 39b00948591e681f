"""`personakit log`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from personakit.base import printable, private_files
from personakit.cli.shared import completing, output
from personakit.cli.shared.groups import Group, decorated
from personakit.cli.shared.keyfile import key_option, use_key
from personakit.cli.shared.options import PersonaName, allowing, given_tools, make_runner
from personakit.config import Config, expanded
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.log import RunLog, Where


class RunId(click.ParamType[str]):
    """The id of a run, with shell completion."""

    name = "run"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the latest runs whose ids start with the typed text."""
        from personakit.cli.shared.log_view import SHORT, said  # noqa: PLC0415

        rows = [row for row in _log().find(limit=100) if row.id.startswith(incomplete)]
        items = [
            CompletionItem(row.id[:SHORT], help=printable(f"{row.persona}: {said(row)}"))
            for row in rows
        ]
        return [*items, CompletionItem("last")] if "last".startswith(incomplete) else items


class Count(click.IntRange):
    """A whole number, with an error that names one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a whole number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"expected a whole number from {self.min} on, found {value!r}", param, ctx)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that filter runs."""
    return decorated(
        function,
        click.option("--persona", metavar="NAME", type=PersonaName(),
                     help="Only runs of this persona."),
        click.option("-m", "--model", metavar="MODEL", shell_complete=completing.model,
                     help="Only runs of this model, with or without its provider."),
        click.option("--conversation", metavar="ID", shell_complete=completing.conversation,
                     help="Only runs of this conversation."),
        click.option("--since", metavar="WHEN", help="Only runs of the last 7d, 12h, … or since a "
                     "date such as 2026-01-31."),
        click.option("--before", metavar="WHEN", help="Only runs older than 30d, … or a date."),
        click.option("--failed/--ok", default=None, help="Only failed or only successful runs."),
        click.option("--where", "notes", metavar="NAME=VALUE", multiple=True, help="Only runs in "
                     "which a plugin noted this; NAME may be a path such as `budget.tokens`."),
    )  # fmt: skip


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("log", cls=Group)
def command() -> None:
    """List, show, search, replay, export and remove logged runs.

    RUN is the id of a run, the beginning of an id, or `last`.
    """


@command.command("list")
@filters
@click.option("-n", "number", type=Count(0), default=20, show_default=True,
              help="Number of runs; 0 for all.")  # fmt: skip
@as_json
def list_(number: int, as_json: bool, **chosen: Any) -> None:
    """List runs, newest first."""
    from personakit.cli.shared.log_view import show_rows  # noqa: PLC0415

    log = _log()
    rows = log.find(_where(chosen), number or None)
    if as_json:
        output.print_json([row.to_json() for row in rows])
    elif not show_rows(rows):
        _nothing(log)


@command.command("show")
@click.argument("run", type=RunId(), default="last")
@click.option("--trace", "traced", is_flag=True, help="Show what each plugin changed.")
@click.option("-r", "--response", is_flag=True, help="Print the answer alone.")
@click.option("-x", "--extract", is_flag=True, help="Print only the first fenced code block of the "
              "answer.")  # fmt: skip
@as_json
def show(run: str, traced: bool, response: bool, extract: bool, as_json: bool) -> None:
    """Show a run: the request, the answer, and what each layer did. Default: the last run."""
    from personakit.cli.shared.log_view import show_row  # noqa: PLC0415

    chosen = {"--trace": traced, "--response": response, "--extract": extract, "--json": as_json}
    given = [name for name, value in chosen.items() if value]
    if len(given) > 1:
        raise UsageError(f"{given[0]} cannot be combined with {given[1]}")
    row = _log().get(run)
    if as_json:
        output.print_json(row.to_json())
    elif (response or extract) and not row.text:
        why = (row.error or {}).get("message") or "it is empty"
        raise click.ClickException(f"run {row.id} has no answer: {why}")
    elif response:
        output.echo(row.text)
    elif extract:
        from personakit.cli.shared.extract import print_code  # noqa: PLC0415

        print_code(row.text)
    else:
        show_row(row, traced=traced)


@command.command("search", short_help="Find the runs that contain words.")
@click.argument("words", nargs=-1, required=True)
@filters
@click.option("-n", "number", type=Count(1), default=20, show_default=True,
              help="Number of runs.")  # fmt: skip
@as_json
def search(words: tuple[str, ...], number: int, as_json: bool, **chosen: Any) -> None:
    """Find the runs that contain all WORDS.

    Searches the prompt, the answer, the variables, the tool calls and results, and the error.

    WORD* matches every word that begins with WORD.
    """
    from personakit.cli.shared.log_view import plain_excerpt, show_found  # noqa: PLC0415

    log = _log()
    found = log.search(" ".join(words), _where(chosen), number)
    if as_json:
        rows = [{**one.row.to_json(), "excerpt": plain_excerpt(one)} for one in found]
        output.print_json(rows)
    elif found:
        show_found(found)
    else:
        _nothing(log)


@command.command("stats", short_help="Show totals: runs, failures, tokens, cost.")
@click.option("--by", type=click.Choice(("persona", "model", "day")), default="persona",
              show_default=True, help="Group the runs by this.")  # fmt: skip
@filters
@as_json
def stats(by: str, as_json: bool, **chosen: Any) -> None:
    """Show the number of runs and failures, the tokens, the cost and the time."""
    import dataclasses  # noqa: PLC0415

    from personakit.cli.shared.log_view import show_sums  # noqa: PLC0415

    log, where = _log(), _where(chosen)
    if as_json:
        groups = {
            name: [dataclasses.asdict(one) for one in log.sums(name, where)]
            for name in ("persona", "model", "day")
        }
        total = [dataclasses.asdict(one) for one in log.sums("", where)]
        size = log.path.stat().st_size if log.path.exists() else 0
        output.print_json({"path": str(log.path), "bytes": size, "total": total, **groups})
    elif not show_sums(by, log.sums(by, where), log.sums("", where)):
        _nothing(log)


@command.command("rm", short_help="Remove runs permanently.")
@click.argument("runs", nargs=-1, type=RunId())
@filters
@click.option("--all", "everything", is_flag=True, help="Remove all runs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(runs: tuple[str, ...], everything: bool, yes: bool, **chosen: Any) -> None:
    """Remove runs permanently: by their ids, or those that the options select."""
    log = _log()
    filtered = any(value not in (None, ()) for value in chosen.values())
    if sum((bool(runs), everything, filtered)) != 1:
        raise UsageError("specify either ids of runs, options such as --before 30d, or --all")
    ids = sorted({log.get(run).id for run in runs})
    where = _where(chosen)
    count = len(ids) or sum(total.runs for total in log.sums("", where))
    if not count:
        _nothing(log)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{_runs(count)} would be removed; confirm with -y")
        question = printable(f"Remove {_runs(count)} from {log.path}?")
        click.confirm(question, abort=True, err=True)
    output.echo(f"{_runs(log.remove(where, ids))} removed", err=True)


@command.command("export")
@filters
@click.option("-o", "--output", "file", metavar="FILE", default="-", help="The file to write. "
              "Default: standard output.")  # fmt: skip
def export(file: str, **chosen: Any) -> None:
    """Write runs as JSON Lines, oldest first."""
    rows = _log().find(_where(chosen), oldest_first=True)
    lines = (json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
    if file == "-":
        for line in lines:
            output.echo(line, end="")
        return
    _write(expanded(file), lines)


@command.command("replay")
@click.argument("run", type=RunId(), default="last")
@click.option("-m", "--model", metavar="MODEL", shell_complete=completing.model,
              help="Send it to another model.")  # fmt: skip
@key_option
@allowing
@click.option("--no-log", is_flag=True, help="Do not log this run.")
@as_json
def replay(
    run: str,
    model: str | None,
    key_file: str | None,
    allowed: tuple[str, ...],
    functions: tuple[str, ...],
    no_log: bool,
    as_json: bool,
) -> int:
    """Send the request of a run again, and show how the answer differs.

    `last`, the default, is the last run that succeeded and is no replay itself. The plugins that
    the persona lists now are used. Exits with 1 if the answers differ.
    """
    from personakit.cli.shared import continuing  # noqa: PLC0415
    from personakit.cli.shared.answers import asker  # noqa: PLC0415
    from personakit.cli.shared.log_view import show_replay  # noqa: PLC0415
    from personakit.conversation import persona_of  # noqa: PLC0415

    log = _log()
    row = log.last_to_replay() if run == "last" else log.get(run)
    note, ask = continuing.note, asker()
    runner = make_runner(log=not no_log, allowed=allowed, calls=note, replays=row.id, ask=ask)
    use_key(runner, key_file, model or row.model)
    persona = persona_of(runner, row)
    tools = given_tools(runner, persona, allowed, functions)
    return show_replay(runner, row, persona, model, tools, as_json=as_json)


@command.command("repair")
def repair() -> None:
    """Check the log and repair it if it is damaged. The damaged file is kept."""
    from personakit.log import repair as mend  # noqa: PLC0415

    log = _log()
    if not os.path.lexists(log.path):
        _nothing(log)
        return
    done = mend.repair(log)
    if done.aside is None:
        output.line(f"{log.path} is not damaged: {_runs(done.runs)}")
    else:
        output.line(f"{log.path} was damaged; recovered {_runs(done.runs)} into a new file")
        output.line(f"the damaged file is kept as {done.aside}")


def _log() -> RunLog:
    from personakit.log import RunLog  # noqa: PLC0415

    log = RunLog.of(Config.read())
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(log.close)
    return log


def _where(chosen: dict[str, Any]) -> Where:
    from personakit.log import Where  # noqa: PLC0415

    moments: dict[str, Any] = {
        name: None if chosen[name] is None else moment(chosen[name], f"--{name}")
        for name in ("since", "before")
    }
    if chosen["conversation"]:
        moments["conversation"] = _conversation(chosen["conversation"])
    if chosen["model"]:
        moments["model"] = Config.read().resolve(chosen["model"])
    notes = tuple(_note(text) for text in chosen["notes"])
    return Where(**{**chosen, **moments, "notes": notes})


def _note(text: str) -> tuple[str, str]:
    """Return the path and the value of a condition on the notes of plugins.

    Raises:
        UsageError: It is not of the form NAME=VALUE.
    """
    from personakit.log import Where  # noqa: PLC0415

    path, equals, value = text.partition("=")
    if not equals or not Where.is_path(path):
        raise UsageError(
            f"--where: expected NAME=VALUE, such as variant=b or budget.tokens=120, found "
            f"{text!r}; "
            f"`personakit log show` lists what the plugins of a run noted"
        )
    return path, value


def _conversation(name: str) -> str:
    """Return the id of a conversation; a name that stands for none as it is, so it matches nothing.

    Raises:
        UsageError: Several conversations begin with it.
    """
    names = _log().conversations(name)
    if len(names) > 1:
        raise UsageError(
            f"--conversation: several IDs begin with {name[:80]!r}: {', '.join(names)}"
        )
    return names[0] if names else name


def moment(text: str, option: str) -> float:
    """Return the Unix time of an age such as ``7d``, or of a date.

    Raises:
        UsageError: The text is neither an age nor a date.
    """
    from personakit.config import parse_age  # noqa: PLC0415

    try:
        return time.time() - parse_age(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{option}: expected an age such as 7d, 12h or 2w, or a date such as 2026-01-31 or "
            f"2026-01-31T18:00; found {text!r}"
        ) from None


def _write(path: Path, lines: Iterator[str]) -> None:
    """Write a file atomically, readable only by its owner."""
    if not path.parent.is_dir():
        raise UsageError(f"--output: cannot write {path}: folder {path.parent} does not exist")
    try:
        private_files.replace(path, (line.encode("utf-8", "surrogatepass") for line in lines))
    except OSError as error:
        raise UsageError(f"--output: cannot write {path}: {error.strerror}") from None


def _nothing(log: RunLog) -> None:
    message = "no matching runs" if os.path.lexists(log.path) else "no runs are logged yet"
    output.line(f"{message} ({log.path})", err=True)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
