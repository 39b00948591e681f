"""JSON and JSON Schema, checked: the one door to jsonschema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from personakit.frozen import thaw


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
