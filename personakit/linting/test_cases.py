"""Checks that the `tests:` of a persona can pass; no test is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set
from typing import Any

from personakit.catalog import Catalog
from personakit.errors import PersonaError, Problem, UsageError, did_you_mean
from personakit.frozen import thaw
from personakit.persona import Persona, PersonaTest


def check(
    persona: Persona,
    *,
    broken: bool,
    doubtful: Set[str],
    needs_prompt: bool,
    drops_prompt: bool,
    catalog: Catalog,
) -> Iterator[Problem]:
    """Yield the tests that cannot pass.

    Args:
        persona: The persona, as far as it could be parsed.
        broken: True if not all of its variables, or those of a parent, could be parsed.
        doubtful: Variables with an invalid declaration; their values are not checked.
        needs_prompt: True if its `prompt:` cannot be rendered without the user's input.
        drops_prompt: True if its `prompt:` does not use the user's input.
        catalog: Loads the persona of a judge.
    """
    for test in persona.tests:
        if not broken:
            yield from _variables(persona, test, doubtful)
        if needs_prompt and test.prompt is None:
            message = (
                f"{_name(test)} has no `prompt:`, and the persona's `prompt:` needs one for "
                f"{{{{ input }}}}"
            )
            yield test.document.problem(message, test.at, code="PK052")
        if drops_prompt and test.prompt:
            message = (
                f"{_name(test)} has a `prompt:`, which the persona's `prompt:` does not use; "
                f"remove it, or write {{{{ input }}}} in the persona's"
            )
            yield test.document.problem(message, (*test.at, "prompt"), code="PK052")
        for group in ("render", "expect"):
            for key, message in _contradictions(getattr(test, group)):
                at = (*test.at, group, key)
                yield test.document.problem(f"{_name(test)}: {message}", at, code="PK051")
        yield from _judge(test, catalog)


def _name(test: PersonaTest) -> str:
    return f"test {test.name!r}" if "name" in _entry(test) else f"{test.name}"


def _entry(test: PersonaTest) -> dict[str, Any]:
    entry = test.document.data["tests"][test.at[1]]
    return entry if isinstance(entry, dict) else {}


def _variables(persona: Persona, test: PersonaTest, doubtful: Set[str]) -> Iterator[Problem]:
    at = (*test.at, "variables")
    for name, value in test.variables.items():
        variable = persona.variables.get(name)
        if variable is None:
            hint = did_you_mean(name, persona.variables) or _listed(persona)
            message = f"{_name(test)}: unknown variable {name!r}{hint}"
            yield test.document.problem(message, (*at, name), key=True, code="PK050")
        elif name not in doubtful:
            for fault in variable.faults(thaw(value)):
                message = f"{_name(test)}: variable {name + fault.where!r}: {fault.message}"
                yield test.document.problem(message, (*at, name, *fault.path), code="PK050")
    for name, variable in persona.variables.items():
        if variable.required and name not in test.variables and name not in doubtful:
            message = (
                f"{_name(test)} sets no value for the required variable {name!r}; "
                f"add it under `variables:`"
            )
            yield test.document.problem(message, test.at, code="PK050")


def _listed(persona: Persona) -> str:
    names = ", ".join(persona.variables)
    return f" (the persona has: {names})" if names else " (the persona declares none)"


def _judge(test: PersonaTest, catalog: Catalog) -> Iterator[Problem]:
    judge = test.expect.get("judge")
    name = judge.get("persona") if isinstance(judge, Mapping) else None
    if not isinstance(name, str) or not name:
        return
    at = (*test.at, "expect", "judge", "persona")
    try:
        name = catalog.named("persona", name, test.document, at)
    except PersonaError as error:
        yield dataclasses.replace(error.problems[0], code="PK034")
        return
    try:
        catalog.load(name)
    except UsageError as error:
        message = f"{_name(test)}: judge: {str(error).splitlines()[0]}"
        yield test.document.problem(message, at, code="PK053")


def _contradictions(checks: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield pairs of a check and the reason why it contradicts the others."""
    contains, any_of = _texts(checks, "contains"), _texts(checks, "contains_any")
    barred = _texts(checks, "not_contains")
    if "" in barred:
        yield "not_contains", "every text contains the empty text; remove it from `not_contains`"
        barred = [text for text in barred if text]
    for text in contains:
        for bar in barred:
            if bar in text:
                required = repr(text) if bar == text else f"{text!r}, which contains it"
                yield "not_contains", f"it forbids {bar!r}, but `contains` requires {required}"
    if any_of and all(any(bar in text for bar in barred) for text in any_of):
        yield "contains_any", "`not_contains` forbids every text of `contains_any`"
    yield from _equals(checks.get("equals"), contains, any_of, barred)
    yield from _too_short(checks, contains, any_of)


def _texts(checks: Mapping[str, Any], key: str) -> list[str]:
    return [text for text in checks.get(key, ()) if isinstance(text, str)]


def _equals(
    wanted: Any, contains: list[str], any_of: list[str], barred: list[str]
) -> Iterator[tuple[str, str]]:
    if not isinstance(wanted, str):
        return
    for text in contains:
        if text.strip() not in wanted:
            yield "contains", f"the text of `equals` does not contain {text!r}"
    for text in barred:
        if text in wanted.strip():
            yield "not_contains", f"the text of `equals` contains {text!r}"
    if any_of and not any(text.strip() in wanted for text in any_of):
        yield "contains_any", "the text of `equals` contains no text of `contains_any`"


def _too_short(
    checks: Mapping[str, Any], contains: list[str], any_of: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield limits that the expected texts exceed; a text has at least the words of its parts."""
    equals = checks.get("equals")
    least = [(len(text.split()), f"the text {text!r} of `contains`") for text in contains]
    if any_of:
        shortest = min(any_of, key=lambda text: len(text.split()))
        least += [(len(shortest.split()), f"the text {shortest!r} of `contains_any`")]
    if isinstance(equals, str):
        least += [(len(equals.split()), "the text of `equals`")]
    count, what = max(least, default=(0, ""))
    words, tokens = checks.get("max_words"), checks.get("max_tokens")
    if isinstance(words, int) and count > words:
        yield "max_words", f"the limit is {words} words, but {what} has {count}"
    if tokens == 0 and count:
        yield "max_tokens", f"the limit is 0 tokens, but {what} has more"
