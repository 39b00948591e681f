"""`personakit batch PERSONA ROWS`."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted
from personakit.cli.batch import ending, on_ray, progress, questions, running, values
from personakit.cli.shared import limits
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.keyfile import key_option, use_key
from personakit.cli.shared.options import (
    PersonaName,
    allowing,
    chosen_values,
    given_tools,
    make_runner,
    sending,
)

if TYPE_CHECKING:
    from personakit.batch import Batch

PERSONA = PersonaName()
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}


class Amount(click.ParamType[float]):
    """A number above 0, such as 500 or 200k."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a number."""
        match = re.fullmatch(r"\$?([0-9_]+(?:\.[0-9]+)?)([kKmM]?)", str(value))
        number = float(match[1]) * _THOUSANDS[match[2].lower()] if match else 0.0
        if number <= 0:
            self.fail(
                f"expected a number above 0, such as 500 or 200k, found {value!r}", param, ctx
            )
        return number


class Concurrency(click.ParamType["int | None"]):
    """The number of requests at once, or ``auto``."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Parse a number; ``auto`` is None."""
        if str(value).lower() == "auto":
            return None
        if not str(value).isdecimal() or not int(value):
            self.fail(f"expected auto or a number from 1 on, found {value!r}", param, ctx)
        return int(value)


def _options(function: Any) -> Any:
    return decorated(
        function,
        click.option("-o", "--output", "out", metavar="FILE", type=click.Path(),
                     help="The file of the answers, such as out.jsonl. Failures go beside it, into "
                     "out.failed.jsonl. Required."),
        click.option("--input", "input_", metavar="COLUMN", help="The column of the user message."),
        click.option("--map", "names", metavar="VARIABLE=COLUMN", multiple=True, help="The column "
                     "of a variable that has another name. Repeatable."),
        click.option("--key", metavar="COLUMN", help="The column that names a row in the output. "
                     "Default: a hash of its content."),
        click.option("--keep", metavar="COLUMNS", help="Columns to copy, separated by commas."),
        click.option("-v", "--variable", "pairs", metavar="NAME=VALUE", multiple=True,
                     help="A variable that is the same in all rows. Repeatable."),
        sending,
        click.option("--estimate", is_flag=True, help="Show rows, tokens, dollars, minutes; send "
                     "nothing."),
        click.option("--sample", metavar="NUMBER", type=click.IntRange(1, 1000), help="Run so many "
                     "rows from all over the table first, show them, and ask."),
        click.option("--limit", metavar="NUMBER", type=click.IntRange(1), help="Most rows to run."),
        click.option("--max-usd", metavar="DOLLARS", type=Amount(), help="Begin no row that could "
                     "cost more in all."),
        click.option("--max-failures", metavar="NUMBER", type=click.IntRange(1), default=50,
                     help="Stop if the first rows fail, as many and all of them. Default: 50."),
        click.option("--concurrency", metavar="NUMBER", type=Concurrency(), default="auto",
                     help="Requests at once; auto finds it out (the default)."),
        click.option("--rpm", metavar="NUMBER", type=Amount(), help="Requests a minute at most. "
                     "Default: what the provider says."),
        click.option("--tpm", metavar="NUMBER", type=Amount(), help="Tokens a minute, as 200k."),
        click.option("--attempts", metavar="NUMBER", type=click.IntRange(1, 100), default=5,
                     help="Attempts of a request; one refused for the rate is none. Default: 5."),
        click.option("--skip-invalid", is_flag=True, help="Leave out rows that do not fit."),
        click.option("--retry-failed", is_flag=True, help="Send the rows that failed again, too."),
        click.option("--in-flight", metavar="ask|resend|fail", type=click.Choice(
                     ["ask", "resend", "fail"]), default="ask", help="What happens to rows that "
                     "were under way when the last run was killed: they may have been paid."),
        click.option("--no-dedupe", "dedupe", flag_value=False, default=True, help="Send rows with "
                     "equal content once each, not once in all."),
        click.option("--durable", is_flag=True, help="Wait for the disk at each answer, for power "
                     "cuts."),
        click.option("--force-mixed", is_flag=True, help="Go on although the persona, the model or "
                     "the table has changed."),
        click.option("-y", "--yes", is_flag=True, help="Answer questions with yes."),
        click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines."),
        click.option("--log", is_flag=True, help="Write each run to the run log, too."),
        on_ray.options,
        key_option,
        limits.options,
        allowing,
    )  # fmt: skip


class Run(click.Command):
    """A command whose name is that of its group."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Return a context; messages show the command as people write it, without `run`."""
        if parent is not None and parent.parent is not None:
            info_name, parent = parent.info_name, parent.parent
        return super().make_context(info_name, args, parent, **extra)


@click.command("run", cls=Run, options_metavar="-o FILE [OPTIONS]")
@click.argument("persona", type=PERSONA)
@click.argument("rows", metavar="ROWS", type=click.Path(allow_dash=True))
@_options
def command(persona: str, rows: str, **given: Any) -> int:
    """Run PERSONA for each row of ROWS, a .csv, .jsonl or .parquet file; - is standard input.

    Columns are the variables of the same name. All rows are checked before anything is sent. The
    same command again goes on where it ended.

    \b
      personakit batch tagger rows.csv -o out.jsonl --estimate
      personakit batch tagger rows.csv -o out.jsonl --sample 20
      personakit batch tagger rows.csv -o out.jsonl
      personakit batch status out.jsonl

    Exit codes: 0 if all rows that were run have an answer, 1 if some failed or the batch stopped,
    2 for wrong usage or invalid rows, 130 after Ctrl-C, 143 after SIGTERM.
    """  # noqa: D301
    if given["out"] is None:
        name = PurePath(rows).stem if rows != "-" else "out"
        raise click.UsageError(
            f"no file for the answers; name one, such as -o {shlex.quote(name)}.answers.jsonl",
            click.get_current_context(),
        )
    main = _main
    if given["engine"] == "ray":
        main = on_ray.main
    else:
        on_ray.refuse(given, on_ray.OWN, "--engine ray")
    try:
        return main(persona, rows, given)
    except OSError as error:
        raise _unwritable(error, given["out"]) from None


def _unwritable(error: OSError, out: str) -> Exception:
    from personakit.errors import UsageError  # noqa: PLC0415

    if not str(error.filename or "").startswith(out.removesuffix(".jsonl")):
        return error
    return UsageError(
        f"{error.filename}: {error.strerror}; the files of a batch are written beside its answers, "
        "so name a file in a folder that you can write in, with -o"
    )


def _main(persona: str, rows: str, given: dict[str, Any]) -> int:
    from personakit.batch import BatchStopped  # noqa: PLC0415

    batch, yes, as_json = _batch(persona, rows, given), given["yes"], given["as_json"]
    if given["estimate"]:
        return questions.show_estimate(batch, as_json=as_json)
    batch = questions.settled(batch, yes=yes)
    ended = partial(ending.show, as_json=as_json, stdin=rows == "-")
    try:
        if given["sample"]:
            asked = questions.sample(batch, given["sample"], yes=yes, as_json=as_json)
            if asked is None:
                return ended(batch)
            batch = asked
        with progress.Shown(batch, as_json=as_json) as shown:
            running.run(batch, shown)
    except BatchStopped as error:
        return ended(batch, error=str(error), code=error.exit_code)
    except running.Interrupted as signal:
        text = "interrupted"
        if signal.rows:
            text += f"; {counted(signal.rows, 'row')} were under way and may have been paid"
        return ended(batch, error=text, code=signal.code)
    return ended(batch)


def _batch(persona: str, rows: str, given: dict[str, Any]) -> Batch:
    from personakit.batch import Batch  # noqa: PLC0415

    runner = make_runner(log=given["log"], allowed=given["allowed"], sync=False)
    loaded = runner.load(persona)
    chosen = chosen_values(loaded, given["pairs"], None, given["settings"])
    use_key(runner, given["key_file"], given["model"], (rows,))
    names = (
        "attempts concurrency dedupe durable force_mixed in_flight limit max_failures max_usd model"
    )
    names += " retry_failed rpm skip_invalid tpm timeout deadline"
    return Batch(
        loaded,
        rows,
        out=given["out"],
        key=given["key"],
        input=given["input_"],
        map=values.mapping(given["names"]),
        keep=values.kept(given["keep"]),
        variables=chosen["variables"],
        parameters=chosen["parameters"],
        tools=given_tools(runner, loaded, given["allowed"], given["functions"]),
        runner=runner,
        **{name: given[name] for name in names.split()},
    )
