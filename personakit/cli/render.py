"""`personakit render`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import output
from personakit.cli.shared.input import check_stdin, prompt_text
from personakit.cli.shared.options import (
    PersonaName,
    chosen_values,
    fragment_option,
    make_runner,
    request_options,
    with_fragments,
)
from personakit.cli.shared.output import request_json, show_request
from personakit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    pass


@click.command("render")
@request_options
@fragment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--format", "form", metavar="NAME", help="Print a format that a plugin provides.")
@click.option("--tokens", is_flag=True, help="Count the tokens of each message.")
@click.option("--explain", is_flag=True, help="Show which file each part comes from.")
@click.option(
    "--diff",
    metavar="OTHER",
    type=PersonaName(),
    help="Show the differences with NAME=VALUE, with the variables in @FILE, or to another "
    "persona; - reads one from stdin. Exits with 1 if there are any.",
)
@click.option("--watch", is_flag=True, help="Render again whenever a file changes.")  # fmt: skip
def command(
    persona: str, prompt: tuple[str, ...], as_json: bool, form: str | None, **options: Any
) -> int:
    """Show the messages of PERSONA. Nothing is sent, and no key is needed.

    \b
      personakit render chef "Something with leeks" --tokens -m openai/gpt-5-mini
      personakit render chef --diff guests=4
    """  # noqa: D301
    views = {name: options.pop(name) for name in ("tokens", "explain", "diff", "watch")}
    runner = make_runner()
    fragments = options.pop("fragments")
    dashes = (*prompt, *fragments, *([views["diff"]] if views["diff"] else []))
    taken = bool(check_stdin(dashes, options))
    if any(value not in (None, False) for value in views.values()):
        text = prompt_text(prompt, taken=taken)
        options |= {"prompt": text, "fragments": fragments}
        return _view(persona, as_json or form is not None, views, options)
    found = runner.load(persona)
    model = options.pop("model")
    chosen = chosen_values(found, **options)
    text = with_fragments(fragments, prompt_text(prompt, taken=taken))
    request = runner.render(found, text, model=model, **chosen)
    if form is not None:
        write = runner.plugins.find("format", form)
        if write is None:
            raise UsageError(_unknown_format(form, sorted(runner.plugins.every("format"))))
        text = write(request)
        output.echo(text, end="" if text.endswith("\n") else "\n")
    elif as_json:
        output.print_json(request_json(request))
    else:
        show_request(request)
    return 0


def _unknown_format(form: str, known: list[str]) -> str:
    if not known:
        return f"--format: no installed plugin provides {form!r} or another format; use --json"
    listed = f"; the formats are {', '.join(known)}"
    return f"--format: no installed plugin provides {form!r}{did_you_mean(form, known) or listed}"


def _view(
    persona: str,
    machine: bool,
    views: dict[str, Any],
    options: dict[str, Any],
) -> int:
    """Show a view: tokens, explain, diff or watch."""
    from personakit.cli.shared.preview import Preview, Views, Wanted  # noqa: PLC0415

    if machine:
        names = ", ".join(f"--{name}" for name, value in views.items() if value)
        raise UsageError(f"{names} cannot be combined with --json or --format")
    wanted = Wanted(persona, **options)
    return Preview(make_runner(), wanted, Views(**views)).run()
