"""Runner: from a persona and a prompt to an answer. The whole way of the data is in this file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from personakit.backend import Router
from personakit.base import Emit, deadline, io
from personakit.catalog import Catalog, response_format, settled
from personakit.config import Config
from personakit.errors import ConfigError, UsageError
from personakit.frozen import FrozenDict, freeze
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.persona import Persona, Reference
from personakit.persona import parameters as rules
from personakit.pipeline import (
    AS_GIVEN,
    MAX_ROUNDS,
    Chain,
    Layer,
    Leaving,
    Nothing,
    Options,
    Prompt,
    Rounds,
    Run,
    SendsRequests,
    Stream,
    Watch,
    acomplete,
    attached,
    call_tool,
    complete,
)
from personakit.tools import tools_of

if TYPE_CHECKING:
    from personakit.attachments import Source
    from personakit.conversation import Conversation, Setup
    from personakit.log import Recorder, RunLog


class Runner(Catalog):
    """Finds, renders and runs personas. Safe to share between threads and tasks.

    What it holds open is closed by `close`, for the async API by `aclose`, or at the end of its
    ``with`` or ``async with`` block; one that lives as long as its program needs neither.

    Args:
        config: The user's set-up; None reads the config file and the environment.
        path: Folders of personas to search before all others.
        plugins: Plugins around those of the config and of every persona: names or objects.
        backend: What sends the requests; None for the openai client.
        log: True to log runs in the user's run log, or a log of your own; None for what the config
            says, by default not to. With ``log: off`` in the config nothing is logged.

    Raises:
        ConfigError: The config is wrong, or a plugin cannot be used.
        UsageError: `path` or `plugins` is no list, or `backend` cannot send.
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
        for name, given in (("path", path), ("plugins", plugins)):
            if isinstance(given, str | Path):
                raise UsageError(f"{name} is a list, found {str(given)!r}; write {name}=[…]")
        if backend is not None and not callable(getattr(backend, "send", None)):
            raise UsageError(
                f"a backend has `async def send(request, emit)`, found {type(backend).__name__}; "
                f"leave it out for the openai client"
            )
        folders = tuple(map(Path, path))
        super().__init__(config or Config.read(), folders, tuple(plugins))
        self._backend = backend
        self._recorder: Recorder | None = None
        logs = self.config.log
        if logs.on and (logs.python if log is None else log is not False):
            from personakit.log import Recorder  # noqa: PLC0415

            self._recorder = Recorder.of(log, self.config, self.router.keys.known)

    # --- what is held open ----------------------------------------------------------------------

    def _connect(self) -> SendsRequests:
        """Return the backend, made when there is none."""
        from personakit.backend import Backend, Clients  # noqa: PLC0415

        # A second one would keep its connections to itself, and nobody would close them.
        with self._lock:
            if self._backend is None:
                self._backend = Backend(self.router, Clients())
            return self._backend

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

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

    # --- the way of the data -------------------------------------------------------------------

    def render(
        self,
        persona: Reference,
        prompt: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        output: Any = None,
        attachments: Iterable[Source] = (),
    ) -> Request:
        """Return the request as it is rendered, before any plugin; nothing is sent.

        Args:
            persona: A name, a file's path, or a persona.
            prompt: What the user says; None for a request without a user's message.
            variables: Values for the persona's variables.
            model: ``provider/model``; None for the persona's, the config's or the embedded one.
            parameters: Parameters of chat.completions.create() over those of the persona.
            output: As in `Options`.
            attachments: As in `Options`.

        Raises:
            UsageError: The persona, the prompt, the variables, the parameters, the output or an
                attachment is wrong.
        """
        if prompt is not None and not isinstance(prompt, str):
            raise UsageError(
                f"a prompt is a text, found {type(prompt).__name__}; earlier messages go into a "
                f"conversation (`Runner.conversation`) or a Request"
            )
        found = persona if isinstance(persona, Persona) else self.load(persona)
        known = self.known(found)
        values = known.declared.values(variables or {})
        given = known.parameters
        if output is not None:
            asked = {**response_format(found, output), **found.parameters}
            given = FrozenDict({**given, **freeze(asked)})
        if parameters:
            rules.check(parameters)
            given = FrozenDict({**given, **freeze(parameters)})
        if found.plugins:
            self.plugins.check(found)
        compiled = known.compiled
        if compiled is None or compiled.files:
            compiled = self.compiled(found, known)
        request = Request(
            model=model or found.model or self.config.model or "",
            messages=tuple(compiled.render(values, prompt)),
            parameters=given,
            persona=found.name,
            variables=values.frozen,
        )
        return attached(request, attachments)

    def _run(
        self,
        found: Persona,
        request: Request,
        backend: SendsRequests,
        options: Options,
        without: frozenset[str] = frozenset(),
    ) -> Callable[[Emit | None], Coroutine[Any, Any, Response]]:
        """Return the coroutine function of a run: the plugins around the backend."""
        known = self.known(found)
        bound = known.bound or self.bind(found, known)
        if without:
            bound = bound.without(without)
        # Where nothing is sent there is nothing to observe.
        watch = Watch(() if isinstance(backend, Nothing) else bound.observers, found.name)
        asked = options.get("output")
        read = None if asked is None and found.output is None else self.reader(found, asked)

        end = functools.partial(self._end, found, backend, watch)

        async def aside(
            layer: Layer, given: Request, who: Reference, prompt: Prompt, how: Options
        ) -> Response:
            if isinstance(backend, Nothing):
                raise Leaving(given)
            other = self.load(who)
            if not how.get("model") and not other.model:
                how = {**how, "model": given.model}
            how = settled(other, how)
            ready = self._ready(other, prompt, how)
            return await self._run(other, ready, backend, how, without | {layer.plugin})(None)

        async def run(emit: Emit | None) -> Response:
            trace = options.get("trace")
            around = Chain(bound.chat, end, found, Request, Response, watch.skipped, aside, trace)

            def around_tool(call: Any) -> Chain[ToolCall, ToolResult]:
                return Chain(
                    bound.tool, call, found, ToolCall, ToolResult, watch.skipped, aside, trace
                )

            limit = options.get("max_rounds") or MAX_ROUNDS
            rounds = Rounds(around, around_tool, watch, watch.timings, limit, read)
            text_out = None if emit is None else watch.timed(emit)
            token = deadline.begin(options.get("deadline") or self.config.deadline)
            try:
                if not watch.wanted:
                    return await rounds.run(request, text_out)
                return await watch.around(request, lambda: rounds.run(request, text_out))
            finally:
                token.var.reset(token)

        return run

    async def _end(
        self,
        found: Persona,
        backend: SendsRequests,
        watch: Watch,
        request: Request,
        emit: Emit | None,
    ) -> Response:
        """Send a request that has been through all plugins."""
        if found.tools:
            _check_tools(found, request)
        if "response_format" in request.parameters:
            request = _shaped(request, self.router)
        if not watch.wanted:
            return await backend.send(request, emit)
        await watch("sent", request=request)
        response = await backend.send(request, emit)
        await watch("answered", request=request, response=response)
        return response

    # --- the four drivers, and the one that sends nothing ---------------------------------------

    def run(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Response:
        """Run a persona and return the whole answer. Arguments and errors as in `render`.

        Raises:
            RunError: The run was started and failed.
        """
        return complete(self._start(persona, prompt, options))

    async def arun(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Response:
        """As `run`, awaited."""
        return await acomplete(self._start(persona, prompt, options))

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
        options = settled(found, options)
        request = self._ready(found, prompt, options)
        try:
            complete(self._run(found, request, Nothing(), options))
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
        found = persona if isinstance(persona, Persona) else self.load(persona)
        if not options.keys() <= AS_GIVEN:
            options = settled(found, options)
        request = self._ready(found, prompt, options)
        run = functools.partial(self._run, found, request, self._backend or self._connect())
        if self._recorder is None:
            return run(options)
        return self._recorder.around(found, request, options, run, self.hash)

    def _ready(self, persona: Persona, prompt: Prompt, options: Options) -> Request:
        if isinstance(prompt, Request):
            request = prompt
            if options.get("output") is not None:
                asked = response_format(persona, options["output"])
                request = request.replace(parameters={**request.parameters, **asked})
            request = attached(request, options.get("attachments", ()))
        else:
            request = self.render(
                persona,
                prompt,
                variables=options.get("variables"),
                model=options.get("model"),
                parameters=options.get("parameters"),
                output=options.get("output"),
                attachments=options.get("attachments", ()),
            )
        timeout = options.get("timeout") or request.timeout or self.config.timeout
        if timeout != request.timeout:
            request = request.replace(timeout=timeout)
        if persona.tools or options.get("tools"):
            offered = tools_of(options.get("tools", ()))
            request = request.with_tools(*self.bind(persona).tools, *offered)
        if request.model:
            return request
        # Before the embedded model is announced: a plugin that is wrong ends the run here.
        self.bind(persona)
        return request.replace(model=self.router.default_model())

    # --- tools -----------------------------------------------------------------------------------

    def call_tool(self, persona: Reference, call: ToolCall) -> ToolResult:
        """Run one tool call through the `tool` hooks of a persona's plugins.

        A call that goes wrong is a result with `is_error`, which the model would get to read.

        Raises:
            Blocked: A plugin or the tool refuses.
            PluginError: A plugin failed.
        """
        found = self.load(persona)
        bound = self.bind(found)
        watch = Watch(bound.observers, found.name)
        found_tool = self.plugins.find("tool", call.name)
        tools = {call.name: found_tool.tool()} if found_tool else {}

        async def end(call: ToolCall, emit: Emit | None) -> ToolResult:
            return await call_tool(call, tools)

        async def aside(*_: Any) -> Response:
            raise ConfigError("another persona can be run for a tool call only within a run")

        async def run(emit: None) -> ToolResult:
            chain = Chain(bound.tool, end, found, ToolCall, ToolResult, watch.skipped, aside)
            result = await chain.call(call)
            await watch("tool", call=call, result=result)
            return result

        return complete(run)


@functools.cache
def default_runner() -> Runner:
    """Return the runner behind `personakit.run` and its like, made on first use."""
    return Runner()


def _check_tools(persona: Persona, request: Request) -> None:
    """Check that every tool that a persona lists is there, now that all plugins had their turn.

    Raises:
        ConfigError: One is missing.
    """
    missing = set(persona.tools) - {tool.name for tool in request.tools}
    if missing:
        names = ", ".join(repr(name) for name in persona.tools if name in missing)
        raise ConfigError(
            f"{persona.path}: no plugin brings the tools {names}; install one that does, or list "
            f"the plugin that offers them under `plugins:` (see `personakit plugins`)"
        )


def _shaped(request: Request, router: Router) -> Request:
    """Return a request as its model's provider takes it: with a schema, or with words."""
    form = request.parameters.get("response_format") or {}
    if form.get("type") != "json_schema" or router.takes_schema(request.model):
        return request
    from personakit.output import instructed  # noqa: PLC0415

    return instructed(request)
