"""`personakit batch … --engine ray`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from personakit.base import counted
from personakit.cli.batch import ending, progress, questions, running, values
from personakit.cli.shared import output
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.options import chosen_values, make_runner
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.batch import Batch, ClusterBatch

OWN = {"address": "--address", "workers": "--workers", "journal": "--journal"}
"""The options that only this engine has."""
_OTHERS = {
    "estimate": "--estimate",
    "sample": "--sample",
    "limit": "--limit",
    "max_usd": "--max-usd",
    "functions": "--functions",
    "allowed": "--tool",
    "key_file": "--key-file",
    "log": "--log",
}
"""Those that it does not have: each worker knows its own rows alone, and its own files."""
_NAMES = """
    address workers journal key skip_invalid in_flight concurrency rpm tpm model attempts dedupe
    durable force_mixed max_failures retry_failed timeout deadline
"""


def options(function: Any) -> Any:
    """Add the options of this engine."""
    return decorated(
        function,
        click.option("--engine", type=click.Choice(["plain", "ray"]), default="plain", help="ray "
                     "runs the rows on a cluster of Ray; FILE is a folder then, also on S3."),
        click.option("--address", metavar="ADDRESS", help="The cluster; auto is the one that "
            "runs on this machine. Default: $RAY_ADDRESS, or a new one here."),
        click.option("--workers", metavar="NUMBER", type=click.IntRange(1), help="Processes that "
                     "send, on Ray. Default: one for each CPU."),
        click.option("--journal", metavar="FOLDER", help="The workers' journals, on Ray. Default: "
                     "FILE.journal."),
    )  # fmt: skip


def refuse(given: dict[str, Any], names: dict[str, str], why: str) -> None:
    """Check that options are not given.

    Args:
        given: The values of all options.
        names: How the options are written, by the names of their values.
        why: With what they would be right.

    Raises:
        UsageError: One is.
    """
    for name, option in names.items():
        value = given.get(name)
        if value is not None and value is not False and value != ():
            raise UsageError(f"{option} works with {why} only; leave it out")


def main(persona: str, rows: str, given: dict[str, Any]) -> int:
    """Run a batch on Ray; return the exit code."""
    from personakit.batch import BatchStopped  # noqa: PLC0415

    refuse(given, _OTHERS, "--engine plain")
    if rows == "-":
        raise UsageError(
            "standard input works with --engine plain only; name a file or a folder that all nodes "
            "of the cluster have, or a URI such as s3://bucket/rows"
        )
    cluster = _batch(persona, rows, given)
    if cluster.copied_journal is not None:
        output.line(
            f"{cluster.copied_journal}: nothing can be appended there, so a killed worker also "
            "costs the rows of its last two seconds; --journal names a folder instead",
            err=True,
        )
    # It has what the functions for a batch in one process use.
    batch = questions.settled(cast("Batch", cluster), yes=given["yes"])
    ended = partial(_ended, cluster, as_json=given["as_json"])
    try:
        with progress.Shown(batch, as_json=given["as_json"]) as shown:
            running.run(batch, shown)
    except BatchStopped as error:
        return ended(error=str(error), code=error.exit_code)
    except running.Interrupted as signal:
        return ended(error="interrupted", code=signal.code)
    return ended()


def _ended(batch: ClusterBatch, *, as_json: bool, error: str = "", code: int = 0) -> int:
    """Print how a batch ended; return the exit code."""
    if batch.progress() is not None and (count := batch.under_way()):
        output.line(
            f"{counted(count, 'row')} were under way when a worker died, and may have been paid "
            "twice",
            err=True,
        )
    shown = cast("Batch", batch)
    return ending.show(shown, as_json=as_json, stdin=False, error=error, code=code)


def _batch(persona: str, rows: str, given: dict[str, Any]) -> ClusterBatch:
    from personakit.batch import ClusterBatch  # noqa: PLC0415

    runner = make_runner(log=False, sync=False)
    loaded = runner.load(persona)
    chosen = chosen_values(loaded, given["pairs"], None, given["settings"])
    return ClusterBatch(
        loaded,
        rows,
        out=given["out"],
        input=given["input_"],
        map=values.mapping(given["names"]),
        keep=values.kept(given["keep"]),
        variables=chosen["variables"],
        parameters=chosen["parameters"],
        runner=runner,
        **{name: given[name] for name in _NAMES.split()},
    )
