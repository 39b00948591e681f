"""Parse a response of the Responses API, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personakit.backend.answers.answer import Answer
from personakit.backend.answers.checks import array, mapping, string
from personakit.backend.api_errors import reported
from personakit.errors import InvalidAnswer

_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXT, _REFUSAL = "output_text", "refusal"


class ResponsesAnswer(Answer):
    """The parser of one response.

    Text is what `add_text` got from the events; the last event repeats the whole response, from
    which come the calls, the thoughts to send back and the usage. Of a server that leaves its
    output out there, the items that ended count.
    """

    _output: tuple[Any, ...] = ()
    _streamed = False

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
            self._streamed = True
            self.add_text(data.get("delta") or "")
        elif kind == "response.refusal.delta":
            self.add_refusal(data.get("delta") or "")
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            self.add_reasoning(data.get("delta") or "")
        elif kind == "response.output_item.done":
            self._output = (*self._output, mapping(data.get("item")))
        elif kind == "error":
            raise reported(data.get("error") or data)
        elif kind in _LAST:
            self._read_last(mapping(data.get("response")), str(kind))

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
        for number, item in enumerate(map(mapping, output)):
            kind = item.get("type")
            if kind == "message":
                self._read_message(item)
                self.keep({"place": "message"})
            elif kind == "function_call":
                identity = string(item.get("call_id") or item.get("id"))
                self.add_call(
                    number,
                    id=identity,
                    name=string(item.get("name")),
                    arguments=item.get("arguments"),
                )
                self.keep({"place": "call", "id": identity})
            else:
                if kind == "reasoning" and not self._thoughts:
                    self.add_reasoning(_thoughts(item))
                self.keep(_opaque(item))
        if not any("place" not in item for item in self._items):
            self._items.clear()  # the order of text and calls is no reason to keep anything

    def _read_message(self, message: Mapping[str, Any]) -> None:
        self._said = True
        for part in map(mapping, array(message.get("content"))):
            if part.get("type") == _TEXT:
                if not self._streamed:
                    self.add_text(string(part.get("text")))
                self.annotations += map(mapping, array(part.get("annotations")))
            elif part.get("type") == _REFUSAL and not self._refusal:
                self.add_refusal(string(part.get("refusal")))

    def _read_end(self, response: Mapping[str, Any]) -> None:
        status = response.get("status")
        if status == "failed" or response.get("error"):
            raise reported(response.get("error") or {"message": "the response failed"})
        if status == "incomplete":
            details = response.get("incomplete_details") or {}
            reason = string(mapping(details).get("reason")) or "incomplete"
            self.finish_reason = _REASONS.get(reason, reason)
        elif status in ("completed", None):
            self.finish_reason = "tool_calls" if self._calls else "stop"
        else:
            self.finish_reason = str(status)


def _thoughts(item: Mapping[str, Any]) -> str:
    """Return the thoughts in a reasoning item: its summary, or its text from open models."""
    parts = [*array(item.get("summary")), *array(item.get("content"))]
    return "\n\n".join(filter(None, (string(mapping(part).get("text")) for part in parts)))


def _opaque(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as it goes back: its state belongs to the answer."""
    return {key: value for key, value in item.items() if key != "status" and value is not None}
