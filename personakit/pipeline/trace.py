"""What each layer of a run did, for `personakit run --trace` and for code that asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from personakit.messages import Request, Response, ToolCall, ToolResult

Way = Literal["passed", "live", "held", "answered", "failed", "skipped"]


@dataclass(slots=True, eq=False)
class Step:
    """What one layer did in one call: a plugin's hook, or at the end the model or a tool.

    Attributes:
        plugin: The plugin's name; empty for the model and for a tool itself.
        hook: ``chat`` or ``tool``.
        depth: How many layers stand around it.
        request: What it was given.
        sent: What it passed on: one for each time that it sent.
        received: What came back last; None when nothing did.
        response: What it gave; None when it failed.
        way: passed (it saw the request, and no response), live (text flowed through it), held (it
            waited for the whole answer), answered (it answered by itself), failed, or skipped (it
            failed and was passed over).
        seconds: The time that it took itself, without the layers inside it.
        error: What it, or something inside it, raised.
        attempts: Of the model: how often the request was sent; more than once when the HTTP client
            had to try again.
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

    def leave(self) -> None:
        """Stop the clock: what follows is not the layer's own time."""
        self.seconds += time.perf_counter() - self._since

    def enter(self) -> None:
        """Start the clock again."""
        self._since = time.perf_counter()

    def sends(self, request: Request | ToolCall, *, live: bool) -> None:
        """Note that the layer passed something on."""
        self.sent.append(request)
        self.way = "live" if live else "held"

    def request_diff(self) -> str:
        """Return how what it passed on last differs from what it was given; empty if not."""
        return _diff(self.request, self.sent[-1]) if self.sent else ""

    def response_diff(self) -> str:
        """Return how what it gave differs from what it received; empty if not."""
        if self.received is None or self.response is None:
            return ""
        return _diff(self.received, self.response)


@dataclass(slots=True, eq=False)
class Trace:
    """Collects what the layers of a run did: pass a new one as ``trace=`` and read it afterwards.

    It is filled when the run fails, too.

    Attributes:
        steps: One for each layer and call, in the order in which they were entered.
    """

    steps: list[Step] = field(default_factory=list)

    def begin(self, plugin: str, hook: str, depth: int, request: Request | ToolCall) -> Step:
        """Note that a layer is entered."""
        step = Step(plugin, hook, depth, request)
        self.steps.append(step)
        return step


def _diff(old: Any, new: Any) -> str:
    if old == new:
        return ""
    # What writes a diff is loaded where one is asked for: every run imports this module.
    from personakit.codec import diffable, difference  # noqa: PLC0415

    return difference(diffable(old), diffable(new), ("before", "after"))
