"""What is found and what is not: e-mail addresses, cards, IBANs and where they overlap."""

import json
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personakit_redact.detectors import Kind, find
from stdnum import iban, luhn, numdb

ALL: tuple[Kind, ...] = ("email", "phone", "card", "iban")


def found(text: str, *kinds: Kind, region: str = "") -> list[str]:
    return [text[span.start : span.end] for span in find(text, kinds or ALL, region)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("write to jane.doe+tag@mail.example.co.uk.", "jane.doe+tag@mail.example.co.uk"),
        ("<jane@example.com>", "jane@example.com"),
        ("mailto:jane@example.com?subject=Hi", "jane@example.com"),
        ("https://shop.example/c?a=1&email=jane@example.com&b=2", "jane@example.com"),
        ("**jane@example.com** and more", "jane@example.com"),
        ("`jane@example.com`", "jane@example.com"),
        ("'jane@example.com'", "jane@example.com"),
        ("_jane@example.com_", "jane@example.com"),
        ('{"to":"jane@example.com"}', "jane@example.com"),
        ("o'brien@example.ie", "o'brien@example.ie"),
        ("r&d@example.com", "r&d@example.com"),
        ("bounce+jane=example.com@list.example", "bounce+jane=example.com@list.example"),
        ("jürgen.müller@bücher.example", "jürgen.müller@bücher.example"),
        ("почта@пример.рф", "почта@пример.рф"),
        ("jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
        ("jane@example.com.5", "jane@example.com"),
        ("请联系jane@example.com谢谢", "jane@example.com"),
        ("0612345678@example.fr", "0612345678@example.fr"),
    ],
)
def test_an_address_is_found(text: str, address: str) -> None:
    assert found(text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "react@18.2.0",
        "root@localhost",
        "root@10.0.0.1",
        "@jane",
        "jane@",
        "=@example.com",
        "a @ b.com",
        "5 apples @ 2.50 each",
        "",
    ],
)
def test_no_address_is_found(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111 - 1111 - 1111 - 1111",
        "5555 5555 5555 4444",
        "2223 0031 2200 3222",
        "3782 822463 10005",
        "378282246310005",
        "3056 9309 0259 04",
        "6011000990139424",
        "3530 1113 3330 0000",
        "6759 6498 2643 8453",
        "4222222222222",
        "4222 2222 2222 2",
        "6304 0000 0000 0000 00",
        "4000 0000 0000 0000 006",
        "1234 5678 1234 5670",
        "\uff14\uff11\uff11\uff11" + "\uff11" * 12,
        "٤١١١١١١١١١١١١١١١",
    ],
)
def test_a_card_is_found(text: str) -> None:
    assert found(text, "card") == [text]
    assert found(f"It is {text}.", "card") == [text]
    assert found(f"card_{text}, please", "card") == [text]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "1234567890123456",
        "0000 0000 0000 0000",
        "411111111111",
        "41111111111111111111111",
        "2024-01-15",
        "2024-01-15 2024-02-20",
        "2024-03-01 10:30:00.123456",
        "1.2.3.4",
        "0.1234567890123452",
        "3.14159265358979323846",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14",
        "550e8400-e29b-41d4-a716-446655440000",
        "+8613800138002",
        "ORDER-2024-000123-4567891",
    ],
)
def test_no_card_is_found(text: str) -> None:
    assert found(text, "card") == []


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("4111 1111 1111 1111 12/26 123", ["4111 1111 1111 1111"]),
        ("4111 1111 1111 1111 123", ["4111 1111 1111 1111"]),
        ("2 4111 1111 1111 1111", ["4111 1111 1111 1111"]),
        ("2024-01-15 4111 1111 1111 1111 2", ["4111 1111 1111 1111"]),
        ("3782 822463 10005 43", ["3782 822463 10005"]),
        ("4111111111111111 5555555555554444", ["4111111111111111", "5555555555554444"]),
        (
            "4111 1111 1111 1111\n5555 5555 5555 4444",
            ["4111 1111 1111 1111", "5555 5555 5555 4444"],
        ),
    ],
)
def test_a_card_is_found_beside_other_digits(text: str, cards: list[str]) -> None:
    assert found(text, "card") == cards


def test_a_table_of_numbers_is_no_list_of_cards() -> None:
    rows = [f"{year} {year + 1} {year + 2} {year + 3} {year + 4}" for year in range(1000, 2000, 5)]
    assert found("\n".join(rows), "card") == []


@pytest.mark.parametrize(
    "text",
    [
        "GB29 NWBK 6016 1331 9268 19",
        "GB29NWBK60161331926819",
        "gb29 nwbk 6016 1331 9268 19",
        "DE89 3704 0044 0532 0130 00",
        "de89370400440532013000",
        "FR14-2004-1010-0505-0001-3M02-606",
        "FR76 3000 6000 0112 3456 7890 189",
        "NL91ABNA0417164300",
        "ES91 2100 0418 4502 0005 1332",
        "IT60 X054 2811 1010 0000 0123 456",
        "CH93 0076 2011 6238 5295 7",
        "NO93 8601 1117 947",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "BR18 0036 0305 0000 1000 9795 493C 1",
        "SA03 8000 0000 6080 1016 7519",
        "BE68 5390 0754 7034",
        "PL61 1090 1014 0000 0712 1981 2874",
    ],
)
def test_an_iban_is_found(text: str) -> None:
    assert found(text) == [text]
    assert found(f"My IBAN is {text} and the bank is open", "iban") == [text]
    assert found(f"IBAN{text}, thanks", "iban") == [text]
    assert found(f"IBAN:{text}\n12345", "iban") == [text]


@pytest.mark.parametrize(
    "text",
    [
        "GB29 NWBK 6016 1331 9268 18",
        "GB29NWBK6016133192681",
        "DE00 3704 0044 0532 0130 00",
        "XX29 NWBK 6016 1331 9268 19",
        "AB12 CDEF",
        "at 12 o'clock",
        "ISO9001 IEC60601 IEEE80211",
    ],
)
def test_no_iban_is_found(text: str) -> None:
    assert found(text, "iban") == []


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("4111111111111111@example.com", [("email", "4111111111111111@example.com")]),
        ("DE89370400440532013000@example.com", [("email", "DE89370400440532013000@example.com")]),
        (
            "DE89 3704 0044 0532 0130 00 06 12 34 56 78",
            [("iban", "DE89 3704 0044 0532 0130 00"), ("phone", "06 12 34 56 78")],
        ),
        (
            "4111 1111 1111 1111 06 12 34 56 78 jane@example.com",
            [
                ("card", "4111 1111 1111 1111"),
                ("phone", "06 12 34 56 78"),
                ("email", "jane@example.com"),
            ],
        ),
        ("FR76 3000 6000 0112 3456 7890 189", [("iban", "FR76 3000 6000 0112 3456 7890 189")]),
        ("BR1800360305000010009795493C1", [("iban", "BR1800360305000010009795493C1")]),
    ],
)
def test_overlaps_are_one_piece(text: str, spans: list[tuple[Kind, str]]) -> None:
    assert [(s.kind, text[s.start : s.end]) for s in find(text, ALL, "FR")] == spans


@pytest.mark.parametrize("secret", ["jane@example.com", "06 12 34 56 78", "4111111111111111"])
@pytest.mark.parametrize("around", ["\n", "\t", "\\", "/", '"', "<", "\u00a0", "谢", "\U0001f600"])
def test_json_text_is_read_as_what_it_says(secret: str, around: str) -> None:
    for text in (json.dumps(f"a {around}{secret}{around} b"), f"C:{around}{secret}"):
        assert found(text, region="FR") == [secret]


def test_escapes_within_a_value_belong_to_it() -> None:
    number = json.dumps("06\u00a012\u00a034\u00a056\u00a078")[1:-1]
    assert found(f"call {number}\\n", region="FR") == [number]


def test_pieces_that_only_overlap_in_part_are_hidden_together() -> None:
    text = "4111111111111111 5555555555554444@example.com"
    spans = find(text.replace(" ", "-"), ALL)
    assert [(span.start, span.end) for span in spans] == [(0, len(text))]
    assert spans[0].kind == "email"


@pytest.mark.parametrize("kind", ALL)
def test_only_what_is_asked_for_is_found(kind: Kind) -> None:
    pieces: dict[Kind, str] = {
        "email": "jane@example.com",
        "phone": "+33 6 12 34 56 78",
        "card": "4111 1111 1111 1111",
        "iban": "GB29 NWBK 6016 1331 9268 19",
    }
    assert found("; ".join(pieces.values()), kind) == [pieces[kind]]
    assert find("; ".join(pieces.values()), ()) == []


def a_card(digits: str) -> str:
    return digits + luhn.calc_check_digit(digits)


def an_iban(country: str, draw: Callable[[str], str]) -> str:
    structure = numdb.get("iban").info(country)[0][1]["bban"]
    bban = "".join(draw(kind) * int(n) for n, kind in re.findall(r"(\d+)!(\w)", structure))
    return country + iban.calc_check_digits(f"{country}00{bban}") + bban


@given(st.from_regex(r"[3-6][0-9]{11,17}", fullmatch=True), st.sampled_from(["", " ", "-"]))
def test_every_card_is_found(digits: str, gap: str) -> None:
    number = a_card(digits)
    grouped = gap.join(number[at : at + 4] for at in range(0, len(number), 4))
    assert found(grouped, "card") == [grouped]


@given(st.sampled_from("AT BE BR CH DE ES FR GB GR IT MT NL NO PL SA SE TR".split()), st.data())
def test_every_iban_is_found(country: str, data: st.DataObject) -> None:
    alphabet = {"n": "0123456789", "a": "ABCXYZ", "c": "0123456789ABCXYZ"}
    number = an_iban(country, lambda kind: data.draw(st.sampled_from(alphabet[kind])))
    grouped = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    for text in (number, number.lower(), grouped, f"{grouped} and so on"):
        assert found(text, "iban") == [text.removesuffix(" and so on")]


@given(st.text())
def test_pieces_are_in_order_and_apart(text: str) -> None:
    spans = find(text, ALL, "US")
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
