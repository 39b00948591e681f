"""Find e-mail addresses, phone numbers, card numbers and IBANs in a text.

All patterns of this package take time linear in the text: look-behinds and possessive quantifiers
prevent backtracking. The number libraries are imported for the first text with digits.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Literal, NamedTuple

from personakit import time_left
from personakit_redact.spans import without

Kind = Literal["email", "phone", "card", "iban"]

# Without scripts that do not separate words: a match would include the surrounding words.
_ALNUM = r"A-Za-z0-9_\u00b7-\u0dff\u10a0-\u10ff\u1200-\u137f\u1e00-\u1fff"
_LOCAL = rf"[{_ALNUM}.!#$%&'*+/=?^`{{|}}~\-]"
_LABEL = rf"[{_ALNUM}\-]"
_EMAIL = re.compile(
    rf"(?<!{_LOCAL})({_LOCAL}++)@{_LABEL}++(?:\.{_LABEL}++)*\.(?=[^\W\d_]{{2}}){_LABEL}+(?<![\-_])"
)
# Valid in an address, but nearly always surrounding text: "?to=", "/", "**", a quote.
_AROUND = re.compile(r"(?:.*[/?*`{|}])?(?:.*&(?=\w+=))?(?:[^\W\d]\w*=)?[\W_]*")
_ESCAPE = re.compile(r"(\\(?:[\\/bfnrt]|u[0-9a-fA-F]{4}))")
_ESCAPED = {r"\\": "\\", r"\/": "/", r"\t": "\t"}
_BLOCK = 200_000
_DIGIT = re.compile(r"\d")


class Span(NamedTuple):
    """A piece of personal data: `text[start:end]`, in characters, and its kind."""

    start: int
    end: int
    kind: Kind


def find(text: str, kinds: Collection[Kind], region: str = "") -> list[Span]:
    """Return the personal data in `text`, in order and without overlaps.

    Overlapping pieces become one, with the kind of the longest. `region` is the ISO 3166 code of
    the country whose national phone numbers are found; "" (the default) finds international ones.

    Raises:
        Timeout: The deadline of the run has passed.
    """
    spans: list[Span] = []
    for start, end in _blocks(text):
        time_left()
        inside = _in_block(text[start:end], kinds, region)
        spans += [Span(start + low, start + high, kind) for low, high, kind in inside]
    return spans


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of parts of a long text, which end with a line."""
    start = 0
    while start < len(text):
        end = text.find("\n", min(start + _BLOCK, len(text))) + 1 or len(text)
        yield start, end
        start = end


def _in_block(text: str, kinds: Collection[Kind], region: str) -> list[Span]:
    if not _ESCAPE.search(text):
        return _found(text, kinds, region)
    # Tools answer in JSON: without decoding, the "n" of an escape "\n" would join the next word.
    plain = _Plain(text)
    spans = _found(plain.text, kinds, region)
    return [Span(plain.origin(start), plain.origin(end), kind) for start, end, kind in spans]


def _found(text: str, kinds: Collection[Kind], region: str) -> list[Span]:
    found = [Span(*span, "email") for span in _emails(text)] if "email" in kinds else []
    if not _DIGIT.search(text):
        return found
    if "iban" in kinds or "card" in kinds:
        from personakit_redact import accounts  # noqa: PLC0415

        if "iban" in kinds:
            found += [Span(*span, "iban") for span in accounts.ibans(text)]
        if "card" in kinds:
            found += [Span(*span, "card") for span in accounts.cards(text)]
    if "phone" in kinds:
        from personakit_redact.phones import phones  # noqa: PLC0415

        # Remove cards and IBANs first, so that a phone number next to one is found.
        rest = without(text, (span[:2] for span in found))
        found += [Span(*span, "phone") for span in phones(rest, region)]
    return _merged(found)


class _Plain:
    """A text with JSON escapes decoded, and the offsets of its characters in the escaped text."""

    def __init__(self, text: str) -> None:
        parts = _ESCAPE.split(text)
        decoded = parts.copy()
        decoded[1::2] = [
            chr(int(part[2:], 16)) if part[1] == "u" else _ESCAPED.get(part, "\n")
            for part in parts[1::2]
        ]
        self.text = "".join(decoded)
        self._starts = [0, *accumulate(map(len, decoded))]
        self._origins = [0, *accumulate(map(len, parts))]

    def origin(self, offset: int) -> int:
        """Return the offset in the escaped text."""
        part = bisect_right(self._starts, offset) - 1
        return self._origins[part] + offset - self._starts[part]


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield e-mail addresses with a dotted domain."""
    for match in _EMAIL.finditer(text) if "@" in text else ():
        around = _AROUND.match(match[1])
        start = match.start() + (around.end() if around else 0)
        if start < match.end(1):
            yield start, match.end()


def _merged(spans: list[Span]) -> list[Span]:
    """Return `spans` in order, overlapping ones merged, with the kind of the longest."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans):
        length = span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            longest = length
            continue
        whole = merged[-1]
        kind = span.kind if length > longest else whole.kind
        merged[-1] = Span(whole.start, max(whole.end, span.end), kind)
        longest = max(length, longest)
    return merged
