"""`personakit new`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from personakit.authoring import Draft, drafts, persona_files
from personakit.base import printable, read_file
from personakit.cli.shared import output
from personakit.cli.shared.input import unreadable
from personakit.cli.shared.options import PersonaName, make_runner, split_pair
from personakit.config import expanded
from personakit.errors import TemplateError, UsageError, did_you_mean
from personakit.persona import MAX_BYTES, Persona
from personakit.runner import Runner

STARTERS = {name: text.partition("\n")[0][2:] for name, text in drafts.starters().items()}
CHOICES = "; ".join(f"{name} ({about[0].lower()}{about[1:]})" for name, about in STARTERS.items())


class _Origin(NamedTuple):
    """The options that specify the source of the content."""

    template: str | None
    extends: str | None
    system: str | None
    file: str | None
    as_template: bool

    def check(self) -> None:
        """Raise UsageError for options that cannot be combined."""
        sources = {"--template": self.template, "--extends": self.extends, "--from-file": self.file}
        used = [option for option, value in sources.items() if value is not None]
        if self.system is not None and self.extends is None:
            used.append("--system")
        if len(used) > 1:
            raise UsageError(f"{' and '.join(used)} cannot be combined; choose one")
        if self.as_template and self.file is None:
            raise UsageError("--template-text requires --from-file")


@click.command("new")
@click.argument("name", required=False)
@click.option("-d", "--description", metavar="TEXT", help="One sentence for `personakit list`.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="WORD", help="A tag. Repeatable.")
@click.option("--template", type=click.Choice(list(STARTERS)), help=f"Start from {CHOICES}.")
@click.option(
    "--extends",
    metavar="PARENT",
    type=PersonaName(),
    help="Inherit from another persona, including its later changes.",
)
@click.option(
    "--system", metavar="TEXT", help="The system message; {{ name }} in it is a variable."
)
@click.option(
    "--from-file",
    "file",
    metavar="FILE",
    help="Read the system message verbatim from a text file; - is stdin.",
)
@click.option(
    "--template-text",
    "as_template",
    is_flag=True,
    help="Read --from-file as a template: {{ name }} in it is a variable.",
)
@click.option(
    "-v",
    "--variable",
    "pairs",
    multiple=True,
    metavar="NAME=DEFAULT",
    help="Set the default of a variable in the text. Repeatable.",
)
@click.option(
    "--path",
    "folder",
    metavar="DIR",
    default="personas",
    show_default=True,
    help="The folder to write into; created if it is missing.",
)
@click.option("-y", "--yes", is_flag=True, help="Ask nothing and use the defaults.")  # fmt: skip
def command(
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    pairs: tuple[str, ...],
    folder: str,
    yes: bool,
    **options: Any,
) -> None:
    """Write a new persona file, NAME.yaml.

    On a terminal, it asks for everything that the options do not set; otherwise it uses the
    defaults. An existing file is never overwritten.

    \b
      personakit new greeter
      personakit new my-editor --extends editor
      personakit new support --from-file prompt.txt
    """  # noqa: D301
    origin = _Origin(**options)
    origin.check()
    asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    if name is None and not asks:
        raise click.MissingParameter(param_hint="NAME", param_type="argument")
    name = persona_files.checked_name(name) if name is not None else _ask_name()
    target = persona_files.free(expanded(folder) / f"{name}.yaml")
    runner = Runner(make_runner().config, path=[target.parent])
    draft = _draft(runner, Draft(name, description or "", tags), origin)
    if asks:
        draft = _ask(draft, origin, lambda draft: _undeclared(runner, draft, target, origin))
    draft = dataclasses.replace(draft, description=draft.description or f"{_words(name)}.")
    names = _undeclared(runner, draft, target, origin)
    values = _values(names, _defaults(pairs), asks)
    draft = _declaring(runner, draft, target, values)
    persona = persona_files.checked(runner, draft.source(), target)
    if not draft.starter:
        draft = persona_files.with_test(runner, draft, persona)
        persona = persona_files.checked(runner, draft.source(), target)
    persona_files.save(target, draft.source())
    _report(persona, target)


def _draft(runner: Runner, draft: Draft, origin: _Origin) -> Draft:
    """Return the draft with the content that the options specify."""
    if origin.file is not None:
        text = _exact(origin.file)
        return dataclasses.replace(draft, system=text, literal=not origin.as_template)
    if origin.extends is not None:
        parent = persona_files.parent_of(runner, origin.extends)
        draft = dataclasses.replace(draft, extends=origin.extends, parent=parent)
    elif origin.system is None:
        return dataclasses.replace(draft, starter=origin.template or "basic")
    return dataclasses.replace(draft, system=_system(origin.system or "", draft))


def _system(text: str, draft: Draft) -> str:
    """Return typed text as a system message, after that of the parent, if any."""
    if not text:
        return ""
    ended = text if text.endswith("\n") else f"{text}\n"
    return f"{{{{ parent.system }}}}\n{ended}" if draft.has_parent_system else ended


def _exact(file: str) -> str:
    if file == "-":
        return persona_files.exact_text(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    path = expanded(file)
    try:
        return persona_files.exact_text(read_file(path, MAX_BYTES), file)
    except OSError as error:
        raise unreadable(path, "--from-file", error) from None


def _defaults(pairs: tuple[str, ...]) -> dict[str, str]:
    return dict(split_pair(pair, "-v") for pair in pairs)


def _reasked(check: Callable[[str], str]) -> Callable[[str], str]:
    """Wrap a check so that click asks again after a UsageError."""

    def checked(text: str) -> str:
        try:
            return check(text)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None

    return checked


def _prompt(question: str, **options: Any) -> Any:
    """Ask; after Ctrl-C, end the line so that the shell's prompt starts on a new one."""
    try:
        return click.prompt(printable(question), **options)
    except click.Abort:
        output.echo(err=True)
        raise


def _ask_name() -> str:
    name: str = _prompt("Name", value_proc=_reasked(persona_files.checked_name))
    return name


def _ask(draft: Draft, origin: _Origin, check: Callable[[Draft], object]) -> Draft:
    """Ask for the description and the content that the options do not set."""
    template = origin == _Origin(None, None, None, None, False)
    adds = origin.extends is not None and origin.system is None
    if not draft.description or template or adds:
        output.line("Enter accepts the default in [brackets]. Ctrl-C writes nothing.", dim=True)
    if not draft.description:
        about = _prompt("Description", default=f"{_words(draft.name)}.")
        draft = dataclasses.replace(draft, description=about)
    if not template and not adds:
        return draft

    def checked(text: str) -> str:
        check(dataclasses.replace(draft, starter="", system=_system(text, draft)))
        return text

    output.line("The system message sets role and task; {{ name }} is a variable.", dim=True)
    question = f"System message [{'same as ' + draft.extends if adds else 'from a template'}]"
    text = _prompt(question, default="", show_default=False, value_proc=_reasked(checked))
    if text.strip() or adds:
        return dataclasses.replace(draft, starter="", system=_system(text.strip(), draft))
    for name, about in STARTERS.items():
        output.line(f"  {name:<9}{about}")
    starter = _prompt("Template", default="basic", value_proc=_reasked(_starter))
    return dataclasses.replace(draft, starter=starter)


def _starter(text: str) -> str:
    if text not in STARTERS:
        hint = did_you_mean(text, STARTERS) or f"; expected {', '.join(STARTERS)}"
        raise UsageError(f"unknown template {text!r}{hint}")
    return text


def _undeclared(runner: Runner, draft: Draft, target: Path, origin: _Origin) -> list[str]:
    """Return the names of the variables in the text of a draft."""
    if not draft.system or draft.literal:
        return []
    return persona_files.undeclared(runner, draft, target, origin.file or "the system message")


def _values(names: list[str], defaults: Mapping[str, str], asks: bool) -> dict[str, Any]:
    """Return the default of each variable; ask for those that `-v` does not set."""
    for name in defaults:
        if name not in names:
            used = f"; it uses {', '.join(names)}" if names else "; it has no variables"
            raise UsageError(
                f"-v: the text does not use variable {name!r}{did_you_mean(name, names) or used}"
            )
    values = {name: defaults.get(name, "") for name in names}
    for name in names if asks else ():
        if name not in defaults:
            values[name] = _prompt(f"Default of {name} [empty]", default="", show_default=False)
    return {name: drafts.typed(value) for name, value in values.items()}


def _declaring(runner: Runner, draft: Draft, target: Path, values: Mapping[str, Any]) -> Draft:
    """Return the draft with variables declared, each with its default."""
    declared = dataclasses.replace(draft, variables=values)
    if values:
        try:
            persona_files.checked(runner, declared.source(), target)
        except TemplateError:
            # The text does more than insert a variable and fails for an empty default: require it.
            required = {name: None if it == "" else it for name, it in values.items()}
            return dataclasses.replace(draft, variables=required)
    return declared


def _words(name: str) -> str:
    return name.replace("-", " ").replace("_", " ").strip().capitalize()


def _report(persona: Persona, target: Path) -> None:
    """Print the path of the new file, its effect on other personas, and the next commands."""
    output.line(f"Wrote {target}")
    candidates = [folder / target.name for folder in make_runner().library.folders()]
    files = [file for file in candidates if file.is_file()]
    reached = bool(files) and files[0].samefile(target)
    hidden = next((file for file in files if not file.samefile(target)), None)
    if reached and hidden is not None and persona.name not in persona.extends:
        output.line(f"It hides {hidden}.")
        output.line(f"To change that persona instead, add `extends: {persona.name}` to the file.")
    elif hidden is not None and not reached:
        output.line(f"The name {persona.name} finds {hidden}; use the path for the new file.")
    elif not reached:
        output.line(f"{target.parent} is not on the search path: use the path, not the name,")
        output.line(f"or set PERSONAKIT_PATH={shlex.quote(str(target.parent))}.")
    name = persona.name if reached else shlex.quote(str(target))
    required = [f"-v {it.name}=…" for it in persona.variables.values() if it.required]
    prompt = ['"Hello"'] if persona.prompt and "input" in persona.prompt.source else []
    output.line("Next:")
    output.line(f"  personakit render {' '.join([name, *prompt, *required])}")
    for verb in ("lint", "test") if persona.tests else ("lint",):
        output.line(f"  personakit {verb} {shlex.quote(str(target))}")
