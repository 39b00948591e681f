"""The trace of a run: what each layer did, for `personakit run --trace` and `trace=`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from personakit.base import brief_repr
from personakit.messages import Request, Response, ToolCall, ToolResult

Way = Literal["passed", "live", "held", "answered", "failed", "skipped", "replayed"]


@dataclass(slots=True, eq=False)
class Step:
    """The record of one layer in one call: a plugin's hook, the model or a tool.

    Attributes:
        plugin: The plugin's name; empty for the model or the tool.
        hook: ``run``, ``chat`` or ``tool``.
        depth: The number of layers around it.
        request: The request or tool call it received.
        sent: The requests it passed on, one per `send`.
        received: The last response it received; None if there is none.
        response: The response it returned; None if it failed.
        way: passed (it saw only the request), live (it streamed the text), held (it waited for the
            whole answer), answered (it answered by itself), failed, skipped (it failed and the run
            went on without it), or replayed (its answer is from before the run was resumed).
        seconds: Its own time, without that of the layers inside it.
        error: The exception that it or an inner layer raised.
        attempts: For the model, how often the request was sent: more than once if the HTTP client
            retried.
    """

    plugin: str
    hook: str
    depth: int
    request: Request | ToolCall
    sent: list[Request | ToolCall] = field(default_factory=list)
    received: Response | ToolResult | None = None
    response: Response | ToolResult | None = None
    way: Way = "passed"
    seconds: float = 0.0
    error: BaseException | None = None
    attempts: int = 1
    _since: float = field(default_factory=time.perf_counter, repr=False)

    __repr__ = brief_repr

    def leave(self) -> None:
        """Stop the clock: control leaves the layer."""
        self.seconds += time.perf_counter() - self._since

    def enter(self) -> None:
        """Restart the clock: control is back in the layer."""
        self._since = time.perf_counter()

    def sends(self, request: Request | ToolCall, *, live: bool) -> None:
        """Record a request that the layer passed on."""
        self.sent.append(request)
        self.way = "live" if live else "held"

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parameters that were not sent, because the model does not accept them."""
        sent = getattr(self.response, "request", None)
        if self.plugin or not isinstance(self.request, Request) or not isinstance(sent, Request):
            return ()
        missing = self.request.parameters.keys() - sent.parameters.keys()
        renamed = {"max_tokens"} if "max_completion_tokens" in sent.parameters else set()
        return tuple(sorted(missing - renamed))

    def request_diff(self) -> str:
        """Return the diff between the received and the last sent request; empty if equal."""
        return _diff(self.request, self.sent[-1]) if self.sent else ""

    def response_diff(self) -> str:
        """Return the diff between the received and the returned response; empty if equal."""
        if self.received is None or self.response is None:
            return ""
        return _diff(self.received, self.response)


@dataclass(slots=True, eq=False)
class Trace:
    """A record of what the layers of a run did: pass a new one as ``trace=``.

    It is filled even if the run fails.

    Attributes:
        steps: One step per layer and call, in the order of entry.
    """

    steps: list[Step] = field(default_factory=list)

    __repr__ = brief_repr

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from personakit.display import trace_bundle  # noqa: PLC0415

        return trace_bundle(self)

    def begin(self, plugin: str, hook: str, depth: int, request: Request | ToolCall) -> Step:
        """Record the entry into a layer and return its step."""
        step = Step(plugin, hook, depth, request)
        self.steps.append(step)
        return step


def _diff(old: Any, new: Any) -> str:
    if old is new or old == new:
        return ""
    # Every run imports this module; few need a diff.
    from personakit.codec import diffable, difference  # noqa: PLC0415

    return difference(diffable(old), diffable(new), ("before", "after"))
