"""`personakit suspended`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted, dollars
from personakit.cli.shared import output
from personakit.cli.shared.groups import Group
from personakit.cli.shared.options import SuspendedId, make_runner
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Question, Suspended
    from personakit.runner import Runner


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("suspended", cls=Group)
def command() -> None:
    """List, show and remove the runs that wait for an answer.

    ID is the id of a run, the beginning of an id, or `last`. `personakit run --resume ID` continues
    a run.
    """


@command.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List suspended runs, newest first."""
    from personakit.cli.shared.waiting_runs import asked, when  # noqa: PLC0415

    runner = make_runner()
    rows: list[tuple[str, ...]] = []
    values: list[dict[str, Any]] = []
    for identity in _ids(runner):
        try:
            run = runner.suspended(identity)
        except UsageError as error:  # one that is damaged must not hide the others
            rows.append((identity, when(identity), "", str(error)))
            values.append({"id": identity, "error": str(error)})
            continue
        rows.append((identity, when(identity), run.persona, asked(run)))
        values.append(_json(run))
    if as_json:
        output.print_json(values)
    elif rows:
        output.table(("id", "when", "persona", "question"), rows)
    else:
        output.line("no run is suspended", err=True)


@command.command("show")
@click.argument("identity", metavar="ID", type=SuspendedId(), default="last")
@as_json
def show(identity: str, as_json: bool) -> None:
    """Show the questions of a run, its pending tool calls and its text. Default: the newest."""
    from personakit.cli.shared import waiting_runs  # noqa: PLC0415
    from personakit.cli.shared.answers import usage_line  # noqa: PLC0415
    from personakit.cli.shared.resuming import going_on  # noqa: PLC0415

    run = waiting_runs.find(make_runner(), identity)
    if as_json:
        output.print_json(_json(run))
        return
    paid = "" if run.spent is None else usage_line(run.spent) or dollars(run.spent.cost)
    head = {"run": run.id, "when": waiting_runs.when(run.id), "persona": run.persona, "used": paid}
    for name, value in head.items():
        if value:
            output.line(f"{name + ':':<10}{value}")
    if run.text:
        output.line("--- text so far", dim=True)
        output.echo(run.text.rstrip("\n"))
    for call in run.calls:
        output.line("--- pending", dim=True)
        output.echo(f"{call.name} {call.arguments}")
    for question in run.questions:
        _show_question(question)
    output.line("--- to go on, with the options -T and --functions of the run", dim=True)
    output.line(going_on(run))


def _show_question(question: Question) -> None:
    from personakit.cli.shared.question_view import heading  # noqa: PLC0415

    output.line("--- question", dim=True)
    output.echo(heading(question))
    if question.details:
        output.echo(question.details.rstrip("\n"))
    for number, choice in enumerate(question.choices, 1):
        output.line(f"  {number} {choice}")


@command.command("remove")
@click.argument("identities", metavar="ID...", nargs=-1, required=True, type=SuspendedId())
def remove(identities: tuple[str, ...]) -> None:
    """Remove suspended runs permanently; they cannot be continued any more."""
    from personakit.cli.shared.waiting_runs import find_id  # noqa: PLC0415

    runner = make_runner()
    ids = list(dict.fromkeys(find_id(runner, each) for each in identities))
    for identity in ids:
        runner.journals.remove(identity)
    output.echo(f"{counted(len(ids), 'suspended run')} removed", err=True)


def _ids(runner: Runner) -> list[str]:
    return sorted(runner.journals.ids(), reverse=True)


def _json(run: Suspended) -> dict[str, Any]:
    from personakit.cli.shared.waiting_runs import when  # noqa: PLC0415

    return {**run.to_dict(), "time": when(run.id, "%Y-%m-%dT%H:%M:%S%z")}
