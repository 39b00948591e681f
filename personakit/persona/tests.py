"""The `tests:` of a persona: checks of its messages and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import brief_repr, describe, given, is_type
from personakit.frozen import FrozenDict, freeze
from personakit.persona.validation import Checker, retyped
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
        name: The name of the test; by default ``test 1`` and so on.
        variables: Values for the persona's variables.
        prompt: The prompt of the user.
        model: The model to use; None for the model that a run would use.
        render: Checks of the rendered messages; they need no model.
        expect: Checks of the model's answer.
        at: The path of the entry in the document.
        document: The file that contains it.
    """

    # pytest would collect a class whose name begins or ends with Test.
    __test__ = False

    name: str
    variables: Mapping[str, Any]
    prompt: str | None
    model: str | None
    render: Mapping[str, Any]
    expect: Mapping[str, Any]
    at: tuple[str | int, ...]
    document: Document = field(repr=False, compare=False)

    __repr__ = brief_repr


def read_tests(checker: Checker, value: Any) -> tuple[PersonaTest, ...]:
    """Read a persona's `tests:`; report problems to `checker`."""
    tests: dict[str, PersonaTest] = {}
    for index, item in enumerate(checker.list(value, "tests")):
        test = _read(checker, item, index)
        if test.name in tests:
            checker.fail(f"duplicate test name {test.name!r}", *test.at, "name")
        tests[test.name] = test
    return tuple(tests.values())


def _read(checker: Checker, item: Any, index: int) -> PersonaTest:
    at = ("tests", index)
    data = checker.mapping(item, *at)
    checker.unknown(data, KEYS, *at, hint_for=_misnamed)
    if isinstance(item, dict) and not data.get("render") and not data.get("expect"):
        checker.fail(
            "expected `render:`, `expect:` or both, found neither; write what to check, as in "
            "`expect: {contains: word}`",
            *at,
        )
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


def _misnamed(key: str, value: Any) -> str:
    from personakit.persona.mistakes import declarations  # noqa: PLC0415

    return declarations.hint_in_test(key)


def _checks(
    checker: Checker, data: Mapping[str, Any], known: tuple[str, ...], *at: str | int
) -> Mapping[str, Any]:
    value = given(data, str(at[-1]), {})
    if isinstance(value, str):
        form = f"write a check, as in `{at[-1]}: {{contains: word}}`"
        message = f"{at[-1]}: expected a mapping, found {describe(value)}; {form}"
        checker.fail(message, *at, code="PK011")
        return FrozenDict()
    checks = checker.mapping(value, *at)
    checker.unknown(checks, known, *at)
    checked = {key: _check(checker, key, checks[key], *at, key) for key in known if key in checks}
    return FrozenDict(freeze(checked))


def _check(checker: Checker, key: str, value: Any, *at: str | int) -> Any:
    if key in TEXTS:
        texts = checker.texts(value, *at)
        if not texts and isinstance(value, list):
            checker.fail(f"{key}: the list is empty", *at)
        return texts
    if key in NUMBERS:
        if not is_type(value, "integer") or value < 0:
            found = f"{describe(value)}{retyped(value, 'integer')}"
            checker.fail(f"{key}: expected an integer of 0 or more, found {found}", *at)
        return value
    if key == "matches":
        return checker.pattern(value, *at) or ""
    if key == "json_schema":
        return checker.schema(value, *at)
    if key == "judge":
        return _judge(checker, value, *at)
    return checker.text(value, *at)


def _judge(checker: Checker, value: Any, *at: str | int) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"rubric": value}
    judge = checker.mapping(value, *at)
    checker.unknown(judge, JUDGE, *at)
    if isinstance(value, dict) and "rubric" not in judge:
        checker.fail("judge: `rubric:` is missing; it describes a good answer", *at)
    return {key: checker.text(judge[key], *at, key) for key in JUDGE if key in judge}
