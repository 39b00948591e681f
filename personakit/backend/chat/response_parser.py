"""Parse a chat completion, whole or streamed; reject anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from personakit.backend.api_errors import reported
from personakit.backend.chat.checks import (
    answer,
    array,
    clean,
    error_of,
    mapping,
    optional_text,
    string,
)
from personakit.backend.chat.content import read_content
from personakit.backend.chat.finish_reasons import failure, meaning, without_answer
from personakit.backend.chat.items import Extras, items_of
from personakit.backend.chat.reasoning import ReasoningSplitter
from personakit.backend.chat.tool_calls import ToolCalls
from personakit.backend.chat.usage_parser import read_usage
from personakit.backend.sse import MAX_BYTES
from personakit.base import TextBuffer, shown
from personakit.errors import IncompleteAnswer, InvalidAnswer
from personakit.frozen import FrozenDict, freeze_json
from personakit.messages import Message, Request, Response, ToolCall
from personakit.providers import Provider

_NOTHING: dict[str, Any] = {}
# Keys of an event without choices that reports an error.
_ERRORS = ("message", "detail", "errors", "error_message")


class ResponseParser:
    """The parser of one chat completion, whole or streamed."""

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider
        self.raw: dict[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        self.finish_reason: str | None = None
        self._beside: dict[str, Any] = {}
        self._index: Any = 0 if (request.parameters.get("n") or 1) > 1 else None
        self._calls = ToolCalls(self._grow, request.tools)
        self._extras = Extras()
        self._splitter = ReasoningSplitter()
        self._thoughts: list[str] = []
        self._refusal: list[str] = []
        self._pieces = TextBuffer()
        self._usage: Any = None
        self._size = 0
        self._half = ""
        self._said = False

    @property
    def text(self) -> str:
        """The text received so far."""
        return self._pieces.text

    def whole(self, body: bytes) -> None:
        """Parse the body of a whole answer."""
        self.raw = data = answer(body)
        choice = mapping(_first(data))
        self.finish_reason = optional_text(choice.get("finish_reason"))
        message = choice.get("message")
        if message is None and self.finish_reason is not None:
            message = {}  # as Azure answers when its filter holds all of it back
        parts = mapping(message)
        # The text first: it is kept if something beside it is invalid.
        self._add(self._content(parts))
        self._beside_content(parts, whole=True)
        self._end(choice)
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer("the answer has no finish reason")
        self._check()

    def event(self, body: bytes, name: bytes = b"") -> str:
        """Parse one event of a stream and its name; return the text in it."""
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
        return text

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
        self._beside = dict(data)
        usage = data.pop("usage", None)
        self.raw |= {key: value for key, value in data.items() if value is not None}
        if isinstance(usage, dict):
            # A count that is zero or missing in the last event does not replace an earlier one.
            counts = {key: value for key, value in usage.items() if value}
            self.raw["usage"] = {**self.raw.get("usage", {}), **counts}

    def ended(self, *, cut: bool = False) -> str:
        """Check that a stream is complete; `cut` means that its last event is not.

        Returns:
            The rest of the text.
        """
        rest = self._end({})
        if self.finish_reason is None and (cut or self.provider.finish_reason):
            raise IncompleteAnswer("the stream ended before the answer did (no finish reason)")
        self._check()
        return rest

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
        if thoughts:
            self._thoughts.append(thoughts)
            self._grow(thoughts)
        return text

    def _end(self, choice: Mapping[str, Any]) -> str:
        """Read the end of an answer; return the rest of the text."""
        rest = self._add("", last=True)
        if not self._splitter.done:
            cut = meaning(self.finish_reason) in ("length", "content_filter")
            rest += self._keep(self._splitter.end(cut=cut))
        # A refusal is the answer only if there is no other: in a stream it may come first.
        if self._refusal and not self.text.strip():
            rest += self._keep(clean("".join(self._refusal)))
        self._error(choice)
        return rest

    def _error(self, choice: Mapping[str, Any]) -> None:
        """Keep the usage in a choice, and raise the error in it."""
        self._usage = choice.get("usage") or self._usage
        if choice.get("error"):
            raise reported(choice["error"])

    def _check(self) -> None:
        """Raise an error if an answer that ended is not a whole one."""
        self._calls.check()
        reason = self.finish_reason
        error = failure(reason) if reason is not None else None
        if error is None and not self._calls and not self.text:
            error = without_answer(meaning(reason), self.request, self.reasoning)
            if error is None and not self._said:
                error = InvalidAnswer("the answer has neither content nor tool calls")
        if error is not None:
            error.response = self.response()
            raise error

    def _add(self, text: str, *, last: bool = False) -> str:
        """Add a text; return the part of the answer that can be passed on.

        JSON can contain half a surrogate pair, which UTF-8 cannot encode. A stream can be split
        inside a pair, so a first half is held back until the second one arrives.
        """
        if self._half or not text.isascii():
            text, self._half = self._half + text, ""
            if not last and "\ud800" <= text[-1:] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = clean(text)
        if text:
            self._grow(text)
            if not self._splitter.done:
                text = self._splitter.feed(text)
        return self._keep(text)

    def _keep(self, text: str) -> str:
        if text:
            self._pieces.add(text)
        return text

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_BYTES:
            raise InvalidAnswer(f"the answer is larger than {MAX_BYTES >> 20} MiB")

    @property
    def request_id(self) -> str:
        """The upstream's id of the request; empty if it did not answer."""
        return str(self.headers.get("x-request-id", ""))

    @property
    def reasoning(self) -> str:
        """The model's thoughts."""
        if not (self._extras or self._thoughts or self._splitter.reasoning):
            return ""
        thoughts = (self._extras.reasoning, "".join(self._thoughts), self._splitter.reasoning)
        return clean("\n\n".join(filter(None, thoughts)))

    def response(self, attempts: int = 1) -> Response:
        """Return the response; `attempts` is how often the request was sent."""
        calls, extras = self._calls.result(self.request.messages) if self._calls else ((), _NOTHING)
        fields = self._extras.fields(with_calls=bool(calls)) if self._extras else _NOTHING
        groq = self.raw.get("x_groq")
        return Response(
            text=self.text,
            tool_calls=calls,
            finish_reason=meaning(self.finish_reason),
            model=clean(str(self.raw.get("model") or "")),
            id=clean(str(self.raw.get("id") or "")),
            usage=read_usage(
                self.raw.get("usage"),
                self._usage,
                groq.get("usage") if isinstance(groq, dict) else None,
            ),
            request=self.request,
            raw=self._raw(calls),
            attempts=attempts,
            reasoning=self.reasoning,
            items=items_of(self.provider.name, fields, extras) if fields or extras else (),
        )

    def _raw(self, calls: tuple[ToolCall, ...]) -> Mapping[str, Any]:
        if "choices" not in self.raw:
            message = Message("assistant", self.text or None, calls)
            body = {**self._extras.fields(with_calls=True), **message.to_api()}
            choice = {"index": 0, "message": body, "finish_reason": self.finish_reason}
            self.raw |= {"object": "chat.completion", "choices": [choice]}
        try:
            return freeze_json(self.raw)  # type: ignore[no-any-return]
        except RecursionError:
            # Deep nesting beside the text does not make the answer invalid.
            return FrozenDict()


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
