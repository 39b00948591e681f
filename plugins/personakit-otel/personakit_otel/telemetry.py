"""The spans and metrics themselves: all that touches OpenTelemetry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

from personakit_otel.attributes import Attributes

SCOPE, VERSION = "personakit_otel", "0.1.0"
# The bucket boundaries of the conventions: 10 ms to 82 s, 1 to 67 million tokens.
SECONDS = [0.01 * 2**power for power in range(14)]
TOKENS = [4**power for power in range(14)]
# What is thrown into a run when its caller leaves.
LEFT = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)
# Attributes with few values, which may tell the series of a metric apart.
DIMENSIONS = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "error.type",
    "personakit.abandoned",
}


class Operation:
    """A call that is under way, with its span.

    Attributes:
        attributes: What was recorded of it.
        context: OpenTelemetry's context in which its span is the current one.
        recording: Whether anybody gets to see the span.
        first_text: Seconds until the first text of a stream; None without one.
        seconds: How long it took; None until it ends.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self._started = time.perf_counter()
        self.attributes: Attributes = {}
        self.context = trace.set_span_in_context(span)
        self.recording = span.is_recording()
        self.first_text: float | None = None
        self.seconds: float | None = None

    def set(self, attributes: Attributes) -> None:
        """Record more of it."""
        self.attributes |= attributes
        self._span.set_attributes(attributes)

    def streamed(self, first_text: float) -> None:
        """Record that text flowed, the first at a time of `time.perf_counter`."""
        self.first_text = first_text - self._started
        self.set({"gen_ai.request.stream": True})
        self.set({"gen_ai.response.time_to_first_chunk": self.first_text})

    def failed(self, kind: str, message: str | None) -> None:
        """Record that it failed."""
        self.set({"error.type": kind})
        self._span.set_status(StatusCode.ERROR, message)

    def end(self) -> None:
        """End the span."""
        self.seconds = time.perf_counter() - self._started
        self._span.end()


class Telemetry:
    """Makes the spans and records the metrics.

    Args:
        tracers: Makes the spans; None for the global provider, also one that is set later.
        meters: Makes the metrics; None for the global provider, also one that is set later.
        quotes: Whether the status of a span may hold the message of an error.
    """

    def __init__(
        self, tracers: TracerProvider | None, meters: MeterProvider | None, *, quotes: bool
    ) -> None:
        self._quotes = quotes
        self._tracer = trace.get_tracer(SCOPE, VERSION, tracers)
        meter = metrics.get_meter(SCOPE, VERSION, meters)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Time that a model call took.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._first_text = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time from a streamed request to its first text.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens that a model call took, input and output apart.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    @contextmanager
    def chat(self, attributes: Attributes) -> Iterator[Operation]:
        """Record a model call: its span and, at its end, the metrics."""
        name = f"chat {attributes['gen_ai.request.model']}"
        call = Operation(self._tracer.start_span(name, None, SpanKind.CLIENT, attributes))
        call.attributes |= attributes
        try:
            with self._within(call):
                yield call
        finally:
            if call.seconds is not None:
                self._measure(call, call.seconds)

    @contextmanager
    def tool(self, attributes: Attributes) -> Iterator[Operation]:
        """Record a tool call: its span."""
        name = f"execute_tool {attributes['gen_ai.tool.name']}"
        call = Operation(self._tracer.start_span(name, None, SpanKind.INTERNAL, attributes))
        with self._within(call):
            yield call

    @contextmanager
    def _within(self, call: Operation) -> Iterator[None]:
        """Make a call's span the current one, and end it.

        The former context is put back by value: a token of `context.attach` is good only in the
        `contextvars.Context` that made it, and a stream that is dropped may be closed in another
        one, where there is nothing to put back.
        """
        before = context.get_current()
        context.attach(call.context)
        try:
            yield
            call.end()
        except LEFT:
            call.set({"personakit.abandoned": True})
            call.end()
            raise
        except Exception as error:
            call.failed(type(error).__qualname__, str(error) if self._quotes else None)
            call.end()
            raise
        # A dry run leaves by an exception of its own; its span never ends, so nobody sees it.
        finally:
            if context.get_current() is call.context:
                context.attach(before)

    def _measure(self, call: Operation, seconds: float) -> None:
        """Record the metrics of a model call that has ended."""
        known = {name: value for name, value in call.attributes.items() if name in DIMENSIONS}
        self._duration.record(seconds, known, call.context)
        if call.first_text is not None:
            self._first_text.record(call.first_text, known, call.context)
        for kind in ("input", "output"):
            if isinstance(count := call.attributes.get(f"gen_ai.usage.{kind}_tokens"), int):
                self._tokens.record(count, {**known, "gen_ai.token.type": kind}, call.context)
