"""Parse a chat completion, whole or streamed; reject anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.backend.api_errors import reported
from personakit.backend.sse import MAX_BYTES
from personakit.base import TextBuffer
from personakit.errors import IncompleteAnswer, InvalidAnswer
from personakit.frozen import FrozenDict, freeze
from personakit.messages import Message, Request, Response, ToolCall
from personakit.providers import Provider
from personakit.usage import Usage

_SURROGATE = re.compile("[\ud800-\udfff]")
# NaN is not valid JSON, but some servers send it among logprobs, which are not used here.
_decoded = json.JSONDecoder(parse_constant=lambda _: None).decode


@dataclass(slots=True)
class _Call:
    """A tool call that arrives in pieces."""

    id: str = ""
    name: TextBuffer = field(default_factory=TextBuffer)
    arguments: TextBuffer = field(default_factory=TextBuffer)


class ResponseParser:
    """The parser of one chat completion, whole or streamed."""

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider
        self.raw: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        self.finish_reason: str | None = None
        self.calls: dict[int, _Call] = {}
        self._pieces = TextBuffer()
        self._size = 0
        self._half = ""
        self._said = False

    @property
    def text(self) -> str:
        """The text received so far."""
        return self._pieces.text

    def whole(self, body: bytes) -> None:
        """Parse the body of a whole answer."""
        data = _object(body)
        message = _mapping(_choice(data).get("message"))
        self.raw = data
        self._add(_text(message), last=True)
        self.finish_reason = _optional_text(_choice(data).get("finish_reason"))
        for index, call in enumerate(_list(message.get("tool_calls"))):
            self._call(index, _mapping(call))
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer("the answer has no finish reason")
        self._said = message.get("content") is not None
        self._check()

    def event(self, body: bytes, name: bytes = b"") -> str:
        """Parse one event of a stream and its name; return the text in it."""
        data = _object(body)
        if name == b"error":
            raise reported(data)
        choices = _list(data.pop("choices", None))
        if data != self._beside:
            self._beside = data
            self.raw |= {key: value for key, value in data.items() if value is not None}
        if not choices:
            return ""
        choice = _mapping(choices[0])
        delta = _mapping(choice.get("delta") or {})
        for call in _list(delta.get("tool_calls")):
            index = _mapping(call).get("index") or 0
            if not isinstance(index, int):
                shown = str(index)[:40]
                raise InvalidAnswer(f"a tool call has the index {shown!r}, not an integer")
            self._call(index, call)
        self.finish_reason = _optional_text(choice.get("finish_reason")) or self.finish_reason
        self._said = self._said or delta.get("content") is not None
        return self._add(_text(delta))

    def ended(self, *, cut: bool = False) -> str:
        """Check that a stream is complete; `cut` means that its last event is not.

        Returns:
            The rest of the text.
        """
        rest = self._add("", last=True)
        if self.finish_reason is None and (cut or self.provider.finish_reason):
            raise IncompleteAnswer("the stream ended before the answer did (no finish reason)")
        self._check()
        return rest

    def _check(self) -> None:
        if not self._said and not self.calls and not self.text:
            raise InvalidAnswer("the answer has neither content nor tool calls")

    def _add(self, text: str, *, last: bool = False) -> str:
        """Add a text; return the part that can be passed on.

        JSON can contain half a surrogate pair, which UTF-8 cannot encode. A stream can be split
        inside a pair, so a first half is held back until the second one arrives.
        """
        if self._half or not text.isascii():
            text, self._half = self._half + text, ""
            if not last and "\ud800" <= text[-1:] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = _clean(text)
        self._grow(text)
        if text:
            self._pieces.add(text)
        return text

    def _call(self, index: int, call: Mapping[str, Any]) -> None:
        grown = self.calls.setdefault(index, _Call())
        function = _mapping(call.get("function") or {})
        grown.id = _string(call.get("id")) or grown.id
        for pieces, key in ((grown.name, "name"), (grown.arguments, "arguments")):
            text = _string(function.get(key))
            self._grow(text)
            pieces.add(text)

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_BYTES:
            raise InvalidAnswer(f"the answer is larger than {MAX_BYTES >> 20} MiB")

    @property
    def request_id(self) -> str:
        """The upstream's id of the request; empty if it did not answer."""
        return str(self.headers.get("x-request-id", ""))

    def response(self, attempts: int = 1) -> Response:
        """Return the response; `attempts` is how often the request was sent."""
        ordered = (self.calls[index] for index in sorted(self.calls))
        texts = ((call.id, call.name.text, call.arguments.text) for call in ordered)
        calls = tuple(ToolCall(*map(_clean, fields)) for fields in texts)
        return Response(
            text=self.text,
            tool_calls=calls,
            finish_reason=self.finish_reason,
            model=_clean(str(self.raw.get("model") or "")),
            id=_clean(str(self.raw.get("id") or "")),
            usage=_usage(self.raw.get("usage")),
            request=self.request,
            raw=self._raw(calls),
            attempts=attempts,
        )

    def _raw(self, calls: tuple[ToolCall, ...]) -> Mapping[str, Any]:
        if "choices" not in self.raw:
            message = Message("assistant", self.text or None, calls).to_api()
            choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
            self.raw |= {"object": "chat.completion", "choices": [choice]}
        try:
            return freeze(self.raw)  # type: ignore[no-any-return]
        except RecursionError:
            # Deep nesting beside the text does not make the answer invalid.
            return FrozenDict()


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body or an event; raise the error that it reports, if any."""
    try:
        # As json.loads() decodes bytes, which creates a decoder for each call.
        data = _decoded(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        reason = f"it begins with {start!r}" if start else "it is empty"
        raise InvalidAnswer(f"the answer is not valid JSON: {reason}") from error
    if not isinstance(data, dict):
        raise InvalidAnswer(f"the answer is {str(data)[:40]!r}, not a JSON object")
    if data.get("error"):
        raise reported(data["error"])
    return data


def _choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        keys = f"its keys are {', '.join(data)[:200]}"
        reason = f"`choices` is {json.dumps(choices)[:40]}" if "choices" in data else keys
        raise InvalidAnswer(f"the answer has no choices; {reason}")
    return _mapping(choices[0])


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidAnswer(f"the answer contains {str(value)[:40]!r} where an object is expected")
    return value


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise InvalidAnswer(f"the answer contains {str(value)[:40]!r} where a list is expected")
    return value or []


def _string(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidAnswer(f"the answer contains {str(value)[:40]!r} where a string is expected")
    return value or ""


def _clean(text: str) -> str:
    """Return a text without unpaired surrogates, which JSON allows and UTF-8 does not."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(message: Mapping[str, Any]) -> str:
    """Return the text of a message or delta; a refusal also counts as text."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(_mapping(part).get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise InvalidAnswer(f"the content is {str(content)[:40]!r}, not a string")
    # Half a surrogate pair stays: the other half may come with the next piece.
    return content or _optional_text(message.get("refusal")) or ""


def _optional_text(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) and value else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    prompt, completion = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    return Usage(
        _count(value, "prompt_tokens"),
        _count(value, "completion_tokens"),
        _count(value, "total_tokens"),
        _count(prompt, "cached_tokens") if prompt else 0,
        _count(completion, "reasoning_tokens") if completion else 0,
    )


def _count(value: Any, name: str) -> int:
    count = value.get(name) if isinstance(value, Mapping) else 0
    return count if isinstance(count, int) and count > 0 else 0
