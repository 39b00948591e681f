"""The order of an answer's parts: texts, calls, and between them what the API wants back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from personakit.messages import ToolCall


def ordered(
    text: str, calls: Iterable[ToolCall], entries: Sequence[Mapping[str, Any]], between: str = ""
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield the parts of an answer in their order, as far as a plugin left them there.

    A text that a plugin changed is one text, at the first place of a text.

    Args:
        text: The whole text.
        calls: The tool calls.
        entries: What `Answer.keep`, `place_text` and `place_call` kept of the answer. They may
            come from a file, which may contain anything.
        between: What separates two texts in the whole one.

    Yields:
        The entry of a part, and the part: an item that was kept, which is its own entry, a text, or
        a call; empty for one that is no longer there. Parts without a place come last, and have an
        empty entry.
    """
    places = [entry for entry in entries if entry.get("place") == "text"]
    texts = _texts(text, places, between)
    is_changed = len(texts) < len(places)
    pieces = iter(texts)
    waiting = {call.id: call for call in calls}
    for entry in entries:
        if "place" not in entry:
            yield entry, entry
        elif entry["place"] == "text":
            yield {"place": "text"} if is_changed else entry, next(pieces, "")
        else:
            yield entry, waiting.pop(str(entry.get("id")), None)
    for part in (*pieces, *waiting.values()):
        yield {}, part


def _texts(text: str, places: Iterable[Mapping[str, Any]], between: str) -> list[str]:
    pieces, start = [], 0
    for place in places:
        size = place.get("size")
        if not isinstance(size, int) or size < 0:
            return [text]
        pieces.append(text[start : start + size])
        start += size + len(between) if size else 0
    return pieces if between.join(filter(None, pieces)) == text else [text]
