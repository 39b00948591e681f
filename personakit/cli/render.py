"""`personakit render`."""

from __future__ import annotations

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
def command(
    persona: str, prompt: tuple[str, ...], as_json: bool, form: str | None, **options: Any
) -> None:
    """Show the messages that PERSONA makes; nothing is sent, and no key is needed."""
    runner = common.runner()
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


def request_json(request: Request) -> dict[str, Any]:
    """Return a request in the form of ``render --json``."""
    return {
        "persona": request.persona,
        "model": request.model or None,
        "messages": [message.to_api() for message in request.messages],
        "parameters": common.plain(request.parameters),
    }


def show_request(request: Request) -> None:
    """Print a request for people: each message below its role."""
    for message in request.messages:
        click.secho(f"--- {message.role}", dim=True)
        click.echo(message.text.rstrip("\n"))
    settings = ", ".join(f"{name}={value}" for name, value in request.parameters.items())
    click.secho(
        f"--- {request.model or 'no model chosen'}{settings and f' ({settings})'}", dim=True
    )
