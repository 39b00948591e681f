"""Find card numbers and IBANs, with the registry of python-stdnum and their check digits.

The check digits are computed here: python-stdnum takes 20 µs for a number, and a text of 100 kB may
contain 25,000 beginnings of one.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from stdnum import numdb

from personakit_redact import coarse

_GAP = r"[ \t\u00a0\u2007\u202f\-\u2010-\u2015]"
_IBAN_START = re.compile(
    rf"([A-Za-z]{{2}}){_GAP}?[0-9]{{2}}(?=[\w \t\u00a0.\u2007\u202f\-\u2010-\u2015])"
)
_CLASSES = {"n": "[0-9]", "a": "[A-Za-z]", "c": "[A-Za-z0-9]"}
# ISO 7064: letters count as 10 to 35, and what stands between is left out.
_VALUES: dict[int, str | None] = {
    ord(c): str(int(c, 36)) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}
_VALUES |= dict.fromkeys(map(ord, " \t\u00a0\u2007\u202f-\u2010\u2011\u2012\u2013\u2014\u2015."))
_CARD_RUN = re.compile(rf"\d++(?:{_GAP}{{1,3}}+\d++)*+")
# All groups of a card number but the last have three digits or more.
_CARD_LIKE = re.compile(rf"\d{{3}}{_GAP}{{1,3}}\d{{3}}|\d{{7}}")
_MOST_GROUPS = 1000
_CARD_DIGITS, _CARD_GROUPS = range(13, 20), 7
_DIGITS = re.compile(r"\d+")
_ISSUER = re.compile(r"[3-6]|2[2-7]|8[12]|9792")
_DECIMAL_POINT = re.compile(r"\d\.")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_PHONE_DIGITS = 15  # the most that E.164 allows


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield IBANs of every registered country, in any case and grouping."""
    for start in _IBAN_START.finditer(text):
        pattern = _iban_pattern(start[1].upper())
        whole = pattern.match(text, start.start()) if pattern else None
        # Ignore the national check digits: a mistyped account number may still be somebody's.
        if whole and int((whole[2] + whole[1]).translate(_VALUES)) % 97 == 1:
            yield whole.span()


@cache
def _iban_pattern(country: str) -> re.Pattern[str] | None:
    """Return a pattern for IBANs of `country`; None if the country has no IBANs.

    The form comes from the registry, so a match never includes words after the IBAN.
    """
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    if not structure:
        return None
    between = rf"(?:{_GAP}|\.){{0,2}}"
    parts = [
        rf"(?:{between}{_CLASSES[kind]}){{{length}}}"
        for length, kind in re.findall(r"(\d+)!([nac])", structure)
    ]
    head = rf"[A-Za-z]{between}[A-Za-z]{between}[0-9]{between}[0-9]"
    return re.compile(f"({head})({''.join(parts)})")


class _Group(NamedTuple):
    """A group of digits: its place in the text, and the number of digits before it in its run."""

    start: int
    end: int
    before: int


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield numbers of 13 to 19 digits that pass the Luhn check, in one block or in groups."""
    left = _MOST_GROUPS
    for run in _CARD_RUN.finditer(text):
        if run.end() - run.start() < _CARD_DIGITS.start or not _CARD_LIKE.search(run[0]):
            continue
        left -= 1 + (run.end() - run.start()) // 5
        if left < 0:
            yield from coarse.cards(text, run.start())
            return
        for start, end in _cards_in(text, *run.span()):
            if not _is_other_number(text, start, end):
                yield start, end


def _cards_in(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of digit groups in `text[start:end]` that are a card number.

    Every group except the last needs at least three digits, which excludes dates. Next to other
    digits, only the usual groups (4 4 4 4, 4 6 5) with an issuer's first digits count, because one
    number in ten passes the Luhn check and a table contains many numbers.
    """
    spans = [group.span() for group in _DIGITS.finditer(text, start, end)]
    counts = [0, *accumulate(high - low for low, high in spans)]
    if len(spans) == 1 and counts[1] not in _CARD_DIGITS:
        return
    groups = [_Group(*span, count) for span, count in zip(spans, counts, strict=False)]
    is_valid: _Luhn | None = None
    for first, (low, _, before) in enumerate(groups):
        usual = bool(_ISSUER.match(text, low))
        if first and not usual:
            continue
        for group, high, count in groups[first : first + _CARD_GROUPS]:
            length = high - group
            digits = count + length - before
            if digits >= _CARD_DIGITS.stop or not (usual or first == 0):
                break
            alone = (low, high) == (start, end)
            if digits in _CARD_DIGITS and int(text[low]) and (alone or (usual and length > 2)):
                is_valid = is_valid or _Luhn(text[start:end])
                if is_valid(before, before + digits):
                    yield low, high
            if length < 3:
                break
            usual = usual and length in {4, 6}


class _Luhn:
    """The Luhn check of every part of a run of digits, whose sums are computed once."""

    def __init__(self, text: str) -> None:
        # int() converts the digits of any script.
        digits = [int(digit) for part in _DIGITS.findall(text) for digit in part]
        odd = digits.copy()
        odd[1::2] = [_DOUBLED[digit] for digit in digits[1::2]]
        digits[0::2] = [_DOUBLED[digit] for digit in digits[0::2]]
        # The sums in which each second digit is doubled, from the first or from the second on.
        self._sums = [0, *accumulate(digits)], [0, *accumulate(odd)]

    def __call__(self, start: int, end: int) -> bool:
        """Return whether the digits from `start` to `end` are valid."""
        # The last digit is not doubled, and the one before it is.
        sums = self._sums[end % 2]
        return (sums[end] - sums[start]) % 10 == 0


def _is_other_number(text: str, start: int, end: int) -> bool:
    """Return whether the digits are an international phone number or a decimal fraction."""
    if text[max(start - 1, 0) : start] in {"+", "\uff0b"}:
        return sum(map(str.isdigit, text[start:end])) <= _PHONE_DIGITS
    fraction = start > 1 and _DECIMAL_POINT.match(text, start - 2)
    return bool(fraction) and text[start:end].isdigit()
