"""Phone numbers: every country's forms, what stands beside them, and what is none."""

import phonenumbers
import pytest
from personakit_redact.detectors import Kind, find
from personakit_redact.numbering import check_region
from phonenumbers import PhoneNumberFormat

PHONE: tuple[Kind, ...] = ("phone",)


def found(text: str, region: str = "") -> list[str]:
    return [text[span.start : span.end] for span in find(text, PHONE, region)]


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("region", REGIONS)
def test_the_forms_of_every_country_are_found(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        for form in (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL):
            text = phonenumbers.format_number(number, form)
            assert found(f"call {text}, please") == [text]
        text = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if sum(map(str.isdigit, text)) >= 6:
            assert found(f"call {text}, please", region) == [text]


@pytest.mark.parametrize(
    ("text", "region", "numbers"),
    [
        ("06 12 34 56 78 2 personnes", "FR", ["06 12 34 56 78"]),
        ("2 06 12 34 56 78", "FR", ["06 12 34 56 78"]),
        ("06 12 34 56 78 06 98 76 54 32", "FR", ["06 12 34 56 78", "06 98 76 54 32"]),
        ("0612345678 ou 0698765432", "FR", ["0612345678", "0698765432"]),
        ("06.12.34.56.78 / 06-98-76-54-32", "FR", ["06.12.34.56.78", "06-98-76-54-32"]),
        ("0033 6 12 34 56 78 2 fois", "FR", ["0033 6 12 34 56 78"]),
        ("+33 6 12 34 56 78 2 fois", "", ["+33 6 12 34 56 78"]),
        ("+33 (0)6 12 34 56 78", "", ["+33 (0)6 12 34 56 78"]),
        ("tel:+33612345678", "", ["+33612345678"]),
        ("\uff0b33612345678", "", ["\uff0b33612345678"]),
        ("電話は+81312345678です", "", ["+81312345678"]),
        ("room 12 415 555 2671", "US", ["415 555 2671"]),
        ("(415) 555-2671 2 times", "US", ["(415) 555-2671"]),
        ("1 415 555 2671 12", "US", ["1 415 555 2671"]),
        ("(555) 123-4567", "US", ["(555) 123-4567"]),
        ("+1 555 123 4567", "US", ["+1 555 123 4567"]),
        ("+1 555 123 4567 2 times", "US", ["+1 555 123 4567"]),
        ("415-555-2671 ext. 12", "US", ["415-555-2671 ext. 12"]),
        ("7024 (+44 7400 123456 7024", "", ["+44 7400 123456"]),
        ("131 2345 6789 2024", "CN", ["131 2345 6789"]),
        ("8 (301) 123-45-67 5", "RU", ["8 (301) 123-45-67"]),
        ("0171/1234567", "DE", ["0171/1234567"]),
        ("20.12.34.56", "DK", ["20.12.34.56"]),
        ("06 12 34 56 78 " * 20, "FR", ["06 12 34 56 78"] * 20),
        ("1 " * 200 + "+33 6 12 34 56 78", "", ["+33 6 12 34 56 78"]),
    ],
)
def test_a_number_is_found(text: str, region: str, numbers: list[str]) -> None:
    assert found(text, region) == numbers


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("2024-01-15", "DK"),
        ("2024-01-15 and 15.01.2024 and 15/01/2024", "DK"),
        ("2024-03-01 10:30", "US"),
        ("05.01.2024", "DE"),
        ("le 2024 et 27", "LU"),
        ("v1.2.3", "US"),
        ("10.0.19045.3803", "US"),
        ("1700000000", "US"),
        ("1,234,567,890", "US"),
        ("3.14159265", "US"),
        ("1+1234567890", "US"),
        ("order 123-45-6789", "US"),
        ("06 12 34 56 78", ""),
        ("415 555 2671", "FR"),
        ("abc8005001234", "US"),
        ("+0 12 34 56", ""),
        ("", "US"),
    ],
)
def test_no_number_is_found(text: str, region: str) -> None:
    assert found(text, region) == []


def test_a_number_after_very_many_others_is_found() -> None:
    # PhoneNumberMatcher itself gives up after 65,535 tries.
    assert found("12345 no, " * 70_000 + "+1 415 555 2671") == ["+1 415 555 2671"]
    assert found("123456, " * 70_000 + "+1 415 555 2671") == ["+1 415 555 2671"]


@pytest.mark.parametrize("length", [8150, 8192, 8230, 16_000])
def test_a_number_in_a_very_long_line_of_digits_is_found(length: int) -> None:
    text = ("9 " * length)[:length] + " +33 6 12 34 56 78" + " 9" * 500
    assert any("6 12 34 56 78" in number for number in found(text))


def test_a_region_is_checked() -> None:
    check_region("FR")
    check_region("")
    with pytest.raises(ValueError, match=r"region 'UK' is not an ISO 3166 code.*did you mean 'GB'"):
        check_region("UK")
    with pytest.raises(ValueError, match=r"region 'XX' is not an ISO 3166 code such as 'FR'$"):
        check_region("XX")
