"""The chain: layers of coroutines around a call.

It is written once, as coroutines; `drivers` steps them in the sync and in the async API.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Generic, TypeVar

from personakit.base import Emit, TextBuffer, in_sync
from personakit.errors import BackendError, Blocked, PluginError, StreamStarted, Timeout
from personakit.hookspecs import Filter
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.pipeline.drivers import BlockingAwait
from personakit.pipeline.trace import Step, Trace

In = TypeVar("In", Request, ToolCall)
Out = TypeVar("Out", Response, ToolResult)


@dataclass(frozen=True, slots=True)
class Layer:
    """One plugin's hook in a chain.

    Attributes:
        plugin: The plugin's name.
        hook: ``chat`` or ``tool``.
        function: The bound function.
        wants: The arguments that it names, of request or call, send and persona.
        skip: True to go on without it when it fails before anything was sent.
        origin: The plugin as an error message names it.
    """

    plugin: str
    hook: str
    function: Callable[..., Any]
    wants: frozenset[str]
    skip: bool = False
    origin: str = ""

    def __str__(self) -> str:
        return self.origin or f"plugin {self.plugin!r}"


class StreamGate:
    """Where the text of one layer goes out; it knows what has gone.

    Where the caller wants the whole answer nothing goes out, but what would have is held against
    the layer's response all the same: a plugin that is wrong is wrong in every mode.
    """

    __slots__ = ("_emit", "_out", "busy")

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self._out = TextBuffer()
        self.busy = False

    @property
    def live(self) -> bool:
        """Whether the caller streams."""
        return self._emit is not None

    @property
    def started(self) -> bool:
        """Whether text has gone out."""
        return self.live and bool(self.out)

    @property
    def out(self) -> str:
        """What has gone out."""
        return self._out.text

    @out.setter
    def out(self, text: str) -> None:
        self._out = TextBuffer()
        self._out.add(text)

    async def emit(self, text: str) -> None:
        """Let text out."""
        if text:
            self._out.add(text)
            if self._emit is not None:
                await self._emit(text)


class Send(Generic[In, Out]):
    """What a layer calls to pass a request or a tool call on."""

    __slots__ = (
        "_chain", "_gate", "_next", "_request",
        "emitted", "errors", "last", "opened", "pending", "step",
    )  # fmt: skip

    def __init__(self, chain: Chain[In, Out], index: int, gate: StreamGate, request: In) -> None:
        self._chain: Chain[In, Out] = chain
        self._next = index + 1
        self._gate = gate
        self._request: In = request
        self.step: Step | None = None
        self.last: Out | None = None
        self.errors: list[BaseException] = []
        self.opened = 0
        self.emitted = False
        self.pending: list[Coroutine[Any, Any, Out]] = []

    def __call__(self, request: In) -> Awaitable[Out]:
        """Pass on, waiting for the whole answer."""
        return self._later(self._pass(request, None, live=False))

    @property
    def started(self) -> bool:
        """Whether text of the layer has gone out."""
        return self._gate.started

    async def emit(self, text: str) -> None:
        """Let text of the layer's own go out."""
        if not isinstance(text, str):
            raise Misuse(f"it called send.emit() with {type(text).__name__}, not a text")
        if self._gate.busy:
            raise Misuse("it called send.emit() while send.live() lets text flow")
        self.emitted = self.emitted or bool(text)
        await self._gate.emit(text)

    def run(self, persona: Any, prompt: str | None = None, **options: Any) -> Awaitable[Response]:
        """Run another persona."""
        layer = self._chain.layers[self._next - 1]
        return self._nested(self._chain.run_nested(layer, self._request, persona, prompt, options))

    async def _nested(self, running: Awaitable[Response]) -> Response:
        try:
            return await running
        except BaseException as error:
            self.errors.append(error)
            raise

    def live(self, request: In, filter: Filter | None = None) -> Awaitable[Out]:  # noqa: A002
        """Pass on, letting text flow."""
        return self._later(self._flow(request, filter))

    def _later(self, made: Coroutine[Any, Any, Out]) -> Awaitable[Out]:
        self.pending.append(made)
        return made

    async def _flow(self, request: In, filter: Filter | None) -> Out:  # noqa: A002
        gate = self._gate
        if filter is None:
            response = await self._pass(request, gate.emit if gate.live else None, live=True)
            if isinstance(response, Response):
                gate.out = response.text
            return response

        async def through(text: str) -> None:
            try:
                out = _text(filter.feed(text))
            except Exception as error:
                raise FilterFailed(self, error) from error
            await gate.emit(out)

        try:
            response = await self._pass(request, through if gate.live else None, live=True)
        except FilterFailed as failed:
            if failed.send is not self:
                raise
            failure: Exception = failed.error
        else:
            assert isinstance(response, Response)
            if gate.live:
                await gate.emit(_text(filter.flush()))
                text = gate.out
            else:
                text = gate.out = _text(filter.feed(response.text)) + _text(filter.flush())
            self.last = response.replace(text=text)
            return self.last
        raise failure

    async def _pass(self, request: In, emit: Emit | None, *, live: bool) -> Out:
        layer = self._chain.layers[self._next - 1]
        kind = self._chain.takes
        if not isinstance(request, kind):
            raise Misuse(f"send() takes a {kind.__name__}, not {type(request).__name__}")
        if self._gate.started or self._gate.busy or self.emitted:
            started = StreamStarted(
                f"{layer} sent again in its {layer.hook} hook after text had gone out; to be "
                f"able to, wait for the whole answer: `await send(request)` instead of "
                f"`send.live`, and no `send.emit` before it"
            )
            self.errors.append(started)
            raise started
        self.opened += 1
        self._gate.out = ""
        self._gate.busy = emit is not None
        if self.step is not None:
            self.step.sends(request, live=live)
            self.step.leave()
        try:
            self.last = await self._chain.call(request, emit, self._next)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self._gate.busy = False
            if self.step is not None:
                self.step.enter()
                self.step.received = self.last
        return self.last

    def close(self) -> bool:
        """Drop what was made and never awaited; tell whether there was any."""
        state = inspect.getcoroutinestate
        waiting = [made for made in self.pending if state(made) == inspect.CORO_CREATED]
        for made in waiting:
            made.close()
        return bool(waiting)


class FilterFailed(BaseException):
    """Carries a filter's failure out to its own layer.

    It is no Exception, so nobody on the way takes it for a failure of the upstream.
    """

    def __init__(self, send: object, error: Exception) -> None:
        super().__init__()
        self.send = send
        self.error = error


class Misuse(TypeError):
    """A hook broke its contract; the message begins with what it did."""


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise Misuse(f"its filter returned {type(found).__name__}, not a text")
    return found


@dataclass(frozen=True, slots=True)
class Chain(Generic[In, Out]):
    """Layers around an end.

    Attributes:
        layers: The plugins' hooks, first = outermost.
        end: What the innermost layer sends to: the model or the tool.
        persona: What hooks get as `persona`.
        takes: `Request` or `ToolCall`.
        gives: `Response` or `ToolResult`.
        skipped: Told of a layer that failed and was passed over.
        run_nested: Runs another persona for a layer; called with the layer, the request that it was
            given, and the arguments of its `send.run`.
        trace: Collects what the layers do; None for nobody who asks.
    """

    layers: tuple[Layer, ...]
    end: Callable[[In, Emit | None], Awaitable[Out]]
    persona: Any
    takes: type[In]
    gives: type[Out]
    skipped: Callable[[Layer, BaseException], Awaitable[None]]
    run_nested: Callable[..., Awaitable[Response]]
    trace: Trace | None = None

    async def call(self, request: In, emit: Emit | None = None, index: int = 0) -> Out:
        """Run the layers from `index` on; text goes out through `emit` as it may."""
        if index == len(self.layers):
            if emit is None and self.trace is None:
                return await self.end(request, None)
            return await self._ended(request, emit)
        layer, gate = self.layers[index], StreamGate(emit)
        send = Send(self, index, gate, request)
        if self.trace is not None:
            send.step = self.trace.begin(layer.plugin, layer.hook, index, request)
        result: In | Out = request
        try:
            result = await self._hook(layer, request, send)
        # What a hook does to end the process ends only its run.
        except (Exception, SystemExit) as error:
            send.close()
            self._left(send, error=error, skipped=layer.skip and not send.opened)
            if isinstance(error, Blocked | Timeout) or any(error is known for known in send.errors):
                raise
            if not layer.skip or send.opened:
                raise self._failure(layer, error, send) from error
            await self.skipped(layer, error)
        except BaseException:
            send.close()
            self._left(send, ended=True)
            raise
        if isinstance(result, self.takes):
            self._left(send, passed=result)
            return await self.call(result, emit, index + 1)
        assert isinstance(result, self.gives)
        self._left(send, given=result)
        if isinstance(result, Response):
            await self._rest(layer, result, gate)
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
        """Note how a layer was left, where somebody asks."""
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
            hook = "chat" if self.takes is Request else "tool"
            step = self.trace.begin("", hook, len(self.layers), request)
        gate = StreamGate(emit)
        try:
            response = await self.end(request, None if emit is None else gate.emit)
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
            await gate.emit(answer.text.removeprefix(gate.out))
        return response

    async def _hook(self, layer: Layer, request: In, send: Send[In, Out]) -> In | Out:
        """Call a layer's hook and check what it returns."""
        values = {"request": request, "call": request, "send": send, "persona": self.persona}
        result = layer.function(**{name: values[name] for name in layer.wants})
        if inspect.isawaitable(result):
            result = await result
        if send.close():
            raise Misuse("it called send(...) without awaiting it; write `await send(...)`")
        if result is None:
            if send.last is None and send.errors:
                raise Misuse(
                    "it returned nothing although send() had failed; return a response or raise"
                ) from send.errors[-1]
            return request if send.last is None else send.last
        if isinstance(result, self.takes) and send.opened:
            name = self.takes.__name__
            raise Misuse(f"it returned a {name} after it had sent one; return the response")
        if not isinstance(result, self.takes | self.gives):
            raise Misuse(
                f"it returned {type(result).__name__}; a {layer.hook} hook returns None, "
                f"a {self.takes.__name__} or a {self.gives.__name__}"
            )
        return result

    async def _rest(self, layer: Layer, response: Response, gate: StreamGate) -> None:
        """Let out what has not gone out yet; the text is final from here on."""
        if not response.text.startswith(gate.out):
            raise PluginError(
                f"{layer} returned other text from its {layer.hook} hook than had gone out "
                f"through send.live; change text with a filter, or wait with `await send(request)`",
                plugin=layer.plugin,
                response=response,
            )
        await gate.emit(response.text[len(gate.out) :])

    def _failure(self, layer: Layer, error: BaseException, send: Send[In, Out]) -> PluginError:
        last: object = send.last
        return PluginError(
            f"{layer} failed in its {layer.hook} hook: {_explained(error)}",
            plugin=layer.plugin,
            response=last if isinstance(last, Response) else None,
        )


def _explained(error: BaseException) -> str:
    """Return what went wrong in somebody's function, in words for its author."""
    if isinstance(error, Misuse):
        return str(error)
    if isinstance(error, FrozenInstanceError):
        return (
            f"it tried to change what it was given ({error}); requests, responses and messages are "
            f"read-only: return a copy, as in `request.replace(model=…)`"
        )
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if in_sync() and _needs_loop(error):
        message += (
            "; under the sync API nothing can be awaited but send, personakit.io and "
            "personakit.sleep: use these, or call arun() or astream()"
        )
    return message


def _needs_loop(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, BlockingAwait) or (
        isinstance(error, RuntimeError) and ("event loop" in text or "async" in text)
    )
