"""Find e-mail addresses, phone numbers, card numbers and IBANs in a text.

All patterns of this package take time linear in the text: look-behinds and possessive quantifiers
prevent backtracking. The number libraries are imported for the first text with digits.
"""

import re
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

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
_ESCAPE = re.compile(r"\\(?:[\\/bfnrt]|u([0-9a-fA-F]{4}))")
_ESCAPED = {r"\\": "\\", r"\/": "/", r"\t": "\t"}
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
    """
    if not _ESCAPE.search(text):
        return _found(text, kinds, region)
    # Tools answer in JSON: without decoding, the "n" of an escape "\n" would join the next word.
    plain, at = _unescaped(text)
    spans = _found(plain, kinds, region)
    return [Span(at[start], at[end], kind) for start, end, kind in spans]


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


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Return `text` with JSON escapes decoded, and the offset in `text` of each character."""
    pieces: list[str] = []
    starts: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        character = chr(int(escape[1], 16)) if escape[1] else _ESCAPED.get(escape[0], "\n")
        pieces += [text[at : escape.start()], character]
        starts += range(at, escape.start() + 1)
        at = escape.end()
    starts += range(at, len(text) + 1)
    return "".join([*pieces, text[at:]]), starts


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
