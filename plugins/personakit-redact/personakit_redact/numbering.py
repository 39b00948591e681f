"""Check phone numbers and their national format with the `phonenumbers` library."""

import re
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

INTERNATIONAL = re.compile(r"(?<![\w+])[+\uff0b][(\uff08]?\d")
_DIALLED_ABROAD = re.compile("00[1-9]")
DIGITS = range(6, 18)
"""The possible counts of digits, including the country code and the prefix before it."""


class National(NamedTuple):
    """The national number format of a country.

    `lengths`: the possible counts of digits, with and without the national `prefix`, such as "0";
    `shown`: the prefix if all numbers are written with it, else ""; `groups`: the counts of digits
    in the groups of usual numbers.
    """

    lengths: frozenset[int]
    prefix: str
    shown: str
    groups: frozenset[tuple[int, ...]] = frozenset()

    @staticmethod
    @cache
    def of(region: str) -> "National":
        """Return the format of `region`, an empty one if `region` is unknown."""
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        if metadata is None or metadata.general_desc is None:
            return National(frozenset(), "", "")
        prefix = phonenumbers.ndd_prefix_for_region(region, True) or ""
        lengths = {length for length in metadata.general_desc.possible_length if length > 0}
        lengths |= {length + len(prefix) for length in lengths}
        kinds = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
        examples = (phonenumbers.example_number_for_type(region, kind) for kind in kinds)
        usual = [phonenumbers.format_number(e, PhoneNumberFormat.NATIONAL) for e in examples if e]
        shown = all(re.sub(r"\D", "", text).startswith(prefix) for text in usual)
        groups = {tuple(map(len, re.findall(r"\d+", text))) for text in usual}
        groups = {one for one in groups if len(one) > 2}
        return National(frozenset(lengths), prefix, prefix if shown else "", frozenset(groups))


def check_region(region: str) -> None:
    """Raise ValueError if `region` is neither "" nor a supported region code."""
    if region and region not in phonenumbers.SUPPORTED_REGIONS:
        hint = "; did you mean 'GB'?" if region == "UK" else ""
        raise ValueError(f"region {region!r} is not an ISO 3166 code such as 'FR'{hint}")


def is_number(text: str, region: str) -> bool:
    """Return whether `text` is a valid number, with its prefix or in its country's groups."""
    digits = re.sub(r"\D", "", text)
    plus = bool(INTERNATIONAL.match(text))
    foreign = plus or (bool(region) and bool(_DIALLED_ABROAD.match(digits)))
    national = National.of(region)
    if not foreign and not digits.startswith(national.shown):
        return False
    if len(digits) not in (DIGITS if foreign else national.lengths):
        return False
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return False
    if plus:
        return phonenumbers.is_possible_number(number)
    prefixed = foreign or (national.prefix != "" and digits.startswith(national.prefix))
    return phonenumbers.is_valid_number(number) and (prefixed or has_usual_groups(text, number))


def has_usual_groups(text: str, number: PhoneNumber) -> bool:
    """Return whether `text` has three or more groups, as the country writes `number`.

    This also finds fictitious numbers (555) and ranges that are newer than the library's data.
    """
    groups = re.findall(r"\d+", text)
    usual = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    return possible and len(groups) > 2 and groups == re.findall(r"\d+", usual)
