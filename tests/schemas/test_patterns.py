"""Patterns are matched in linear time, and within limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from helpers.output import ask
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from personakit import InvalidAnswer, Pattern, Persona, PersonaError, Timeout
from personakit.testing import MODES


@pytest.mark.parametrize(
    "place",
    [
        "variables: {x: {pattern: 'PATTERN'}}",
        "output: {properties: {a: {pattern: 'PATTERN'}}}",
        "output: {patternProperties: {'PATTERN': {}}}",
        "tests: [{render: {matches: 'PATTERN'}}]",
        "tests: [{expect: {json_schema: {items: {pattern: 'PATTERN'}}}}]",
    ],
)
@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(?=a)", "look-around, including look-ahead and look-behind, is not supported: .* all "),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "backreferences are not supported: patterns are matched in linear time"),
        ("(", "unclosed group"),
        ("(?:a{1000}){1000}", "its repetitions are too large: their counts multiply to 1,002,000"),
        ("(?x) a # (", "the flag x is not supported"),
    ],
)
def test_a_pattern_of_a_file_is_checked_with_it(place: str, pattern: str, fault: str) -> None:
    source = f"system: x\n{place.replace('PATTERN', pattern)}\n"
    schema = place.startswith("output") or "json_schema" in place
    if schema and fault.startswith(("look-around", "backreferences")):
        # Of a schema, only `personakit lint` reports them: an API may accept them.
        Persona.parse(source, "who.yaml")
        return
    with pytest.raises(PersonaError, match=f"^who.yaml:2:.*invalid regular expression: {fault}"):
        Persona.parse(source, "who.yaml")


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("abc", 3),
        ("a{10}", 10),
        ("(?:ab){0,10}", 40),
        ("(a{10}|b){10}", 120),
        (r"[^\]{9}]", 3),
        ("[]a{9}]b", 3),
        (r"\x{99}\{9", 3),
        (r"\w{2}", 50),
        ("(?:a{2}){3}{4}", 48),
    ],
)
def test_the_size_of_a_pattern(pattern: str, size: int) -> None:
    assert Pattern(pattern).size == size


@settings(max_examples=200)
@given(st.text(alphabet="a(){}[]|*+?^$.\\dw09,:=!<-é", max_size=12), st.text(max_size=20))
def test_any_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    try:
        found = Pattern(pattern)
    except ValueError:
        return
    assert found.search(text) in (True, False)


def test_a_text_is_too_long_for_a_large_pattern() -> None:
    with pytest.raises(ValueError, match="it has 6,000 characters; the limit is 5,000"):
        Pattern("a" * 6000)
    with pytest.raises(ValueError, match="which matches at most 10,000"):
        Pattern("a{5000}").search("b" * 10_001)
    assert Pattern("^a").search("a" * 1_000_000)


class Slow(BaseModel):
    model_config = ConfigDict(regex_engine="python-re")
    name: str = Field(pattern=r"^(?=(?:a|aa)+$)(?=[ab]*b)(a|aa)+\1c$")


class Outer(BaseModel):
    inner: list[Slow] = []
    word: str = Field(default="x", pattern=re.compile("^x(?!y)", re.IGNORECASE))


@pytest.mark.parametrize("mode", MODES)
def test_a_pattern_of_a_type_stops_at_the_deadline(mode: str) -> None:
    answer = '{"inner": [{"name": "' + "a" * 3000 + '!"}]}'
    with pytest.raises(Timeout, match=r"deadline of 0\.1 s") as raised:
        ask(answer, mode=mode, output=Outer, deadline=0.1)
    assert raised.value.partial == answer


def test_a_pattern_of_a_type_takes_at_most_a_second() -> None:
    with pytest.raises(InvalidAnswer, match="takes more than 1 s for a text of 3,001"):
        ask('{"inner": [{"name": "' + "a" * 3000 + '!"}]}', output=Outer)


@pytest.mark.parametrize(
    ("answer", "word"),
    [('{"word": "XZ"}', "XZ"), ('{"word": "xY"}', None), ('{"word": "a"}', None)],
)
def test_a_pattern_of_a_type_means_the_same(answer: str, word: Any) -> None:
    if word is not None:
        assert ask(answer, output=Outer).parsed.word == word
        return
    with pytest.raises(InvalidAnswer, match=r"\$\.word: .* does not match the pattern"):
        ask(answer, output=Outer)
