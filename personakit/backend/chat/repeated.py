"""Read the events of a stream that differ from an earlier one in their text alone.

Nearly all events of an answer do, so their JSON need not be parsed again: the text is one string
between bytes that are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from personakit.backend.answers.checks import strict

_CONTENT = re.compile(rb'"content": ?("[^"\\]*(?:\\.[^"\\]*)*")')
_FIELD = b"data: "


class Repeated:
    """An event without its text.

    Args:
        before: The bytes of its data before the string of the text.
        after: The bytes behind that string.

    Attributes:
        used: Whether another event was like it.
    """

    __slots__ = ("_after", "_before", "_head", "used")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after = before, after
        self._head = _FIELD + before
        self.used = False

    @classmethod
    def of(cls, body: bytes, data: Mapping[str, Any], choices: list[Any]) -> Repeated | None:
        """Return an event without its text; None if the place of the text is not certain.

        Args:
            body: The data of the event, whose delta has a text and nothing else.
            data: The same, parsed, without its choices.
            choices: Its choices.
        """
        place = _CONTENT.search(body)
        if place is None or b"\n" in body:
            return None
        before, after = body[: place.start(1)], body[place.end(1) :]
        # A key may be there twice: with another text, only the text of the choice may be another.
        text = choices[0]["delta"]["content"]
        try:
            other = strict(b'%b"%b"%b' % (before, b"?" * (len(text) + 1), after))
            changed = other.pop("choices")
            if changed[0]["delta"]["content"] == text:
                return None
            changed[0]["delta"]["content"] = text
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        return cls(before, after) if other == data and changed == choices else None

    def fits(self, body: bytes) -> bool:
        """Return whether the data of an event is like it."""
        return body.startswith(self._before) and body.endswith(self._after)

    def read(self, part: bytes, at: int) -> tuple[str, int]:
        """Read the events like it that stand one after the other in a piece of a body.

        Args:
            part: The piece.
            at: Where an event begins.

        Returns:
            Their text, and where the first other event begins, or one that is not complete.
        """
        head, after, texts = self._head, self._after, []
        while part.startswith(head, at):
            start = at + len(head)
            stop = part.find(after, start)
            end = stop + len(after)
            if part.startswith(b"\n\n", end):
                end += 2
            elif part.startswith(b"\r\n\r\n", end):
                end += 4
            else:
                break
            if stop < 0:
                break
            try:
                # It is one string and nothing behind it, or not valid.
                text = strict(part[start:stop])
            except ValueError:
                break
            if type(text) is not str:
                break
            texts.append(text)
            at = end
        self.used = self.used or bool(texts)
        return "".join(texts), at
