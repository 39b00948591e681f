"""The options that several commands share, and their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from personakit.base import describe, printable
from personakit.cli.shared import completing
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.input import read_text, text_or_file
from personakit.config import Config
from personakit.errors import UsageError, VariableError, did_you_mean
from personakit.persona import parameters, yaml

if TYPE_CHECKING:
    from personakit.journal import Question
    from personakit.library import Library
    from personakit.log import Recorder
    from personakit.persona import Persona
    from personakit.runner import Runner
    from personakit.tools import Tool


class PersonaName(click.ParamType[str]):
    """The name or path of a persona, with shell completion."""

    name = "persona"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that start with the typed text."""
        items = completing.persona(make_library(), incomplete)
        return items or [CompletionItem(incomplete, type="file")]


class ToolName(click.ParamType[str]):
    """The name of a tool or a pattern of names, with shell completion."""

    name = "tool"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the registered tools that start with the typed text, each with its plugin."""
        from personakit.runner import default_runner  # noqa: PLC0415

        plugins = default_runner().plugins
        return [
            CompletionItem(name, help=plugins.owner("tool", name))
            for name in plugins.every("tool")
            if name.startswith(incomplete)
        ]


class SuspendedId(click.ParamType[str]):
    """The id of a suspended run, with shell completion."""

    name = "id"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the suspended runs whose ids start with the typed text, newest first."""
        from personakit.cli.shared.waiting_runs import brief  # noqa: PLC0415

        runner = make_runner()
        ids = sorted((i for i in runner.journals.ids() if i.startswith(incomplete)), reverse=True)
        rows = ((each, brief(runner, each).partition("  ")[2]) for each in ids[:100])
        items = [CompletionItem(each, help=printable(about)) for each, about in rows]
        return [*items, *completing.starting(["last"], incomplete)]


def allowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-T`, which gives and allows tools for one run, and `--functions`."""
    return decorated(
        function,
        click.option("-T", "--tool", "allowed", multiple=True, metavar="NAME", type=ToolName(),
                     help="Give the model a tool of an installed plugin, and allow what it "
                     "touches: files, the network, processes or money. `*` stands for any "
                     "characters. Repeatable."),
        click.option("--functions", "functions", multiple=True, metavar="FILE",
                     help="Give the model the public functions of a Python file, which is "
                     "executed. Repeatable."),
    )  # fmt: skip


def attach_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-a`, which attaches files."""
    return click.option(
        "-a", "--attach", "attach", multiple=True, metavar="FILE|URL|-", help="Attach an image, "
        "a PDF or an audio file; - is standard input. Repeatable.",
    )(function)  # fmt: skip


def fragment_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-f`, which puts texts before the prompt."""
    return click.option(
        "-f", "--fragment", "fragments", multiple=True, metavar="FILE|URL|-", help="Put a text "
        "before the prompt, marked as data with its name; - is standard input. Repeatable.",
    )(function)  # fmt: skip


def system_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-s`, the system message of a question without a persona."""
    return click.option(
        "-s", "--system", metavar="TEXT", help="The system message, without a persona; @FILE reads "
        "it from a file. It is not a template.",
    )(function)  # fmt: skip


def with_fragments(sources: tuple[str, ...], prompt: str | None) -> str | None:
    """Return the prompt after the texts that `-f` names; None if there is neither.

    Raises:
        UsageError: A text cannot be read.
    """
    if not sources:
        return prompt
    from personakit.cli.shared.fragments import joined, read_all  # noqa: PLC0415

    return joined(read_all(sources), prompt)


def given_tools(
    runner: Runner, persona: Persona, names: tuple[str, ...], files: tuple[str, ...]
) -> list[Tool]:
    """Return the tools that `-T` and `--functions` give a persona; see `tools.given`."""
    if not names and not files:
        return []
    from personakit.cli.shared.tools import given  # noqa: PLC0415

    return given(runner, persona, names, files)


def make_runner(
    *,
    log: bool | None = None,
    allowed: tuple[str, ...] = (),
    calls: Callable[[str], None] | None = None,
    waits: Callable[..., None] | None = None,
    replays: str | None = None,
    ask: Callable[[Question], str | None] | None = None,
    sync: bool = True,
) -> Runner:
    """Return the runner that every command uses.

    Args:
        log: Whether a command that runs personas logs its runs, unless the config sets
            ``log: off``. Printing does not wait for the row to be written.
        allowed: Patterns of tools that the user allows, in addition to the config's `allow_tools`.
        calls: Prints a line for each tool call, in a command that runs personas.
        waits: Shows what the command waits for; see `output.waiting`.
        replays: The id of the logged run that the command sends again.
        ask: Asks the person at the terminal; None if nobody is there.
        sync: Whether the command uses the sync API alone.
    """
    from personakit.base import only_sync  # noqa: PLC0415
    from personakit.runner import Runner, default_runner  # noqa: PLC0415

    only_sync.set(sync)
    if log is None:
        runner = default_runner()
    else:
        config = Config.read()
        if allowed:
            patterns = config.allow_tools | frozenset(allowed)
            config = dataclasses.replace(config, allow_tools=patterns)
        recorder = _recorder(config, replays) if log and config.log.on else False
        runner = Runner(config, plugins=_showing(calls, waits), log=recorder, ask=ask)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(runner.close)
    return runner


def _showing(calls: Callable[[str], None] | None, waits: Callable[..., None] | None) -> list[Any]:
    """Return the plugin that shows tool calls and waits."""
    if calls is None:
        return []
    from personakit.cli.shared.tools import Calls  # noqa: PLC0415

    return [Calls(calls, waits)]


def _recorder(config: Config, replays: str | None) -> Recorder:
    from personakit.log import Recorder, RunLog  # noqa: PLC0415

    return Recorder(RunLog.of(config), patience=0, replays=replays)


def make_library() -> Library:
    """Return the library of the runner without importing the modules that run personas."""
    from personakit.config import user_cache  # noqa: PLC0415
    from personakit.library import Library  # noqa: PLC0415

    config = Config.read()
    return Library(config.path, completing.loaders(config), user_cache(config.environ))


def request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add PERSONA, PROMPT and the options that set variables, model and parameters."""
    function = click.argument("prompt", nargs=-1)(choices(function))
    return click.argument("persona", type=PersonaName())(function)


def choices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set variables, model and parameters."""
    return decorated(
        function,
        click.option("-v", "--variable", "pairs", multiple=True, metavar="NAME=VALUE",
                     shell_complete=completing.variable,
                     help="Set a variable; NAME=@FILE reads its value from a file. Repeatable."),
        click.option("--variables", "file", metavar="FILE",
                     help="Set variables from a JSON or YAML file."),
        sending,
    )  # fmt: skip


def sending(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set the model and its parameters."""
    return decorated(
        function,
        click.option("-m", "--model", metavar="MODEL", shell_complete=completing.model,
                     help="provider/model, such as openai/gpt-5-mini or local."),
        click.option("-p", "--parameter", "settings", multiple=True, metavar="NAME=VALUE",
                     shell_complete=completing.parameter,
                     help="Set a parameter, such as temperature=0.2. Repeatable."),
    )  # fmt: skip


def chosen_values(
    persona: Persona, pairs: tuple[str, ...], file: str | None, settings: tuple[str, ...]
) -> dict[str, Any]:
    """Return the variables and parameters that the options set, converted to their types.

    Raises:
        UsageError: An option has no ``=``, a file cannot be read, or a value is invalid.
    """
    _check_kinds(persona, pairs, settings)
    replaced = {pair.partition("=")[0] for pair in pairs}
    variables = _from_file(file, persona, replaced) if file is not None else {}
    for pair in pairs:
        name, value = split_pair(pair, "-v")
        declared = persona.variables.get(name)
        text = text_or_file(value, "-v")
        variables[name] = declared.convert(text) if declared is not None else text
    parsed = {}
    for pair in settings:
        name, value = split_pair(pair, "-p")
        parsed[name] = parameters.convert(name, value)
    return {"variables": variables, "parameters": parsed}


def _check_kinds(persona: Persona, pairs: tuple[str, ...], settings: tuple[str, ...]) -> None:
    """Raise UsageError for a parameter that is set as a variable, or the other way round."""
    for pair in pairs:
        name = pair.partition("=")[0]
        if name in parameters.ALLOWED and name not in persona.variables:
            raise UsageError(f"{name!r} is a parameter of the model, no variable: write -p {pair}")
    for pair in settings:
        name = pair.partition("=")[0]
        if name in persona.variables and name not in parameters.ALLOWED:
            raise UsageError(f"{name!r} is a variable of {persona.name!r}: write -v {pair}")


def split_pair(pair: str, option: str) -> tuple[str, str]:
    """Return the two sides of a ``NAME=VALUE``.

    Raises:
        UsageError: There is no ``=``, or the name is empty.
    """
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise UsageError(f"{option}: expected NAME=VALUE, found {pair!r}")
    return name, value


def _from_file(file: str, persona: Persona, replaced: Set[str]) -> dict[str, Any]:
    """Return the variables in a JSON or YAML file.

    Args:
        file: The path of the file.
        persona: Declares the variables.
        replaced: Variables whose value in the file is not used.

    Raises:
        PersonaError: The file is not YAML or JSON.
        VariableError: A value is unknown or invalid; the message has the place of each.
    """
    document = yaml.parse(read_text(file, "--variables"), "<stdin>" if file == "-" else file)
    values = document.data
    if not isinstance(values, dict):
        message = f"expected a mapping of variables to values, found {describe(values)}"
        raise VariableError(str(document.problem(message)))
    faults = []
    for name, value in values.items():
        variable = persona.variables.get(name)
        if variable is None:
            known = ", ".join(persona.variables) or "none"
            hint = did_you_mean(name, persona.variables) or f" (declared: {known})"
            faults.append(document.problem(f"unknown variable {name!r}{hint}", (name,), key=True))
        elif name not in replaced:
            faults += [
                document.problem(f"variable {name + fault.where!r}: {fault.message}", at)
                for fault in variable.faults(value)
                for at in [(name, *fault.path)]
            ]
    if faults:
        raise VariableError("\n".join(map(str, faults)))
    return values
