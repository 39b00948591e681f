"""The `send` argument of a hook: what a layer can do with the layers inside it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from personakit.base import Emit, scope, time_left
from personakit.errors import StreamStarted
from personakit.hookspecs import Filter
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.pipeline.gate import Filtered, FilterFailed, Misuse, StreamGate
from personakit.pipeline.inside import Inside, Layer
from personakit.pipeline.modes.drivers import alone
from personakit.pipeline.trace import Step
from personakit.usage import Spent

if TYPE_CHECKING:
    from personakit.embeddings import Embeddings

In = TypeVar("In", Request, ToolCall)
Out = TypeVar("Out", Response, ToolResult)
T = TypeVar("T")


class Send(Generic[In, Out]):
    """The `send` argument of a hook; see `hookspecs.Send`."""

    __slots__ = (
        "_chain", "_gate", "_layer", "_next", "_request",
        "emitted", "errors", "last", "opened", "pending", "step",
    )  # fmt: skip

    def __init__(self, chain: Any, index: int, gate: StreamGate, request: In) -> None:
        self._chain = chain  # a `Chain`, whose module imports this one
        self._next = index + 1
        self._layer: Layer = chain.layers[index]
        self._gate = gate
        self._request: In = request
        self.step: Step | None = None
        self.last: Out | None = None
        self.errors: list[BaseException] = []
        self.opened = 0
        self.emitted = False
        self.pending: list[Coroutine[Any, Any, Any]] = []

    def __call__(self, request: In, *, reasoning: bool = False) -> Awaitable[Out]:
        """Pass the request on and wait for the whole answer."""
        place = self._place()
        return self._kept(self._pass(request, None, place, live=False, hides=not reasoning))

    @property
    def started(self) -> bool:
        """Whether text of the layer has been emitted."""
        return self._gate.started

    async def emit(self, text: str) -> None:
        """Emit text that the layer wrote itself."""
        if not isinstance(text, str):
            raise Misuse(f"it called send.emit() with {type(text).__name__}, expected str")
        if self._gate.busy:
            raise Misuse("it called send.emit() while send.live() was streaming text")
        self.emitted = self.emitted or bool(text)
        await self._gate(text)

    @property
    def spent(self) -> Spent:
        """What the run has paid so far."""
        spent: Spent = self._chain.inside.spent
        return spent

    async def status(self, text: str) -> None:
        """Notify the observers of what the layer does."""
        if not isinstance(text, str):
            raise Misuse(f"it called send.status() with {type(text).__name__}, expected str")
        await self._chain.watch.status(text)

    def run(
        self, persona: Any, prompt: str | None = None, *, live: bool = False, **options: Any
    ) -> Awaitable[Response]:
        """Run another persona."""
        given = self._layer, self._request, persona, prompt, options
        run = self._chain.inside.run
        place = self._place()
        flow = self._flow_of(place, *given) if live else self._nested(place, run, *given)
        return self._kept(flow)

    def render(self, persona: Any, prompt: str | None = None, **options: Any) -> Awaitable[Request]:
        """Render another persona."""
        model = getattr(self._request, "model", "")
        render = self._chain.inside.render
        given = persona, prompt, options, model
        return self._kept(self._nested(self._place(), render, *given))

    def embed(self, texts: Sequence[str], *, model: str, **options: Any) -> Awaitable[Embeddings]:
        """Return the embeddings of texts."""
        from personakit.pipeline.embedding import embed  # noqa: PLC0415 - most runs need none

        asking = embed(self._chain, self._layer, self._request, texts, model, options)
        self.pending.append(asking)
        return self._kept(self._nested(self._place(), lambda: asking))

    @staticmethod
    def _place() -> Any:
        """Return the place of what is sent now, however it is awaited; None if none is recorded."""
        outer = scope.get()
        return None if outer is None else outer.child()

    def _kept(self, coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return a coroutine, which `close` closes if it was not awaited."""
        self.pending.append(coroutine)
        return coroutine

    async def _nested(
        self, place: Any, start: Callable[..., Coroutine[Any, Any, T]], *arguments: Any
    ) -> T:
        token = scope.set(place)
        try:
            return await alone(start(*arguments))
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            scope.reset(token)

    async def _flow_of(self, place: Any, layer: Layer, *arguments: Any) -> Response:
        """Run another persona, whose text is that of this layer."""
        gate = self._gate
        if self._chain.takes is ToolCall:
            raise Misuse("it called send.run(live=True) in its tool hook, which has no stream")
        self._claim(layer)
        gate.busy, gate.hides = True, False
        if self.step is not None:
            self.step.way = "live"
        token = scope.set(place)
        try:
            inside: Inside = self._chain.inside
            response = await inside.run(layer, *arguments, emit=gate.inner)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            scope.reset(token)
            gate.busy = False
        gate.out, gate.reasoning = response.text, response.reasoning
        self.last = response  # type: ignore[assignment]  # a `tool` hook does not get here
        return response

    def live(self, request: In, filter: Filter | None = None) -> Awaitable[Out]:  # noqa: A002
        """Pass the request on and emit the answer's text as it arrives."""
        return self._kept(self._flow(self._place(), request, filter))

    async def _flow(self, place: Any, request: In, filter: Filter | None) -> Out:  # noqa: A002
        gate = self._gate
        if filter is None:
            response = await self._pass(request, gate.inner, place, live=True)
            if isinstance(response, Response):
                gate.out, gate.reasoning = response.text, response.reasoning
            return response
        filtered = Filtered(gate, filter, self)
        try:
            hides = filtered.hides
            response = await self._pass(request, filtered.inner, place, live=True, hides=hides)
        except FilterFailed as failed:
            if failed.send is not self:
                raise
            failure: Exception = failed.error
        else:
            assert isinstance(response, Response)
            self.last = await filtered.end(response)
            return self.last
        raise failure

    async def _pass(
        self, request: In, emit: Emit | None, place: Any, *, live: bool, hides: bool = False
    ) -> Out:
        layer = self._layer
        kind = self._chain.takes
        if not isinstance(request, kind):
            found = type(request).__name__
            raise Misuse(f"it called send() with {found}, expected {kind.__name__}")
        self._claim(layer)
        self._gate.busy, self._gate.hides = emit is not None, hides
        if self.step is not None:
            self.step.sends(request, live=live)
            self.step.leave()
        token = scope.set(place)
        try:
            time_left()  # a hook may send again and again
            call = self._chain.call(request, emit, self._next)
            result: Out = await (alone(call) if emit is None else call)
            self.last = result
        except BaseException as error:
            self.errors.append(error)
            unused = getattr(error, "response", None) if hides else None
            if isinstance(unused, Response):
                error.response = without_reasoning(unused)  # type: ignore[attr-defined]
            raise
        finally:
            scope.reset(token)
            self._gate.busy = False
            if self.step is not None:
                self.step.enter()
                self.step.received = self.last
        return result

    def _claim(self, layer: Layer) -> None:
        """Begin an answer, which must be the first that emits text.

        Raises:
            StreamStarted: Text of an earlier answer has already been emitted.
        """
        if self._gate.started or self._gate.busy or self.emitted:
            started = StreamStarted(
                f"{layer} sent again in its {layer.hook} hook after text had been emitted; to "
                f"send more than once, use `await send(request)` instead of `send.live`, and do "
                f"not call `send.emit` before it"
            )
            self.errors.append(started)
            raise started
        self.opened += 1
        self._gate.out = self._gate.reasoning = ""

    def close(self) -> bool:
        """Close coroutines that were never awaited; return whether there were any."""
        state = inspect.getcoroutinestate
        unawaited = [item for item in self.pending if state(item) == inspect.CORO_CREATED]
        for coroutine in unawaited:
            coroutine.close()
        return bool(unawaited)


def without_reasoning(response: Response, *, bare: bool = False) -> Response:
    """Return what passes a layer that holds the text back and knows of nothing else."""
    return response.replace(reasoning="", annotations=(), _bare=bare)
