"""Validate values by a JSON Schema. This is the only module that imports jsonschema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from personakit.frozen import thaw


def schema_faults(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return the faults of a value by a JSON Schema, as the function from `validator` does."""
    try:
        return validator(schema)(value)
    except ValueError as error:
        return [f"the schema is invalid at {error}"]


def validator(schema: Mapping[str, Any]) -> Callable[[Any], list[str]]:
    """Return a function that returns the faults of a value, at most 10, with their JSON paths.

    Raises:
        ValueError: The schema is invalid; the message contains the JSON path and the reason.
    """
    # These take 60 ms to import.
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
    # With an empty registry, jsonschema does not fetch the targets of `$ref`.
    instance = kind(plain, registry=referencing.Registry())

    def faults(value: Any) -> list[str]:
        try:
            errors = sorted(instance.iter_errors(value), key=lambda error: error.json_path)[:10]
        except referencing.exceptions.Unresolvable:
            return ["the schema has a `$ref` to something outside it"]
        except RecursionError:
            return ["the schema refers to itself endlessly, or the value is nested too deep"]
        # For an anyOf, the error of the branch that matches best is the most useful.
        best = [jsonschema.exceptions.best_match([error]) for error in errors]
        return [f"{error.json_path}: {error.message[:300]}" for error in best]

    return faults
