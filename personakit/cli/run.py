"""`personakit run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from personakit.cli import common, continuing
from personakit.cli.render import request_json, show_request
from personakit.errors import BackendError, PluginError, RunError

if TYPE_CHECKING:
    from personakit.messages import Response
    from personakit.persona import Persona
    from personakit.runner import Runner


@click.command("run")
@continuing.options
@click.argument("prompt", nargs=-1)
@common.choices
@click.option("--stream/--no-stream", default=None, help="Print text while it arrives, or at the "
              "end. Default: stream to a terminal.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be sent, after the plugins.")
@click.option("--trace", "traced", is_flag=True, help="Show on stderr what each plugin changed, "
              "whether it held the answer, and the time it took.")  # fmt: skip
@click.option("--no-log", is_flag=True, help="Do not log this run.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(
    persona: str | None,
    prompt: tuple[str, ...],
    stream: bool | None,
    dry_run: bool,
    traced: bool,
    no_log: bool,
    **options: Any,
) -> int:
    """Run PERSONA and print the answer.

    PERSONA is a name (`personakit list`) or the path of a YAML file. PROMPT is what you say to it;
    without one, text piped in is used. A `-` among the words stands for text piped in:

    \b
      cat notes.txt | personakit run summarizer
      git diff | personakit run code-reviewer "Look for races." -

    With -c the last conversation goes on, and every word is said; only a first word that is the
    name of a persona lets that one answer:

    \b
      personakit run -c "And for three?"
    """  # noqa: D301
    runner: Runner | continuing.Next = (made := common.runner(log=not no_log))
    as_json = options.pop("as_json")
    if continuing.asked(options):
        if persona is not None and not continuing.is_persona(made, persona):
            prompt, persona = (persona, *prompt), None
        talk = continuing.resumed(made, persona, options)
        runner, found = continuing.Next(talk), talk.persona
        request: dict[str, Any] = {}
    else:
        found = made.load(continuing.needed(persona))
        request = {"model": options.pop("model"), **common.chosen(found, **options)}
    text = common.prompt_text(prompt)
    if not traced:
        return _run(runner, found, text, request, dry_run=dry_run, as_json=as_json, stream=stream)
    from personakit.cli.traced import show_trace  # noqa: PLC0415
    from personakit.trace import Trace  # noqa: PLC0415

    request["trace"] = trace = Trace()
    try:
        return _run(runner, found, text, request, dry_run=dry_run, as_json=as_json, stream=stream)
    finally:
        show_trace(trace)


def _run(
    runner: Runner | continuing.Next,
    found: Persona,
    text: str | None,
    request: dict[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
    stream: bool | None,
) -> int:
    if dry_run:
        prepared = runner.prepare(found, text, **request)
        common.print_json(request_json(prepared)) if as_json else show_request(prepared)
        return 0
    if as_json:
        common.print_json(_answer_json(runner.run(found, text, **request), found.name))
        return 0
    try:
        if sys.stdout.isatty() if stream is None else stream:
            _stream(runner, found, text, request)
        else:
            common.print_answer(runner.run(found, text, **request).text)
    except RunError as error:
        _keep(error, streamed=bool(stream))
        raise
    return 0


def _stream(
    runner: Runner | continuing.Next, persona: Any, text: str | None, request: dict[str, Any]
) -> None:
    """Print text as it arrives; what was printed always ends with a line end."""
    last = ""
    try:
        with runner.stream(persona, text, **request) as pieces:
            for piece in pieces:
                common.print_answer(piece, end="")
                last = piece or last
    finally:
        if not last.endswith("\n"):
            click.echo()


def _keep(error: RunError, *, streamed: bool) -> None:
    """Print what had been received when a run failed: it was paid for."""
    received = error.partial if isinstance(error, BackendError) else ""
    if isinstance(error, PluginError) and error.response is not None:
        received = error.response.text
    if received and not streamed and not sys.stdout.isatty():
        common.print_answer(received)


def _answer_json(response: Response, persona: str) -> dict[str, Any]:
    usage = response.usage
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {
        "text": response.text,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "usage": {name: getattr(usage, name) for name in names} if usage else None,
        "persona": persona,
        "id": response.id,
    }
