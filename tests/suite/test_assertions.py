"""The checks of `tests:`: what holds passes, and what fails says what was expected and found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit.codec import diff
from personakit.frozen import freeze
from personakit.persona.tests import EXPECT
from personakit.suite.assertions import EXCERPT_CHARACTERS, EXCERPT_LINES, check, excerpt

TEXT = "Hello, I am Zoë.\nWhat do you eat?"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("checks", "text"),
    [
        ({"contains": ["Zoë", "eat"]}, TEXT),
        ({"contains_any": ["nothing", "eat"]}, TEXT),
        ({"not_contains": ["Florent"]}, TEXT),
        ({"matches": r"^Hello, I am \w+"}, TEXT),
        ({"equals": TEXT + "\n"}, "\n" + TEXT),
        ({"max_words": 8}, TEXT),
        ({"max_words": 0}, " \n"),
        ({"max_tokens": 100}, TEXT),
        ({"json_schema": SCHEMA}, '{"n": 1}'),
        ({"judge": {"rubric": "x"}}, TEXT),
        ({}, ""),
    ],
)
def test_what_holds_has_no_failure(checks: dict[str, Any], text: str) -> None:
    assert check(text, freeze(checks)) == []


@pytest.mark.parametrize(
    ("checks", "text", "messages"),
    [
        ({"contains": ["a", "Zoe", "b"]}, TEXT, ["expected 'Zoe'", "expected 'b'"]),
        ({"contains": ["HELLO"]}, TEXT, ["found 'Hello', which differs in case"]),
        ({"contains_any": ["x", "q"]}, TEXT, ["expected one of 'x', 'q'"]),
        ({"contains_any": ["x", "EAT"]}, TEXT, ["found 'eat', which differs in case"]),
        ({"not_contains": ["What"]}, TEXT, ["expected no 'What'; found it on line 2"]),
        ({"matches": "^What"}, TEXT, ["expected a match of ^What"]),
        ({"equals": "Hello"}, TEXT, ["expected a different text"]),
        ({"max_words": 7}, TEXT, ["expected at most 7 words, found 8"]),
        ({"max_tokens": 1}, TEXT, ["expected at most 1 tokens, found about"]),
        ({"json_schema": SCHEMA}, "no", ["expected JSON"]),
        ({"json_schema": SCHEMA}, "```json\n{}\n```", ["wrapped in a code fence"]),
        ({"json_schema": SCHEMA}, "{}", ["$: 'n' is a required property"]),
        ({"json_schema": SCHEMA}, '{"n": "1"}', ["$.n: '1' is not of type 'integer'"]),
        ({"json_schema": SCHEMA}, '{"n": NaN}', ["NaN is not JSON"]),
        ({"json_schema": SCHEMA}, "[" * 100_000, ["expected JSON: "]),
        ({"json_schema": {"type": "objet"}}, "{}", ["the schema is invalid at $.type"]),
        ({"json_schema": {"pattern": "("}}, '"x"', ["the schema is invalid at $.pattern"]),
        ({"json_schema": {"$ref": "http://127.0.0.1:9/x"}}, "{}", ["refers to no subschema"]),
        ({"json_schema": {"$ref": "#"}}, "{}", ["refers to itself endlessly"]),
    ],
)
def test_what_fails_says_what_was_expected(
    checks: dict[str, Any], text: str, messages: list[str]
) -> None:
    failures = check(text, freeze(checks))
    assert len(failures) == len(messages)
    for failure, message in zip(failures, messages, strict=True):
        assert failure.check in checks
        assert message in failure.message
        assert failure.detail


def test_equals_fails_with_a_diff() -> None:
    (failure,) = check("a\nb\nc", {"equals": "a\nB\nc"})
    assert failure.detail.splitlines()[:2] == ["--- expected", "+++ found"]
    assert "-B\n+b\n" in failure.detail


def test_line_ends_alone_make_a_text_another() -> None:
    (failure,) = check("a\r\nb", {"equals": "a\nb"})
    assert failure.detail


def test_an_excerpt_is_short_and_shows_the_part_in_question() -> None:
    text = "word " * 1000 + "here" + " word" * 1000
    assert "here" in excerpt(text, "here")
    assert len(excerpt(text)) < EXCERPT_CHARACTERS + 50
    assert excerpt("\n".join("abcdefghijkl")).count("\n") == EXCERPT_LINES
    assert "empty" in excerpt(" \n")


def test_a_long_diff_is_cut() -> None:
    lines = diff([str(i) for i in range(500)], [], ("old", "new")).splitlines()
    assert len(lines) < 100
    assert lines[-1].startswith("… and ")


@given(st.text(), st.lists(st.text(min_size=1), min_size=1), st.integers(0, 20))
def test_a_check_holds_or_says_why(text: str, parts: list[str], limit: int) -> None:
    checks: dict[str, Any] = {
        "contains": parts,
        "contains_any": parts,
        "not_contains": parts,
        "equals": parts[0],
    }
    checks |= {"max_words": limit, "max_tokens": limit, "json_schema": {"type": "array"}}
    failed = {failure.check for failure in check(text, checks)}
    assert failed <= set(EXPECT)
    found = [part in text for part in parts]
    assert ("contains" in failed) == (not all(found))
    assert ("contains_any" in failed) == (not any(found))
    assert ("not_contains" in failed) == any(found)
    assert ("equals" in failed) == (text.strip() != parts[0].strip())
    assert ("max_words" in failed) == (len(text.split()) > limit)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_any_json_satisfies_the_empty_schema(value: Any) -> None:
    assert check(json.dumps(value), {"json_schema": {}}) == []
