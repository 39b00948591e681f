"""The chain: layers of coroutines around a model or tool call.

The sync and the async API share these coroutines; `drivers` steps them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Generic

from personakit.base import Emit, in_sync, scope
from personakit.errors import (
    BackendError,
    Blocked,
    ConfigError,
    InvalidAnswer,
    JournalError,
    PluginError,
    ReplayMismatch,
    Timeout,
)
from personakit.frozen import quick_init
from personakit.messages import Response
from personakit.pipeline.gate import Misuse, StreamGate
from personakit.pipeline.inside import Inside, Layer
from personakit.pipeline.modes.drivers import needs_loop
from personakit.pipeline.send import In, Out, Send, without_reasoning
from personakit.pipeline.trace import Trace

_OF_THE_RUN = (Blocked, JournalError, ReplayMismatch, Timeout)
"""Errors that are not those of the plugin in whose hook they are raised."""


@quick_init
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
        sends: The number of layers before those that stand around each request that is sent: what
            they and the model return is recorded. -1 for a chain without a model.
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
    sends: int = -1

    async def call(self, request: In, emit: Emit | None = None, index: int = 0) -> Out:
        """Run the layers from `index` on; streamed text is passed to `emit`."""
        if index == self.sends and scope.get() is not None:
            recorded: Out = await self._recorded(request, emit)
            return recorded
        if index == len(self.layers):
            if (emit is None and self.trace is None) or self.hook == "run":
                return await self.end(request, emit)
            return await self._ended(request, emit)
        layer, gate = self.layers[index], StreamGate(emit, rounds=self.hook == "run")
        send: Send[In, Out] = Send(self, index, gate, request)
        if self.trace is not None:
            send.step = self.trace.begin(layer.plugin, self.hook, self.depth + index, request)
        result: In | Out = request
        try:
            result = await self._hook(layer, request, send)
        # sys.exit() in a hook ends only its run.
        except (Exception, SystemExit) as error:
            send.close()
            self._left(send, error=error, skipped=layer.skip and not send.opened)
            ends = not layer.skip or bool(send.opened)
            if any(error is own for own in send.errors) or _passes(error, layer, ends=ends):
                raise
            if ends:
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

    async def _recorded(self, request: Any, emit: Emit | None) -> Any:
        """Return what the model answers, or has answered before the run was resumed."""
        perform = functools.partial(self.call, request, emit, self.sends)
        books, place = self.inside.books, scope.get()
        response, earlier = await place.recorded("model", request, perform, books, request.model)
        if earlier and self.trace is not None:
            step = self.trace.begin("", self.hook, self.depth + self.sends, request)
            step.response, step.way = response, "replayed"
            step.leave()
        if earlier and emit is not None:
            await StreamGate(emit).rest(response)
        return response

    async def _given(self, layer: Layer, given: Out, gate: StreamGate, send: Send[In, Out]) -> Out:
        """Return what a layer gives, of which everything has been emitted."""
        response: Any = given
        if isinstance(response, Response):
            if gate.hides and (gate.wanted or response.reasoning or response.annotations):
                response = without_reasoning(response, bare=gate.wanted)
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
        if (place := scope.get()) is not None:
            place.layer = layer
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


def _passes(error: BaseException, layer: Layer, *, ends: bool) -> bool:
    """Return whether an error in a hook is raised as it is.

    Args:
        error: The error.
        layer: The layer of the hook.
        ends: Whether errors of the plugin end the run.
    """
    if isinstance(error, _OF_THE_RUN):
        return True
    # Their messages are for the user already, not for the author of the plugin.
    is_plain = isinstance(error, PluginError) and error.plugin == layer.plugin
    return ends and (is_plain or isinstance(error, ConfigError))


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
