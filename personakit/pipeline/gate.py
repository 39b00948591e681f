"""The output of one layer of a chain: its text, and the other pieces of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from personakit.base import Emit, TextBuffer, beside_goes_on, time_left
from personakit.hookspecs import Filter, Piece
from personakit.messages import Response

_PIECE = 16_384
"""The most characters that a filter gets at once."""


class Misuse(TypeError):
    """A hook broke its contract; the message says how."""


class FilterFailed(BaseException):
    """Carries the error of a filter to the layer that owns the filter.

    It is not an Exception, so no layer in between handles it as an error of the upstream.
    """

    def __init__(self, send: object, error: Exception) -> None:
        super().__init__()
        self.send = send
        self.error = error


class Notes:
    """The pieces of an answer that were emitted, besides its text."""

    __slots__ = ("_annotations", "_calls", "_counted", "_thoughts")

    def __init__(self) -> None:
        self._thoughts = TextBuffer()
        self._calls: dict[str, tuple[int, TextBuffer]] = {}
        self._annotations = 0
        self._counted = False

    def __bool__(self) -> bool:
        return bool(self._thoughts or self._calls or self._annotations)

    @property
    def reasoning(self) -> str:
        """The reasoning that was emitted."""
        return self._thoughts.text

    def add(self, piece: Piece) -> None:
        """Record a piece."""
        if piece.kind == "reasoning":
            self._thoughts.add(piece.text)
        elif piece.kind == "tool_call":
            _, arguments = self._calls.setdefault(piece.id, (piece.index, TextBuffer()))
            arguments.add(piece.arguments)
        elif piece.kind == "usage":
            self._counted = True
        else:
            self._annotations += 1

    def fault(self, response: Response) -> str:
        """Return what of the pieces differs from the response; empty if nothing does."""
        if not response.reasoning.startswith(self.reasoning):
            return "reasoning"
        calls = [call for message in response.messages for call in message.tool_calls]
        arguments = {call.id: call.arguments for call in (*calls, *response.tool_calls)}
        for identity, (_, emitted) in self._calls.items():
            if not arguments.get(identity, "").startswith(emitted.text):
                return "tool calls"
        # Those of several rounds are more than those of the last, which the response has.
        more = self._annotations > len(response.annotations) and not response.messages
        return "annotations" if more else ""

    def after_text(self, response: Response) -> Iterator[Piece]:
        """Yield the pieces of a response that were not emitted, without its reasoning."""
        for number, call in enumerate(response.tool_calls):
            index, emitted = self._calls.get(call.id, (number, None))
            text = "" if emitted is None else emitted.text
            rest = call.arguments.removeprefix(text) if text else call.arguments
            if emitted is None or (rest and rest != call.arguments):
                yield Piece("tool_call", index=index, id=call.id, name=call.name, arguments=rest)
        for annotation in response.annotations[self._annotations :]:
            yield Piece("annotation", annotation=annotation)
        if response.usage is not None and not self._counted:
            yield Piece("usage", usage=response.usage)


class StreamGate:
    """The output of one layer, an `emit` that records what it emits.

    Without streaming nothing is emitted, but the text is recorded and compared with the layer's
    response all the same, so that a plugin with a mistake fails in every mode.

    Attributes:
        wanted: Whether the caller wants other pieces than text.
        notes: Those that were emitted; None unless they are wanted.
        reasoning: The reasoning that passed; that of `notes` if they are wanted.
        hides: Whether only text passes: the layer held it back without knowing of the rest.
        busy: Whether an inner layer is streaming into it.
        rounds: Whether whole runs pass through it, which emit the tokens of each model call.
    """

    __slots__ = (
        "_emit",
        "_note",
        "_out",
        "busy",
        "hides",
        "notes",
        "reasoning",
        "rounds",
        "wanted",
    )

    def __init__(self, emit: Emit | None, *, rounds: bool = False) -> None:
        self._emit, self.rounds = emit, rounds
        self._out = TextBuffer()
        self.busy = self.hides = False
        self.reasoning = ""
        self.wanted: bool = getattr(emit, "wanted", False)
        self._note: Any = getattr(emit, "note", None) if self.wanted else None
        self.notes = Notes() if self.wanted else None

    @property
    def live(self) -> bool:
        """Whether the caller streams."""
        return self._emit is not None

    @property
    def started(self) -> bool:
        """Whether text or another piece has been emitted."""
        return self.live and bool(self.out or self.notes)

    @property
    def out(self) -> str:
        """The text emitted so far."""
        return self._out.text

    @out.setter
    def out(self, text: str) -> None:
        self._out = TextBuffer()
        self._out.add(text)

    async def emit(self, text: str) -> None:
        """Emit text."""
        if text:
            self._out.add(text)
            if self._emit is not None:
                await self._emit(text)
        elif self._emit is not None:
            await beside_goes_on()  # a filter holds the text back, perhaps until that allows it

    __call__ = emit

    @property
    def inner(self) -> Emit | None:
        """The `emit` of an inner layer; a bound method takes half the time of an object."""
        if self._emit is None:
            return None
        return self if self.wanted else self.emit

    async def note(self, piece: Piece) -> None:
        """Emit a piece of the answer besides its text; does nothing if the caller wants none.

        The tokens of a model call are emitted at the end, as they stand in the response: layers add
        to them.
        """
        if piece.kind == "text":
            await self(piece.text)
        elif self.notes is not None and (self.rounds or piece.kind != "usage"):
            self.notes.add(piece)
            await self._note(piece)

    async def think(self, text: str) -> None:
        """Emit reasoning."""
        if text:
            await self.note(Piece("reasoning", text))

    def fault(self, response: Response) -> str:
        """Return what of a response differs from what was emitted; empty if nothing does."""
        if not response.text.startswith(self.out):
            return "text"
        if self.notes is not None:
            return self.notes.fault(response)
        return "" if response.reasoning.startswith(self.reasoning) else "reasoning"

    async def rest(self, response: Response) -> None:
        """Emit the rest of a response, which begins with what was emitted."""
        notes = self.notes
        if notes is not None and response.reasoning.startswith(notes.reasoning):
            await self.think(response.reasoning[len(notes.reasoning) :])
        await self(response.text.removeprefix(self.out))
        if notes is not None and not response._bare:
            for piece in notes.after_text(response):
                await self._note(piece)


class Filtered:
    """The output of an inner layer, which goes through a filter into a gate.

    Args:
        gate: The output of the layer that owns the filter.
        filter: The filter.
        send: The `send` of that layer.
    """

    def __init__(self, gate: StreamGate, filter: Filter, send: object) -> None:  # noqa: A002
        self._gate, self._filter, self._send = gate, filter, send
        self._emit, self._feed = gate.emit, filter.feed
        self._feed_reasoning = getattr(filter, "feed_reasoning", None)
        self._flush_reasoning = getattr(filter, "flush_reasoning", str)
        self.hides = self._feed_reasoning is None
        self.wanted = gate.wanted and not self.hides

    async def emit(self, text: str) -> None:
        """Filter and emit text."""
        try:
            out = fed(self._feed, text)
        except Exception as error:
            raise FilterFailed(self._send, error) from error
        await self._emit(out)

    __call__ = emit

    @property
    def inner(self) -> Emit | None:
        """The `emit` of an inner layer."""
        if not self._gate.live:
            return None
        return self if self.wanted else self.emit

    async def note(self, piece: Piece) -> None:
        """Filter and emit reasoning; the response that the layer returns has the other pieces."""
        if piece.kind == "reasoning" and self._feed_reasoning is not None:
            try:
                out = fed(self._feed_reasoning, piece.text)
            except Exception as error:
                raise FilterFailed(self._send, error) from error
            await self._gate.think(out)

    async def end(self, response: Response) -> Response:
        """Emit the rest at the end of an answer; return the response with what passed."""
        gate, notes, feed = self._gate, self._gate.notes, self._feed_reasoning
        if feed is None:
            gate.reasoning = ""
        elif notes is not None:
            await gate.think(checked(self._flush_reasoning()))
            gate.reasoning = notes.reasoning
        else:
            gate.reasoning = fed(feed, response.reasoning) + checked(self._flush_reasoning())
        if gate.live:
            await gate(checked(self._filter.flush()))
        else:
            gate.out = fed(self._filter.feed, response.text) + checked(self._filter.flush())
        if gate.out == response.text and gate.reasoning == response.reasoning:
            return response
        return response.replace(text=gate.out, reasoning=gate.reasoning)


def fed(feed: Callable[[str], str], text: str) -> str:
    """Feed a text in pieces: a slow filter of a long one must stop at the deadline."""
    out = []
    for at in range(0, len(text) or 1, _PIECE):
        out.append(checked(feed(text[at : at + _PIECE])))
        time_left()
    return "".join(out)


def checked(found: object) -> str:
    """Return what a filter returned, which must be a string."""
    if not isinstance(found, str):
        raise Misuse(f"its filter returned {type(found).__name__}, expected str")
    return found
