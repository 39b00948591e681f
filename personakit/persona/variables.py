"""Reading the `variables:` of a persona file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from personakit.base import ANY, TYPES, article, describe, infer_type, is_type
from personakit.frozen import FrozenDict, freeze
from personakit.persona.validation import Checker, retyped
from personakit.persona.variable import Variable, dotted

KEYS = (
    "type default required enum minimum maximum pattern items properties additional description "
    "example"
).split()
NOT_OF_ITEMS = ("default", "required")
"""The keys that an item of an array cannot have."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_KINDS = [*TYPES, ANY]
_SIZED = ("string", "integer", "number", "array")
_RULES = {
    "minimum": _SIZED,
    "maximum": _SIZED,
    "pattern": ("string",),
    "items": ("array",),
    "properties": ("object",),
    "additional": ("object",),
}
# Names that Jinja itself defines in a template.
_RESERVED = frozenset("true false none True False None not self loop".split())

At = tuple[str | int, ...]


def declare(checker: Checker, name: str, value: Any, base: Variable | None = None) -> Variable:
    """Read one entry of a persona's `variables:`.

    Args:
        checker: Collects the problems.
        name: The variable's name.
        value: A default, or a mapping with keys from `KEYS`.
        base: The variable of that name in the parent; it provides the keys missing in `value`.
    """
    at = ("variables", name)
    _check_name(checker, name, at)
    return _declared(checker, name, value, base, at)


def _declared(checker: Checker, name: str, value: Any, base: Variable | None, at: At) -> Variable:
    given = value if isinstance(value, dict) else {"default": value}
    checker.unknown(given, KEYS, *at, hint_for=_misnamed)
    if "type" in given and given["type"] not in _KINDS:
        _wrong_type(checker, given["type"], *at, "type")
        return Variable(name)
    variable = _read(checker, base or Variable(name), given, at, inferred=base is None)
    return _consistent(checker, variable, given, at)


def _misnamed(key: str, value: Any) -> str:
    from personakit.persona.mistakes import declarations  # noqa: PLC0415

    return declarations.key_hint(key)


def _wrong_type(checker: Checker, value: Any, *at: str | int) -> None:
    from personakit.persona.mistakes import declarations  # noqa: PLC0415

    known = declarations.type_name(value)
    if known is None:
        checker.choice(value, _KINDS, *at)
    else:
        message = f"type: expected one of {', '.join(_KINDS)}, found {describe(value)}"
        checker.fail(f"{message}; write {known}", *at)


def _check_name(checker: Checker, name: str, at: tuple[str, ...]) -> None:
    if not NAME.match(name) or name.startswith("__"):
        checker.fail(
            f"invalid variable name {name[:80]!r}: use at most 64 letters, digits and '_', "
            f"beginning with a letter or a single '_'",
            *at,
            key=True,
        )
    if name in ("input", "parent"):
        checker.fail(f"variable {name!r} is set by personakit; choose another name", *at, key=True)
    if name in _RESERVED:
        message = f"variable {name!r} is a reserved word in templates; choose another name"
        checker.fail(message, *at, key=True)


def _read(
    checker: Checker, base: Variable, given: Mapping[str, Any], at: At, *, inferred: bool
) -> Variable:
    """Return a variable with the given keys, each checked on its own."""
    changes = _value_keys(checker, base, given, at, inferred=inferred)
    if changes["required"] and given.get("default") is not None:
        checker.fail("a required variable cannot have a default; use `example`", *at, "default")
    for bound in ("minimum", "maximum"):
        if given.get(bound) is not None and not is_type(given[bound], "number"):
            hint = retyped(given[bound], "number")
            checker.fail(f"expected a number, found {describe(given[bound])}{hint}", *at, bound)
        elif bound in given:
            changes[bound] = given[bound]
    if given.get("pattern") is not None:
        changes["pattern"] = checker.pattern(given["pattern"], *at, "pattern")
    changes |= _parts(checker, base, given, at, changes.get("type", base.type))
    if given.get("description") is not None:
        changes["description"] = checker.text(given["description"], *at, "description")
    if "example" in given:
        changes["example"] = freeze(given["example"])
    return dataclasses.replace(base, **changes)


def _value_keys(
    checker: Checker, base: Variable, given: Mapping[str, Any], at: At, *, inferred: bool
) -> dict[str, Any]:
    """Return the keys that determine the possible values: enum, type, default, required."""
    changes: dict[str, Any] = {"required": inferred or base.required}
    if "enum" in given:
        changes["enum"] = freeze(checker.list(given["enum"], *at, "enum"))
    if "type" in given:
        changes["type"] = given["type"]
    elif inferred:
        first = changes["enum"][0] if changes.get("enum") else given.get("default")
        changes["type"] = infer_type(first) or _container(given)
    if "default" in given:
        changes["default"], changes["required"] = freeze(given["default"]), False
    if isinstance(given.get("required"), list):
        message = (
            "required: expected true or false, found a list; every field without a default is "
            "required: write `required: false` in each field that may be missing"
        )
        checker.fail(message, *at, "required", code="PK011")
    elif "required" in given:
        changes["required"] = checker.boolean(given["required"], *at, "required")
    return changes


def _container(given: Mapping[str, Any]) -> str:
    """Return the type of a variable whose keys do not include a value."""
    if given.get("items") is not None:
        return "array"
    return "object" if given.get("properties") is not None else "string"


def _parts(
    checker: Checker, base: Variable, given: Mapping[str, Any], at: At, type_name: str
) -> dict[str, Any]:
    """Return the keys that declare the items of an array or the fields of an object."""
    changes: dict[str, Any] = {}
    if type_name != base.type:
        changes = {"items": None, "properties": FrozenDict(), "additional": False}
    if given.get("items") is not None and type_name == "array":
        changes["items"] = _items(checker, base, given["items"], (*at, "items"))
    if type_name != "object":
        return changes
    if given.get("properties") is not None:
        changes["properties"] = _properties(checker, base, given["properties"], (*at, "properties"))
    if given.get("additional") is not None:
        changes["additional"] = checker.boolean(given["additional"], *at, "additional")
        if not changes.get("properties", base.properties):
            message = "additional: it needs `properties:`; without them, every field is allowed"
            checker.fail(message, *at, "additional", key=True)
    return changes


def _items(checker: Checker, base: Variable, value: Any, at: At) -> Variable | None:
    """Read the declaration of the items of an array."""
    if not isinstance(value, dict):
        written = value if value in list(TYPES) else "string"
        hint = f"; write `items: {{type: {written}}}`"
        message = f"items: expected a mapping, found {describe(value)}{hint}"
        checker.fail(message, *at, code="PK011")
        return None
    for key in NOT_OF_ITEMS:
        if key in value:
            message = f"{key}: not supported for the items of an array; remove it"
            checker.fail(message, *at, key, key=True)
    given = {key: item for key, item in value.items() if key not in NOT_OF_ITEMS}
    return _declared(checker, f"{base.name}[]", given, base.items, at)


def _properties(checker: Checker, base: Variable, value: Any, at: At) -> Mapping[str, Variable]:
    """Read the declarations of the fields of an object; those of the parent are kept."""
    fields = dict(base.properties)
    for name, item in checker.mapping(value, *at).items():
        path = (*at, name)
        if isinstance(item, str) and item in TYPES:
            message = (
                f"{name}: found the default {item!r}, which is the name of a type; "
                f"write {{type: {item}}}, or {{default: {item}}} for the text"
            )
            checker.fail(message, *path)
            fields[name] = Variable(f"{base.name}.{name}", item, required=True)
            continue
        fields[name] = _declared(checker, base.name + dotted((name,)), item, fields.get(name), path)
    return FrozenDict(fields)


def _consistent(checker: Checker, variable: Variable, given: Mapping[str, Any], at: At) -> Variable:
    """Check the keys against each other; `default` and `example` must be valid values."""
    for i, choice in enumerate(variable.enum if "enum" in given else ()):
        if not is_type(choice, variable.type):
            message = f"expected {article(variable.type)}, found {describe(choice)}"
            checker.fail(message, *at, "enum", i)
    if given.get("enum") == []:
        checker.fail("enum: the list is empty, so every value is invalid", *at, "enum")
    for key, types in _RULES.items():
        if given.get(key) is not None and variable.type not in types:
            message = f"{key}: not supported for {article(variable.type)} variable"
            checker.fail(message, *at, key, key=True)
    low, high = variable.minimum, variable.maximum
    if low is not None and high is not None and low > high:
        message = f"the minimum {low} is greater than the maximum {high}"
        checker.fail(message, *at, "minimum" if "minimum" in given else "maximum")
    for key in ("default", "example"):
        value = getattr(variable, key)
        for fault in variable.faults(value) if value is not None else ():
            checker.fail(f"{key}{fault.where}: {fault.message}", *at, key, *fault.path)
    return variable
