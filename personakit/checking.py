"""The checks of `tests:`: from a text and what it must be like to what is wrong with it.

`judge` is not here: it asks a model, see `suite`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personakit.frozen import thaw
from personakit.persona import matcher
from personakit.tokens import count_tokens

EXCERPT_LINES = 8
EXCERPT_CHARACTERS = 500
DIFF_LINES = 80


@dataclass(frozen=True, slots=True)
class Failure:
    """One check that does not hold.

    Attributes:
        check: The check's name, such as ``contains``.
        message: What was expected, in one line.
        detail: What was found: an excerpt of the text, or a diff.
    """

    check: str
    message: str
    detail: str = ""


def check(text: str, checks: Mapping[str, Any], model: str = "") -> list[Failure]:
    """Return the checks that a text does not satisfy, in the order of the file format.

    Args:
        text: The rendered messages, or an answer.
        checks: A test's `render:` or `expect:`.
        model: Whose tokens to count; without one they are estimated.
    """
    found: list[Failure] = []
    for name, wanted in checks.items():
        if name == "max_tokens":
            found += _max_tokens(text, wanted, model)
        elif name in _CHECKS:
            found += _CHECKS[name](text, wanted)
    return found


def excerpt(text: str, around: str = "") -> str:
    """Return the beginning of a text, or what stands around a part of it, each line indented."""
    if not text.strip():
        return "found: nothing (the text is empty)"
    at = max(text.find(around), 0) if around else 0
    start = max(0, at - EXCERPT_CHARACTERS // 3)
    shown = text[start : start + EXCERPT_CHARACTERS]
    lines = shown.strip("\n").splitlines()[:EXCERPT_LINES]
    kept = "\n".join(lines)
    before = "…" if start else ""
    after = "…" if start + len(kept) + 2 < len(text) else ""
    return "found:\n" + indent(f"{before}{kept}{after}")


def indent(text: str) -> str:
    """Return a text with every line moved to the right."""
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def diff(old: Sequence[str], new: Sequence[str], names: tuple[str, str]) -> str:
    """Return the difference of two lists of lines, shortened where it is long."""
    lines = list(difflib.unified_diff(old, new, *names, n=2, lineterm=""))
    if len(lines) > DIFF_LINES:
        lines[DIFF_LINES:] = [f"… and {len(lines) - DIFF_LINES} more lines"]
    return "\n".join(lines)


def _contains(text: str, wanted: Iterable[str]) -> Iterator[Failure]:
    for part in wanted:
        if part not in text:
            message = f"expected {part!r}{_other_case(text, part)}"
            yield Failure("contains", message, excerpt(text))


def _contains_any(text: str, wanted: Sequence[str]) -> Iterator[Failure]:
    if not any(part in text for part in wanted):
        hint = next(filter(None, (_other_case(text, part) for part in wanted)), "")
        message = f"expected one of {', '.join(map(repr, wanted))}{hint}"
        yield Failure("contains_any", message, excerpt(text))


def _not_contains(text: str, wanted: Iterable[str]) -> Iterator[Failure]:
    for part in wanted:
        if part in text:
            line = text.count("\n", 0, text.find(part)) + 1
            message = f"expected no {part!r}; it stands in line {line} of the text"
            yield Failure("not_contains", message, excerpt(text, part))


def _other_case(text: str, part: str) -> str:
    """Say so when a text holds a part in other letters."""
    at = text.lower().find(part.lower())
    if at < 0 or len(text.lower()) != len(text):
        return ""
    return f"; there is {text[at : at + len(part)]!r}, and upper and lower case differ"


def _matches(text: str, pattern: str) -> Iterator[Failure]:
    if not matcher(pattern)(text):
        yield Failure("matches", f"expected a match of {pattern}", excerpt(text))


def _equals(text: str, wanted: str) -> Iterator[Failure]:
    if text.strip() != wanted.strip():
        lines = wanted.strip().splitlines(), text.strip().splitlines()
        found = diff(*lines, ("expected", "found"))
        # Two texts can differ in what ends their lines alone.
        yield Failure("equals", "expected another text", found or excerpt(text))


def _max_words(text: str, limit: int) -> Iterator[Failure]:
    count = len(text.split())
    if count > limit:
        yield Failure("max_words", f"expected at most {limit} words, found {count}", excerpt(text))


def _max_tokens(text: str, limit: int, model: str) -> Iterator[Failure]:
    count, exact = count_tokens(text, model)
    if count > limit:
        about = "" if exact else "about "
        message = f"expected at most {limit} tokens, found {about}{count}"
        yield Failure("max_tokens", message, excerpt(text))


def _json_schema(text: str, schema: Mapping[str, Any]) -> Iterator[Failure]:
    try:
        value = read_json(text)
    except ValueError as error:
        fenced = "; it is wrapped in a code fence" if text.lstrip().startswith("```") else ""
        yield Failure("json_schema", f"expected JSON: {error}{fenced}", excerpt(text))
        return
    for fault in schema_faults(value, schema):
        yield Failure("json_schema", fault, excerpt(text))


def read_json(text: str) -> Any:
    """Return the value of a JSON text; of a key that stands twice the last one counts.

    Raises:
        ValueError: It is no JSON, which has no NaN or Infinity, or it is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def schema_faults(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a value by a JSON Schema, as `validator` does."""
    try:
        return validator(schema)(value)
    except ValueError as error:
        return [f"the schema is wrong at {error}"]


def validator(schema: Mapping[str, Any]) -> Callable[[Any], list[str]]:
    """Return a function that gives what is wrong with a value, with JSON paths; at most 10 faults.

    Raises:
        ValueError: The schema is none; the message says where and why.
    """
    # They take 60 ms to import.
    import jsonschema  # noqa: PLC0415
    import referencing  # noqa: PLC0415

    plain = thaw(schema)
    kind = jsonschema.validators.validator_for(plain, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(plain)
    except jsonschema.SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message[:300]}") from None
    except RecursionError:
        raise ValueError("$: it is nested too deep") from None
    # With a registry of its own it does not fetch what `$ref` names.
    made = kind(plain, registry=referencing.Registry())

    def faults(value: Any) -> list[str]:
        try:
            found = sorted(made.iter_errors(value), key=lambda error: error.json_path)[:10]
        except referencing.exceptions.Unresolvable:
            return ["the schema has a `$ref` to something that is not in it"]
        except RecursionError:
            return ["the schema refers to itself without an end, or the value is nested too deep"]
        # Of the branches of an anyOf, the one that comes nearest says most.
        best = [jsonschema.exceptions.best_match([error]) for error in found]
        return [f"{error.json_path}: {error.message[:300]}" for error in best]

    return faults


def _number(text: str) -> float:
    """Return a number; one that is too large for a float would become an infinity."""
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_CHECKS: dict[str, Callable[[str, Any], Iterator[Failure]]] = {
    "contains": _contains,
    "contains_any": _contains_any,
    "not_contains": _not_contains,
    "matches": _matches,
    "equals": _equals,
    "max_words": _max_words,
    "json_schema": _json_schema,
}
