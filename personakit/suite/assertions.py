"""The checks of `tests:`, each a function of a text and the expected value.

`judge` asks a model, so it is in `suite`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personakit.base import read_json
from personakit.codec import diff
from personakit.schemas import InvalidSchema, Pattern, schema_validator
from personakit.tokens import count_tokens

EXCERPT_LINES = 8
EXCERPT_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed.

    Attributes:
        check: The check's name, such as ``contains``.
        message: What was expected, on one line.
        detail: What was found: an excerpt of the text, or a diff.
    """

    check: str
    message: str
    detail: str = ""


def check(text: str, checks: Mapping[str, Any], model: str = "") -> list[Failure]:
    """Return the failures of the checks of a text, in the order of `checks`.

    Args:
        text: The rendered messages, or an answer.
        checks: A test's `render:` or `expect:`.
        model: The model whose tokens to count; if empty, they are estimated.
    """
    failures: list[Failure] = []
    for name, wanted in checks.items():
        if name == "max_tokens":
            failures += _max_tokens(text, wanted, model)
        elif name in _CHECKS:
            failures += _CHECKS[name](text, wanted)
    return failures


def excerpt(text: str, around: str = "") -> str:
    """Return the beginning of a text, or the text around a part of it, each line indented."""
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
    """Return a text with every line indented by two spaces."""
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


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
            message = f"expected no {part!r}; found it on line {line} of the text"
            yield Failure("not_contains", message, excerpt(text, part))


def _other_case(text: str, part: str) -> str:
    """Return a hint if a text contains a part in another case."""
    at = text.lower().find(part.lower())
    if at < 0 or len(text.lower()) != len(text):
        return ""
    return f"; found {text[at : at + len(part)]!r}, which differs in case"


def _matches(text: str, pattern: str) -> Iterator[Failure]:
    try:
        matches = Pattern.of(pattern).search(text)
    except ValueError as error:
        yield Failure("matches", str(error), excerpt(text))
        return
    if not matches:
        yield Failure("matches", f"expected a match of {pattern}", excerpt(text))


def _equals(text: str, wanted: str) -> Iterator[Failure]:
    if text.strip() != wanted.strip():
        lines = wanted.strip().splitlines(), text.strip().splitlines()
        detail = diff(*lines, ("expected", "found"))
        # The diff is empty if only the line endings differ.
        yield Failure("equals", "expected a different text", detail or excerpt(text))


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
    try:
        faults = schema_validator(schema)(value)
    except InvalidSchema as error:
        faults = [f"the schema is invalid at {error}"]
    for fault in faults:
        yield Failure("json_schema", fault, excerpt(text))


_CHECKS: dict[str, Callable[[str, Any], Iterator[Failure]]] = {
    "contains": _contains,
    "contains_any": _contains_any,
    "not_contains": _not_contains,
    "matches": _matches,
    "equals": _equals,
    "max_words": _max_words,
    "json_schema": _json_schema,
}
