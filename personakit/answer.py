"""An answer put together out of a body or out of events, refusing what is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from personakit.errors import BackendError, IncompleteAnswer, InvalidAnswer, UpstreamUnavailable
from personakit.faults import BY_STATUS
from personakit.messages import Request, Response, ToolCall, Usage
from personakit.providers import Provider


class Answer:
    """Puts an answer together out of a body or out of events, refusing what is none."""

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider
        self.raw: dict[str, Any] = {}
        self.text = ""
        self.finish_reason: str | None = None
        self.calls: dict[int, dict[str, str]] = {}

    def whole(self, body: bytes) -> None:
        """Take the body of a whole answer."""
        data = _object(body)
        message = _mapping(_choice(data).get("message"))
        self.raw = dict(data)
        self.text = _text(message)
        self.finish_reason = _optional_text(_choice(data).get("finish_reason"))
        for index, call in enumerate(_list(message.get("tool_calls"))):
            self._call(index, _mapping(call))
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer("the answer has no finish reason", partial=self.text)
        if message.get("content") is None and not self.calls and not message.get("refusal"):
            raise InvalidAnswer("the answer has neither content nor tool calls")

    def event(self, body: bytes) -> str:
        """Take one event of a stream; return the text in it."""
        data = _object(body, self.text)
        self.raw |= {key: data[key] for key in data.keys() - {"choices"} if data[key] is not None}
        choices = _list(data.get("choices"))
        if not choices:
            return ""
        choice = _mapping(choices[0])
        delta = _mapping(choice.get("delta") or {})
        for call in _list(delta.get("tool_calls")):
            index = _mapping(call).get("index") or 0
            if not isinstance(index, int):
                raise InvalidAnswer(f"a tool call has the index {str(index)[:40]!r}")
            self._call(index, call)
        self.finish_reason = _optional_text(choice.get("finish_reason")) or self.finish_reason
        text = _text(delta)
        self.text += text
        return text

    def ended(self, *, cut: bool = False) -> None:
        """Check that a stream has come to its end; `cut` says that its last event has not."""
        if self.finish_reason is None and (cut or self.provider.finish_reason):
            raise IncompleteAnswer(
                "the stream ended before the answer did (no finish reason came)", partial=self.text
            )

    def _call(self, index: int, call: Mapping[str, Any]) -> None:
        known = self.calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = _mapping(call.get("function") or {})
        known["id"] = _string(call.get("id")) or known["id"]
        known["name"] += _string(function.get("name"))
        known["arguments"] += _string(function.get("arguments"))

    def response(self) -> Response:
        """Return what has come."""
        calls = tuple(ToolCall(**call) for _, call in sorted(self.calls.items()))
        made = Response(
            text=self.text,
            tool_calls=calls,
            finish_reason=self.finish_reason,
            model=str(self.raw.get("model") or ""),
            id=str(self.raw.get("id") or ""),
            usage=_usage(self.raw.get("usage")),
            request=self.request,
        )
        if "choices" not in self.raw:
            choice = {
                "index": 0,
                "message": made.message.to_api(),
                "finish_reason": self.finish_reason,
            }
            self.raw |= {"object": "chat.completion", "choices": [choice]}
        return made.replace(raw=self.raw)


def _object(body: bytes, partial: str = "") -> Mapping[str, Any]:
    """Return the JSON object of a body or an event, raising what an error object says."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:80].decode("utf-8", "replace")
        found = f"it begins with {start!r}" if start else "it is empty"
        raise InvalidAnswer(f"the answer is no JSON: {found}", partial=partial) from None
    if not isinstance(data, dict):
        raise InvalidAnswer(f"the answer is {str(data)[:40]!r}, not an object", partial=partial)
    error = data.get("error")
    if error:
        raise _upstream_error(error, partial)
    return data


def _upstream_error(error: Any, partial: str) -> BackendError:
    """Return what an error object in a body or an event says."""
    said = error.get("message") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    kind = BY_STATUS.get(code if isinstance(code, int) else 0, UpstreamUnavailable)
    return kind(f"the upstream reports an error: {str(said)[:500]}", partial=partial)


def _choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise InvalidAnswer(f"the answer has no choices; its keys are {', '.join(data)[:200]}")
    return _mapping(choices[0])


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidAnswer(f"the answer holds {str(value)[:40]!r} where an object belongs")
    return value


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise InvalidAnswer(f"the answer holds {str(value)[:40]!r} where a list belongs")
    return value or []


def _string(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidAnswer(f"the answer holds {str(value)[:40]!r} where a text belongs")
    return value or ""


def _text(message: Mapping[str, Any]) -> str:
    """Return the text of a message or delta; a refusal is the answer's text, too."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(_mapping(part).get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise InvalidAnswer(f"the content is {str(content)[:40]!r}, not a text")
    return content or _optional_text(message.get("refusal")) or ""


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    numbers = [value.get(name) for name in names]
    for part, name in (("prompt", "cached_tokens"), ("completion", "reasoning_tokens")):
        details = value.get(f"{part}_tokens_details")
        numbers.append(details.get(name) if isinstance(details, Mapping) else 0)
    return Usage(*(number if isinstance(number, int) else 0 for number in numbers))
