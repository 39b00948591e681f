"""The runs that wait for an answer: how one is found, and shown on a line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from personakit.cli.shared import output
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Suspended
    from personakit.runner import Runner

SHORT = 14
"""The digits of an id that are the start of its run, in microseconds."""
MOST = 5
"""The most suspended runs that an error lists."""


def find(runner: Runner, word: str) -> Suspended:
    """Return a suspended run; see `find_id`.

    Raises:
        UsageError: There is none, several begin with the word, or its journal cannot be read.
    """
    return runner.suspended(find_id(runner, word))


def find_id(runner: Runner, word: str) -> str:
    """Return the id of a suspended run.

    Args:
        runner: Its journals are searched.
        word: The id of the run, the beginning of one, or ``last``.

    Raises:
        UsageError: There is none, or several begin with the word.
    """
    ids = sorted(runner.journals.ids(), reverse=True)
    # An empty word is a variable of a script that was not set, not the beginning of every id.
    matching = [each for each in ids if word and each.startswith(word)]
    matching = ids[:1] if word == "last" else matching
    if len(matching) == 1:
        return matching[0]
    shown = matching or ids
    listed = "".join(f"\n  {brief(runner, each)}" for each in shown[:MOST])
    more = f"\n  … ({len(shown) - MOST:,} more: `personakit suspended list`)"
    listed += more if len(shown) > MOST else ""
    if matching:
        raise UsageError(f"several suspended runs begin with {word[:80]!r}:{listed}")
    if not ids:
        raise UsageError(
            "no run is suspended; one that has ended or was removed cannot be continued "
            "(`personakit log list` lists the runs that have ended)"
        )
    raise UsageError(f"no suspended run begins with {word[:80]!r}; these are suspended:{listed}")


def brief(runner: Runner, identity: str) -> str:
    """Return a suspended run on one line; of one that cannot be read, the reason."""
    try:
        run = runner.suspended(identity)
    except UsageError as error:
        return f"{identity}  {output.one_line(str(error))}"
    return f"{identity}  {run.persona}  {asked(run)}"


def asked(run: Suspended) -> str:
    """Return the first open question of a run on one line."""
    if not run.questions:
        return "no question: it was interrupted, or another process continues it"
    more = f" (and {len(run.questions) - 1} more)" if len(run.questions) > 1 else ""
    return output.one_line(run.question.text) + more


def when(identity: str, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return the start of a run in local time; its id begins with it."""
    try:
        return time.strftime(form, time.localtime(int(identity[:SHORT], 16) / 1_000_000))
    except (ValueError, OverflowError, OSError):
        return ""
