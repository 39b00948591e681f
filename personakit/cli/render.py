"""`personakit render`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from personakit.cli import common
from personakit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from personakit.messages import Request


@click.command("render")
@common.request_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--format", "form", metavar="NAME", help="A format that a plugin brings.")
@click.option("--tokens", is_flag=True, help="Count the tokens of each message.")
@click.option("--explain", is_flag=True, help="Show which file each part comes from.")
@click.option(
    "--diff",
    metavar="OTHER",
    help="Show what changes with NAME=VALUE, the variables in "
    "@FILE, or another persona; - reads one from stdin. Exits with 1 when something does.",
)
@click.option("--watch", is_flag=True, help="Show it again at every change of a file.")  # fmt: skip
def command(
    persona: str, prompt: tuple[str, ...], as_json: bool, form: str | None, **options: Any
) -> int:
    """Show the messages that PERSONA makes; nothing is sent, and no key is needed.

    \b
      personakit render chef "Something with leeks" --tokens -m openai/gpt-5-mini
      personakit render chef --diff guests=4
    """  # noqa: D301
    views = {name: options.pop(name) for name in ("tokens", "explain", "diff", "watch")}
    runner = common.runner()
    if any(value not in (None, False) for value in views.values()):
        return _view(persona, prompt, as_json or form is not None, views, options)
    found = runner.load(persona)
    model = options.pop("model")
    chosen = common.chosen(found, **options)
    request = runner.render(found, common.prompt_text(prompt), model=model, **chosen)
    if form is not None:
        write = runner.plugins.find("format", form)
        if write is None:
            hint = did_you_mean(form, runner.plugins.every("format"))
            raise UsageError(f"no plugin brings a format {form!r}{hint}")
        click.echo(write(request), nl=False)
    elif as_json:
        common.print_json(request_json(request))
    else:
        show_request(request)
    return 0


def _view(
    persona: str,
    prompt: tuple[str, ...],
    machine: bool,
    views: dict[str, Any],
    options: dict[str, Any],
) -> int:
    """Show one of the views for people."""
    from personakit.cli.preview import Preview, Views, Wanted  # noqa: PLC0415

    if machine:
        names = ", ".join(f"--{name}" for name, value in views.items() if value)
        raise UsageError(f"{names}: not together with --json or --format, whose form is fixed")
    text = None if views["diff"] == "-" and not prompt else common.prompt_text(prompt)
    wanted = Wanted(persona, text, options.pop("model"), **options)
    return Preview(common.runner(), wanted, Views(**views)).run()


def request_json(request: Request) -> dict[str, Any]:
    """Return a request in the form of ``render --json``."""
    return {
        "persona": request.persona,
        "model": request.model or None,
        "messages": [message.to_api() for message in request.messages],
        "parameters": common.plain(request.parameters),
    }


def show_request(request: Request, notes: Sequence[str] = ()) -> None:
    """Print a request for people: each message below its role.

    Args:
        request: The request.
        notes: What to put after each role, and after the model at the end.
    """
    from personakit.attachments import describe  # noqa: PLC0415

    notes = notes or [""] * (len(request.messages) + 1)
    for message, note in zip(request.messages, notes, strict=False):
        click.secho(f"--- {message.role}{note}", dim=True)
        if message.text or not message.parts:
            common.print_answer(message.text.rstrip("\n"))
        for part in message.parts:
            click.secho(f"[{describe(part)}]", dim=True)
    settings = common.settings(request.parameters)
    click.secho(
        f"--- {request.model or 'no model chosen'}{settings and f' ({settings})'}{notes[-1]}",
        dim=True,
    )
