"""What `run` and `ask` share: their options, the run, and how its answer is printed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from personakit.base import dollars
from personakit.cli.shared import continuing, limits, output
from personakit.cli.shared.abilities import say_once
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.input import (
    attachments_of,
    check_stdin,
    prompt_text,
)
from personakit.cli.shared.keyfile import key_option, use_key
from personakit.cli.shared.options import (
    allowing,
    attach_option,
    fragment_option,
    given_tools,
    make_runner,
    with_fragments,
)
from personakit.cli.shared.output import request_json, show_request
from personakit.cli.shared.terminal import SUSPENDED, erase_passing, is_attended, stopping
from personakit.errors import BackendError, PersonakitError, PluginError, RunError, UsageError
from personakit.persona import QUESTION_PATH

if TYPE_CHECKING:
    from personakit.cli.shared.continuing import Next
    from personakit.journal import Question
    from personakit.messages import Request, Response
    from personakit.persona import Persona, Reference
    from personakit.runner import Runner
    from personakit.usage import Spent, Usage


class Shown(NamedTuple):
    """The options that control how an answer is printed, by their parameter names."""

    as_json: bool
    only_output: bool
    extract: bool
    usage: bool
    stream: bool | None

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Shown:
        """Remove these options from those of a command and return them."""
        return cls(**{name: options.pop(name) for name in cls.__annotations__})

    @property
    def is_partial(self) -> bool:
        """Whether standard output gets only a part or a form of the answer, when it is whole."""
        return self.as_json or self.only_output or self.extract


def trace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--trace`."""
    return click.option(
        "--trace", "traced", is_flag=True, help="Show on stderr what each plugin changed, whether "
        "it held the answer back, and the time it took.",
    )(function)  # fmt: skip


def log_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--no-log`."""
    return click.option("-n", "--no-log", is_flag=True, help="Do not log this run.")(function)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that prints an answer."""
    return decorated(
        function,
        attach_option,
        fragment_option,
        key_option,
        click.option("--schema", metavar="FIELDS|FILE", help="Ask for a JSON value with these "
                     "fields, such as 'dish, minutes int', or of the JSON Schema in a .json or "
                     ".yaml file, and print it."),
        click.option("--schema-multi", metavar="FIELDS|FILE", help="Like --schema, for a list of "
                     "such values."),
        click.option("--stream/--no-stream", default=None, help="Print text as it arrives, or at "
                     "the end. Default: stream to a terminal."),
        click.option("--dry-run", is_flag=True, help="Show the request after the plugins; send "
                     "nothing."),
        trace_option,
        allowing,
        limits.options,
        click.option("-u", "--usage", is_flag=True, help="Print tokens, cost and time on stderr."),
        log_option,
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
        click.option("--json-output", "only_output", is_flag=True, help="Print only the value that "
                     "the persona's `output:` specifies, as JSON."),
        click.option("-x", "--extract", is_flag=True, help="Print only the first fenced code block "
                     "of the answer."),
    )  # fmt: skip


def runner_of(options: dict[str, Any]) -> Runner:
    """Return the runner of a command, and remove the options that it uses."""
    gc.disable()  # saves a twentieth of the time; the process exits after one answer anyway
    log = not options.pop("no_log")
    waits = None if options["as_json"] or options["only_output"] else output.waiting
    allowed, ask = options["allowed"], asker()
    return make_runner(log=log, allowed=allowed, calls=_say_call, waits=waits, ask=ask)


def asker() -> Callable[[Question], str | None] | None:
    """Return what asks the person at the terminal; None if nobody is there."""
    return _ask if is_attended() else None


def _ask(question: Question) -> str | None:
    from personakit.cli.shared.questions import ask  # noqa: PLC0415

    return ask(question)


def answer(
    base: Runner, persona: Reference | None, words: tuple[str, ...], options: dict[str, Any]
) -> int:
    """Run a persona, or the next turn of a conversation, and print the answer.

    Args:
        base: The runner.
        persona: The persona; None for the one that answered last in the conversation.
        words: The prompt.
        options: The options of `continuing`, of `choices` and of this module, by their names.

    Returns:
        The exit code.

    Raises:
        UsageError: The options cannot be used together, or nothing is asked.
        RunError: The run started and failed. What was received is printed.
    """
    shown = Shown.taken(options)
    names, files = options.pop("allowed"), options.pop("functions")
    dry_run, traced = options.pop("dry_run"), options.pop("traced")
    schema = schema_given(options)
    attach, fragments = options.pop("attach"), options.pop("fragments")
    key_file = options.pop("key_file")
    request: dict[str, Any] = {**limits.taken(options), **schema}
    texts = check_stdin((*words, *attach, *fragments), options)
    turn = continuing.turn(base, persona, options)
    request |= turn.request
    shown = checked(shown, turn.persona, bool(schema))
    request["tools"] = given_tools(base, turn.persona, names, files)
    say_once(base, turn.persona)
    use_key(base, key_file, turn.model or turn.persona.model or base.config.model, texts)
    attachments = attachments_of(attach)
    request |= {"attachments": attachments} if attachments else {}
    prompt = prompt_text(words, taken=bool(texts) or key_file == "-")
    text = with_fragments(fragments, prompt)
    if turn.persona.path == QUESTION_PATH and text is None and not attachments:
        raise UsageError(
            'no question; write one, as in `personakit ask "What is in season?"`, or pipe one in'
        )
    if dry_run:
        return _dry_run(turn.runner.prepare(turn.persona, text, **request), shown)
    return run(turn.runner, turn.persona, text, request, shown, traced=traced)


def _say_call(line: str) -> None:
    output.end_line()
    continuing.note(line)


def _dry_run(request: Request, shown: Shown) -> int:
    output.print_json(request_json(request)) if shown.as_json else show_request(request)
    return 0


@contextmanager
def _traced(request: dict[str, Any]) -> Iterator[None]:
    """Trace a run, and show the trace after it, even if it fails."""
    from personakit.cli.shared.traces import show_trace  # noqa: PLC0415
    from personakit.pipeline import Trace  # noqa: PLC0415

    request["trace"] = trace = Trace()
    try:
        yield
    finally:
        show_trace(trace)


def schema_given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the output that the options describe, as an argument of the runner."""
    one, many = options.pop("schema"), options.pop("schema_multi")
    if one is None and many is None:
        return {}
    if one is not None and many is not None:
        raise UsageError("--schema cannot be combined with --schema-multi")
    from personakit.cli.shared.schema_option import schema_of  # noqa: PLC0415

    if one is not None:
        return {"output": schema_of(one, "--schema", many=False)}
    return {"output": schema_of(many, "--schema-multi", many=True)}


def checked(shown: Shown, persona: Persona, has_schema: bool) -> Shown:
    """Return how to print; with a schema, its value is printed.

    Raises:
        UsageError: The options cannot be combined.
    """
    forms = {
        "--schema": has_schema and not shown.as_json,
        "--json-output": shown.only_output,
        "--extract": shown.extract,
        "--json": shown.as_json,
        "--stream": shown.stream,
    }
    chosen = [name for name, value in forms.items() if value]
    if len(chosen) > 1 and chosen not in (["--json", "--stream"], ["--schema", "--json-output"]):
        raise UsageError(f"{chosen[0]} cannot be combined with {chosen[1]}")
    if has_schema:
        return shown if shown.as_json else shown._replace(only_output=True)
    if shown.only_output and persona.output is None:
        raise UsageError(
            f"--json-output: persona {persona.name!r} has no `output:`; add the JSON Schema of the "
            f"answer as `output:` or with --schema, or use --json for the text and its metadata"
        )
    return shown


def run(
    runner: Runner | Next,
    persona: Persona,
    prompt: Any,
    request: dict[str, Any],
    shown: Shown,
    *,
    traced: bool,
) -> int:
    """Run a persona and print the answer; return the exit code.

    Args:
        runner: The runner, or the next turn of a conversation.
        persona: The persona.
        prompt: The prompt, or what continues a suspended run.
        request: The options of the run.
        shown: How to print.
        traced: Whether to show the trace.

    Raises:
        RunError: The run failed. What was received is printed.
    """
    try:
        with _traced(request) if traced else nullcontext():
            return _run(runner, persona, prompt, request, shown)
    finally:
        erase_passing()


def _run(
    runner: Runner | Next, found: Persona, text: Any, request: dict[str, Any], shown: Shown
) -> int:
    live = not shown.is_partial and (sys.stdout.isatty() if shown.stream is None else shown.stream)
    try:
        if live:
            response = _stream(runner, found, text, request)
        else:
            with stopping():
                response = runner.run(found, text, **request)
            _print(response, found, shown)
    except RunError as error:
        _keep(error, streamed=live, machine=shown.is_partial)
        if shown.usage and error.spent is not None:
            output.line(f"personakit: {usage_line(error.spent)}", err=True)
        if error.exit_code != SUSPENDED:
            raise
        return _suspended(error, shown)
    for line in output.notices(response):
        continuing.note(line)
    if shown.usage:
        output.line(f"personakit: {usage_line(response.spent, response)}", err=True)
    return 0


def _suspended(run: Any, shown: Shown) -> int:
    """Print how a run that waits for a person goes on; return the exit code."""
    from personakit.cli.shared.resuming import repeated, show_suspended  # noqa: PLC0415

    show_suspended(run, repeated())
    if shown.as_json:
        output.print_json({"suspended": run.to_dict()})
    return SUSPENDED


def _print(response: Response, persona: Persona, shown: Shown) -> None:
    if shown.only_output:
        output.print_json(response.parsed, compact=not sys.stdout.isatty())
    elif shown.as_json:
        from personakit.codec import write_notes  # noqa: PLC0415

        paid = {"metadata": write_notes(response.metadata), "spent": response.spent.to_dict()}
        output.print_json({**response.to_dict(), **paid})
    elif shown.extract:
        from personakit.cli.shared.extract import print_code  # noqa: PLC0415

        print_code(response.text)
    else:
        output.echo(response.text)


def _stream(
    runner: Runner | Next, persona: Any, text: str | None, request: dict[str, Any]
) -> Response:
    """Print text as it arrives; end it with a newline, even if the run fails."""
    last, nothing = "", False
    try:
        with runner.stream(persona, text, **request) as pieces, stopping():
            for piece in pieces:
                output.echo(piece, end="")
                last = piece or last
            return pieces.response
    except PersonakitError:
        nothing = not last
        raise
    finally:
        if not nothing and not last.endswith("\n") and (output.is_unended() or not last):
            output.echo()


def _keep(error: RunError, *, streamed: bool, machine: bool) -> None:
    """Print the text received before a run failed, because it was paid for."""
    received = error.partial if isinstance(error, BackendError) else ""
    if isinstance(error, PluginError) and error.response is not None:
        received = error.response.text
    if not received or streamed:
        return
    if machine:  # a program that reads JSON or code must not get other text
        output.echo(received, err=True)
    else:
        output.echo(received)


def usage_line(spent: Spent, response: Response | None = None) -> str:
    """Return the tokens and cost of a run, and the model and time of its answer, on one line."""
    usage = spent.usage
    parts = ["tokens unknown" if usage is None else tokens_line(usage), dollars(spent.cost)]
    if len(spent.charges) > 1:
        parts.append(f"{len(spent.charges)} calls")
    if response is not None:
        parts.append(response.request.model if response.request is not None else response.model)
        if response.timings is not None:
            parts.append(f"{response.timings.total:.1f} s")
    return ", ".join(filter(None, parts))


def tokens_line(usage: Usage) -> str:
    """Return a description of the tokens used, such as "12 tokens in, 34 out"."""
    parts = {"cached": usage.cached_tokens, "written to the cache": usage.cache_write_tokens}
    cached = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    read = f"{usage.prompt_tokens:,} tokens in" + (f" ({cached})" if cached else "")
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    least = "at least " if usage.incomplete else ""
    return f"{least}{read}, {usage.completion_tokens:,} out{thought}"
