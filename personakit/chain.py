"""The chain: layers of coroutines around a call, and the drivers that step them.

The chain is written once, as coroutines. The sync API steps them with `send(None)`, without an event
loop or a thread; the async API awaits them. Text on its way out is put into the run's outbox,
and a marker is awaited that hands control to the driver, which yields the text to the caller.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from personakit.errors import Blocked, PersonakitError, PluginError, StreamStarted
from personakit.hookspecs import Filter
from personakit.messages import Request, Response, ToolCall, ToolResult

In = TypeVar("In", Request, ToolCall)
Out = TypeVar("Out", Response, ToolResult)
P = ParamSpec("P")
T = TypeVar("T")

Emit = Callable[[str], Awaitable[None]]
_in_sync: ContextVar[bool] = ContextVar("personakit_in_sync", default=False)


def in_sync() -> bool:
    """Tell whether the code runs under the sync API, where nothing may really wait."""
    return _in_sync.get()


def io(
    sync: Callable[P, T], async_: Callable[P, Awaitable[T]] | None = None
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return one awaitable function out of a blocking and an async one.

    Args:
        sync: Called under the sync API.
        async_: Awaited under the async API; without it, `sync` runs in a thread there.
    """

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _in_sync.get():
            return sync(*args, **kwargs)
        if async_ is not None:
            return await async_(*args, **kwargs)
        return await asyncio.to_thread(sync, *args, **kwargs)

    return call


async def sleep(seconds: float) -> None:
    """Wait, in every mode."""
    await io(time.sleep, asyncio.sleep)(seconds)


@dataclass(frozen=True, slots=True)
class Layer:
    """One plugin's hook in a chain.

    Attributes:
        plugin: The plugin's name.
        hook: ``chat`` or ``tool``.
        function: The bound function.
        wants: The arguments that it names, of request or call, send and persona.
        skip: True to go on without it when it fails before anything was sent.
    """

    plugin: str
    hook: str
    function: Callable[..., Any]
    wants: frozenset[str]
    skip: bool = False


class _Gate:
    """Where the text of one layer goes out; it knows what has gone."""

    __slots__ = ("_emit", "busy", "out")

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self.out = ""
        self.busy = False

    @property
    def live(self) -> bool:
        return self._emit is not None

    async def emit(self, text: str) -> None:
        if text and self._emit is not None:
            self.out += text
            await self._emit(text)


class _Send(Generic[In, Out]):
    """What a layer calls to pass a request or a tool call on."""

    __slots__ = ("_chain", "_gate", "_next", "errors", "last", "opened", "pending")

    def __init__(self, chain: Chain[In, Out], index: int, gate: _Gate) -> None:
        self._chain, self._next, self._gate = chain, index + 1, gate
        self.last: Out | None = None
        self.errors: list[BaseException] = []
        self.opened = 0
        self.pending: list[Coroutine[Any, Any, Out]] = []

    def __call__(self, request: In) -> Awaitable[Out]:
        return self._later(self._pass(request, None))

    def live(self, request: In, filter: Filter | None = None) -> Awaitable[Out]:  # noqa: A002
        return self._later(self._flow(request, filter))

    def _later(self, made: Coroutine[Any, Any, Out]) -> Awaitable[Out]:
        self.pending.append(made)
        return made

    async def _flow(self, request: In, filter: Filter | None) -> Out:  # noqa: A002
        gate = self._gate
        if filter is None:
            return await self._pass(request, gate.emit if gate.live else None)

        async def through(text: str) -> None:
            await gate.emit(filter.feed(text))

        response = await self._pass(request, through if gate.live else None)
        assert isinstance(response, Response)
        if gate.live:
            await gate.emit(filter.flush())
            text = gate.out
        else:
            text = filter.feed(response.text) + filter.flush()
        self.last = response.replace(text=text)
        return self.last

    async def _pass(self, request: In, emit: Emit | None) -> Out:
        layer = self._chain.layers[self._next - 1]
        kind = self._chain.takes
        if not isinstance(request, kind):
            raise _Misuse(f"send() takes a {kind.__name__}, not {type(request).__name__}")
        if self._gate.out or self._gate.busy:
            started = StreamStarted(
                f"plugin {layer.plugin!r} sent again after text had gone out; to be able to, "
                f"wait for the whole answer: `await send(request)` instead of `send.live`"
            )
            self.errors.append(started)
            raise started
        self.opened += 1
        self._gate.busy = emit is not None
        try:
            self.last = await self._chain.call(request, emit, self._next)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self._gate.busy = False
        return self.last

    def close(self) -> bool:
        """Drop what was made and never awaited; tell whether there was any."""
        state = inspect.getcoroutinestate
        waiting = [made for made in self.pending if state(made) == inspect.CORO_CREATED]
        for made in waiting:
            made.close()
        return bool(waiting)


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
    """

    layers: tuple[Layer, ...]
    end: Callable[[In, Emit | None], Awaitable[Out]]
    persona: Any
    takes: type[In]
    gives: type[Out]
    skipped: Callable[[Layer, Exception], Awaitable[None]]

    async def call(self, request: In, emit: Emit | None = None, index: int = 0) -> Out:
        """Run the layers from `index` on; text goes out through `emit` as it may."""
        if index == len(self.layers):
            return await self._ended(request, emit)
        layer, gate = self.layers[index], _Gate(emit)
        send = _Send(self, index, gate)
        result: In | Out = request
        try:
            result = await self._hook(layer, request, send)
        except Exception as error:
            send.close()
            if isinstance(error, Blocked) or any(error is known for known in send.errors):
                raise
            if not layer.skip or send.opened:
                raise self._failure(layer, error, send) from error
            await self.skipped(layer, error)
        if isinstance(result, self.takes):
            return await self.call(result, emit, index + 1)
        assert isinstance(result, self.gives)
        if emit is not None and isinstance(result, Response):
            await self._rest(layer, result, gate)
        return result

    async def _ended(self, request: In, emit: Emit | None) -> Out:
        if emit is None:
            return await self.end(request, None)
        gate = _Gate(emit)
        response = await self.end(request, gate.emit)
        if isinstance(response, Response) and response.text != gate.out:
            await gate.emit(response.text.removeprefix(gate.out))
        return response

    async def _hook(self, layer: Layer, request: In, send: _Send[In, Out]) -> In | Out:
        """Call a layer's hook and check what it returns."""
        values = {"request": request, "call": request, "send": send, "persona": self.persona}
        result = layer.function(**{name: values[name] for name in layer.wants})
        if inspect.isawaitable(result):
            result = await result
        if send.close():
            raise _Misuse("it called send(...) without awaiting it; write `await send(...)`")
        if result is None:
            if send.last is None and send.errors:
                raise _Misuse(
                    "it returned nothing although send() had failed; return a response or raise"
                ) from send.errors[-1]
            return request if send.last is None else send.last
        if isinstance(result, self.takes) and send.opened:
            name = self.takes.__name__
            raise _Misuse(f"it returned a {name} after it had sent one; return the response")
        if not isinstance(result, self.takes | self.gives):
            raise _Misuse(
                f"it returned {type(result).__name__}; a {layer.hook} hook returns None, "
                f"a {self.takes.__name__} or a {self.gives.__name__}"
            )
        return result

    async def _rest(self, layer: Layer, response: Response, gate: _Gate) -> None:
        """Let out what has not gone out yet; the text is final from here on."""
        if not response.text.startswith(gate.out):
            raise PluginError(
                f"plugin {layer.plugin!r} returned other text than had gone out through "
                f"send.live; change text with a filter, or wait with `await send(request)`",
                plugin=layer.plugin,
                response=response,
            )
        await gate.emit(response.text[len(gate.out) :])

    def _failure(self, layer: Layer, error: Exception, send: _Send[In, Out]) -> PluginError:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, _Misuse):
            message = str(error)
        if in_sync() and _needs_loop(error):
            message += (
                "; under the sync API nothing can be awaited but send, personakit.io and "
                "personakit.sleep: use these, or call arun() or astream()"
            )
        return PluginError(
            f"plugin {layer.plugin!r} failed in its {layer.hook} hook: {message}",
            plugin=layer.plugin,
            response=send.last if isinstance(send.last, Response) else None,
        )


class _Misuse(TypeError):
    """A hook broke its contract; the message begins with what it did."""


class _BlockingAwait(RuntimeError):
    """Thrown into a plugin that awaits something real under the sync API."""


def _needs_loop(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, _BlockingAwait) or (
        isinstance(error, RuntimeError) and ("event loop" in text or "async" in text)
    )


class _Mark:
    """Awaited to hand control to the driver, which empties the outbox."""

    def __await__(self) -> Generator[_Mark, None, None]:
        yield self


class _Passed:
    """Hands what an inner await yields to the loop that is running."""

    __slots__ = ("_item",)

    def __init__(self, item: Any) -> None:
        self._item = item

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._item)


@dataclass(slots=True)
class Run(Generic[T]):
    """One call that is under way: a coroutine, its context, and the text waiting to go out."""

    start: Callable[[Emit], Coroutine[Any, Any, T]]
    outbox: list[str] = field(default_factory=list)
    result: T | None = None
    context: Context = field(default_factory=copy_context)
    _stepping: bool = False

    async def emit(self, text: str) -> None:
        """Put text into the outbox and let the driver have it.

        From another task (asyncio.wait_for makes one before Python 3.12) the driver
        cannot be reached; the text goes out when it is next in control.
        """
        self.outbox.append(text)
        if self._stepping:
            await _Mark()

    def step(self, action: Callable[..., Any], *args: Any) -> Any:
        """Run the coroutine to its next await."""
        self._stepping = True
        try:
            return self.context.run(action, *args)
        finally:
            self._stepping = False

    def drain(self) -> Iterator[str]:
        """Yield and forget what waits to go out."""
        while self.outbox:
            yield self.outbox.pop(0)


def drive(run: Run[T]) -> Iterator[str]:
    """Step a run to its end without an event loop, yielding the text that goes out."""
    run.context.run(_in_sync.set, True)
    coroutine = run.start(run.emit)
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            try:
                item = run.step(action, argument)
            except StopIteration as stop:
                run.result = stop.value
                yield from run.drain()
                return
            except Exception:
                yield from run.drain()
                raise
            action, argument = coroutine.send, None
            if isinstance(item, _Mark):
                yield from run.drain()
            else:
                action = coroutine.throw
                argument = _BlockingAwait(f"it awaited {item!r}")
    finally:
        run.context.run(coroutine.close)


async def adrive(run: Run[T]) -> AsyncIterator[str]:
    """Step a run to its end in the running event loop, yielding the text that goes out."""
    run.context.run(_in_sync.set, False)
    coroutine = run.start(run.emit)
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            try:
                item = run.step(action, argument)
            except StopIteration as stop:
                run.result = stop.value
                for text in run.drain():
                    yield text
                return
            except Exception:
                for text in run.drain():
                    yield text
                raise
            action, argument = coroutine.send, None
            if isinstance(item, _Mark):
                for text in run.drain():
                    yield text
                continue
            try:
                argument = await _Passed(item)
            except BaseException as error:
                action, argument = coroutine.throw, error
    finally:
        await _unwind(run, coroutine)


async def _unwind(run: Run[T], coroutine: Coroutine[Any, Any, T]) -> None:
    """End an abandoned run: unlike close(), this lets its `finally` blocks await."""
    if inspect.getcoroutinestate(coroutine) in (inspect.CORO_CLOSED, inspect.CORO_CREATED):
        coroutine.close()
        return
    action: Callable[..., Any] = coroutine.throw
    argument: Any = GeneratorExit()
    while True:
        try:
            item = run.step(action, argument)
        except (StopIteration, GeneratorExit):
            return
        action, argument = coroutine.send, None
        if not isinstance(item, _Mark):
            try:
                argument = await _Passed(item)
            except BaseException as error:
                action, argument = coroutine.throw, error


class Stream(Generic[T]):
    """The text of a run while it arrives: an iterator, or an async iterator if `astream` made it.

    Closing it, leaving its `with` block or dropping it ends the request.
    """

    def __init__(self, run: Run[T], *, is_async: bool) -> None:
        self._run = run
        self._items: Any = adrive(run) if is_async else drive(run)
        self._is_async = is_async
        self.text = ""
        """What has gone out so far."""

    @property
    def response(self) -> T:
        """The whole response, once the stream has ended.

        Raises:
            PersonakitError: It has not.
        """
        if self._run.result is None:
            raise PersonakitError("the stream has not ended; read it to its end first")
        return self._run.result

    def __iter__(self) -> Stream[T]:
        self._check(False)
        return self

    def __next__(self) -> str:
        self._check(False)
        text: str = next(self._items)
        self.text += text
        return text

    def __aiter__(self) -> Stream[T]:
        self._check(True)
        return self

    async def __anext__(self) -> str:
        self._check(True)
        text: str = await anext(self._items)
        self.text += text
        return text

    def _check(self, is_async: bool) -> None:
        if is_async != self._is_async:
            made, way = ("astream", "async for") if self._is_async else ("stream", "for")
            raise TypeError(f"this stream was made by {made}(): read it with `{way}`")

    def close(self) -> None:
        """End a stream made by `stream`."""
        self._check(False)
        self._items.close()

    async def aclose(self) -> None:
        """End a stream made by `astream`."""
        self._check(True)
        await self._items.aclose()

    def __enter__(self) -> Stream[T]:
        self._check(False)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Stream[T]:
        self._check(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

