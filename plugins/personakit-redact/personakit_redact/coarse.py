"""Find numbers by their form alone, in texts with too many to check each.

Checking a number with `phonenumbers` takes up to 50 µs for each of its characters, so the check of
100 kB of digits would take seconds. Beyond a limit, a number that has the form of a card or phone
number is hidden: it is restored in the answer, and a number that is not hidden is not.
"""

import re
from collections.abc import Iterator
from functools import cache

import phonenumbers

from personakit_redact import numbering

_GAP = r"[ \t\u00a0\u2007\u202f\-\u2010-\u2015]{1,3}"
_BETWEEN = r"[^\w\n,:;+\uff0b]{0,3}"
_CARD = re.compile(
    rf"(?<![\d.+\uff0b])(?:\d{{13,19}}|(?:\d{{4}}{_GAP}){{3}}\d{{1,7}}"
    rf"|\d{{4}}{_GAP}\d{{6}}{_GAP}\d{{3,9}})(?!\d)"
)


def cards(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield what has the form of a card number, from `start` on."""
    for match in _CARD.finditer(text, start):
        yield match.span()


def phones(text: str, start: int, region: str) -> Iterator[tuple[int, int]]:
    """Yield what has the form of a phone number of `region` or an international one."""
    for match in _phone(region).finditer(text, start):
        yield match.span()


@cache
def _phone(region: str) -> re.Pattern[str]:
    digits = rf"(?:{_BETWEEN}\d)"
    forms = [rf"[+\uff0b][(\uff08]?\d{digits}{{6,14}}"]
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region) if region else None
    if metadata is not None and metadata.general_desc is not None:
        forms.append(rf"00[1-9]{digits}{{6,14}}")
        national = numbering.National.of(region)
        size = len(national.prefix)
        counts = [count - size for count in national.lengths if count - size >= 5]
        if national.prefix and counts:
            rest = rf"{digits}{{{min(counts)},{max(counts)}}}"
            forms.append(rf"[(\uff08]?{national.prefix}{rest}")
        forms.append(str(metadata.general_desc.national_number_pattern))
        forms += [
            rf"[(\uff08]?{f'{_BETWEEN}'.join(rf'[0-9]{{{size}}}' for size in sizes)}"
            for sizes in sorted(national.groups)
        ]
    return re.compile(rf"(?<![\w+\uff0b])(?:{'|'.join(forms)})(?!\d)")
