"""A personakit plugin that asks a person before a tool runs."""

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field

from personakit import (
    Blocked,
    ConfigError,
    Persona,
    Registry,
    SendTool,
    ToolCall,
    ToolResult,
    ask,
    current_key,
    hookimpl,
    io,
)
from personakit_approve import questions
from personakit_approve.rules import Rules, matches

__all__ = ["Approve"]

_log = logging.getLogger("personakit")
# The call that the user allowed: another instance, such as the persona's, does not ask again.
_allowed: ContextVar[ToolCall | None] = ContextVar("personakit_approve_allowed", default=None)


@dataclass(eq=False)
class Approve:
    """A decision about each tool call by the name of the tool: run, ask or refuse.

    The most cautious rule counts: `never`, then `ask`, then `always`. A tool that no pattern
    matches is run if the user allows the call. The pattern ``*`` is for the tools that no other
    pattern matches.

    Attributes:
        always: Patterns of the tools that are run without a question.
        ask: Patterns of the tools that are run if the user allows the call.
        never: Patterns of the tools that are not run.

    Raises:
        ValueError: A pattern is empty, or is in two of the lists.
    """

    always: list[str] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)

    @dataclass
    class State:
        """What the user allowed for one run.

        Attributes:
            tools: The names of the tools.
        """

        tools: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._rules = Rules(tuple(self.never), tuple(self.ask), tuple(self.always))

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute `personakit approve`."""
        from personakit_approve.command import command  # noqa: PLC0415

        registry.command(command)

    @hookimpl
    async def tool(
        self, call: ToolCall, send: SendTool, persona: Persona, state: State
    ) -> ToolResult:
        """Run the call, refuse it, or ask the user first."""
        decision = self._rules.decide(call.name)
        if decision == "never" or _is_refused_by(persona, call.name):
            return _refusal(call, "the tool is not allowed in this conversation; do not call it")
        if decision == "always" or _allowed.get() is call:
            return await send(call)
        if not await _asked(call, persona, state):
            return _refusal(
                call, "the user refused this call; do not repeat it with the same arguments"
            )
        before = _allowed.get()
        _allowed.set(call)
        try:
            return await send(call)
        finally:
            _allowed.set(before)


async def _asked(call: ToolCall, persona: Persona, state: Approve.State) -> bool:
    """Return whether the user allows a call, now or earlier.

    The file is used through `io` alone, so that a resumed run finds in it what it found before.

    Raises:
        Blocked: The file of the approvals cannot be used.
    """
    from personakit_approve.approvals import approve, is_approved, key_of  # noqa: PLC0415

    who = key_of(persona)
    # Other names are those of no tool, and `personakit approve list` could not show them.
    keeps = who.isprintable() and call.name.isprintable()

    def known() -> bool:
        return call.name in state.tools or (keeps and is_approved(who, call.name))

    try:
        # Another call of the round may have been approved since this one asked.
        if await io(known)():
            return True
    except ConfigError as error:
        # Blocked, because `on_error: skip` would run the call after any other error.
        raise Blocked(f"approve: {error}") from error
    # What a client of a server answers counts for its own run: the file is that of all its keys.
    lasts = keeps and current_key() is None
    choices = [one for one in questions.CHOICES if lasts or one != questions.FOR_GOOD]
    answer = await ask(questions.text(call), choices=choices, details=questions.details(call))
    if answer in (questions.FOR_RUN, questions.FOR_GOOD):
        state.tools.add(call.name)
    if answer == questions.FOR_GOOD and (fault := await io(approve)(who, call.name)):
        _log.warning("approve: %s is allowed for this run only: %s", call.name, fault)
    return answer in (questions.YES, questions.FOR_RUN, questions.FOR_GOOD)


def _is_refused_by(persona: Persona, tool: str) -> bool:
    """Return whether the persona's own entry refuses a tool, which needs no question then."""
    entries = [use.options for use in persona.plugins if use.name == "approve"]
    return any(matches(options.get("never", ()), tool) for options in entries)


def _refusal(call: ToolCall, reason: str) -> ToolResult:
    return ToolResult(call.id, f"error: {reason}", is_error=True)
