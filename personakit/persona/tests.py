"""The `tests:` of a persona: what its messages or its answer must be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import describe, given, is_type
from personakit.frozen import FrozenDict, freeze
from personakit.persona.validation import Checker
from personakit.persona.variables import matcher
from personakit.persona.yaml import Document

TEXTS = ("contains", "contains_any", "not_contains")
NUMBERS = ("max_words", "max_tokens")
RENDER = (*TEXTS, "matches", "equals", *NUMBERS)
EXPECT = (*RENDER, "json_schema", "judge")
KEYS = ("name", "variables", "prompt", "model", "render", "expect")
JUDGE = ("rubric", "persona", "model")


@dataclass(frozen=True, slots=True)
class PersonaTest:
    """One entry of a persona's `tests:`.

    Attributes:
        name: What the test is called; ``test 1`` and so on where the file gives no name.
        variables: Values for the persona's variables.
        prompt: What the user says.
        model: The model to ask; None for the one that the run would use.
        render: Checks of the rendered messages, which need no model.
        expect: Checks of the model's answer.
        at: Where the entry stands in the document.
        document: The file that it stands in.
    """

    # Not a test of pytest's, whatever its name.
    __test__ = False

    name: str
    variables: Mapping[str, Any]
    prompt: str | None
    model: str | None
    render: Mapping[str, Any]
    expect: Mapping[str, Any]
    at: tuple[str | int, ...]
    document: Document = field(repr=False, compare=False)


def read_tests(checker: Checker, value: Any) -> tuple[PersonaTest, ...]:
    """Read a persona's `tests:`, noting what is wrong."""
    found: dict[str, PersonaTest] = {}
    for index, item in enumerate(checker.list(value, "tests")):
        test = _read(checker, item, index)
        if test.name in found:
            checker.fail(f"two tests are called {test.name!r}", *test.at, "name")
        found[test.name] = test
    return tuple(found.values())


def _read(checker: Checker, item: Any, index: int) -> PersonaTest:
    at = ("tests", index)
    data = checker.mapping(item, *at)
    checker.unknown(data, KEYS, *at)
    if isinstance(item, dict) and not data.get("render") and not data.get("expect"):
        checker.fail("a test has `render:`, `expect:` or both; found neither", *at)
    texts = {
        key: checker.text(data[key], *at, key)
        for key in ("name", "prompt", "model")
        if data.get(key) is not None
    }
    return PersonaTest(
        name=texts.get("name", f"test {index + 1}"),
        variables=freeze(checker.mapping(given(data, "variables", {}), *at, "variables")),
        prompt=texts.get("prompt"),
        model=texts.get("model"),
        render=_checks(checker, data, RENDER, *at, "render"),
        expect=_checks(checker, data, EXPECT, *at, "expect"),
        at=at,
        document=checker.document,
    )


def _checks(
    checker: Checker, data: Mapping[str, Any], known: tuple[str, ...], *at: str | int
) -> Mapping[str, Any]:
    found = checker.mapping(given(data, str(at[-1]), {}), *at)
    checker.unknown(found, known, *at)
    checked = {key: _check(checker, key, found[key], *at, key) for key in known if key in found}
    return FrozenDict(freeze(checked))


def _check(checker: Checker, key: str, value: Any, *at: str | int) -> Any:
    if key in TEXTS:
        texts = checker.texts(value, *at)
        if not texts and isinstance(value, list):
            checker.fail(f"{key}: the list is empty", *at)
        return texts
    if key in NUMBERS:
        if not is_type(value, "integer") or value < 0:
            checker.fail(f"{key}: expected an integer of 0 or more, found {describe(value)}", *at)
        return value
    if key == "matches":
        return _pattern(checker, value, *at)
    if key == "json_schema":
        return checker.mapping(value, *at)
    if key == "judge":
        return _judge(checker, value, *at)
    return checker.text(value, *at)


def _pattern(checker: Checker, value: Any, *at: str | int) -> str:
    pattern = checker.text(value, *at)
    try:
        matcher(pattern)
    except ValueError as error:
        checker.fail(f"matches: not a pattern: {error}", *at)
    return pattern


def _judge(checker: Checker, value: Any, *at: str | int) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"rubric": value}
    found = checker.mapping(value, *at)
    checker.unknown(found, JUDGE, *at)
    if isinstance(value, dict) and "rubric" not in found:
        checker.fail("judge: no `rubric:`; it says what a good answer is", *at)
    return {key: checker.text(found[key], *at, key) for key in JUDGE if key in found}
