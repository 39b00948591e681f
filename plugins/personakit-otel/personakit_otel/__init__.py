"""A personakit plugin that records OpenTelemetry spans and metrics of model and tool calls."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from personakit import (
    Persona,
    Request,
    Response,
    Send,
    SendTool,
    ToolCall,
    ToolResult,
    hookimpl,
)
from personakit_otel.attributes import (
    input_content,
    output_content,
    request_attributes,
    response_attributes,
    tool_attributes,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["OTel"]


@dataclass(eq=False)
class OTel:
    """Spans and metrics of model and tool calls, by OpenTelemetry's GenAI semantic conventions.

    They go to the global providers; use `OTel.using` for other providers.

    Attributes:
        content: Also record messages, the arguments and results of tools, and error messages,
            which may quote them.
    """

    content: bool = False

    every_call = True

    def __post_init__(self) -> None:
        self._record_with(None, None)

    @classmethod
    def using(
        cls,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool = False,
    ) -> Self:
        """Return a plugin that records with the given providers.

        Args:
            tracer_provider: The provider of spans; None for the global one.
            meter_provider: The provider of metrics; None for the global one.
            content: The option `content`.
        """
        plugin = cls(content)
        plugin._record_with(tracer_provider, meter_provider)
        return plugin

    def _record_with(self, tracers: TracerProvider | None, meters: MeterProvider | None) -> None:
        # Importing OpenTelemetry takes 40 ms, which listing the plugins must not cost.
        from personakit_otel.telemetry import Telemetry  # noqa: PLC0415

        self._telemetry = Telemetry(tracers, meters, quotes=self.content)

    @hookimpl
    async def chat(self, request: Request, send: Send, persona: Persona) -> Response:
        """Send the request inside a span; one for embeddings has another name."""
        first = FirstText()
        with self._telemetry.chat(request_attributes(request, persona)) as call:
            if self.content and call.recording:
                call.set(input_content(request))
            try:
                response = await send.live(request, filter=first)
            finally:
                # The filter also sees unstreamed answers; `started` is true only for a stream.
                if send.started:
                    call.streamed(first.at)
            call.set(response_attributes(response))
            if self.content and call.recording:
                call.set(output_content(response))
        return response

    @hookimpl
    async def tool(self, call: ToolCall, send: SendTool, persona: Persona) -> ToolResult:
        """Send the call inside a span."""
        with self._telemetry.tool(tool_attributes(call, persona)) as execution:
            if self.content:
                execution.set({"gen_ai.tool.call.arguments": call.arguments})
            result = await send(call)
            if result.is_error:
                execution.failed("tool_error", result.content if self.content else None)
            if self.content:
                execution.set({"gen_ai.tool.call.result": result.content})
        return result


class FirstText:
    """A filter that passes text through and records the time of the first text."""

    def __init__(self) -> None:
        self.at = 0.0

    def feed(self, text: str) -> str:
        """Return `text` unchanged."""
        self.at = self.at or time.perf_counter()
        return text

    def feed_reasoning(self, text: str) -> str:
        """Return the reasoning unchanged."""
        return text

    def flush(self) -> str:
        """Return an empty text, because `feed` holds nothing back."""
        return ""
