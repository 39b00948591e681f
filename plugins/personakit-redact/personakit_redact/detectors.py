"""Find e-mail addresses, phone, card and IBAN numbers in a text.

Every pattern here and beside takes time linear in the text: a run of characters is entered at its
start only and not given back (look-behinds, possessive quantifiers). The libraries that know the
numbers are imported by the first text with digits.
"""

import re
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

from personakit_redact.spans import without

Kind = Literal["email", "phone", "card", "iban"]

# Scripts without blanks between words are left out: there the words around would be taken in.
_ALNUM = r"A-Za-z0-9_\u00b7-\u0dff\u10a0-\u10ff\u1200-\u137f\u1e00-\u1fff"
_LOCAL = rf"[{_ALNUM}.!#$%&'*+/=?^`{{|}}~\-]"
_LABEL = rf"[{_ALNUM}\-]"
_EMAIL = re.compile(
    rf"(?<!{_LOCAL})({_LOCAL}++)@{_LABEL}++(?:\.{_LABEL}++)*\.(?=[^\W\d_]{{2}}){_LABEL}+(?<![\-_])"
)
# What an address may hold but is nearly always the text around it: "?to=", "/", "**", a quote.
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
    """Return what is personal in `text`, in order and without overlaps.

    Pieces that overlap become one, of the kind of the longest. `region` is the ISO 3166 code of
    the country whose national phone numbers count; "" (the default) finds the international form.
    """
    if not _ESCAPE.search(text):
        return _found(text, kinds, region)
    # Tools answer in JSON, where an "\n" in front would else be the "n" of a word.
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

        # A phone number beside a card must not be lost in it: the detector sees a hole instead.
        rest = without(text, (span[:2] for span in found))
        found += [Span(*span, "phone") for span in phones(rest, region)]
    return _merged(found)


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Return `text` without JSON's escapes, and where in `text` each character of it begins."""
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
    """Return `spans` in order; those that overlap as one, of the kind of the longest."""
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
