"""Runner: from a persona and a prompt to an answer. The whole way of the data is in this file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from personakit import parameters as rules
from personakit import variables as values_of
from personakit.catalog import Catalog, Reference
from personakit.chain import Chain, Layer
from personakit.config import Config
from personakit.drive import Emit, Run, Stream, adrive, drive, io
from personakit.errors import ConfigError
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.persona import Persona
from personakit.plugins import Bound
from personakit.rounds import MAX_ROUNDS, Rounds, call_tool
from personakit.trace import Trace
from personakit.watch import Leaving, Nothing, Watch

if TYPE_CHECKING:
    from personakit.conversation import Conversation, Setup
    from personakit.recorder import Recorder
    from personakit.runlog import RunLog

Prompt = str | Request | None
"""What the user says; or a whole request, made by `render` and changed, to run as it is."""


class Options(TypedDict, total=False):
    """What every way of running a persona takes by name.

    Attributes:
        variables: As in `Runner.render`.
        model: As in `Runner.render`.
        parameters: As in `Runner.render`.
        trace: A new `Trace`, which is filled with what each layer does.
        max_rounds: How often the model may be called when it calls tools; default 10.
        conversation: The conversation that the run is part of, for the run log.
    """

    variables: Mapping[str, Any] | None
    model: str | None
    parameters: Mapping[str, Any] | None
    trace: Trace | None
    max_rounds: int
    conversation: str | None


class SendsRequests(Protocol):
    """What a runner sends requests through: `personakit.testing` has one that needs no network."""

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Return the answer; with `emit`, let its text out on the way."""
        ...


class Runner(Catalog):
    """Finds, renders and runs personas. Safe to share between threads and tasks.

    Args:
        config: The user's set-up; None reads the config file and the environment.
        path: Folders of personas to search before all others.
        plugins: Plugins around those of the config and of every persona: names or objects.
        backend: What sends the requests; None for the openai client.
        log: True to log runs in the user's run log, or a log of your own; None for what the config
            says, by default not to. With ``log: off`` in the config nothing is logged.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        path: Iterable[str | Path] = (),
        plugins: Iterable[Any] = (),
        backend: SendsRequests | None = None,
        log: RunLog | Recorder | bool | None = None,
    ) -> None:
        super().__init__(config or Config.read(), tuple(map(Path, path)), tuple(plugins))
        self._backend = backend
        self._recorder: Recorder | None = None
        if self.config.log.on and (self.config.log.python if log is None else log is not False):
            from personakit.recorder import Recorder  # noqa: PLC0415

            self._recorder = Recorder.of(log, self.config)

    # --- the way of the data -------------------------------------------------------------------

    def render(
        self,
        persona: Reference,
        prompt: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Request:
        """Return the request as it is rendered, before any plugin; nothing is sent.

        Args:
            persona: A name, a file's path, or a persona.
            prompt: What the user says; None for a request without a user's message.
            variables: Values for the persona's variables.
            model: ``provider/model``; None for the persona's, the config's or the embedded one.
            parameters: Parameters of chat.completions.create() over those of the persona.

        Raises:
            UsageError: The persona, the variables or the parameters are wrong.
        """
        found = self.load(persona)
        values = values_of.resolve(found.variables, variables or {})
        rules.check(parameters or {})
        if found.plugins:
            self.plugins.check(found)
        return Request(
            model=model or found.model or self.config.model or "",
            messages=tuple(self.compiled(found).render(values, prompt)),
            parameters={
                **self.config.parameters,
                **_response_format(found),
                **found.parameters,
                **(parameters or {}),
            },
            persona=found.name,
            variables=values,
        )

    def _run(
        self,
        found: Persona,
        request: Request,
        backend: SendsRequests,
        options: Options,
        without: frozenset[str] = frozenset(),
    ) -> Callable[[Emit | None], Coroutine[Any, Any, Response]]:
        """Return the coroutine function of a run: the plugins around the backend."""
        bound = self.bind(found).without(without)
        # Where nothing is sent there is nothing to observe.
        watch = Watch(Bound() if isinstance(backend, Nothing) else bound, found.name)

        async def end(request: Request, emit: Emit | None) -> Response:
            _check_tools(found, request)
            await watch("sent", request=request)
            response = await backend.send(request, emit)
            await watch("answered", request=request, response=response)
            return response

        async def aside(
            layer: Layer, given: Request, who: Reference, prompt: Prompt, how: Options
        ) -> Response:
            if isinstance(backend, Nothing):
                raise Leaving(given)
            other = self.load(who)
            if not how.get("model") and not other.model:
                how = {**how, "model": given.model}
            run = self._run(
                other, self._ready(other, prompt, how), backend, how, without | {layer.plugin}
            )
            return await run(None)

        async def run(emit: Emit | None) -> Response:
            trace = options.get("trace")
            around = Chain(bound.chat, end, found, Request, Response, watch.skipped, aside, trace)

            def around_tool(call: Any) -> Chain[ToolCall, ToolResult]:
                return Chain(
                    bound.tool, call, found, ToolCall, ToolResult, watch.skipped, aside, trace
                )

            rounds = Rounds(around, around_tool, watch, options.get("max_rounds", MAX_ROUNDS))
            await watch("started", request=request)
            try:
                response = await rounds.run(request, watch.timed(emit))
            except BaseException as error:
                await watch("failed", request=request, error=error)
                raise
            response = response.replace(
                timings=watch.timings(), request=response.request or request
            )
            await watch("finished", request=response.request, response=response)
            return response

        return run

    # --- the four drivers, and the one that sends nothing ---------------------------------------

    def run(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Response:
        """Run a persona and return the whole answer. Arguments and errors as in `render`.

        Raises:
            RunError: The run was started and failed.
        """
        return self._complete(self._start(persona, prompt, options))

    async def arun(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Response:
        """As `run`, awaited."""
        run = self._start(persona, prompt, options)
        call: Run[Response] = Run(lambda emit: run(None))
        async for _ in adrive(call):
            pass
        return call.finished()

    def stream(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Stream[Response]:
        """Run a persona and return an iterator of the answer's text. As `run` otherwise."""
        run: Run[Response] = Run(self._start(persona, prompt, options))
        return Stream(run, is_async=False)

    def astream(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Stream[Response]:
        """As `stream`, for `async for`."""
        run: Run[Response] = Run(self._start(persona, prompt, options))
        return Stream(run, is_async=True)

    def prepare(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Request:
        """Return the request as it would leave, after the plugins; nothing is sent.

        When a plugin answers by itself, the request that would have been sent is unknown, and the
        rendered one is returned. Arguments as in `render`.
        """
        found = self.load(persona)
        request = self._ready(found, prompt, options)
        try:
            self._complete(self._run(found, request, Nothing(), options))
        except Leaving as leaving:
            return leaving.request
        return request

    def conversation(self, persona: Reference, **setup: Unpack[Setup]) -> Conversation:
        """Return a conversation with a persona, which keeps what is said; see `Conversation`.

        Args:
            persona: A name, a file's path, or a persona.
            setup: As in `render`, and `id`, `messages` and `notify`; see `conversation.Setup`.
        """
        from personakit.conversation import Conversation  # noqa: PLC0415

        return Conversation(self, self._start, persona, **setup)

    def _start(
        self, persona: Reference, prompt: Prompt, options: Options
    ) -> Callable[[Emit | None], Coroutine[Any, Any, Response]]:
        found = self.load(persona)
        request = self._ready(found, prompt, options)
        run = functools.partial(self._run, found, request, self._openai())
        if self._recorder is None:
            return run(options)
        return self._recorder.around(found, request, options, run, self.hash)

    def _ready(self, persona: Persona, prompt: Prompt, options: Options) -> Request:
        if isinstance(prompt, Request):
            request = prompt
        else:
            request = self.render(
                persona,
                prompt,
                variables=options.get("variables"),
                model=options.get("model"),
                parameters=options.get("parameters"),
            )
        # Before the embedded model is announced: a plugin that is wrong ends the run here.
        request = request.with_tools(*self.bind(persona).tools)
        return request if request.model else request.replace(model=self.router.default_model())

    @staticmethod
    def _complete(run: Callable[[Emit | None], Coroutine[Any, Any, Response]]) -> Response:
        call: Run[Response] = Run(lambda emit: run(None))
        for _ in drive(call):
            pass
        return call.finished()

    # --- tools and connections -------------------------------------------------------------------

    def call_tool(self, persona: Reference, call: ToolCall) -> ToolResult:
        """Run one tool call through the `tool` hooks of a persona's plugins.

        A call that goes wrong is a result with `is_error`, which the model would get to read.

        Raises:
            Blocked: A plugin or the tool refuses.
            PluginError: A plugin failed.
        """
        found = self.load(persona)
        bound = self.bind(found)
        watch = Watch(bound, found.name)
        found_tool = self.plugins.find("tool", call.name)
        tools = {call.name: found_tool.tool()} if found_tool else {}

        async def end(call: ToolCall, emit: Emit | None) -> ToolResult:
            return await call_tool(call, tools)

        async def aside(*_: Any) -> Response:
            raise ConfigError("another persona can be run for a tool call only within a run")

        async def run(emit: Emit) -> ToolResult:
            chain = Chain(bound.tool, end, found, ToolCall, ToolResult, watch.skipped, aside)
            result = await chain.call(call)
            await watch("tool", call=call, result=result)
            return result

        driven: Run[ToolResult] = Run(run)
        for _ in drive(driven):
            pass
        return driven.finished()

    def _openai(self) -> SendsRequests:
        if self._backend is None:
            from personakit.backend import Backend  # noqa: PLC0415
            from personakit.clients import Clients  # noqa: PLC0415

            self._backend = Backend(self.router, Clients())
        return self._backend

    def close(self) -> None:
        """Close the connections of the sync API, and the run log; a later run opens new ones."""
        if self._recorder is not None:
            self._recorder.close()
        clients = getattr(self._backend, "clients", None)
        if clients is not None:
            clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and the run log."""
        if self._recorder is not None:
            await io(self._recorder.close)()
        clients = getattr(self._backend, "clients", None)
        if clients is not None:
            await clients.aclose()


def _check_tools(persona: Persona, request: Request) -> None:
    """Check that every tool that a persona lists is there, now that all plugins had their turn."""
    missing = set(persona.tools) - {tool.name for tool in request.tools}
    if missing:
        names = ", ".join(repr(name) for name in persona.tools if name in missing)
        raise ConfigError(
            f"{persona.path}: no plugin brings the tools {names}; install one that does, or list "
            f"the plugin that offers them under `plugins:` (see `personakit plugins`)"
        )


def _response_format(persona: Persona) -> Mapping[str, Any]:
    """Return the parameter that asks for a persona's `output`."""
    if persona.output is None:
        return {}
    schema = {"name": persona.name, "schema": persona.output}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


@functools.cache
def default_runner() -> Runner:
    """Return the runner behind `personakit.run` and its like, made on first use."""
    return Runner()
