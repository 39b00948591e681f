"""Placeholders: how they are named, what restores them, and that chunks make no difference."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from personakit_redact.detectors import Kind, find
from personakit_redact.restore import Restore, Table

from personakit.testing import check_filter

ALL: tuple[Kind, ...] = ("email", "phone", "card", "iban")
SECRETS = {
    "email": ["jane@example.com", "o'brien+news@mail.example.ie", "bob_77@bücher.example"],
    "phone": ["+33 6 12 34 56 78", "+14155552671", "(415) 555-2671"],
    "card": ["4111 1111 1111 1111", "5555555555554444", "3782-822463-10005"],
    "iban": ["GB29 NWBK 6016 1331 9268 19", "de89370400440532013000"],
}


def a_table() -> Table:
    table = Table()
    table.name("email", "jane@example.com")
    table.name("email", "joe@example.com")
    table.name("card", "4111 1111 1111 1111")
    return table


def hide(text: str, table: Table, region: str = "US") -> str:
    table.reserve(text)
    pieces, at = [], 0
    for start, end, kind in find(text, ALL, region):
        pieces += [text[at:start], table.name(kind, text[start:end])]
        at = end
    return "".join([*pieces, text[at:]])


def whole(text: str, table: Table) -> str:
    restore = Restore(table)
    return restore.feed(text) + restore.flush()


def test_one_value_has_one_placeholder() -> None:
    table = Table()
    names = [table.name("email", value) for value in ("a@b.de", "A@b.de", "a@b.de")]
    assert names == ["[EMAIL-1]", "[EMAIL-2]", "[EMAIL-1]"]
    assert table.name("iban", "DE89370400440532013000") == "[IBAN-1]"


@pytest.mark.parametrize("text", ["[EMAIL-1]", "[email 1]", "see [Email\\_1].", "[[EMAIL1]]"])
def test_a_placeholder_is_no_text_of_the_request(text: str) -> None:
    table = Table()
    assert table.reserve(text) == text
    assert table.name("email", "jane@example.com") == "[EMAIL-2]"
    assert whole(text, table) == text


@pytest.mark.parametrize(
    ("text", "restored"),
    [
        ("To [EMAIL-1].", "To jane@example.com."),
        ("**[EMAIL-1]** `[EMAIL-2]`", "**jane@example.com** `joe@example.com`"),
        ("[email-1] [Email 1] [EMAIL_1] [EMAIL\\_1] [EMAIL1]", " ".join(["jane@example.com"] * 5)),
        ("[EMAIL\u20111]", "jane@example.com"),
        ("[[EMAIL-1]](mailto:[EMAIL-1])", "[jane@example.com](mailto:jane@example.com)"),
        ("[EMAIL-1][EMAIL-2]", "jane@example.comjoe@example.com"),
        ("[EMA[EMAIL-1]", "[EMAjane@example.com"),
        ("[EMAIL-3] [EMAIL-11] [EMAIL] [PHONE-1]", "[EMAIL-3] [EMAIL-11] [EMAIL] [PHONE-1]"),
        ("[EMAIL-1", "[EMAIL-1"),
        ("[EMAIL-\n1]", "[EMAIL-\n1]"),
        ("[EMAIL" + "-" * 30 + "1]", "[EMAIL" + "-" * 30 + "1]"),
        ("EMAIL-1, <EMAIL-1>", "EMAIL-1, <EMAIL-1>"),
        ("[CARD-1", "[CARD-1"),
        ("a[0] = b[1]; [x](y)", "a[0] = b[1]; [x](y)"),
        ("", ""),
    ],
)
def test_a_filter_restores_over_every_cut(text: str, restored: str) -> None:
    check_filter(lambda: Restore(a_table()), text, restored)


def test_values_are_not_restored_a_second_time() -> None:
    table = Table()
    table.name("email", "[EMAIL-2]@x")
    table.name("email", "joe@example.com")
    assert whole("[EMAIL-1]", table) == "[EMAIL-2]@x"


def test_text_is_held_back_only_while_it_may_be_a_placeholder() -> None:
    restore = Restore(a_table())
    assert restore.feed("plain text, at once") == "plain text, at once"
    assert restore.feed("see [") == "see "
    assert restore.feed("1] and") == "[1] and"
    assert restore.feed("[Em") == ""
    assert restore.feed("ma") == "[Emma"
    assert restore.feed("[EMAIL-") == ""
    assert restore.feed("2] ok") == "joe@example.com ok"
    assert restore.feed("[" + " " * 22) == ""
    assert restore.feed(" ") == "[" + " " * 23
    assert restore.feed("[CARD-1") == ""
    assert restore.flush() == "[CARD-1"
    assert restore.flush() == ""


def test_nothing_is_held_back_when_nothing_was_hidden() -> None:
    restore = Restore(Table())
    assert [restore.feed(text) for text in "[EMAIL-1]"] == list("[EMAIL-1]")


LIKE = st.text(st.sampled_from("[]-_ \\EeMmAaIiLlCcRrDd12\nx"), max_size=30)
ANSWERS = st.lists(
    st.one_of(LIKE, st.sampled_from(["[EMAIL-1]", "[Email 2]", "[CARD\\_1]", "[EMAIL-", "["]))
).map("".join)


@given(ANSWERS, st.lists(st.integers(1, 5), min_size=1))
def test_chunks_make_no_difference(text: str, sizes: list[int]) -> None:
    restore, out, at, turn = Restore(a_table()), "", 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        out += restore.feed(text[at : at + size])
        at, turn = at + size, turn + 1
        rest = len(whole(text[:at], a_table())) - len(out)
        assert rest < 24, "held back too much"
    assert out + restore.flush() == whole(text, a_table())


def hides_all(text: str, secrets: list[str], region: str) -> None:
    table = Table()
    hidden = hide(text, table, region)
    assert [secret for secret in secrets if secret in hidden] == []
    assert whole(hidden, table) == text


@given(st.text())
@example("[EMAIL-1] jane@example.com [email 2]")
@example("[EMAIL-jane@example.com1]")
@example("\\\\njane@example.com\\u00e9\\ud800+33612345678")
def test_what_was_hidden_is_restored(text: str) -> None:
    table = Table()
    assert whole(hide(text, table), table) == text


AROUND = st.text(st.characters(exclude_categories=["Cs"])) | st.text("0123456789 .-/+()[]@a\n")
APART = st.sampled_from([" ", "\n", ", ", "; ", ": ", ' "', "\t", " (", ") "])
A_SECRET = st.sampled_from([value for values in SECRETS.values() for value in values])


@settings(max_examples=300)
@given(st.lists(st.tuples(AROUND, APART, A_SECRET, APART), min_size=1, max_size=6), AROUND)
def test_no_secret_leaves(pieces: list[tuple[str, str, str, str]], rest: str) -> None:
    text = "".join(part for piece in pieces for part in piece) + rest
    hides_all(text, [secret for _, _, secret, _ in pieces], "US")


def test_numbers_stay_short() -> None:
    table = Table()
    text = " ".join(f"user{n}@example.com" for n in range(2000))
    hidden = hide(text, table)
    assert re.fullmatch(r"(\[EMAIL-\d{1,4}\] ?){2000}", hidden)
    assert whole(hidden, table) == text
