"""Spans and metrics: the only module that imports OpenTelemetry at run time."""

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
# Raised inside a run when its caller cancels it or stops reading.
LEFT = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)
# Attributes with few values, which are safe as dimensions of a metric.
DIMENSIONS = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "error.type",
    "personakit.abandoned",
}


class Operation:
    """A call in progress, with its span.

    Attributes:
        attributes: The recorded attributes.
        context: The OpenTelemetry context in which the span is the current one.
        recording: Whether the span is recorded.
        first_text: Seconds until the first text of a stream; None if no text was streamed.
        seconds: The duration; None until the call ends.
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
        """Add attributes."""
        self.attributes |= attributes
        self._span.set_attributes(attributes)

    def streamed(self, first_text: float) -> None:
        """Record that text was streamed, first at the `time.perf_counter` value `first_text`."""
        self.first_text = first_text - self._started
        self.set({"gen_ai.request.stream": True})
        self.set({"gen_ai.response.time_to_first_chunk": self.first_text})

    def failed(self, kind: str, message: str | None) -> None:
        """Set the error type and the span's status."""
        self.set({"error.type": kind})
        self._span.set_status(StatusCode.ERROR, message)

    def end(self) -> None:
        """End the span."""
        self.seconds = time.perf_counter() - self._started
        self._span.end()


class Telemetry:
    """A recorder of spans and metrics.

    Args:
        tracers: The provider of spans; None for the global one, even if it is set later.
        meters: The provider of metrics; None for the global one, even if it is set later.
        quotes: Whether the status of a span may contain an error message.
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
        """Record a model call as a span and, at its end, the metrics."""
        operation, model = (
            attributes[f"gen_ai.{key}"] for key in ("operation.name", "request.model")
        )
        name = f"{operation} {model}"
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
        """Record a tool call as a span."""
        name = f"execute_tool {attributes['gen_ai.tool.name']}"
        call = Operation(self._tracer.start_span(name, None, SpanKind.INTERNAL, attributes))
        with self._within(call):
            yield call

    @contextmanager
    def _within(self, call: Operation) -> Iterator[None]:
        """Make a call's span the current one, and end it.

        The previous context is restored by value: a token of `context.attach` is valid only in the
        `contextvars.Context` that created it, and an abandoned stream may be closed in another one,
        where nothing must be restored.
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
        # A dry run exits with a BaseException: its span never ends, so it is not exported.
        finally:
            if context.get_current() is call.context:
                context.attach(before)

    def _measure(self, call: Operation, seconds: float) -> None:
        """Record the metrics of a model call that has ended."""
        dimensions = {name: value for name, value in call.attributes.items() if name in DIMENSIONS}
        self._duration.record(seconds, dimensions, call.context)
        if call.first_text is not None:
            self._first_text.record(call.first_text, dimensions, call.context)
        for kind in ("input", "output"):
            if isinstance(count := call.attributes.get(f"gen_ai.usage.{kind}_tokens"), int):
                kinds = {**dimensions, "gen_ai.token.type": kind}
                self._tokens.record(count, kinds, call.context)
