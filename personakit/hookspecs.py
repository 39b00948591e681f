"""The plugin manual: five hooks and their contract.

A plugin is a class (the usual case), a module or an object with functions marked `@hookimpl`. An
entry point of its distribution makes it known::

    [project.entry-points.personakit]
    shout = "personakit_shout:Shout"

A persona lists the plugins that it uses::

    plugins:
      - shout: {marks: 3}

A class is instantiated once for each place that lists it. The names, types and defaults of its
`__init__` parameters (for a dataclass, its fields) are its options. An instance serves many runs,
also concurrently: keep the state of a call in local variables, and that of a run in `state`.

What the hooks of a plugin share within one run, and nobody else sees, is an instance of its class
`State`: a hook that names the argument `state` gets the one of its run. It is made for each run,
without arguments, when a hook first needs it::

    class Limit:
        @dataclass
        class State:
            calls: int = 0

        @hookimpl
        def tool(self, call, state: State):
            state.calls += 1

A hook declares only the arguments that it needs, in any order. `Specs` documents the arguments and
results of each hook; below it, the Protocols `Send` and `SendTool` document the `send` argument,
and `Filter` the filters of `Send.live`. pluggy finds and validates the functions; personakit
calls them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload, runtime_checkable

import pluggy

from personakit.base import brief_repr
from personakit.frozen import quick_init, replaced

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from personakit.embeddings import Embeddings
    from personakit.messages import Request, Response, ToolCall, ToolResult
    from personakit.persona import Persona
    from personakit.registry import Registry
    from personakit.usage import Spent, Usage

T = TypeVar("T")

PROJECT = "personakit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function or a method of a plugin as one of the five hooks; its name says which."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run, for the `observe` hook.

    Attributes:
        name: started (the request as rendered), sent (a request, just before it is sent), answered
            (the upstream's response), calling (a tool call starts), tool (a tool call ended),
            status (a plugin says what it does), skipped (a plugin failed and was skipped), finished
            (the response for the caller), failed or suspended (it waits for a person).
        run: The id of the run, the same in all its events.
        persona: The persona's name.
        request: The request, if the event has one.
        response: The response, if the event has one.
        error: The exception, for skipped and failed; the `Suspended` for suspended.
        plugin: The plugin's name, for skipped.
        call: The tool call, for calling and tool.
        result: The tool's result, for tool.
        time: Unix time in seconds.
        text: What the plugin does, for status; see `Send.status`.
    """

    name: Literal[
        "started",
        "sent",
        "answered",
        "calling",
        "tool",
        "status",
        "skipped",
        "finished",
        "failed",
        "suspended",
    ]
    run: str
    persona: str = ""
    request: Request | None = None
    response: Response | None = None
    error: BaseException | None = None
    plugin: str = ""
    call: ToolCall | None = None
    result: ToolResult | None = None
    time: float = 0.0
    text: str = ""

    __repr__ = brief_repr


@quick_init
@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer as it arrives; see `Stream.pieces`.

    Attributes:
        kind: text, reasoning, tool_call, annotation or usage.
        text: The text, for text and reasoning.
        index: The number of the call among those of its answer, from 0, for tool_call.
        id: The id of the call, in each of its pieces.
        name: The name of the tool, in each of its pieces.
        arguments: The next part of the call's arguments: JSON text.
        annotation: One of `Response.annotations`, for annotation.
        usage: The tokens of one model call, for usage.
    """

    kind: Literal["text", "reasoning", "tool_call", "annotation", "usage"]
    text: str = ""
    index: int = 0
    id: str = ""
    name: str = ""
    arguments: str = ""
    annotation: Mapping[str, Any] | None = None
    usage: Usage | None = None

    __repr__ = brief_repr

    def replace(self, **changes: Any) -> Piece:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


class Specs:
    """The five hooks."""

    @hookspec
    def setup(self, registry: Registry) -> None:
        """Contribute providers, commands, tools and more; called once, when the plugin is loaded.

        This hook is active as soon as the package is installed. A plugin is loaded when a persona
        lists it, or when a name is needed that no loaded plugin provides, such as a provider, a
        command, a tool or a template filter. In a class, write it as a `@staticmethod` above
        `@hookimpl`: it runs before the options are known.

        Args:
            registry: Accepts the contributions; see `personakit.Registry`.
        """

    @hookspec
    def run(self, request: Request, send: Send, persona: Persona, state: Any) -> Any:
        """Wrap every whole run of the personas that list the plugin, with all its tool rounds.

        The contract is that of `chat`: it is called once, before the first model call, and `send`
        returns the answer of the whole run. The `run` hooks stand around all `chat` hooks. The
        request is the rendered one; in a conversation, `request.history` has the earlier messages.

        Args:
            request: The request from the previous plugin; read-only, see `request.replace(...)`.
            send: Passes a request on; see `Send`.
            persona: The persona of the run.
            state: What the plugin keeps of this run: an instance of its `State`.

        Raises:
            Blocked: See `chat`.
            Exception: See `chat`.
        """

    @hookspec
    def chat(self, request: Request, send: Send, persona: Persona, state: Any) -> Any:
        """Wrap every model call of the personas that list the plugin.

        `def` or `async def`. The first plugin of a list is the outermost: it sees the request first
        and the response last. Return

        - None to continue with the request unchanged,
        - a `Request` to continue with that one,
        - a `Response` to answer.

        `send` calls the rest of the chain: call it once in the normal case, never to answer by
        yourself (a cache), several times to retry or fall back. A hook that returns None after
        `await send(request)` returns the response of `send`.

        `await send(request)` waits for the whole answer, even if the caller streams, so streaming
        cannot bypass a guard. `await send.live(request, filter=...)` emits the text as it arrives.
        A hook without `send` never delays a stream.

        If the class of the plugin has the attribute ``every_call = True``, the hook stands around
        each request that is really sent, inside of all other plugins: those of other plugins, of
        `send.run` and of embeddings too. The request of an embedding has the `api`
        ``embeddings`` and a user message for each text.

        For I/O in all modes use `await personakit.io(sync_fn, async_fn)(...)` and
        `await personakit.sleep(seconds)`. A loop that computes calls `personakit.time_left()`,
        which raises `Timeout` after the deadline of the run.

        Args:
            request: The request from the previous plugin; read-only, see `request.replace(...)`.
            send: Passes a request on; see `Send`.
            persona: The persona of the run.
            state: What the plugin keeps of this run: an instance of its `State`.

        Raises:
            Blocked: Raise it with a reason to refuse; it reaches the caller unchanged.
            Exception: Any other exception becomes a `PluginError` that names the plugin and has the
                last response. Exceptions from `send` pass through unchanged.
        """

    @hookspec
    def tool(self, call: ToolCall, send: SendTool, persona: Persona, state: Any) -> Any:
        """Wrap every tool call of the personas that list the plugin.

        As for `chat`, with a `ToolCall` as the request and a `ToolResult` as the response, and
        without streaming.

        Args:
            call: The call from the previous plugin.
            send: Passes a call on; see `SendTool`.
            persona: The persona of the run.
            state: What the plugin keeps of this run: an instance of its `State`.
        """

    @hookspec
    def observe(self, event: Event, state: Any) -> None:
        """Observe the events of every run of the personas that list the plugin.

        `def` or `async def`. The return value is ignored; exceptions are logged (logger
        ``personakit``) and dropped.

        Args:
            event: The event; see `personakit.Event` for the names.
            state: What the plugin keeps of this run: an instance of its `State`.
        """


@runtime_checkable
class Filter(Protocol):
    """Changes text as it arrives, in streamed and in whole answers.

    The results of `feed` for all pieces and then of `flush`, joined, must be the same for every way
    to cut the text into pieces. Hold back no more text than necessary. The pieces have at most
    16,384 characters, also those of a whole answer; between them, the run stops at its deadline.

    A filter that also has `feed_reasoning(text)` gets the model's reasoning, in pieces as well, and
    returns what may be shown of it; `flush_reasoning()`, if there is one, returns the rest. The two
    have nothing to do with `feed` and `flush`: text and reasoning arrive in any order.
    Behind a filter without `feed_reasoning`, the caller gets text and tool calls alone: no
    reasoning, no annotations, and no pieces other than text (see `Stream.pieces`).
    """

    def feed(self, text: str) -> str:
        """Accept a piece of the answer; return the text to emit now."""
        ...

    def flush(self) -> str:
        """Return the remaining text, at the end of the answer."""
        ...


class SendRun(Protocol):
    """What `Send` and `SendTool` have in common."""

    @property
    def spent(self) -> Spent:
        """What the run has paid so far, with the runs inside it."""
        ...

    def render(
        self, persona: str | Persona, prompt: str | None = None, **options: Any
    ) -> Awaitable[Request]:
        """Return the request of another persona; nothing is sent.

        Args:
            persona: A name, a path or a persona.
            prompt: The user's message.
            options: See `run`.

        Raises:
            UsageError: The persona or its variables are invalid.
        """
        ...

    # fmt: off
    @overload
    def run(self, persona: str | Persona, prompt: str | None = None, *, live: bool = False,
        output: None = None, **options: Any) -> Awaitable[Response[object]]: ...
    @overload
    def run(self, persona: str | Persona, prompt: str | None = None, *, live: bool = False,
        output: type[T], **options: Any) -> Awaitable[Response[T]]: ...
    @overload
    def run(self, persona: str | Persona, prompt: str | None = None, *, live: bool = False,
        output: TypeForm[T], **options: Any) -> Awaitable[Response[T]]: ...
    @overload
    def run(self, persona: str | Persona, prompt: str | None = None, *, live: bool = False,
        output: Mapping[str, Any], **options: Any) -> Awaitable[Response[Any]]: ...
    # fmt: on
    def run(
        self,
        persona: str | Persona,
        prompt: str | None = None,
        *,
        live: bool = False,
        **options: Any,
    ) -> Awaitable[Response[Any]]:
        """Run another persona with the same runner and return its whole answer.

        Its own plugins and those of the config are applied, except the calling plugin. What it pays
        is part of what this run has `spent`.

        Args:
            persona: A name, a path or a persona.
            prompt: The user's message.
            live: True to emit its text as it arrives, as the text of this layer: as for
                `Send.live`, the response that you return begins with it. Not in a `tool` hook.
            options: Options of `Runner.run`, such as variables, model (default: the persona's,
                else that of the calling run), parameters and output.

        Raises:
            UsageError: The persona or its variables are invalid.
            StreamStarted: With `live`, text of an earlier answer has already been emitted.
            RunError: The run failed.
        """
        ...

    def status(self, text: str) -> Awaitable[None]:
        """Say what the plugin does, such as ``searching…``, to who waits for the answer.

        It is an event of the `observe` hook, of this run and of those around it, which the command
        line shows until text arrives. It is no output: it is in no answer, and the request can be
        sent afterwards.

        Args:
            text: A few words, on one line.
        """
        ...

    def embed(self, texts: Sequence[str], *, model: str, **options: Any) -> Awaitable[Embeddings]:
        """Return texts as vectors, from a provider of the runner.

        Many texts are sent in several requests, one after the other. Keys, retries and the deadline
        are those of the run.

        Args:
            texts: The texts, none of them empty.
            model: ``provider/model`` or an alias, such as ``openai/text-embedding-3-small``.
            options: Other parameters of the API, such as `dimensions`.

        Raises:
            ConfigError: The provider is unknown, or has no embeddings.
            RunError: A request failed.
        """
        ...


class Send(SendRun, Protocol):
    """Passes a request to the next plugin, and finally to the model."""

    def __call__(self, request: Request, *, reasoning: bool = False) -> Awaitable[Response]:
        """Return the whole answer, even if the caller streams; the text that you return is emitted.

        Of the response that you return, the caller does not get the reasoning, the annotations and
        the pieces other than text: a guard is not bypassed by what it does not check.

        Args:
            request: The request.
            reasoning: True to let them pass, as they stand in the response that you return.

        Raises:
            StreamStarted: Text of an earlier answer has already been emitted.
        """
        ...

    def live(self, request: Request, filter: Filter | None = None) -> Awaitable[Response]:  # noqa: A002
        """Emit the answer's text as it arrives, through `filter` if there is one.

        The text of the response is the emitted text. You may append text to it or change other
        fields, but not change the text and the reasoning, nor, if the caller reads pieces, the tool
        calls and annotations that were emitted without a filter.

        Raises:
            StreamStarted: Text of an earlier answer has already been emitted.
        """
        ...

    @property
    def started(self) -> bool:
        """Whether text or a piece of this layer was emitted: if so, nothing can be sent again.

        Always False if the caller does not stream.
        """
        ...

    def emit(self, text: str) -> Awaitable[None]:
        """Emit your own text now if the caller streams, for example from a cached answer.

        The text of the response that you return must begin with all emitted text.
        """
        ...


class SendTool(SendRun, Protocol):
    """Passes a tool call to the next plugin, and finally to the tool."""

    def __call__(self, call: ToolCall) -> Awaitable[ToolResult]:
        """Return the result of the call."""
        ...
