"""What a layer of a chain passes on with, and where its text goes out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from personakit.base import Emit, Pieces
from personakit.errors import StreamStarted
from personakit.hookspecs import Filter
from personakit.messages import Request, Response, ToolCall, ToolResult
from personakit.trace import Step

if TYPE_CHECKING:
    from personakit.chain import Chain

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


class Gate:
    """Where the text of one layer goes out; it knows what has gone.

    Where the caller wants the whole answer nothing goes out, but what would have is held against
    the layer's response all the same: a plugin that is wrong is wrong in every mode.
    """

    __slots__ = ("_emit", "_out", "busy")

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self._out = Pieces()
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
        self._out = Pieces()
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

    def __init__(self, chain: Chain[In, Out], index: int, gate: Gate, request: In) -> None:
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
        return self._aside(self._chain.aside(layer, self._request, persona, prompt, options))

    async def _aside(self, running: Awaitable[Response]) -> Response:
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
