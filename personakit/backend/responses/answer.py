"""Parse a response of the Responses API, whole or streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from personakit.backend.answers.answer import Answer
from personakit.backend.answers.checks import array, mapping, string
from personakit.backend.answers.tool_calls import ToolCalls
from personakit.backend.api_errors import reported
from personakit.errors import InvalidAnswer
from personakit.messages import Request
from personakit.providers import Provider

_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
# OpenAI's names of the events, and that of the Open Responses specification.
_THOUGHTS = frozenset(
    {
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning.delta",
    }
)
# Keys of an event without a type that reports an error.
_ERRORS = ("message", "detail", "errors", "error_message")
BETWEEN = "\n\n"
"""What separates the texts of two messages of one response, and two parts of its thoughts."""
_CALL = frozenset({"response.output_item.added", "response.function_call_arguments.delta"})


class ResponsesAnswer(Answer):
    """The parser of one response.

    Text is what the events add; the last event repeats the whole response, from which come the
    calls, the thoughts to send back and the usage. Of a server that leaves its output out there,
    the items that ended count.
    """

    _output: tuple[Any, ...] = ()
    _is_streamed = False
    _texts_in: Any = None  # the item that the last text belongs to
    _thoughts_in: Any = None

    def __init__(self, request: Request, provider: Provider, wire: str) -> None:
        super().__init__(request, provider, wire)
        # The last event has the calls; for a caller who wants pieces, they are read as they arrive.
        self._arriving = ToolCalls(self._grow, request.tools)

    def read(self, data: dict[str, Any]) -> None:
        """Read a whole response."""
        if data.get("object") != "response" and "output" not in data:
            keys = ", ".join(data)[:200]
            raise InvalidAnswer(f"the answer is not a response; its keys are {keys}")
        self._read_items(array(data.get("output")))
        self._read_end(data)

    def read_event(self, data: dict[str, Any], name: str) -> None:
        """Read an event of a stream; those that are not known are ignored."""
        kind = data.get("type") or name
        if kind == "response.output_text.delta":
            self._is_streamed = True
            self._add_text(data.get("delta"), (data.get("output_index"),))
        elif not isinstance(kind, str):
            return
        elif kind in _LAST:
            self._read_last(mapping(data.get("response")), kind)
        elif kind in _THOUGHTS:
            places = ("output_index", "summary_index", "content_index")
            self._add_thoughts(data.get("delta"), (kind, *map(data.get, places)))
        elif kind == "response.refusal.delta":
            self.add_refusal(string(data.get("delta")))
        elif kind == "response.output_item.done":
            self._output = (*self._output, mapping(data.get("item")))
        elif kind in _CALL and self.heard is not None:
            self._hear_call(data)
        elif kind == "error" or (not kind and any(data.get(key) for key in _ERRORS)):
            raise reported(data.get("error") or data)

    def _add_text(self, text: Any, item: Any) -> None:
        """Add a text, after a blank line if it begins another message."""
        if text and item != self._texts_in:
            text = string(text) if self._texts_in is None else BETWEEN + string(text)
            self._texts_in = item
        self.add_text(text)

    def _add_thoughts(self, text: Any, part: Any) -> None:
        """Add thoughts, after a blank line if they begin another part."""
        if text and part != self._thoughts_in:
            text = string(text) if self._thoughts_in is None else BETWEEN + string(text)
            self._thoughts_in = part
        self.add_reasoning(text)

    def _hear_call(self, data: Mapping[str, Any]) -> None:
        item = mapping(data.get("item") or {"type": "function_call"})
        if item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": data.get("delta")}
            piece = {"id": item.get("call_id"), "index": data.get("output_index")}
            self._arriving.add_all([{**piece, "function": function}])

    def _read_last(self, response: Mapping[str, Any], kind: str) -> None:
        self.raw = dict(response)
        self.raw.setdefault("status", kind.removeprefix("response."))
        output = array(response.get("output")) or list(self._output)
        self._read_items(output)
        self.raw["output"] = output
        self._read_end(self.raw)
        self.done = True

    def _read_items(self, output: list[Any]) -> None:
        """Read the items of a response, in their order."""
        thinks = self._thoughts_in is None
        for number, item in enumerate(map(mapping, output)):
            kind = item.get("type")
            if kind == "message":
                self._read_message(item, number)
            elif kind == "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments")}
                identity = item.get("call_id") or item.get("id")
                call = {"index": number, "id": identity, "function": function}
                self._calls.add_all([call], whole=True)
                self.keep({"place": "call"})
            else:
                if kind == "reasoning" and thinks:
                    for part, text in enumerate(_thoughts(item)):
                        self._add_thoughts(text, (number, part))
                self.keep(item)

    def _read_message(self, message: Mapping[str, Any], number: int) -> None:
        self._said = True
        size, has_refusal = 0, bool(self._refusal)
        for part in map(mapping, array(message.get("content"))):
            if part.get("type") == "output_text":
                text = string(part.get("text"))
                size += len(text)
                if not self._is_streamed:
                    self._add_text(text, (number,))
                self.annotations += map(mapping, array(part.get("annotations")))
            elif part.get("type") == "refusal" and not has_refusal:
                self.add_refusal(string(part.get("refusal")))
        place = {"place": "message", "size": size}
        self.keep({**place, "phase": phase} if (phase := message.get("phase")) else place)

    def _read_end(self, response: Mapping[str, Any]) -> None:
        status = response.get("status")
        if status == "failed" or response.get("error"):
            raise reported(response.get("error") or {"message": "the response failed"})
        if status == "incomplete":
            details = response.get("incomplete_details") or {}
            reason = string(mapping(details).get("reason")) or "incomplete"
            self.finish_reason = _REASONS.get(reason, reason)
        elif status in ("completed", None):
            is_cut = not self._calls and self._is_at_limit()
            self.finish_reason = "tool_calls" if self._calls else "length" if is_cut else "stop"
        else:
            self.finish_reason = str(status)

    def _is_at_limit(self) -> bool:
        """Return whether an answer has as many tokens as it may; llama.cpp calls it completed."""
        if self.provider.name in ("openai", "azure"):
            return False
        usage, asked = self._usage(), self.request.parameters
        limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
        return usage is not None and limit is not None and usage.completion_tokens >= limit

    def _kept(self, extras: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        # Without these, the order of text and calls is no reason to keep anything.
        if not any("place" not in item or "phase" in item for item in self._items):
            return ()
        calls = iter(self._calls.result(self.request.messages)[0])
        for item in self._items:
            if item.get("place") == "call":
                item["id"] = next(calls).id  # type: ignore[index]
        return super()._kept(extras)


def _thoughts(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the thoughts in a reasoning item: its summary, and its text from open models."""
    for part in (*array(item.get("summary")), *array(item.get("content"))):
        if text := string(mapping(part).get("text")):
            yield text
