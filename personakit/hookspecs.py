"""The plugin manual: four hooks and their contract.

A plugin is a class (the usual case), a module or an object with functions marked `@hookimpl`. Its
distribution names it with an entry point::

    [project.entry-points.personakit]
    shout = "personakit_shout:Shout"

and a persona that wants it lists it::

    plugins:
      - shout: {marks: 3}

A class is made once for each place that lists it; the names, types and defaults of its
`__init__` parameters (of a dataclass: its fields) are its options. An instance serves many
runs, at the same time too: what belongs to one run lives in local variables.

A hook takes only the arguments it names, in any order. Which of them, and what it may return, is
said below. pluggy finds, names and validates the functions; personakit itself calls them.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pluggy

if TYPE_CHECKING:
    from personakit.messages import Event, Request, Response, ToolCall, ToolResult
    from personakit.persona import Persona
    from personakit.registry import Registry

PROJECT = "personakit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@runtime_checkable
class Filter(Protocol):
    """Changes text while it flows. The same filter serves streamed and whole answers.

    For every way of cutting a text into pieces, what `feed` returns for each of them and then
    `flush` must be, put together, the same. Hold back no more than you must.
    """

    def feed(self, text: str) -> str:
        """Take a piece of the answer; return what may go out now."""
        ...

    def flush(self) -> str:
        """Return what is left, at the end of the answer."""
        ...


class Send(Protocol):
    """Passes a request on to the next plugin, and at the end to the model."""

    def __call__(self, request: Request) -> Awaitable[Response]:
        """Wait for the whole answer, also when the caller streams; what you return goes out.

        Raises:
            StreamStarted: Text of an earlier answer has gone out through `live` already.
        """
        ...

    def live(self, request: Request, filter: Filter | None = None) -> Awaitable[Response]:  # noqa: A002
        """Let the answer flow on while it arrives, through `filter` if one is given.

        The response's text is what went out. You may return it with more text at its end, or with
        other fields changed, but not with other text.

        Raises:
            StreamStarted: Text of an earlier answer has gone out already.
        """
        ...

    @property
    def started(self) -> bool:
        """Whether text of this layer has gone out already: from then on nothing can be sent again.

        Always False when the caller wants the whole answer.
        """
        ...

    def emit(self, text: str) -> Awaitable[None]:
        """Let text of your own go out now, where the caller streams; for an answer you have.

        The response that you return must begin with all that went out.
        """
        ...

    def run(
        self, persona: str | Persona, prompt: str | None = None, **options: Any
    ) -> Awaitable[Response]:
        """Run another persona with the same runner and wait for its whole answer.

        Its plugins and those of the config stand around it, without the one that asks.

        Args:
            persona: A name, a path or a persona.
            prompt: What is said to it.
            options: As in `Runner.run`: variables, model (default: its own, else that of the run
                that asks), parameters.

        Raises:
            UsageError: The persona or its variables are wrong.
            RunError: Its run failed.
        """
        ...


class SendTool(Protocol):
    """Passes a tool call on to the next plugin, and at the end to the tool."""

    def __call__(self, call: ToolCall) -> Awaitable[ToolResult]:
        """Wait for the result."""
        ...

    def run(
        self, persona: str | Persona, prompt: str | None = None, **options: Any
    ) -> Awaitable[Response]:
        """Run another persona, as in `Send.run`: one that judges the call, say."""
        ...


class Specs:
    """The four hooks."""

    @hookspec
    def setup(self, registry: Registry) -> None:
        """Contribute things: once, when the plugin is loaded.

        This hook is active as soon as the package is installed. A plugin is loaded when a persona
        lists it, or when a name is asked for that no loaded plugin provides: a provider, a command,
        a tool, a template filter and so on. In a class, write it as a `@staticmethod` above
        `@hookimpl`; it runs before any options are known.

        Args:
            registry: Takes the contributions; see `personakit.Registry`.
        """

    @hookspec
    def chat(self, request: Request, send: Send, persona: Persona) -> Any:
        """Stand around every model call of the personas that list the plugin.

        `def` or `async def`. The first plugin of a list is the outermost: it sees the request first
        and the response last. Return

        - None to go on with the request as it is,
        - a `Request` to go on with that one,
        - a `Response` to answer.

        With `send` you wrap the rest: never called, the answer is yours (a cache); once is normal;
        several times is a retry or a fallback. A forgotten `return` after `await send(request)`
        returns its response.

        `await send(request)` waits for the whole answer, also when the caller streams, so a guard
        cannot be bypassed by streaming. `await send.live(request, filter=...)` lets text
        flow while it arrives. A hook without `send` is never in the way of a stream.

        For I/O that works in all modes use `await personakit.io(sync_fn, async_fn)(...)` and
        `await personakit.sleep(seconds)`.

        Args:
            request: The request as the plugin before left it; frozen: `request.replace(...)`.
            send: Passes a request on.
            persona: The persona of the run.

        Raises:
            Blocked: Raise it to refuse, with a reason; it reaches the caller unchanged.
            Exception: Anything else becomes a `PluginError` that names the plugin and carries the
                last response. What `send` raises passes through unchanged.
        """

    @hookspec
    def tool(self, call: ToolCall, send: SendTool, persona: Persona) -> Any:
        """Stand around every tool call of the personas that list the plugin.

        Like `chat`, with a `ToolCall` for the request and a `ToolResult` for the response; there is
        no stream.

        Args:
            call: The call, as the plugin before left it.
            send: Passes a call on.
            persona: The persona of the run.
        """

    @hookspec
    def observe(self, event: Event) -> None:
        """See what happened in a run of the personas that list the plugin.

        Nothing it returns counts, and what it raises is logged (logger ``personakit``) and dropped.
        `def` or `async def`.

        Args:
            event: What happened; see `personakit.Event` for the names.
        """
