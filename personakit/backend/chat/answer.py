"""Parse a chat completion, whole or streamed; reject anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from personakit.backend.answers.answer import Answer
from personakit.backend.answers.checks import (
    answer,
    array,
    clean,
    error_of,
    mapping,
    optional_text,
    string,
)
from personakit.backend.answers.usage_parser import read_usage
from personakit.backend.api_errors import reported
from personakit.backend.chat.content import read_content
from personakit.backend.chat.items import Extras, items_of
from personakit.backend.chat.repeated import Repeated
from personakit.base import shown
from personakit.errors import InvalidAnswer
from personakit.messages import Message, Request, ToolCall
from personakit.providers import Provider

_NOTHING: dict[str, Any] = {}
_FIRST = 4  # events among which is one that others are like
# Keys of an event without choices that reports an error.
_ERRORS = ("message", "detail", "errors", "error_message")


class ChatAnswer(Answer):
    """The parser of one chat completion, whole or streamed."""

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._beside: dict[str, Any] = {}
        self._index: Any = 0 if (request.parameters.get("n") or 1) > 1 else None
        self._extras = Extras()
        self._choice_usage: Any = None
        self._whole: Mapping[str, Any] = _NOTHING  # the choice of a whole answer
        self._repeated: Repeated | None = None
        self._tries = 2  # to find an event that others are like
        self._events = 0  # that were parsed

    def read(self, data: dict[str, Any]) -> None:
        """Read the JSON of a whole answer."""
        self._whole = choice = mapping(_first(data))
        self.finish_reason = optional_text(choice.get("finish_reason"))
        message = choice.get("message")
        if message is None and self.finish_reason is not None:
            message = {}  # as Azure answers when its filter holds all of it back
        parts = mapping(message)
        # The text first: it is kept if something beside it is invalid.
        self._add(self._content(parts))
        self._beside_content(parts, whole=True)

    def event(self, body: bytes, name: bytes = b"") -> str:
        """Parse one event of a stream and its name; return the text in it."""
        self._events += 1
        data = self._data(body, name)
        choices = array(data.pop("choices", None))
        if data != self._beside:
            self._keep_beside(data)
        choice = self._choice(choices) if choices else None
        if choice is None:
            return ""
        reason = choice.get("finish_reason")
        if reason is not None:
            self.finish_reason = optional_text(reason) or self.finish_reason
        delta = choice.get("delta")
        text = ""
        if delta:
            self._beside_content(mapping(delta))
            text = self._add(self._content(delta))
        if choice.get("error") or choice.get("usage"):
            self._error(choice)
        elif self._tries and reason is None and delta and type(delta.get("content")) is str:
            self._learn(body, data, choices)
        return text

    def repeated(self, part: bytes, at: int) -> tuple[str, int]:
        """Return the text of the events that differ from an earlier one in it alone."""
        if self._repeated is None:
            return "", at
        text, at = self._repeated.read(part, at)
        return (self._add(text) if text else ""), at

    @property
    def repeats(self) -> bool:
        """Whether events may be read by `repeated`, now or after the next one."""
        return self._repeated is not None or (self._events < _FIRST and self._tries > 0)

    def _learn(self, body: bytes, data: Mapping[str, Any], choices: list[Any]) -> None:
        """Let the events that follow be read without parsing, if they are like this one."""
        known = self._repeated
        if len(choices) > 1 or len(choices[0]["delta"]) > 1 or (known and known.fits(body)):
            return
        if known is not None and not known.used:
            self._tries -= 1
        self._repeated = Repeated.of(body, data, choices) if self._tries else None

    def _data(self, body: bytes, name: bytes) -> dict[str, Any]:
        """Return the JSON of an event; raise the error that it reports, if any."""
        if name == b"error":
            raise reported(error_of(body))
        try:
            data = answer(body)
        except InvalidAnswer:
            if self.finish_reason is not None and not body.lstrip().startswith((b"{", b"[")):
                return {}  # the answer has ended, and the stream ends in a way of its own
            raise
        if "choices" not in data and any(data.get(key) for key in _ERRORS):
            raise reported(data)
        return data

    def _keep_beside(self, data: dict[str, Any]) -> None:
        """Keep what stands beside the choices of an event."""
        self._repeated = None
        self._beside = dict(data)
        usage = data.pop("usage", None)
        self.raw |= {key: value for key, value in data.items() if value is not None}
        if isinstance(usage, dict):
            # A count that is zero or missing in the last event does not replace an earlier one.
            counts = {key: value for key, value in usage.items() if value}
            self.raw["usage"] = {**self.raw.get("usage", {}), **counts}

    def _is_complete(self, *, cut: bool) -> bool:
        return self.finish_reason is not None or not (cut or self.provider.finish_reason)

    def _choice(self, choices: list[Any]) -> Mapping[str, Any] | None:
        """Return the choice that is the answer; None if the choices are others."""
        first = mapping(choices[0])
        if len(choices) == 1:
            index = first.get("index")
            if self._index is None:
                self._index = index
            return first if index == self._index or index is None else None
        wanted = self._index or 0
        return next((c for c in map(mapping, choices) if c.get("index") == wanted), None)

    def _beside_content(self, message: Mapping[str, Any], *, whole: bool = False) -> None:
        """Read the other parts of a message or a delta."""
        if len(message) == 1 and "content" in message:
            return
        calls = message.get("tool_calls")
        if calls is not None:
            self._calls.add_all(array(calls), whole=whole)
        refusal = string(message.get("refusal"))
        if refusal:
            self._refusal.append(refusal)
            self._grow(refusal)
        self._extras.add(message, self._grow)
        if self.heard is not None:
            self.heard.add("field", self._extras.thoughts_in(message))

    def _content(self, message: Mapping[str, Any]) -> str:
        """Return the text in a message or a delta."""
        content = message.get("content")
        if content is None:
            return ""
        self._said = True
        if type(content) is str:
            return content
        text, thoughts, refusal = read_content(content)
        if refusal:
            self._refusal.append(refusal)
            self._grow(refusal)
        self.add_reasoning(thoughts)
        return text

    def _error(self, choice: Mapping[str, Any]) -> None:
        """Keep the usage in a choice, and raise the error in it."""
        self._choice_usage = choice.get("usage") or self._choice_usage
        if choice.get("error"):
            raise reported(choice["error"])

    @property
    def reasoning(self) -> str:
        """The model's thoughts."""
        if self.heard is not None:
            return self.heard.text
        if not (self._extras or self._thoughts or self._splitter.reasoning):
            return ""
        thoughts = (self._extras.reasoning, "".join(self._thoughts), self._splitter.reasoning)
        return clean("\n\n".join(filter(None, thoughts)))

    def _end(self) -> str:
        rest = super()._end()
        self._error(self._whole)
        return rest

    def _kept(self, extras: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        fields = self._extras.fields(with_calls=bool(self._calls)) if self._extras else _NOTHING
        return items_of(self.provider.name, fields, extras) if fields or extras else ()

    def _usage(self) -> Any:
        groq = self.raw.get("x_groq")
        return read_usage(
            self.raw.get("usage"),
            self._choice_usage,
            groq.get("usage") if isinstance(groq, dict) else None,
        )

    def _raw(self, calls: tuple[ToolCall, ...]) -> Mapping[str, Any]:
        if "choices" not in self.raw:
            message = Message("assistant", self.text or None, calls)
            body = {**self._extras.fields(with_calls=True), **message.to_api()}
            choice = {"index": 0, "message": body, "finish_reason": self.finish_reason}
            self.raw |= {"object": "chat.completion", "choices": [choice]}
        return super()._raw(calls)


def _first(data: Mapping[str, Any]) -> Any:
    """Return the first choice of a whole answer, wherever it stands."""
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        keys = f"its keys are {', '.join(data)[:200]}"
        reason = (
            f"`choices` is {shown(choices)[:40] if choices else json.dumps(choices)}"
            if "choices" in data
            else keys
        )
        error = InvalidAnswer(f"the answer has no choices; {reason}")
        if "prompt_filter_results" in data:
            # https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
            error.advice = "Azure's content filter checked the prompt; change the prompt"
        raise error
    if len(choices) == 1:
        return choices[0]
    return next((c for c in choices if isinstance(c, dict) and c.get("index") == 0), choices[0])
