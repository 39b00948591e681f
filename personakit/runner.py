"""The runner: from a persona and a prompt to an answer. This file shows the whole data flow."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from personakit.base import IN_PLACE, Closing, Suspending, TextTap, brief_repr, io
from personakit.catalog import Catalog, merged_parameters, response_format, wanted
from personakit.config import Config
from personakit.errors import PersonakitError, shorten
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.persona import Persona, Reference
from personakit.pipeline import (
    AllOptions,
    Backend,
    Chain,
    DryRun,
    Inside,
    Leaving,
    Prompt,
    Resuming,
    RunLayer,
    RunOptions,
    Setup,
    Start,
    ToolLoop,
    Trace,
    Watch,
    attached,
    call_alone,
    check_setup,
    deferred,
    keywords,
    not_a_prompt,
    observed,
    returned,
    run_sync,
    sent,
    with_run_hooks,
    within_deadline,
)
from personakit.tools import tools_of

if TYPE_CHECKING:
    from personakit.attachments import Attachment
    from personakit.backend import OpenAIBackend
    from personakit.conversation import Conversation
    from personakit.journal import Asker, JournalStorage, OnSuspend, Record
    from personakit.log import Recorder, RunLog


_SETTINGS = "config path plugins backend log ask on_suspend journals".split()


class Runner(Resuming, Closing):
    """Loads, renders and runs personas. Threads and tasks can share a runner.

    Close its plugins and connections with `close`, in the async API with `aclose`, or use it in a
    ``with`` or ``async with`` block. One that lives as long as the program need not be closed.

    Args:
        config: The user's settings; None reads the config file and the environment.
        path: Folders of personas to search before all others.
        plugins: Plugins around those of the config and of every persona: names or objects.
        backend: Sends the requests; None for the openai client.
        ask: Asks a person what a plugin or tool wants to know: called with a `Question`, it returns
            the answer, or None if nobody answers. None for nobody, or for the person at a notebook.
        on_suspend: What happens to a run that asks where nobody answers; see `Options`.
        journals: Keeps the journals of runs that wait; None for files in the user's data folder.
        log: True for the user's run log, or a log to use; None for the config's setting, which is
            off by default. With ``log: off`` in the config nothing is logged.

    Attributes:
        config: The user's settings.
        catalog: The personas, each loaded, compiled and bound once.
        library: Finds personas.
        plugins: The installed plugins.
        router: Finds the endpoints of models.

    Raises:
        ConfigError: The config is invalid, or a plugin cannot be used.
        UsageError: `path` or `plugins` is not a list, or `backend` has no `send` method.
    """

    catalog: Catalog
    _sharing = threading.RLock()

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        config: Config | None = None,
        *,
        path: Iterable[str | Path] = (),
        plugins: Iterable[Any] = (),
        backend: Backend | None = None,
        log: RunLog | Recorder | bool | None = None,
        ask: Asker | None = None,
        on_suspend: OnSuspend = "raise",
        journals: JournalStorage | None = None,
    ) -> None:
        check_setup(path, plugins, backend, ask, on_suspend, journals)
        self.config = config or Config.read()
        folders, outer = tuple(map(Path, path)), tuple(plugins)
        self._given = config, folders, outer, backend, log, ask, on_suspend, journals
        self._asker, self._on_suspend, self._journals = ask, on_suspend, journals
        self.catalog = Catalog(self.config, folders, outer)
        self.library, self.plugins = self.catalog.library, self.catalog.plugins
        self.router = self.catalog.router
        self._backend, self._lock, self._warm = backend, threading.Lock(), False
        self._own: OpenAIBackend | None = None
        self._recorder: Recorder | None = None
        logs = self.config.log
        if logs.on and (logs.python if log is None else log is not False):
            from personakit.log import Recorder  # noqa: PLC0415

            self._recorder = Recorder.of(log, self.config, self.router.keys.known)

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        pairs = zip(_SETTINGS, self._given, strict=True)
        yield from (pair for pair in pairs if pair[1] not in (None, (), "raise"))

    def __reduce__(self) -> tuple[Any, ...]:
        given = dict(self._shown())
        if "config" in given:
            raise TypeError("a Runner with a config cannot be pickled: a config contains keys")
        return functools.partial(Runner, **given) if given else default_runner, ()

    # --- the data flow -------------------------------------------------------------------------

    def render(
        self,
        persona: Reference,
        prompt: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        output: Any = None,
        attachments: Iterable[Attachment | str | Path | bytes] = (),
    ) -> Request:
        """Return the request as rendered, before any plugin; nothing is sent.

        Args:
            persona: A name, the path of a file, or a persona.
            prompt: The user's message; None for a request without one.
            variables: Values for the persona's variables.
            model: ``provider/model`` or an alias; None for the persona's or the config's.
            parameters: Parameters of chat.completions.create(); None removes one of the persona.
            output: The type of the answer; see `personakit.run`.
            attachments: See `Options`.

        Raises:
            UsageError: The persona or an argument is invalid.
        """
        if prompt is not None and not isinstance(prompt, str):
            raise not_a_prompt(prompt)
        found = persona if isinstance(persona, Persona) else self.load(persona)
        entry, model = self.catalog.entry(found), model and self.config.resolve(model)
        values = entry.declared.values(variables or {})
        settings = entry.parameters
        if output is not None or parameters:
            settings = merged_parameters(found, settings, output, parameters)
        if found.plugins:
            self.plugins.check(found)
        if (compiled := entry.compiled) is None or compiled.files:
            compiled = self.catalog.compiled(found)
        request = Request(
            model=model or entry.model or self.catalog.own_model(found),
            messages=tuple(compiled.render(values, prompt)),
            parameters=settings,
            persona=found.name,
            variables=values.frozen,
            defaults=entry.defaults - parameters.keys() if parameters else entry.defaults,
            api=found.api,
        )
        return attached(request, attachments) if attachments else request

    def _start(
        self, persona: Reference, prompt: Prompt, options: AllOptions, dry: DryRun | None = None
    ) -> Start:
        """Return a run, after checking everything that can be checked before it starts."""
        try:
            found = persona if isinstance(persona, Persona) else self.load(persona)
            checked = self._options(found, options)
            if isinstance(prompt, Request | str | None):
                request, record = self._request(found, prompt, checked), None
            else:
                own = self.catalog.bind(found).tools
                request, checked, record = self._resumed(found, prompt, checked, own)
            backend = dry or self._backend or self._connect()
            recorder = None if dry else self._recorder
            inside = Inside(backend, self, ({},), model=request.model)
            return self._layers(found, request, checked, inside, recorder, record)
        except PersonakitError as error:
            shorten(error)
            raise

    def _begin(
        self, persona: Reference, prompt: Prompt, options: AllOptions, *, check: bool = False
    ) -> Start:
        """Return a run, made in a thread under the async API if that takes a while."""
        resumes = not isinstance(prompt, Request | str | None)
        if self._warm and not resumes and (found := self.catalog.ready(persona)) is not None:
            return self._start(found, prompt, options)
        if check:
            checked = RunOptions.of(options, self.config, self.catalog.variables(persona))
            if not (isinstance(prompt, Request) or resumes):
                self.catalog.check(persona, checked.variables or {}, checked.parameters)
        return deferred(functools.partial(self._first, persona, prompt, options))

    def _first(self, persona: Reference, prompt: Prompt, options: AllOptions) -> Start:
        start = self._start(persona, prompt, options)
        self.catalog.note_ready(persona)
        if not self._warm and self._own is not None:
            self._own.load(start.args[0].model)  # type: ignore[attr-defined]
        self._warm = True
        return start

    def _options(self, persona: Persona, options: AllOptions) -> RunOptions:
        """Return the checked options, with the output's schema created once: that is slow."""
        checked = RunOptions.of(options, self.config, persona.variables)
        if checked.output is None:
            return checked
        return checked.replace(output=wanted(persona, checked.output))

    def _request(
        self, persona: Persona, prompt: str | Request | None, options: RunOptions
    ) -> Request:
        """Return the request of a run, rendered, with its tools and its model."""
        if isinstance(prompt, Request):
            form = response_format(options.output)
            request = prompt.replace(parameters={**prompt.parameters, **form}) if form else prompt
            request = attached(request, options.attachments)
        else:
            request = self.render(
                persona,
                prompt,
                variables=options.variables,
                model=options.model,
                parameters=options.parameters,
                output=options.output,
                attachments=options.attachments,
            )
        timeout = options.timeout or request.timeout or self.config.timeout
        if timeout != request.timeout:
            request = request.replace(timeout=timeout)
        if persona.tools or options.tools:
            offered = tools_of(options.tools)
            request = request.with_tools(*self.catalog.bind(persona).tools, *offered)
        if request.model:
            aliased = request.model in self.config.aliases
            return self.catalog.resolved(request) if aliased else request
        # A broken plugin must fail before the embedded model is announced.
        self.catalog.bind(persona)
        return request.replace(model=self.router.default_model())

    def _layers(
        self,
        persona: Persona,
        request: Request,
        options: RunOptions,
        inside: Inside,
        recorder: Recorder | None = None,
        record: Record | None = None,
    ) -> Start:
        """Return a run, built from the backend outwards."""
        entry = self.catalog.entry(persona)
        bound = entry.bound or self.catalog.bind(persona)
        bound = bound.without(inside.without) if inside.without else bound
        inside = inside.reaching(bound.every) if bound.every else inside
        structured = options.output is not None or persona.output is not None
        reader = self.catalog.reader(persona, options.output) if structured else None
        # A dry run has nothing to observe.
        observers = () if isinstance(inside.backend, DryRun) else bound.observers
        watch = Watch(observers, persona.name, inside)
        tap, trace = TextTap(), options.trace or (Trace() if recorder else None)
        around = functools.partial(Chain, persona=persona, watch=watch, inside=inside, trace=trace)
        around = functools.partial(around, depth=len(bound.run))
        send = functools.partial(sent, self, persona, watch, inside)
        tool = functools.partial(around, bound.tool, takes=ToolCall, gives=ToolResult, hook="tool")
        layers, sends = (*bound.chat, *inside.every), len(bound.chat)
        chat = around(layers, send, takes=Request, gives=Response, sends=sends)
        loop = ToolLoop(chat, tool, watch, tap, options.max_rounds, inside.books[0], reader)
        run: RunLayer = loop.run
        if bound.run:
            whole = around(bound.run, loop.anew, takes=Request, gives=Response, hook="run", depth=0)
            run = with_run_hooks(whole, tap, inside.books[0], reader)
        if record or bound.run or bound.chat or bound.tool or request.tools:
            run, record = self._waiting(run, persona, request, options, inside, record)
        run = within_deadline(run, options.deadline, inside.books[0])
        if watch.wanted:
            run = observed(run, watch)
        if recorder is not None and trace is not None:
            run = recorder.around(
                run, persona, trace, tap, inside.books[0], options, self.hash, record
            )
        if record is not None and record.desk.on_suspend == "return":
            run = returned(run)
        instances = bound.instances
        return functools.partial(run if instances is None else instances.around(run), request)

    # --- the request and tool calls alone; `Runs` has the four ways to run a persona -------------

    @keywords
    def prepare(
        self, persona: Reference, prompt: str | Request | None = None, **options: Unpack[AllOptions]
    ) -> Request:
        """Return the request as `run` would send it, after the plugins; nothing is sent.

        If a plugin answers by itself, it is the rendered request. Arguments and errors: see `run`.
        """
        start = self._start(persona, prompt, options, DryRun())
        try:
            run_sync(start, IN_PLACE)
        except Leaving as leaving:
            return self.router.adapted(leaving.request)
        except Suspending:
            pass  # a plugin asks a person
        return start.args[0]  # type: ignore[attr-defined, no-any-return]

    def call_tool(self, persona: Reference, call: ToolCall) -> ToolResult:
        """Run one tool call through the `tool` hooks of a persona's plugins.

        A failed call returns a result with `is_error`, as the model would read it.

        Raises:
            Blocked: A plugin or the tool raised it.
            PluginError: A plugin failed.
        """
        found = self.load(persona)
        bound = self.catalog.bind(found)
        inside = Inside(self._backend or self._connect(), self, ({},))
        watch = Watch(bound.observers, found.name, inside)
        contributed = self.plugins.find("tool", call.name)
        tools = {call.name: contributed.tool()} if contributed else {}
        alone = functools.partial(call_alone, call, tools, bound.tool, found, watch, inside)
        result: ToolResult = run_sync(self._asking(alone))
        return result

    # --- personas, conversations and connections -------------------------------------------------

    def load(self, persona: Reference) -> Persona:
        """Return a persona by name or path; return a `Persona` unchanged.

        Args:
            persona: A name or a path. It may end in ``@`` and a version or hash: ``chef@1.0``.

        Raises:
            PersonaNotFound: No persona has that name, or it does not have that version or hash.
            PersonaError: The file is invalid.
        """
        return self.catalog.load(persona)

    def hash(self, persona: Reference) -> str:
        """Return ``sha256:…`` over everything in a persona that can change a request."""
        return self.catalog.hash(persona)

    @keywords
    def conversation(self, persona: Reference, **setup: Unpack[Setup]) -> Conversation:
        """Return a conversation with a persona, which keeps the messages; see `Conversation`.

        Args:
            persona: A name, the path of a file, or a persona.
            model: ``provider/model``; None for the model that `render` would choose.
            variables: Values for the persona's variables.
            parameters: Parameters of chat.completions.create(); they override the persona's.
            id: The ID of the conversation in the run log; None for a new one.
            messages: The earlier messages.
            notify: Called with a one-line notice whenever messages are left out; None logs it.
        """
        from personakit.conversation import Conversation  # noqa: PLC0415

        return Conversation(self, self._begin, persona, **setup)

    async def warm(self, *personas: Reference) -> None:
        """Load in a thread what the first runs would load, such as when a service starts.

        That is the openai client with its certificates, the template engine, the plugins and the
        prices, about a second of imports, and the given personas.

        Args:
            personas: Names, paths of files, or personas.

        Raises:
            UsageError: A persona is invalid, or cannot be used.
        """
        await io(self._load_ahead)(personas)

    def _load_ahead(self, personas: tuple[Reference, ...]) -> None:
        self._connect()
        for model in self.catalog.load_ahead(personas):
            if self._own is not None:
                self._own.load(model)
        self._warm = True

    def _connect(self) -> Backend:
        """Return the backend, created on first use."""
        from personakit.backend import Clients, OpenAIBackend  # noqa: PLC0415

        # Nobody would close the connections of a second backend.
        with self._lock:
            if self._backend is None:
                self._backend = self._own = OpenAIBackend(self.router, Clients())
            return self._backend

    def close(self) -> None:
        """Close the plugins, the connections of the sync API, and the log; later runs open new."""
        for part in (self.plugins.instances, self._own, self._recorder):
            if part is not None:
                part.close()

    async def aclose(self) -> None:
        """Close the plugins, the connections of the running event loop, and the run log."""
        await self.plugins.instances.aclose()
        if self._own is not None:
            await self._own.aclose()
        if self._recorder is not None:
            await io(self._recorder.close)()


@functools.cache
def default_runner() -> Runner:
    """Return the shared runner of `personakit.run` and the other functions."""
    return Runner()
