"""Find card numbers and IBANs, with the check digits and registry of python-stdnum."""

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, luhn, numdb

_GAP = r"[ \t\u00a0\u2007\u202f\-\u2010-\u2015]"
_IBAN_START = re.compile(rf"([A-Za-z]{{2}}){_GAP}?[0-9]{{2}}")
_CARD_RUN = re.compile(rf"\d++(?:{_GAP}{{1,3}}+\d++)*+")
_CARD_DIGITS, _CARD_GROUPS = range(13, 20), 7
_DIGITS = re.compile(r"\d+")
_ISSUER = re.compile(r"[3-6]|2[2-7]|8[12]|9792")
_DECIMAL_POINT = re.compile(r"\d\.")
_PHONE_DIGITS = 15  # the most that E.164 allows


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield IBANs of every registered country, in any case and grouping."""
    for start in _IBAN_START.finditer(text):
        whole = _iban_pattern(start[1].upper()).match(text, start.start())
        # Ignore the national check digits: a mistyped account number may still be somebody's.
        if whole and iban.is_valid(re.sub(r"[\W_]", "", whole[0]), check_country=False):
            yield whole.span()


@cache
def _iban_pattern(country: str) -> re.Pattern[str]:
    """Return a pattern for IBANs of `country`, which matches nothing if the country has no IBANs.

    The length comes from the registry, so a match never includes words after the IBAN.
    """
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    if not structure:
        return re.compile(r"(?!)")
    rest = 3 + sum(int(length) for length in re.findall(r"(\d+)!", structure))
    return re.compile(rf"[A-Za-z](?:(?:{_GAP}|\.){{0,2}}[A-Za-z0-9]){{{rest}}}")


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield numbers of 13 to 19 digits that pass the Luhn check, in one block or in groups."""
    for run in _CARD_RUN.finditer(text):
        for start, end in _card_candidates(text, *run.span()):
            digits = re.sub(r"\D", "", text[start:end])
            # int() converts the digits of any script to ASCII, which stdnum requires.
            if luhn.is_valid(str(int(digits))) and not _is_other_number(text, start, end):
                yield start, end


def _card_candidates(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of digit groups in `text[start:end]` that may be a card number.

    Every group except the last needs at least three digits, which excludes dates. Next to other
    digits, only the usual groups (4 4 4 4, 4 6 5) with an issuer's first digits count, because one
    number in ten passes the Luhn check and a table contains many numbers.
    """
    if end - start < _CARD_DIGITS.start:
        return
    groups = [group.span() for group in _DIGITS.finditer(text, start, end)]
    for first, (low, _) in enumerate(groups):
        digits, usual = 0, bool(_ISSUER.match(text, low))
        for group, high in groups[first : first + _CARD_GROUPS]:
            length = high - group
            digits += length
            if digits >= _CARD_DIGITS.stop:
                break
            alone = (low, high) == (start, end)
            if digits in _CARD_DIGITS and int(text[low]) and (alone or (usual and length > 2)):
                yield low, high
            if length < 3:
                break
            usual = usual and length in {4, 6}


def _is_other_number(text: str, start: int, end: int) -> bool:
    """Return whether the digits are an international phone number or a decimal fraction."""
    if text[max(start - 1, 0) : start] in {"+", "\uff0b"}:
        return sum(map(str.isdigit, text[start:end])) <= _PHONE_DIGITS
    fraction = start > 1 and _DECIMAL_POINT.match(text, start - 2)
    return bool(fraction) and text[start:end].isdigit()
