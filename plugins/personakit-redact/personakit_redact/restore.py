r"""Placeholders for hidden values, and the filter that restores the values.

A model sometimes changes the case or the dash of a placeholder (`[Email 1]`, `[EMAIL\_1]`). Such
spellings count as the same name, both when a name is chosen and when it is restored.
"""

import re
from collections.abc import Callable, Iterator
from itertools import count

# Bounded, so that a stream never holds back more than 23 characters.
_NAME = re.compile(r"\[([^\[\]\n]{1,22})\]")
_LONGEST = 24
_IGNORED = re.compile(r"[ _\\\-\u2010\u2011]")


def _key(name: str) -> str:
    return _IGNORED.sub("", name).casefold()


class Table:
    """The placeholders of one request, such as `[EMAIL-1]`, and their values.

    Each spelling of a value has its own placeholder, so that it is restored exactly as written. A
    placeholder never equals a text that the request contains already.
    """

    def __init__(self) -> None:
        """Create an empty table."""
        self._names: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._reserved: set[str] = set()
        self._fresh: dict[str, Iterator[str]] = {}
        self._beginnings: set[str] = set()

    def reserve(self, text: str) -> str:
        """Exclude the placeholders that `text` contains already; return `text` unchanged."""
        self._reserved.update(_key(match[1]) for match in _NAME.finditer(text))
        return text

    def name(self, kind: str, value: str) -> str:
        """Return the placeholder of `value`; create it if necessary."""
        if value not in self._names:
            names = self._fresh.setdefault(kind, (f"{kind.upper()}-{n}" for n in count(1)))
            name = next(name for name in names if _key(name) not in self._reserved)
            key = _key(name)
            self._names[value] = f"[{name}]"
            self._values[key] = value
            self._beginnings.update(key[:length] for length in range(len(key) + 1))
        return self._names[value]

    def restore(self, text: str, quote: Callable[[str], str] = str) -> str:
        """Return `text` with every known placeholder replaced by `quote(value)`."""

        def replacement(match: re.Match[str]) -> str:
            value = self._values.get(_key(match[1]))
            return match[0] if value is None else quote(value)

        return _NAME.sub(replacement, text)

    def may_begin(self, text: str) -> bool:
        """Return whether `text`, which starts with "[", may be the start of a known placeholder."""
        return (
            len(text) < _LONGEST
            and not {"]", "\n"} & set(text)
            and _key(text[1:]) in self._beginnings
        )


class Restore:
    """The filter of one answer: `feed` text as it arrives, `flush` at its end; so its reasoning.

    It holds back only the end of the text that may become a placeholder of the table, so the
    restored text does not depend on how the answer is split into chunks.
    """

    def __init__(self, table: Table) -> None:
        """Restore the values of `table`, which must be complete."""
        self._table = table
        self._held = self._held_reasoning = ""

    def feed(self, text: str) -> str:
        """Return the restored text that can be shown now."""
        shown, self._held = self._restored(self._held + text)
        return shown

    def feed_reasoning(self, text: str) -> str:
        """Return the restored reasoning that can be shown now."""
        shown, self._held_reasoning = self._restored(self._held_reasoning + text)
        return shown

    def _restored(self, text: str) -> tuple[str, str]:
        """Return what can be shown of a text, and the rest."""
        # A name contains no bracket, so only the last "[" can still be open.
        start = text.rfind("[")
        end = start if start >= 0 and self._table.may_begin(text[start:]) else len(text)
        return self._table.restore(text[:end]), text[end:]

    def flush(self) -> str:
        """Return the text that is still held back, which is not a placeholder."""
        held, self._held = self._held, ""
        return held

    def flush_reasoning(self) -> str:
        """Return the reasoning that is still held back."""
        held, self._held_reasoning = self._held_reasoning, ""
        return held
