"""Validate values by a JSON Schema with jsonschema, within a limit of steps and the deadline.

Some keywords of jsonschema take more time than their size suggests: `uniqueItems` compares each
item with each, patterns are matched by `re`, and each error quotes the whole value. Those are
replaced here; the others are counted.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

from personakit.base import brief, time_left
from personakit.schemas.keywords import LISTS, MAPS, ONE
from personakit.schemas.patterns import Pattern, pattern_of
from personakit.schemas.shape import DRAFTS, CheckedSchema, checked

MAX_STEPS = 150_000
"""The most steps of one answer, about 1 s: a list of 18,000 objects of three values."""
_MOST_ERRORS, _SHOWN, _LONGEST = 100, 10, 300
_BETWEEN_LOOKS = 2_000
_ERROR_COST, _REFERENCE_COST, _STEPS_PER_SECOND = 20, 4, 100_000
_WITHOUT_VALIDATOR = frozenset(
    "$anchor $defs $dynamicAnchor $id $recursiveAnchor definitions else maxContains minContains "
    "then".split()
)
# jsonschema reports all that is too much at once.
_MAY_BE_FALSE = frozenset("additionalProperties unevaluatedItems unevaluatedProperties".split())

Keyword = Callable[[Any, Any, Any, Any], Any]


class TooManySteps(ValueError):
    """The limit of steps is reached."""


class Meter:
    """The steps that the values of one answer may still take."""

    __slots__ = ("left", "next_look", "schema", "values")

    def __init__(self) -> None:
        self.left = self.next_look = MAX_STEPS
        self.schema: _Ready | None = None
        self.values: dict[int, frozenset[str]] = {}

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            TooManySteps: The limit is reached.
            Timeout: The deadline of the run has passed.
        """
        self.left -= steps
        if self.left < self.next_look:
            if self.left < 0:
                raise TooManySteps("checking it against this schema takes too many steps")
            time_left()
            self.next_look = self.left - _BETWEEN_LOOKS


_meter: ContextVar[Meter] = ContextVar("personakit_schema_meter")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A schema for jsonschema, with the keywords that its class knows.

    Attributes:
        kind: jsonschema's class.
        plain: The schema. Booleans in it are mappings, so that each step is counted.
        patterns: Its patterns, by their text.
        branches: The number of subschemas that apply to a value, by the `id` of each subschema.
        costs: The steps of each subschema.
    """

    kind: Any
    plain: Any
    patterns: Mapping[str, Any]
    branches: dict[int, int]
    costs: dict[int, int]

    @classmethod
    def of(cls, found: CheckedSchema) -> _Ready:
        """Return a schema that was checked, ready for jsonschema."""
        # This takes 60 ms to import.
        import jsonschema  # noqa: PLC0415

        kinds = "Draft202012Validator Draft201909Validator Draft7Validator".split()
        kind = getattr(jsonschema, kinds[DRAFTS.index(found.draft)])
        known = kind.VALIDATORS.keys() - {"format"} | _WITHOUT_VALIDATOR
        ready = cls(kind, {}, found.patterns, {}, {})
        ready.plain.update(ready._copied(found, found.plain, known))
        ready.branches[id(ready.plain)] = found.branches[id(found.plain)]
        return ready

    def _copied(self, found: CheckedSchema, part: Any, known: Set[str]) -> dict[str, Any]:
        branches = found.branches.get(id(part), 1)
        if isinstance(part, bool):
            part = {} if part else {"not": {}}
        copy: dict[str, Any] = {}
        for key, value in part.items():
            if key not in known:
                continue
            if isinstance(value, bool) and key in _MAY_BE_FALSE:
                copy[key] = value
            elif key in MAPS:
                copy[key] = {
                    # `dependencies` may also contain lists of names.
                    name: one if isinstance(one, list) else self._copied(found, one, known)
                    for name, one in value.items()
                }
            elif key in LISTS and isinstance(value, list):
                copy[key] = [self._copied(found, one, known) for one in value]
            else:
                copy[key] = self._copied(found, value, known) if key in ONE else value
        self.branches[id(copy)] = branches
        self.costs[id(copy)] = 1 + sum(map(_length, copy.values())) // 16
        return copy


def schema_validator(schema: Any, *, linear: bool = False) -> Callable[..., list[str]]:
    """Return a function that returns the faults of a value, at most 10, with their JSON paths.

    The function accepts a value of JSON types, and optionally a `Meter` that several values of one
    answer share. It reports a value that takes too many steps as a fault.

    Args:
        schema: A JSON Schema of draft 2020-12 (the default), 2019-09 or 7. `format` is not checked.
        linear: Reject patterns with look-around and references to groups.

    Raises:
        InvalidSchema: The schema is invalid, exceeds a limit, or refers to something outside of
            itself. It is a ValueError.
    """
    import referencing  # noqa: PLC0415

    ready = _Ready.of(checked(schema, Pattern.of if linear else pattern_of))
    # With an empty registry, jsonschema does not fetch the targets of `$ref`.
    instance = _bounded(ready.kind)(ready.plain, registry=referencing.Registry())

    def faults(value: Any, meter: Meter | None = None) -> list[str]:
        meter = meter or Meter()
        meter.schema, meter.values = ready, {}
        token = _meter.set(meter)
        try:
            return _faults(instance, value)
        except ValueError as error:
            return [f"$: {error}"]
        except RecursionError:
            return ["$: it is nested too deep to be checked against this schema"]
        finally:
            _meter.reset(token)

    return faults


def _faults(instance: Any, value: Any) -> list[str]:
    import jsonschema  # noqa: PLC0415

    errors = list(islice(instance.iter_errors(value), _MOST_ERRORS))
    errors = sorted(errors, key=lambda error: error.json_path)[:_SHOWN]
    # For an anyOf, the error of the branch that matches best is the most useful.
    best = [jsonschema.exceptions.best_match([error]) for error in errors]
    return [f"{brief(error.json_path)}: {error.message[:_LONGEST]}" for error in best]


@functools.cache
def _bounded(kind: Any) -> Any:
    """Return jsonschema's class for a draft, with counted and replaced keywords."""
    import jsonschema  # noqa: PLC0415

    names = {**kind.VALIDATORS, **{k: v for k, v in _REPLACED.items() if k in kind.VALIDATORS}}
    for name in _SQUARED & names.keys():
        names[name] = _squared(names[name])
    names["multipleOf"] = _multiple_of(names["multipleOf"])
    names["contains"] = _charged(names["contains"], _length)
    for name in _REFERRING & names.keys():
        names[name] = _charged(names[name], lambda _: _REFERENCE_COST)
    return jsonschema.validators.create(
        meta_schema=kind.META_SCHEMA,
        validators={name: _brief_errors(keyword) for name, keyword in names.items()},
        type_checker=kind.TYPE_CHECKER,
        id_of=kind.ID_OF,
        applicable_validators=_ref_alone if kind is jsonschema.Draft7Validator else _all_keywords,
    )


def _all_keywords(schema: Any) -> Any:
    """Return the keywords of a schema; jsonschema calls this for each value and subschema."""
    meter = _meter.get(None)
    # Without a meter, jsonschema creates the class's instance.
    if meter is not None and meter.schema is not None:
        meter.spend(meter.schema.costs.get(id(schema), 1))
    return schema.items()


def _ref_alone(schema: Any) -> Any:
    """Return the keywords of a schema of draft 7, in which those beside `$ref` do not count."""
    pairs = _all_keywords(schema)
    return [("$ref", schema["$ref"])] if "$ref" in schema else pairs


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 1


def _brief_errors(keyword: Keyword) -> Keyword:
    """Return a keyword that counts its errors and shortens their messages."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        for error in keyword(validator, value, instance, schema) or ():
            # The error of a subschema has a path already.
            if not error.relative_schema_path:
                _meter.get().spend(_ERROR_COST + len(error.message) // 30)
                error.message = error.message[:_LONGEST]
            yield error

    return counted


def _squared(keyword: Keyword) -> Keyword:
    """Return a keyword that compares each item or key with all that were evaluated."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        meter = _meter.get()
        if isinstance(instance, list | dict) and meter.schema is not None:
            branches = meter.schema.branches.get(id(schema), 1)
            meter.spend(len(instance) ** 2 * branches // 100)
        return keyword(validator, value, instance, schema)

    return counted


def _charged(keyword: Keyword, cost: Callable[[Any], int]) -> Keyword:
    """Return a keyword that counts more steps, depending on the value."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _meter.get().spend(cost(instance))
        return keyword(validator, value, instance, schema)

    return counted


def _multiple_of(keyword: Keyword) -> Keyword:
    """Return the keyword `multipleOf`, with exact fractions where a float overflows."""

    def exact(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        try:
            yield from keyword(validator, value, instance, schema) or ()
        except OverflowError:
            infinite = isinstance(instance, float) and not math.isfinite(instance)
            _meter.get().spend(1 if infinite else 1 + int(instance).bit_length() // 64)
            if infinite or Fraction(instance) % Fraction(value):
                yield _error(f"{brief(repr(instance))} is not a multiple of {value}")

    return exact


def _pattern(_: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _search(value, instance):
        yield _error(f"{brief(repr(instance[:_LONGEST]))} does not match {brief(repr(value))}")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, part in value.items():
        for key, item in instance.items():
            if _search(pattern, key):
                yield from validator.descend(item, part, path=key, schema_path=pattern)


def _search(pattern: str, text: str) -> bool:
    meter = _meter.get()
    assert meter.schema is not None
    found = meter.schema.patterns[pattern]
    meter.spend(1 + found.size * len(text) // 200)
    started = time.perf_counter()
    matches: bool = found.search(text)
    # A pattern that backtracks has no other measure.
    meter.spend(int((time.perf_counter() - started) * _STEPS_PER_SECOND))
    return matches


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    _meter.get().spend(len(instance) // 16)
    known, patterns = schema.get("properties", ()), schema.get("patternProperties", ())
    more = (
        key
        for key in instance
        if key not in known and not any(_search(pattern, key) for pattern in patterns)
    )
    if isinstance(value, dict):
        for key in more:
            yield from validator.descend(instance[key], value, path=key)
    elif not value and (names := [repr(key[:_LONGEST]) for key in islice(more, _SHOWN)]):
        were = "was" if len(names) == 1 else "were"
        unexpected = f"{', '.join(names)} {were} unexpected"
        yield _error(f"Additional properties are not allowed ({unexpected})")


def _enum(_: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    meter = _meter.get()
    keys = meter.values.get(id(value))
    if keys is None:
        keys = meter.values[id(value)] = frozenset(map(_key, value))
    if _key(instance) not in keys:
        shown = brief(", ".join(map(repr, value[:20])), 150)
        yield _error(f"{brief(_shown(instance), 120)} is not one of {shown}")


def _const(_: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if _key(instance) != _key(value):
        yield _error(f"{brief(repr(value))} was expected")


def _unique_items(_: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not value or not isinstance(instance, list):
        return
    seen = set()
    for number, item in enumerate(instance):
        key = _key(item)
        if key in seen:
            yield _error(f"it has non-unique elements: [{number}] repeats an earlier one")
            return
        seen.add(key)


def _key(value: Any) -> str:
    """Return a text that is the same for equal values, as JSON Schema compares them.

    Python's hashes of numbers and tuples are not secret, so sets of them can be made slow.
    """
    if isinstance(value, dict | list):
        value = _comparable(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, sort_keys=True)
    _meter.get().spend(1 + len(text) // 200)
    return text


def _comparable(value: Any) -> Any:
    """Return a value with integers in place of equal floats."""
    _meter.get().spend(1)
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: Any) -> str:
    """Return a short text for a value; the text of a large one would take long."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return repr(value[:_LONGEST] if isinstance(value, str) else value)


def _error(message: str) -> Any:
    import jsonschema  # noqa: PLC0415

    return jsonschema.ValidationError(message)


_REPLACED: Mapping[str, Keyword] = {
    "additionalProperties": _additional,
    "const": _const,
    "enum": _enum,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "uniqueItems": _unique_items,
}
_REFERRING = {"$ref", "$dynamicRef", "$recursiveRef"}
_SQUARED = {"unevaluatedItems", "unevaluatedProperties"}
