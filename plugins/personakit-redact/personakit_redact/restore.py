r"""Placeholders: one for each hidden value, and the filter that puts the values back.

A model now and then changes the case or the dash of a placeholder (`[Email 1]`, `[EMAIL\_1]`).
Such spellings are one name, both where names are given and where they are read.
"""

import re
from collections.abc import Callable, Iterator
from itertools import count

# Bounded, so that a stream never has to hold back more than 23 characters.
_NAME = re.compile(r"\[([^\[\]\n]{1,22})\]")
_LONGEST = 24
_IGNORED = re.compile(r"[ _\\\-\u2010\u2011]")


def _key(name: str) -> str:
    return _IGNORED.sub("", name).casefold()


class Table:
    """What one run hides: placeholders such as `[EMAIL-1]` and the values they stand for.

    A value has one placeholder, and each spelling of it one of its own, so that what comes back is
    what was written. No placeholder equals a text that the request holds by itself.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._names: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._reserved: set[str] = set()
        self._fresh: dict[str, Iterator[str]] = {}
        self._beginnings: set[str] = set()

    def reserve(self, text: str) -> str:
        """Never use a placeholder that `text` holds by itself. Returns `text` as it is."""
        self._reserved.update(_key(found[1]) for found in _NAME.finditer(text))
        return text

    def name(self, kind: str, value: str) -> str:
        """Return the placeholder that stands for `value`: the one it has, or else a new one."""
        if value not in self._names:
            names = self._fresh.setdefault(kind, (f"{kind.upper()}-{n}" for n in count(1)))
            name = next(name for name in names if _key(name) not in self._reserved)
            key = _key(name)
            self._names[value] = f"[{name}]"
            self._values[key] = value
            self._beginnings.update(key[:length] for length in range(len(key) + 1))
        return self._names[value]

    def restore(self, text: str, quote: Callable[[str], str] = str) -> str:
        """Return `text` with `quote(value)` in the place of every known placeholder."""

        def value(found: re.Match[str]) -> str:
            known = self._values.get(_key(found[1]))
            return found[0] if known is None else quote(known)

        return _NAME.sub(value, text)

    def may_begin(self, text: str) -> bool:
        """Tell whether `text`, from its "[" on, can become a known placeholder with more text."""
        return (
            len(text) < _LONGEST
            and not {"]", "\n"} & set(text)
            and _key(text[1:]) in self._beginnings
        )


class Restore:
    """The filter of one answer: `feed` text as it arrives, `flush` at its end.

    Held back is only an end of the text that can still become a placeholder of the table, so the
    pieces joined are the same text for every way the answer was cut.
    """

    def __init__(self, table: Table) -> None:
        """Restore what `table` holds, which must be complete by now."""
        self._table = table
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what can be shown after `text`, restored."""
        text = self._held + text
        # A name holds no bracket inside, so only the last "[" can still be open.
        start = text.rfind("[")
        end = start if start >= 0 and self._table.may_begin(text[start:]) else len(text)
        self._held = text[end:]
        return self._table.restore(text[:end])

    def flush(self) -> str:
        """Return what is still held back, as it is: it is no placeholder."""
        held, self._held = self._held, ""
        return held
