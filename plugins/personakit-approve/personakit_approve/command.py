"""The command `personakit approve`."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import click

from personakit import UsageError, did_you_mean
from personakit_approve.approvals import Approval, approvals, path, revoke


@click.group("approve", short_help="List and revoke the tools approved for good.")
def command() -> None:
    """List and revoke the approvals of tools that you gave for good."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the approvals: the persona, the tool, and when you approved it."""
    kept = approvals()
    if as_json:
        rows = [{**each._asdict(), "time": _moment(each).isoformat()} for each in kept]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not kept:
        click.echo(f"no tool is approved for good ({path()})")
        return
    rows_ = [("persona", "tool", "approved"), *(_row(each) for each in kept)]
    widths = [max(len(row[column]) for row in rows_) for column in range(2)]
    for persona, tool, when in rows_:
        click.echo(f"{persona:{widths[0]}}  {tool:{widths[1]}}  {when}")


@command.command("revoke")
@click.argument("names", nargs=-1, metavar="[PERSONA] TOOL")
@click.option("--all", "every", is_flag=True, help="Revoke all approvals.")
def revoke_(names: tuple[str, ...], every: bool) -> None:
    """Revoke the approval of a tool, so that you are asked again.

    PERSONA is a name or the path of a file; without it, the approvals of all personas for the tool
    are revoked.
    """
    if every == bool(names) or len(names) > 2:
        raise UsageError(
            "expected the name of a tool, a persona and the name of a tool, or --all; write "
            "`personakit approve revoke [PERSONA] TOOL`"
        )
    kept = approvals()
    chosen = kept if every else _named(kept, *names)
    if not chosen:
        click.echo(f"no tool is approved for good ({path()})")
        return
    revoke(chosen)
    for each in chosen:
        click.echo(f"revoked {each.tool} of {each.persona}")


def _named(kept: Sequence[Approval], *names: str) -> Sequence[Approval]:
    """Return the approvals of a tool, of one persona if it is named before the tool.

    Raises:
        UsageError: There is none, or the name stands for several personas.
    """
    tool, persona = names[-1], names[0] if len(names) > 1 else None
    found = kept if persona is None else _of_persona(kept, persona)
    tools = {each.tool for each in found}
    found = [each for each in found if each.tool == tool]
    if not found:
        raise _missing(f"tool {tool[:80]!r} is not approved for good", tool, tools)
    if persona is not None and len(found) > 1:
        files = ", ".join(each.persona for each in found)
        raise UsageError(f"{persona!r} stands for several personas: {files}; write the path")
    return found


def _of_persona(kept: Sequence[Approval], name: str) -> Sequence[Approval]:
    """Return the approvals of the personas that a name or a path stands for."""
    wanted = {name, str(Path(name).absolute())}
    found = [each for each in kept if each.persona in wanted]
    found = found or [each for each in kept if Path(each.persona).stem == name]
    if not found:
        known = {name for each in kept for name in (each.persona, Path(each.persona).stem)}
        raise _missing(f"persona {name[:80]!r} has no tool that is approved for good", name, known)
    return found


def _missing(message: str, word: str, known: Collection[str]) -> UsageError:
    return UsageError(
        f"{message}{did_you_mean(word, sorted(known)) or '; see `personakit approve list`'}"
    )


def _row(approval: Approval) -> tuple[str, str, str]:
    return approval.persona, approval.tool, f"{_moment(approval):%Y-%m-%d %H:%M}"


def _moment(approval: Approval) -> datetime:
    return datetime.fromtimestamp(approval.time).astimezone()
