"""A run with a hostile schema or a hostile answer ends with one error of personakit, in time."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from helpers.output import ask
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import InvalidAnswer, Persona, PersonaError, PluginError, Timeout
from personakit.testing import MODES, persona

ROWS = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}}
LONG = json.dumps([{"a": 1}] * 45_000)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("plugins", [[], ["schema"]])
def test_an_answer_is_checked_until_the_deadline(mode: str, plugins: list[Any]) -> None:
    with pytest.raises(Timeout, match=r"the run's deadline of 0\.3 s has passed") as raised:
        ask(LONG, persona(output=ROWS, plugins=plugins), mode, deadline=0.3)
    assert raised.value.partial == LONG


def test_without_a_deadline_the_steps_are_limited() -> None:
    with pytest.raises(InvalidAnswer, match="takes too many steps"):
        ask(LONG, persona(output=ROWS), deadline=None)
    with pytest.raises(PluginError, match="takes too many steps"):
        ask(LONG, persona(output=ROWS, plugins=[{"schema": {"attempts": 1}}]), deadline=None)


@pytest.mark.parametrize(
    "answer",
    [
        "[1] " * 1_000_000,
        "```\n" * 1_000_000,
        "```json\n[\n```\n" * 300_000,
        "[" * 5_000_000,
        'x{"a":' * 1_000_000,
        "x" + "[" * 500 + "]" * 500,
        "9" * 5_000,
        '{"a": 1e999}',
        '{"' + "k" * 3_000_000 + '": 1}',
    ],
    ids=lambda answer: answer[:8],
)
@pytest.mark.parametrize("plugins", [[], [{"schema": {"attempts": 1}}]])
def test_a_hostile_answer_is_one_error(answer: str, plugins: list[Any]) -> None:
    with pytest.raises((InvalidAnswer, PluginError)) as raised:
        ask(answer, persona(output={"type": "integer", "maximum": 5}, plugins=plugins))
    assert len(str(raised.value)) < 2000


PARTS = st.sampled_from(
    ["{", "}", "[", "]", '"a"', ":", ",", "1", "-", "1e9", "null", "```json\n", "```\n", "\\",
     "<think>", "</think>", "\ud800", "x", " ", "\n", '{"a": 1}', "[1, 2]"]
)  # fmt: skip
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "required": ["a"]},
        {"type": "array", "uniqueItems": True, "contains": {"const": 1}},
        {"anyOf": [{"multipleOf": 0.1}, {"pattern": "^a"}, {"items": {"enum": [1]}}]},
        {"$defs": {"n": {"items": {"$ref": "#/$defs/n"}, "maxItems": 1}}, "$ref": "#/$defs/n"},
    ]
)


@settings(max_examples=60)
@given(st.lists(PARTS, max_size=30).map("".join), SCHEMAS)
def test_any_answer_has_a_value_or_is_invalid(answer: str, schema: Any) -> None:
    try:
        ask(answer, persona(output=schema))
    except InvalidAnswer as error:
        assert error.partial == answer  # noqa: PT017


KEYS = st.sampled_from(
    "type properties items $ref $defs anyOf enum pattern required $id minLength multipleOf".split()
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
def test_any_output_of_a_file_is_a_schema_or_a_mistake(output: Any) -> None:
    source = f"system: x\noutput: {json.dumps(output)}\n"
    try:
        found = Persona.parse(source, "who.yaml")
    except PersonaError as error:
        assert all(problem.line == 2 for problem in error.problems)  # noqa: PT017
        return
    with contextlib.suppress(InvalidAnswer):
        ask('{"type": [1]}', found)
