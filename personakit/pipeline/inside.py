"""The run as its layers see it: what they can do besides passing their request on."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from personakit.base import Emit, scope, time_left
from personakit.errors import BackendError, PluginError, UsageError
from personakit.frozen import quick_init
from personakit.messages import Request, Response, ToolCall
from personakit.pipeline.dry_run import DryRun, Leaving
from personakit.pipeline.gate import StreamGate
from personakit.pipeline.modes.drivers import loading
from personakit.usage import Book, Charge, Spent, charged, charges_in

if TYPE_CHECKING:
    from personakit.persona import Persona, Reference
    from personakit.pipeline.options import AllOptions, Backend, RunOptions


@dataclass(frozen=True, slots=True)
class Layer:
    """A plugin's hook in a chain.

    Attributes:
        plugin: The plugin's name.
        hook: ``run``, ``chat``, ``tool`` or ``observe``.
        function: The bound function.
        wants: The arguments it names: request or call, send, persona, state.
        skip: True to skip the layer if it fails before it sends.
        origin: The plugin's name in error messages.
        owner: The identity of the plugin, which has one state in a run.
        state: Makes the plugin's state for a run; None if it has none.
    """

    plugin: str
    hook: str
    function: Callable[..., Any]
    wants: frozenset[str]
    skip: bool = False
    origin: str = ""
    owner: int = 0
    state: Callable[[], Any] | None = None

    def __str__(self) -> str:
        return self.origin or f"plugin {self.plugin!r}"


class NestedRuns(Protocol):
    """The part of `Runner` that a run inside another uses; the module of `Runner` imports this."""

    router: Any
    catalog: Any
    config: Any

    def load(self, persona: Reference) -> Persona:
        """See `Runner.load`."""
        ...

    def hash(self, persona: Reference) -> str:
        """See `Runner.hash`."""
        ...

    def _options(self, persona: Persona, options: AllOptions) -> RunOptions: ...
    def _request(self, persona: Persona, prompt: str | None, options: RunOptions) -> Request: ...
    def _layers(
        self, persona: Persona, request: Request, options: RunOptions, inside: Inside
    ) -> Callable[[Emit | None], Coroutine[Any, Any, Response]]: ...


_making = threading.RLock()


@quick_init
@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """A run as its layers see it, and what a run inside it takes over.

    Attributes:
        backend: Sends the requests.
        runner: Runs other personas.
        books: What was paid: the book of this run, and those of the runs around it.
        without: The plugins that a run inside leaves out.
        every: The layers around each request that is sent, from the runs around this one.
        states: The state of each plugin in this run, by the identity of the plugin.
        model: The model that the run asks for.
    """

    backend: Backend
    runner: NestedRuns
    books: tuple[Book, ...]
    without: frozenset[str] = frozenset()
    every: tuple[Layer, ...] = ()
    states: dict[int, Any] = field(default_factory=dict)
    model: str = ""

    def reaching(self, every: tuple[Layer, ...]) -> Inside:
        """Return a copy with the layers of a persona that stand around each request."""
        # One that sends a request by itself is left out of the run that it starts.
        left = (layer for layer in every if layer.plugin not in self.without)
        new = tuple(layer for layer in left if layer not in self.every)
        return dataclasses.replace(self, every=(*self.every, *new)) if new else self

    @property
    def spent(self) -> Spent:
        """What the run has paid so far."""
        return Spent(charges_in(self.books[0]))

    def state(self, layer: Layer) -> Any:
        """Return the state of a layer's plugin in this run, made on first use."""
        if layer.owner not in self.states:
            # Under the sync API, `gather` calls hooks in threads.
            with _making:
                if layer.owner not in self.states:
                    assert layer.state is not None
                    self.states[layer.owner] = layer.state()
        return self.states[layer.owner]

    def within(self, layer: Layer) -> Inside:
        """Return what a run inside a layer takes over; it leaves out the plugin of the layer."""
        every = self.every_but(layer)
        shared = {each.owner: self._shared(each) for each in every if each.state is not None}
        without = self.without | {layer.plugin}
        return dataclasses.replace(
            self, books=({}, *self.books), without=without, states=shared, every=every
        )

    def every_but(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the layers around each request, without one that sends a request by itself."""
        return tuple(each for each in self.every if each is not layer)

    def _shared(self, layer: Layer) -> Any:
        try:
            return self.state(layer)
        except Exception as error:
            raise PluginError(
                f"{layer} failed: its State cannot be made: {type(error).__name__}: {error}",
                plugin=layer.plugin,
            ) from error

    async def render(
        self, persona: Reference, prompt: str | None, options: AllOptions, model: str = ""
    ) -> Request:
        """Return the request of another persona, as a run of it would start with."""
        _, _, request = await self._ready(persona, prompt, options, model)
        return await self._rendered(request, persona, prompt, options)

    async def run(
        self,
        layer: Layer,
        given: Request | ToolCall,
        persona: Reference,
        prompt: str | None,
        options: AllOptions,
        *,
        emit: Emit | None = None,
    ) -> Response:
        """Run another persona for a layer, without the plugin of the layer.

        Args:
            layer: The layer.
            given: What the layer was called with.
            persona: The other persona.
            prompt: The user's message.
            options: The options of the run.
            emit: Accepts the text as it arrives; None to return it whole.
        """
        time_left()
        model = ""
        if isinstance(given, Request):
            if isinstance(self.backend, DryRun):
                raise Leaving(given)
            model = given.model
        other, checked, request = await self._ready(persona, prompt, options, model)
        request = await self._rendered(request, other, prompt, options)
        run = self.runner._layers(other, request, checked, self.within(layer))
        if (place := scope.get()) is None:
            response = await run(emit)
        else:
            perform = functools.partial(run, emit)
            response, earlier = await place.recorded("run", request, perform, self.books)
            if earlier:
                response = await self._again(response, other, checked, emit)
        # What it replaces is the history of its own conversation.
        return response.replace(history=None, _foreign=True)

    async def _rendered(
        self, request: Request, persona: Reference, prompt: str | None, options: AllOptions
    ) -> Request:
        """Return a request as it was rendered before the run was resumed, or as it is now."""
        if (place := scope.get()) is None:
            return request

        def key() -> dict[str, Any]:
            given = {name: options.get(name) for name in ("variables", "parameters", "model")}
            return {"persona": self.runner.hash(persona), "prompt": prompt, **given}

        async def rendered() -> Request:
            return request

        earlier, _ = await place.recorded("render", key, rendered)
        return earlier.with_functions(request.tools)  # type: ignore[no-any-return]

    async def _again(
        self, response: Response, persona: Persona, options: RunOptions, emit: Emit | None
    ) -> Response:
        """Return an answer from before the run was resumed, parsed and emitted."""
        if options.output is not None or persona.output is not None:
            read = self.runner.catalog.reader(persona, options.output)
            response = response if response.tool_calls else read(response)
        if emit is not None:
            await StreamGate(emit).rest(response)
        return response

    async def _ready(
        self, persona: Reference, prompt: str | None, options: AllOptions, model: str
    ) -> tuple[Persona, RunOptions, Request]:
        def ready() -> tuple[Persona, RunOptions, Request]:
            other, runner = self.runner.load(persona), self.runner
            same = not options.get("model") and not other.model
            chosen: Any = {**options, "model": model or self.model} if same else options
            checked = runner._options(other, chosen)
            return other, checked, runner._request(other, prompt, checked)

        return await loading(ready)


async def sent(
    runner: NestedRuns,
    persona: Persona,
    watch: Any,
    inside: Inside,
    request: Request,
    emit: Emit | None,
) -> Response:
    """Send a request after all plugins, and enter into the books what it cost."""
    aliased = request.model in runner.config.aliases
    if aliased or request.tools or persona.tools or "response_format" in request.parameters:
        request = runner.catalog.sendable(persona, request)
    if watch.wanted:
        await watch("sent", request=request)
    books, more = inside.books, charged.get()
    if more is not None:
        books = (*books, more)
    key, charges = object(), [Charge(request.model)]  # unknown until it has ended
    for book in books:
        book[key] = charges
    try:
        response = await inside.backend.send(request, emit)
        charges = response._charges()
    except BaseException as error:
        charges = unanswered(request.model, error)
        raise
    finally:
        for book in books:
            book[key] = charges
    if watch.wanted:
        await watch("answered", request=request, response=response)
    return response


def unanswered(model: str, error: BaseException) -> list[Charge]:
    """Return what a request may have cost that ended with an error.

    A request that the upstream refused costs nothing. For one whose answer did not arrive, or not
    whole, the tokens are unknown.
    """
    paid = getattr(error, "response", None)
    charges = paid._charges() if isinstance(paid, Response) else []
    lost = 0 if isinstance(error, UsageError | Leaving) else 1
    if isinstance(error, BackendError):
        lost = int(error.is_paid) if error.lost is None else error.lost
    return [*charges, *[Charge(model)] * lost]
