"""Parse a response of the Responses API, whole or streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from personakit.backend.answers.answer import Answer
from personakit.backend.answers.checks import array, clean, mapping, string
from personakit.backend.answers.tool_calls import ToolCalls
from personakit.backend.api_errors import NO_RESPONSES, reported
from personakit.errors import InvalidAnswer
from personakit.messages import Request
from personakit.providers import Provider

_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}
# The last name is from the documentation of OpenRouter.
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})
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
_CALL = frozenset(
    {
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    }
)
_TEXT = ("output_text", "text")


class ResponsesAnswer(Answer):
    """The parser of one response.

    Text is what the events add; the last event repeats the whole response, from which come the
    calls, the thoughts to send back, the usage, and a text of which there were no events. Of a
    server that leaves its output out there, the items that ended count, and the calls as their
    pieces arrived.
    """

    _output: tuple[Any, ...] = ()
    _is_cut = False  # whether an item says so
    _texts_in: Any = None  # the item that the last text belongs to
    _thoughts_in: Any = None

    def __init__(self, request: Request, provider: Provider, wire: str) -> None:
        super().__init__(request, provider, wire)
        # The last event has the calls, too, and may have others than those that arrived.
        self._arriving = ToolCalls(self._grow, request.tools)
        self._streamed: list[str] = []

    def read(self, data: dict[str, Any]) -> None:
        """Read a whole response."""
        if data.get("object") != "response" and "output" not in data:
            raise _other_form(data)
        self._add_rest(self._read_items(array(data.get("output"))))
        self._read_end(data)

    def read_event(self, data: dict[str, Any], name: str) -> None:
        """Read an event of a stream; those that are not known are ignored."""
        kind = data.get("type") or name
        if kind == "response.output_text.delta":
            self._add_text(data.get("delta"), data.get("output_index", data.get("item_id")))
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
        elif kind in _CALL:
            self._add_call_piece(data)
        elif kind == "error" or (not kind and any(data.get(key) for key in _ERRORS)):
            raise reported(data.get("error") or data)
        elif not kind and "choices" in data:
            raise _other_form(data)

    def _add_text(self, text: Any, item: Any) -> None:
        """Add a text, after a blank line if it begins another message."""
        if text and item != self._texts_in:
            text = BETWEEN + string(text) if self._streamed else text
            self._texts_in = item
        self.add_text(text)
        if text:
            self._streamed.append(text)

    def _add_thoughts(self, text: Any, part: Any) -> None:
        """Add thoughts, after a blank line if they begin another part."""
        if text and part != self._thoughts_in:
            text = string(text) if self._thoughts_in is None else BETWEEN + string(text)
            self._thoughts_in = part
        self.add_reasoning(text)

    def _add_call_piece(self, data: Mapping[str, Any]) -> None:
        item = mapping(data.get("item") or {"type": "function_call"})
        if item.get("type") != "function_call":
            return
        index = data.get("output_index")
        if arguments := data.get("arguments"):
            self._arriving.end(index, arguments, data.get("name"))
            return
        function = {"name": item.get("name"), "arguments": data.get("delta")}
        self._arriving.add_all([{"id": item.get("call_id"), "index": index, "function": function}])

    def _read_last(self, response: Mapping[str, Any], kind: str) -> None:
        self.raw = dict(response)
        self.raw.setdefault("status", kind.removeprefix("response."))
        output = array(response.get("output"))
        repeats = bool(output)
        output = output or list(self._output)
        text = self._read_items(output)
        if self._arriving:
            self._calls.follow(self._arriving, or_take=not repeats)
            self._arriving = ToolCalls(self._grow)
        self.raw["output"] = output
        self._read_end(self.raw)
        self._add_rest(text)
        self.done = True

    def _read_items(self, output: list[Any]) -> str:
        """Read the items of a response, in their order; return the text of its messages."""
        thinks = self._thoughts_in is None
        texts: list[str] = []
        for number, item in enumerate(map(mapping, output)):
            kind = item.get("type")
            self._is_cut = self._is_cut or item.get("status") == "incomplete"
            if kind == "message":
                texts.append(self._read_message(item))
            elif kind == "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments")}
                identity = item.get("call_id") or item.get("id")
                call = {"index": number, "id": identity, "function": function}
                self._calls.add_all([call], whole=True)
                self.place_call()
            else:
                if kind == "reasoning" and thinks:
                    for part, text in enumerate(_thoughts(item)):
                        self._add_thoughts(text, (number, part))
                self.keep(item)
        return clean(BETWEEN.join(filter(None, texts)))

    def _add_rest(self, text: str) -> None:
        """Add what no event had of the text of all messages."""
        streamed = clean("".join(self._streamed))
        if len(text) > len(streamed) and text.startswith(streamed):
            self.add_text(text[len(streamed) :])

    def _read_message(self, message: Mapping[str, Any]) -> str:
        """Read a message; return its text."""
        self._said = True
        texts, has_refusal = [], bool(self._refusal)
        for part in map(mapping, array(message.get("content"))):
            if part.get("type") in _TEXT:
                texts.append(string(part.get("text")))
                self.annotations += map(mapping, array(part.get("annotations")))
            elif part.get("type") == "refusal" and not has_refusal:
                self.add_refusal(string(part.get("refusal")))
        text = "".join(texts)
        phase = message.get("phase")
        self.place_text(len(text), **({"phase": phase} if phase else {}))
        return text

    def _read_end(self, response: Mapping[str, Any]) -> None:
        status = response.get("status")
        if status == "failed" or response.get("error"):
            raise reported(response.get("error") or {"message": "the response failed"})
        if status == "incomplete":
            details = response.get("incomplete_details") or {}
            reason = string(mapping(details).get("reason")) or "incomplete"
            self.finish_reason = _REASONS.get(reason, reason)
        elif status in ("completed", None):
            is_whole = bool(self._calls) and self._calls.are_whole
            is_cut = self._is_cut or (not is_whole and self._is_at_limit())
            self.finish_reason = "length" if is_cut else "tool_calls" if self._calls else "stop"
        else:
            self.finish_reason = str(status)

    def _is_at_limit(self) -> bool:
        """Return whether an answer has as many tokens as it may; llama.cpp calls it completed."""
        if self.provider.name in ("openai", "azure"):
            return False
        usage, asked = self._usage(), self.request.parameters
        limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
        return usage is not None and limit is not None and usage.completion_tokens >= limit


def _other_form(data: Mapping[str, Any]) -> InvalidAnswer:
    error = InvalidAnswer(f"the answer is not a response; its keys are {', '.join(data)[:200]}")
    # Of chat completions, at an address where they are all that there is.
    error.advice = NO_RESPONSES if "choices" in data else ""
    return error


def _thoughts(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the thoughts in a reasoning item: its summary, and its text from open models."""
    for part in (*array(item.get("summary")), *array(item.get("content"))):
        if text := string(mapping(part).get("text")):
            yield text
