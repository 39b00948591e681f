"""The chain: layers of coroutines around a model or tool call.

The sync and the async API share these coroutines; `drivers` steps them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from personakit.base import Emit, in_sync, time_left
from personakit.errors import (
    BackendError,
    Blocked,
    InvalidAnswer,
    PluginError,
    StreamStarted,
    Timeout,
)
from personakit.hookspecs import Filter
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.pipeline.gate import Filtered, FilterFailed, Misuse, StreamGate
from personakit.pipeline.inside import Inside, Layer
from personakit.pipeline.modes.drivers import alone, needs_loop
from personakit.pipeline.trace import Step, Trace
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

    def __init__(self, chain: Chain[In, Out], index: int, gate: StreamGate, request: In) -> None:
        self._chain: Chain[In, Out] = chain
        self._next = index + 1
        self._layer = chain.layers[index]
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
        return self._kept(self._pass(request, None, live=False, hides=not reasoning))

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
        return self._chain.inside.spent

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
        return self._kept(self._flow_of(*given) if live else self._nested(run, *given))

    def render(self, persona: Any, prompt: str | None = None, **options: Any) -> Awaitable[Request]:
        """Render another persona."""
        model = getattr(self._request, "model", "")
        return self._kept(self._nested(self._chain.inside.render, persona, prompt, options, model))

    def embed(self, texts: Sequence[str], *, model: str, **options: Any) -> Awaitable[Embeddings]:
        """Return the embeddings of texts."""
        from personakit.pipeline.embedding import embed  # noqa: PLC0415 - most runs need none

        asking = embed(self._chain, self._layer, self._request, texts, model, options)
        self.pending.append(asking)
        return self._kept(self._nested(lambda: asking))

    def _kept(self, coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return a coroutine, which `close` closes if it was not awaited."""
        self.pending.append(coroutine)
        return coroutine

    async def _nested(self, start: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        try:
            return await alone(start(*arguments))
        except BaseException as error:
            self.errors.append(error)
            raise

    async def _flow_of(self, layer: Layer, *arguments: Any) -> Response:
        """Run another persona, whose text is that of this layer."""
        gate = self._gate
        if self._chain.takes is ToolCall:
            raise Misuse("it called send.run(live=True) in its tool hook, which has no stream")
        self._claim(layer)
        gate.busy, gate.hides = True, False
        if self.step is not None:
            self.step.way = "live"
        try:
            response = await self._chain.inside.run(layer, *arguments, emit=gate.inner)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            gate.busy = False
        gate.out, gate.reasoning = response.text, response.reasoning
        self.last = response  # type: ignore[assignment]  # a `tool` hook does not get here
        return response

    def live(self, request: In, filter: Filter | None = None) -> Awaitable[Out]:  # noqa: A002
        """Pass the request on and emit the answer's text as it arrives."""
        return self._kept(self._flow(request, filter))

    async def _flow(self, request: In, filter: Filter | None) -> Out:  # noqa: A002
        gate = self._gate
        if filter is None:
            response = await self._pass(request, gate.inner, live=True)
            if isinstance(response, Response):
                gate.out, gate.reasoning = response.text, response.reasoning
            return response
        filtered = Filtered(gate, filter, self)
        try:
            response = await self._pass(request, filtered.inner, live=True, hides=filtered.hides)
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
        self, request: In, emit: Emit | None, *, live: bool, hides: bool = False
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
        try:
            time_left()  # a hook may send again and again
            call = self._chain.call(request, emit, self._next)
            self.last = await (alone(call) if emit is None else call)
        except BaseException as error:
            self.errors.append(error)
            unused = getattr(error, "response", None) if hides else None
            if isinstance(unused, Response):
                error.response = _without_reasoning(unused)  # type: ignore[attr-defined]
            raise
        finally:
            self._gate.busy = False
            if self.step is not None:
                self.step.enter()
                self.step.received = self.last
        return self.last

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


@dataclass(frozen=True, slots=True)
class Chain(Generic[In, Out]):
    """Layers around a call.

    Attributes:
        layers: The plugins' hooks, outermost first.
        end: Calls the model or the tool, inside the innermost layer.
        persona: The `persona` argument of the hooks.
        takes: `Request` or `ToolCall`.
        gives: `Response` or `ToolResult`.
        watch: Notifies the observers of the run; see `layers.Watch`.
        inside: The run that the layers are part of.
        trace: Records what the layers do; None to record nothing.
        hook: The name of the hook.
        depth: The number of layers around these.
    """

    layers: tuple[Layer, ...]
    end: Callable[[In, Emit | None], Awaitable[Out]]
    persona: Any
    takes: type[In]
    gives: type[Out]
    watch: Any
    inside: Inside
    trace: Trace | None = None
    hook: str = "chat"
    depth: int = 0

    async def call(self, request: In, emit: Emit | None = None, index: int = 0) -> Out:
        """Run the layers from `index` on; streamed text is passed to `emit`."""
        if index == len(self.layers):
            if (emit is None and self.trace is None) or self.hook == "run":
                return await self.end(request, emit)
            return await self._ended(request, emit)
        layer, gate = self.layers[index], StreamGate(emit, rounds=self.hook == "run")
        send = Send(self, index, gate, request)
        if self.trace is not None:
            send.step = self.trace.begin(layer.plugin, self.hook, self.depth + index, request)
        result: In | Out = request
        try:
            result = await self._hook(layer, request, send)
        # sys.exit() in a hook ends only its run.
        except (Exception, SystemExit) as error:
            send.close()
            self._left(send, error=error, skipped=layer.skip and not send.opened)
            if isinstance(error, Blocked | Timeout) or any(error is own for own in send.errors):
                raise
            if not layer.skip or send.opened:
                raise self._failure(layer, error, send) from error
            await self.watch.skipped(layer, error)
        except BaseException:
            send.close()
            self._left(send, ended=True)
            raise
        if isinstance(result, self.takes):
            self._left(send, passed=result)
            return await self.call(result, emit, index + 1)
        assert isinstance(result, self.gives)
        return await self._given(layer, result, gate, send)

    async def _given(self, layer: Layer, given: Out, gate: StreamGate, send: Send[In, Out]) -> Out:
        """Return what a layer gives, of which everything has been emitted."""
        response: Any = given
        if isinstance(response, Response):
            if gate.hides and (gate.wanted or response.reasoning or response.annotations):
                response = _without_reasoning(response, bare=gate.wanted)
            self._left(send, given=response)
            await self._rest(layer, response, gate)
        else:
            self._left(send, given=given)
        result: Out = response
        return result

    @staticmethod
    def _left(
        send: Send[In, Out],
        *,
        passed: In | None = None,
        given: Out | None = None,
        error: BaseException | None = None,
        skipped: bool = False,
        ended: bool = False,
    ) -> None:
        """Record in the trace, if there is one, how a layer ended."""
        step = send.step
        if step is None:
            return
        step.leave()
        if passed is not None:
            step.sent.append(passed)
        elif given is not None:
            step.response, step.way = given, step.way if step.sent else "answered"
        elif not ended:
            step.error, step.way = error, "skipped" if skipped else "failed"

    async def _ended(self, request: In, emit: Emit | None) -> Out:
        step = None
        if self.trace is not None:
            depth = self.depth + len(self.layers)
            step = self.trace.begin("", self.hook, depth, request)
        gate = StreamGate(emit)
        try:
            response = await self.end(request, None if emit is None else gate)
        except BaseException as error:
            if step is not None:
                step.leave()
                if isinstance(error, Exception):
                    step.error, step.way = error, "failed"
                if isinstance(error, BackendError):
                    step.attempts = error.attempts
            raise
        if step is not None:
            step.leave()
            step.response, step.way = response, "answered"
            step.attempts = getattr(response, "attempts", 1)
        answer: object = response
        if emit is not None and isinstance(answer, Response):
            if gate.notes and (fault := gate.notes.fault(answer)):
                raise InvalidAnswer(f"the response differs from the {fault} emitted before it")
            await gate.rest(answer)
        return response

    async def _hook(self, layer: Layer, request: In, send: Send[In, Out]) -> In | Out:
        """Call a layer's hook and check what it returns."""
        values = {"request": request, "call": request, "send": send, "persona": self.persona}
        if "state" in layer.wants:
            values["state"] = self.inside.state(layer)
        result = layer.function(**{name: values[name] for name in layer.wants})
        if inspect.isawaitable(result):
            result = await result
        if send.close():
            raise Misuse("it called send(...) without awaiting it; write `await send(...)`")
        if result is None:
            if send.last is None and send.errors:
                raise Misuse(
                    "it returned None after send() failed; return a response or raise an error"
                ) from send.errors[-1]
            return request if send.last is None else send.last
        if isinstance(result, self.takes) and send.opened:
            name = self.takes.__name__
            raise Misuse(f"it returned a {name} after calling send(); return the response")
        if not isinstance(result, self.takes | self.gives):
            raise Misuse(
                f"it returned {type(result).__name__}; a {layer.hook} hook must return None, "
                f"a {self.takes.__name__} or a {self.gives.__name__}"
            )
        return result

    async def _rest(self, layer: Layer, response: Response, gate: StreamGate) -> None:
        """Emit the rest of a layer's answer, which no inner layer can change any more."""
        if fault := gate.fault(response):
            raise PluginError(
                f"{layer} returned {fault} from its {layer.hook} hook that does not begin with the "
                f"{fault} already emitted; to change {fault}, use a filter with `send.live`, or "
                f"wait with `await send(request)`",
                plugin=layer.plugin,
                response=response,
            )
        await gate.rest(response)

    def _failure(self, layer: Layer, error: BaseException, send: Send[In, Out]) -> PluginError:
        last: object = send.last
        return PluginError(
            f"{layer} failed in its {layer.hook} hook: {_explained(error)}",
            plugin=layer.plugin,
            response=last if isinstance(last, Response) else None,
        )


def _without_reasoning(response: Response, *, bare: bool = False) -> Response:
    """Return what passes a layer that holds the text back and knows of nothing else."""
    return response.replace(reasoning="", annotations=(), _bare=bare)


def _explained(error: BaseException) -> str:
    """Return the message of an error in a hook, written for the author of the plugin."""
    if isinstance(error, Misuse):
        return str(error)
    if isinstance(error, FrozenInstanceError):
        return (
            f"it tried to change an argument ({error}); requests, responses and messages are "
            f"read-only: return a copy, as in `request.replace(model=…)`"
        )
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if in_sync() and needs_loop(error):
        message += (
            "; in the sync API a hook can await only send, personakit.io and personakit.sleep: "
            "use these, or call arun() or astream()"
        )
    return message
