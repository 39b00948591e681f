"""What is written reads back as the same text, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from personakit.authoring import writer
from personakit.errors import UsageError
from personakit.persona import yaml

PIECES = [
    *"ab \t\n\r#:-'\"\\|>%&*!?{}[],~0\x00\x07\x1b\x7f\x85\xa0é日🎉",
    *"\u2028\u2029\ufeff\ufffe\uffff\u202e\u200d",
    *("---", "...", "{{ x }}", "{% if %}", "\n\n", "  ", "\r\n", "null", "true", "1e3", ": "),
]
AWKWARD = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
ANY = st.text(st.characters(exclude_categories=["Cs"])) | AWKWARD


@given(ANY)
@example("")
@example("\n")
@example("a\n\n\n")
@example("\n\n a")
@example("\ta\n")
@example("  \n\ta\nb")
@example("a\n  ")
@example("---\n...\n")
@example("# no comment\n")
@example("x" * 100_000 + "\ny")
@example("caf\xe9\u2028a\nb")
@example("\ufeffa\nb\n")
@example("a\r\n b\r\n")
@example("\U0001f468\u200d\U0001f469\n\U000e0041")
def test_a_text_reads_back_the_same(value: str) -> None:
    for source, at in (
        (f"system: {writer.text(value)}", ("system",)),
        (f"system: {writer.text(value)}name: after\n", ("system",)),
        (f"messages:\n  - user: {writer.text(value, 4)}  - user: x\n", ("messages", 0, "user")),
        (f"description: {writer.sentence(value)}\nname: x\n", ("description",)),
        (f"tags: [a, {writer.word(value)}, b]\n", ("tags", 1)),
        (f"variables: {{a: {writer.word(value)}, b: c}}\n", ("variables", "a")),
    ):
        for form in (source, source.encode()):
            found = yaml.parse(form).data
            for key in at:
                found = found[key]
            assert found == value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("One line.", "One line.\n"),
        ("Two\nlines\n", "|\n  Two\n  lines\n"),
        ("Two\nlines", "|-\n  Two\n  lines\n"),
        ("Two\n\nlines\n\n", "|+\n  Two\n\n  lines\n\n"),
        ("  indented\nlines\n", "|2\n    indented\n  lines\n"),
        ("\tA tab\nlines", "|2-\n  \tA tab\n  lines\n"),
        ("Hello: {{ x }} # y\n---\n", "|\n  Hello: {{ x }} # y\n  ---\n"),
        ("yes", '"yes"\n'),
        ("12", '"12"\n'),
        ("a\r\n b", '"\\\n  a\\r\\n\\\n  \\ b"\n'),
        ("bell\x07", '"bell\\x07"\n'),
        ("", '""\n'),
        ("\n\n", '"\\\n  \\n\\\n  \\n"\n'),
    ],
)
def test_the_form_that_reads_best_is_chosen(value: str, form: str) -> None:
    assert writer.text(value) == form


def test_a_block_is_chosen_for_every_text_that_one_can_hold() -> None:
    assert writer.text("- a\n- b:\t# c\n" + "x" * 5000 + "\n").startswith("|\n")


@pytest.mark.parametrize("write", [writer.text, writer.word, writer.sentence])
def test_half_a_surrogate_pair_is_refused(write: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match=r"character 4 is half a surrogate pair \(U\+D83D\)"):
        write("abc\ud83d")
