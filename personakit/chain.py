"""The chain: layers of coroutines around a call.

It is written once, as coroutines; `drive` steps them in the sync and in the async API.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Generic

from personakit.base import Emit, in_sync
from personakit.drive import BlockingAwait
from personakit.errors import BackendError, Blocked, PluginError, Timeout
from personakit.messages import Request, Response
from personakit.sending import Gate, In, Layer, Misuse, Out, Send
from personakit.trace import Trace

__all__ = ["Chain", "Layer", "explain"]


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
        aside: Runs another persona for a layer; called with the layer, the request that it was
            given, and the arguments of its `send.run`.
        trace: Collects what the layers do; None for nobody who asks.
    """

    layers: tuple[Layer, ...]
    end: Callable[[In, Emit | None], Awaitable[Out]]
    persona: Any
    takes: type[In]
    gives: type[Out]
    skipped: Callable[[Layer, BaseException], Awaitable[None]]
    aside: Callable[..., Awaitable[Response]]
    trace: Trace | None = None

    async def call(self, request: In, emit: Emit | None = None, index: int = 0) -> Out:
        """Run the layers from `index` on; text goes out through `emit` as it may."""
        if index == len(self.layers):
            if emit is None and self.trace is None:
                return await self.end(request, None)
            return await self._ended(request, emit)
        layer, gate = self.layers[index], Gate(emit)
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
        gate = Gate(emit)
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

    async def _rest(self, layer: Layer, response: Response, gate: Gate) -> None:
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
            f"{layer} failed in its {layer.hook} hook: {explain(error)}",
            plugin=layer.plugin,
            response=last if isinstance(last, Response) else None,
        )


def explain(error: BaseException) -> str:
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
