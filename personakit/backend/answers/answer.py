"""The answer of an upstream, whole or streamed, as far as it is the same for every API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personakit.backend.answers import checks
from personakit.backend.answers.checks import cleaned
from personakit.backend.answers.finish_reasons import failure, meaning, without_answer
from personakit.backend.answers.heard import Heard
from personakit.backend.answers.reasoning import ReasoningSplitter
from personakit.backend.answers.tool_calls import ToolCalls
from personakit.backend.answers.usage_parser import read_usage
from personakit.backend.api_errors import another_model, reported
from personakit.backend.sse import MAX_BYTES
from personakit.base import TextBuffer
from personakit.errors import IncompleteAnswer, InvalidAnswer, PersonakitError, PluginError
from personakit.frozen import FrozenDict, freeze_json
from personakit.hookspecs import Piece
from personakit.messages import Request, Response, ToolCall
from personakit.providers import Provider

# What code that reads JSON of another form than it expects raises.
_PLACE = frozenset({"place", "size"})
_OTHER_FORM = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Answer:
    """One answer of an API, whole or streamed; a `Wire` creates one for each request.

    A subclass implements `read` for a whole answer and, unless each event of a stream is a small
    answer, `read_event` for the events. Both pass on what they find with `add_text`,
    `add_reasoning`, `add_refusal`, `add_call` and `keep`, and set `raw` and `finish_reason`. What
    is common to all APIs is done here: characters that are cut in two, limits of size, ids of
    calls, errors, and answers that are not complete.

    Args:
        request: The request as it was sent.
        provider: The provider that it was sent to.
        wire: The name of the wire.

    Attributes:
        request: The request as it was sent.
        provider: The provider that it was sent to.
        headers: The headers of the reply.
        raw: The upstream's JSON; its `model`, `id` and `usage` are those of the response.
        finish_reason: Why the model stopped, in the API's words or in those of
            `Response.finish_reason`; None until it is known.
        annotations: What the API says about parts of the text, such as citations.
        done: True when the last event of a stream was read; the rest of the stream is not parsed.
        heard: The thoughts of a stream as they arrived, with the names of their sources; None if
            nobody wants pieces.
    """

    done = False
    heard: Heard | None = None

    def __init__(self, request: Request, provider: Provider, wire: str = "chat") -> None:
        self.request = request
        self.provider = provider
        self.wire = wire
        self.raw: dict[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        self.finish_reason: str | None = None
        self.annotations: list[Mapping[str, Any]] = []
        self._grow = _Size().grow
        self._calls = self._arriving = ToolCalls(self._grow, request.tools)
        self._splitter = ReasoningSplitter()
        self._thoughts: list[str] = []
        self._refusal: list[str] = []
        self._items: list[Mapping[str, Any]] = []
        self._buffer = TextBuffer()
        self._fresh: list[str] = []
        self._half = ""
        self._said = False
        self._noted = self._placed = 0

    # --- what a wire implements ----------------------------------------------------------------

    def read(self, data: dict[str, Any]) -> None:
        """Read the JSON of a whole answer.

        An exception such as KeyError or TypeError means that it has another form than expected;
        it becomes an `InvalidAnswer`.

        Raises:
            BackendError: It is not an answer, or it reports an error.
        """
        raise NotImplementedError

    def read_event(self, data: dict[str, Any], name: str) -> None:
        """Read the JSON of one event of a stream; set `done` at the last one.

        By default, an event is read as a small answer, one with a finish reason is the last, and
        `raw` has the members of all of them. Exceptions are those of `read`.

        Args:
            data: The data of the event.
            name: Its name; empty if it has none.

        Raises:
            BackendError: It reports an error.
        """
        self.raw = {**self.raw, **data}
        self.read(data)
        self.done = self.finish_reason is not None

    # --- what a wire calls ---------------------------------------------------------------------

    def add_text(self, text: str) -> None:
        """Add a piece of the answer's text."""
        self._said = True
        if kept := self._add(checks.string(text)):
            self._fresh.append(kept)

    def add_reasoning(self, text: str) -> None:
        """Add a piece of the model's thoughts."""
        if text:
            self._grow(checks.string(text))
            self._thoughts.append(text)
            if self.heard is not None:
                self.heard.add("thoughts", text)

    def add_refusal(self, text: str) -> None:
        """Add a piece of a refusal, which is the text of an answer without any other."""
        if text:
            self._grow(checks.string(text))
            self._refusal.append(text)

    def add_call(
        self,
        index: int | str,
        *,
        id: str = "",  # noqa: A002 - as in `ToolCall`
        name: str = "",
        arguments: Any = "",
    ) -> None:
        """Add a tool call, or a piece of one.

        Args:
            index: What its pieces have in common.
            id: The upstream's id of the call, in its first piece.
            name: The name of the tool, in its first piece.
            arguments: A piece of the arguments: JSON text, or all of them as an object.
        """
        function = {"name": name, "arguments": arguments}
        self._calls.add_all([{"index": index, "id": id, "function": function}])

    def keep(self, item: Mapping[str, Any]) -> None:
        """Keep what the API wants back with the answer; see `Wire.kept`."""
        self._items.append(item)

    def place_text(self, size: int | None = None, **more: Any) -> None:
        """Keep the place of a text between what `keep` keeps; see `Wire.parts`.

        Args:
            size: Its length in characters; None for the text that was added since the last place.
            more: What the API wants back with the text.
        """
        if size is None:
            size = len(self.text) + len(self._half) - self._placed
        self._placed += size
        self._items.append({"place": "text", "size": size, **more})

    def place_call(self) -> None:
        """Keep the place of the next tool call between what `keep` keeps."""
        self._items.append({"place": "call"})

    # --- what the backend calls ----------------------------------------------------------------

    def whole(self, body: bytes) -> None:
        """Parse the body of a whole answer."""
        self.raw = data = checks.answer(body)
        try:
            self.read(data)
        except PersonakitError:
            raise
        except Exception as error:
            raise self._unread(error, data) from error
        self._end()
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer("the answer has no finish reason")
        self._check()

    def event(self, body: bytes, name: bytes = b"") -> str:
        """Parse one event of a stream and its name; return the text in it."""
        if self.done:
            return ""
        if name == b"error":
            raise reported(checks.error_of(body))
        data = checks.answer(body)
        try:
            self.read_event(data, name.decode("utf-8", "replace"))
        except PersonakitError:
            raise
        except Exception as error:
            raise self._unread(error, data) from error
        return self._taken()

    @property
    def repeats(self) -> bool:
        """Whether `repeated` may read events, now or after the next one."""
        return False

    def repeated(self, part: bytes, at: int) -> tuple[str, int]:
        """Read events of text in a piece of a stream without parsing them, if that can be done.

        Args:
            part: The piece.
            at: Where an event begins.

        Returns:
            Their text, and where the first event begins that must be parsed.
        """
        return "", at

    def pieces(self) -> list[Piece]:
        """Return the pieces, other than text, that arrived since the last call."""
        if self.heard is None:
            return []
        pieces = self.heard.pieces()
        if self._arriving:
            pieces += self._arriving.pieces(self.request.messages)
        if new := self.annotations[self._noted :]:
            self._noted = len(self.annotations)
            pieces += [Piece("annotation", annotation=freeze_json(one)) for one in new]
        return pieces

    def ended(self, *, cut: bool = False) -> str:
        """Check that a stream is complete; `cut` means that its last event is not.

        Returns:
            The rest of the text.
        """
        rest = self._taken() + self._end()
        if not self._is_complete(cut=cut):
            raise IncompleteAnswer("the stream ended before the answer did (no finish reason)")
        self._check()
        return rest

    def response(self, attempts: int = 1) -> Response:
        """Return the response; `attempts` is how often the request was sent."""
        calls, extras = self._calls.result(self.request.messages) if self._calls else ((), {})
        return Response(
            text=self.text,
            tool_calls=calls,
            finish_reason=self._meaning(),
            model=checks.clean(str(self.raw.get("model") or "")),
            id=checks.clean(str(self.raw.get("id") or "")),
            usage=self._usage(),
            request=self.request,
            raw=self._raw(calls),
            attempts=attempts,
            reasoning=self.reasoning,
            items=self._kept(extras),
            annotations=_frozen(self.annotations),
        )

    @property
    def text(self) -> str:
        """The text received so far."""
        return self._buffer.text

    @property
    def reasoning(self) -> str:
        """The model's thoughts."""
        if self.heard is not None:
            return self.heard.text
        if not (self._thoughts or self._splitter.reasoning):
            return ""
        thoughts = ("".join(self._thoughts), self._splitter.reasoning)
        return checks.clean("\n\n".join(filter(None, thoughts)))

    @property
    def request_id(self) -> str:
        """The upstream's id of the request; empty if it did not answer."""
        return str(self.headers.get("x-request-id") or self.headers.get("request-id") or "")

    # --- in common -----------------------------------------------------------------------------

    def _unread(self, error: Exception, data: Any) -> PersonakitError:
        """Return the error for an exception of `read` or `read_event`."""
        if isinstance(error, _OTHER_FORM):
            return checks.unexpected(error, data)
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        return PluginError(f"wire {self.wire!r} cannot read the answer: {reason}")

    def _is_complete(self, *, cut: bool) -> bool:
        has_reason = self.finish_reason is not None or not self.provider.finish_reason
        return self.done and has_reason and not cut

    def _meaning(self) -> str | None:
        return meaning(self.finish_reason)

    def _usage(self) -> Any:
        return read_usage(self.raw.get("usage"))

    def _kept(self, extras: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return `Response.items`; `extras` is what the API sent with the calls, by their ids."""
        # Without anything else, the order of texts and calls is no reason to keep it.
        if all(item.keys() <= _PLACE for item in self._items):
            return ()
        places = (item for item in self._items if item.get("place") == "call")
        for place, call in zip(places, self._calls.result(self.request.messages)[0], strict=False):
            place["id"] = call.id  # type: ignore[index]
        origin = {"provider": self.provider.name, "wire": self.wire, "model": self.request.model}
        items = _frozen(self._items)
        return (FrozenDict({**origin, "items": items}),) if items else ()

    def _raw(self, calls: tuple[ToolCall, ...]) -> Mapping[str, Any]:
        try:
            return freeze_json(self.raw)  # type: ignore[no-any-return]
        except RecursionError:
            # Deep nesting beside the text does not make the answer invalid.
            return FrozenDict()

    def _taken(self) -> str:
        """Return the text added since the last call."""
        if not self._fresh:
            return ""
        text = "".join(self._fresh)
        self._fresh.clear()
        return text

    def _end(self) -> str:
        """Read the end of an answer; return the rest of the text."""
        if not isinstance(self.raw, dict):
            raise PluginError(f"wire {self.wire!r}: `raw` must be a dict, found {self.raw!r:.60}")
        rest = self._add("", last=True)
        if not self._splitter.done:
            cut = meaning(self.finish_reason) in ("length", "content_filter")
            rest += self._keep(self._splitter.end(cut=cut))
            self._hear_splitter()
        # A refusal is the answer only if there is no other: in a stream it may come first.
        if self._refusal and not self.text.strip():
            rest += self._keep(checks.clean("".join(self._refusal)))
        return rest

    def _check(self) -> None:
        """Raise an error if an answer that ended is not a whole one."""
        self._calls.check()
        reason = self.finish_reason
        error = failure(reason) if reason is not None else None
        if error is None and not self._calls and not self.text:
            error = without_answer(self._meaning(), self.request, self.reasoning)
            if error is None and not self._said:
                error = InvalidAnswer("the answer has neither content nor tool calls")
                # A server that knows why the model stopped is of the right kind.
                error.advice = f"run it again{another_model()}" if reason is not None else ""
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
            text = checks.clean(text)
        if text:
            self._grow(text)
            if not self._splitter.done:
                text = self._splitter.feed(text)
                self._hear_splitter()
        return self._keep(text)

    def _hear_splitter(self) -> None:
        if self.heard is not None:
            self.heard.add_all("text", self._splitter.reasoning)

    def _keep(self, text: str) -> str:
        if text:
            self._buffer.add(text)
        return text


class _Size:
    """Counts the characters of an answer.

    A part of the answer calls this, not the answer: a circle of references would keep each answer
    until the garbage collector runs.
    """

    __slots__ = ("_size",)

    def __init__(self) -> None:
        self._size = 0

    def grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_BYTES:
            raise InvalidAnswer(f"the answer is larger than {MAX_BYTES >> 20} MiB")


def _frozen(values: list[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Return objects of JSON, read-only; none of them if one is nested too deep.

    That does not make the answer invalid, whose text stands beside them.
    """
    try:
        return tuple(freeze_json(cleaned(values))) if values else ()
    except RecursionError:
        return ()
