"""Put the tool calls of an answer together, from the pieces that servers stream.

OpenAI gives each call an index, and sends its id and its name once, in the first piece. Other
servers repeat index 0 for every call (Ollama), send no index, repeat the name in each piece, or
give all calls the same id or none. So a piece belongs to the call with its id, whatever its index.
Another id begins another call, and so does a name when the arguments so far are complete. Some
servers repeat in each piece all arguments so far.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personakit.backend.answers.checks import clean, mapping, string
from personakit.backend.answers.merging import merged
from personakit.base import TextBuffer
from personakit.errors import InvalidAnswer
from personakit.hookspecs import Piece
from personakit.messages import Message, ToolCall
from personakit.tools import Tool

_OWN = frozenset({"id", "type", "function", "index"})
_OWN_OF_FUNCTION = frozenset({"name", "arguments"})


@dataclass(slots=True)
class _Call:
    """A tool call that arrives in pieces."""

    index: Any
    id: str = ""
    name: str = ""
    arguments: TextBuffer = field(default_factory=TextBuffer)
    latest: str = ""  # the last piece of the arguments
    cumulative: bool = True  # whether each piece begins with the one before it
    extras: dict[str, Any] = field(default_factory=dict)
    passed: int = 0  # how much of the arguments was passed on
    own_id: str = ""  # the id under which they were

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are complete JSON."""
        return _is_json(self.arguments.text)

    @property
    def whole_arguments(self) -> str:
        """The arguments of a call that ended.

        Only now `{"a":` and `{"a":1}` can be told from the beginning of a nested object.
        """
        text = self.arguments.text
        if self.cumulative and _is_json(self.latest) and not _is_json(text):
            return self.latest
        return text

    def continues(
        self, index: Any, identity: str, name: str, arguments: str, offered: Container[str]
    ) -> bool:
        """Return whether a piece belongs to this call, which was found by its id or its index."""
        if not name or not self.name:
            # Some servers send a new id with each piece, but never a new name.
            return not (name and identity and self.id and identity != self.id)
        if identity and self.id and identity != self.id:
            return False
        if name != self.name and name in offered and self.name in offered:
            return False
        other_index = index is not None and index != self.index
        same_place = not other_index and (index is not None or bool(identity))
        if not self.arguments:
            # A name in pieces has the same index or the same id in each.
            return same_place or (not other_index and name == self.name)
        # The last piece may repeat the name, and be empty or repeat all arguments.
        again = not arguments or (bool(identity) and arguments == self.arguments.text)
        return (same_place and name == self.name and again) or not self.is_complete

    def grown(self, arguments: str) -> None:
        """Add a piece of the arguments."""
        so_far = self.arguments.text
        if so_far and self.is_complete:
            if arguments == so_far:
                return
            if self.is_placeholder:
                self.arguments = TextBuffer()  # a placeholder before the real ones
                self.latest = ""
        self.add(arguments)

    def add(self, arguments: str) -> None:
        """Add a piece of the arguments that repeats nothing."""
        self.arguments.add(arguments)
        self.cumulative = self.cumulative and arguments.startswith(self.latest)
        self.latest = arguments

    @property
    def is_placeholder(self) -> bool:
        """Whether the arguments so far are an empty object."""
        return self.arguments.text.strip() == "{}"

    def named(self, name: str) -> None:
        """Add a piece of the name, which some servers repeat."""
        if name == self.name or self.arguments:
            self.name = self.name or name
        elif name.startswith(self.name):
            self.name = name
        else:
            self.name += name


class ToolCalls:
    """The tool calls of one answer.

    Args:
        grow: Called with each text that is kept, to limit their size.
        tools: The tools of the request.
    """

    def __init__(self, grow: Callable[[str], None], tools: Sequence[Tool] = ()) -> None:
        self._calls: list[_Call] = []
        self._grow = grow
        self._tools = tools

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def are_whole(self) -> bool:
        """Whether the arguments of all calls are JSON, or empty."""
        return all(call.is_complete or not call.arguments for call in self._calls)

    def add_all(self, pieces: list[Any], *, whole: bool = False) -> None:
        """Add the pieces of one delta, or the calls of a whole answer."""
        for number, piece in enumerate(pieces):
            self._add(mapping(piece), whole=whole, first=number == 0)

    def _add(self, piece: Mapping[str, Any], *, whole: bool, first: bool) -> None:
        index = piece.get("index")
        index = index if isinstance(index, int | str) and index != "" else None
        identity = _identity(piece.get("id"))
        function = mapping(piece.get("function") or {})
        name, arguments = string(function.get("name")), _arguments(function.get("arguments"))
        call = None if whole else self._find(index, identity)
        if call is not None and not first and name and call.name and not identity:
            call = None  # the pieces of one delta that have names are different calls
        offered = [tool.name for tool in self._tools] if name else ()
        if call is None or not call.continues(index, identity, name, arguments, offered):
            call = _Call(index)
            self._calls.append(call)
        for text in (identity, name, arguments):
            self._grow(text)
        call.id = call.id or identity
        if name:
            call.named(name)
        if arguments:
            call.grown(arguments) if name or call.is_placeholder else call.add(arguments)
        extras = {key: value for key, value in piece.items() if key not in _OWN}
        inner = {key: value for key, value in function.items() if key not in _OWN_OF_FUNCTION}
        extras |= {"function": inner} if inner else {}
        if extras:
            call.extras = merged(call.extras, extras)

    def end(self, index: Any, arguments: Any, name: Any = None) -> None:
        """Add all arguments of a call, unless they arrived in pieces."""
        call = self._find(index, "")
        if call is None or not call.arguments:
            function = {"name": name if call is None else None, "arguments": arguments}
            self.add_all([{"index": index, "function": function}])

    def follow(self, arrived: ToolCalls, *, or_take: bool) -> None:
        """Keep to what was passed on of these calls, as they arrived in pieces.

        Some servers give a call another id at its end, or write its arguments in another way.

        Args:
            arrived: The calls as they arrived.
            or_take: Whether these are the calls if there are no others.
        """
        if or_take and not self._calls:
            self._calls = arrived._calls
            return
        left = [call for call in arrived._calls if call.own_id]
        for call in self._calls:
            same = [other for other in left if other.id == call.id]
            for other in same or [other for other in left if other.name == call.name][:1]:
                left.remove(other)
                call.own_id = other.own_id
                if not call.arguments.text.startswith(other.arguments.text[: other.passed]):
                    call.arguments, call.cumulative = other.arguments, False

    def _find(self, index: Any, identity: str) -> _Call | None:
        """Return the call that a piece may belong to: by its id, its index, or the last one."""
        if identity:
            for call in reversed(self._calls):
                if call.id == identity:
                    return call
        if index is not None:
            for call in reversed(self._calls):
                if call.index == index:
                    return call
            if identity or not self._calls:
                return None
        return self._calls[-1] if self._calls else None

    def pieces(self, history: Iterable[Message]) -> Iterator[Piece]:
        """Yield what arrived of the arguments since the last call.

        Nothing is passed on that may change: a call whose id is missing or taken, arguments that
        may be a placeholder, and those of which each piece may repeat all. They come at the end.

        Args:
            history: The earlier messages, whose ids are taken.
        """
        for number, call in enumerate(self._calls):
            text = call.arguments.text
            if "\ud800" <= text[-1:] <= "\udbff":
                text = text[:-1]
            repeats = call.cumulative and len(text) > len(call.latest)
            if len(text) == call.passed or len(text.strip()) < 3 or repeats or not call.name:
                continue
            identity = call.own_id or clean(call.id)
            if not call.own_id:
                earlier = {clean(other.id) for other in self._calls[:number]}
                if not identity or identity in earlier | self._taken(history):
                    continue
            call.own_id, fresh = identity, clean(text[call.passed :])
            call.passed = len(text)
            yield Piece(
                "tool_call", index=number, id=identity, name=clean(call.name), arguments=fresh
            )

    def _taken(self, history: Iterable[Message]) -> set[str]:
        passed = {call.own_id for call in self._calls if call.own_id}
        return passed | {call.id for message in history for call in message.tool_calls}

    def check(self) -> None:
        """Check the calls of an answer that is complete.

        Raises:
            InvalidAnswer: A call has no name.
        """
        if not all(call.name for call in self._calls):
            raise InvalidAnswer("the answer contains a tool call without a name")

    def result(self, history: Iterable[Message]) -> tuple[tuple[ToolCall, ...], dict[str, Any]]:
        """Return the calls, and what else the provider sent with them, by their ids.

        Each call has an id of its own: servers send empty and repeated ones.

        Args:
            history: The earlier messages, whose ids are taken.
        """
        calls = self._calls
        if len({call.index for call in calls if isinstance(call.index, int)}) == len(calls):
            calls = sorted(calls, key=lambda call: call.index)
        taken = self._taken(history)
        result, extras = [], {}
        number = len(taken) - sum(bool(call.own_id) for call in calls)
        for call in calls:
            identity = call.own_id or clean(call.id)
            while not call.own_id and (not identity or identity in taken):
                number += 1
                # Mistral accepts only ids of nine letters and digits.
                identity = f"call{number:05d}"
            taken.add(identity)
            arguments = clean(call.whole_arguments)
            result.append(ToolCall(identity, clean(call.name), arguments or "{}"))
            if call.extras:
                extras[identity] = call.extras
        return tuple(result), extras


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _identity(value: Any) -> str:
    return str(value) if isinstance(value, int) else string(value)


def _arguments(value: Any) -> str:
    """Return the arguments as text; some servers send them as an object."""
    if isinstance(value, str) or value is None:
        return value or ""
    return json.dumps(value, ensure_ascii=False)
