"""The tools that a user gives a run with `-T` and `--functions`, and the display of each call."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from personakit.cli.shared import output
from personakit.errors import UsageError
from personakit.hookspecs import hookimpl

if TYPE_CHECKING:
    from personakit.hookspecs import Event
    from personakit.messages import ToolCall, ToolResult
    from personakit.persona import Persona
    from personakit.runner import Runner
    from personakit.tools import Tool

MOST = 200
"""The most characters of arguments and of a result that are shown."""


def given(
    runner: Runner, persona: Persona, names: tuple[str, ...], files: tuple[str, ...]
) -> list[Tool]:
    """Return the tools that the options give a persona, in addition to its own.

    Args:
        runner: The runner of the command.
        persona: The persona that gets them.
        names: Names and patterns of `-T`.
        files: Files of `--functions`.

    Raises:
        UsageError: No tool has a name, a file cannot be used, or two tools have the same name.
    """
    from personakit.cli.shared.functions import load  # noqa: PLC0415
    from personakit.plugins import ToolSearch  # noqa: PLC0415

    functions = load(files)
    for name in persona.tools:
        if name in functions:
            raise UsageError(
                f"{functions[name].place}: persona {persona.name!r} has a tool {name!r} of its "
                f"own; rename the function"
            )
    tools = [function.tool for function in functions.values()]
    if not names:
        return tools
    bound = runner.catalog.bind(persona)
    search = ToolSearch(runner.plugins, bound)
    return [*tools, *search.given(persona, names, functions, lambda: _added(runner, persona))]


def _added(runner: Runner, persona: Persona) -> Collection[str]:
    """Return the tools of a request after the hooks of plugins, which may add some."""
    from personakit.messages import Message, Request  # noqa: PLC0415

    if not runner.catalog.bind(persona).chat:
        return ()
    request = Request(
        model=persona.model or runner.config.model or "none/none",
        messages=(Message("user", ""),),
        persona=persona.name,
    )
    alone = dataclasses.replace(persona, tools=())
    return {tool.name for tool in runner.prepare(alone, request).tools}


class Calls:
    """A plugin that shows each tool call of a command when it has ended, and what it waits for.

    Attributes:
        say: Prints a line.
        waits: Shows a few words until something is printed; None shows nothing.
    """

    def __init__(self, say: Callable[[str], None], waits: Callable[..., None] | None) -> None:
        self.say, self.waits = say, waits
        self._since: dict[str, float] = {}

    @hookimpl
    def observe(self, event: Event) -> None:
        """Show a tool call; on the command line, those of a round run one after the other."""
        now = time.perf_counter()
        if event.call is not None and event.result is not None:
            self.say(shown(event.call, event.result, now - self._since.get(event.run, now)))
        if event.name != "status":  # it may be one of a hook around the call
            self._since[event.run] = now
        if self.waits is None:
            return
        if event.name == "sent" and event.request is not None:
            self.waits(f"waiting for {event.request.model}…")
        elif event.name == "calling" and event.call is not None:
            self.waits(f"calling {event.call.name}…", between=True)
        elif event.name == "status":
            self.waits(event.text)


def shown(call: ToolCall, result: ToolResult, seconds: float) -> str:
    """Return a tool call, its result and its duration on one line."""
    text = result.content
    if result.is_error:
        text = f"failed: {text.removeprefix('error: ')}"
    return f"{call.name} {_cut(_readable(call.arguments))} → {_cut(text)} ({seconds:.2f} s)"


def _readable(arguments: str) -> str:
    """Return the arguments of a call; many models write letters with an accent as escapes."""
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def _cut(text: str) -> str:
    """Return a text on one line, cut with its length."""
    line = output.one_line(text)
    return line if len(line) <= MOST else f"{line[:MOST]}… ({len(text):,} characters)"
