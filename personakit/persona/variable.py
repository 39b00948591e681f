"""A variable of a persona, and the checks and conversions of its values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from personakit.base import ANY, article, brief, brief_repr, describe, is_type, read_json, shown
from personakit.errors import VariableError, did_you_mean, spelled
from personakit.frozen import FrozenDict, freeze, thaw
from personakit.persona.validation import retyped

MAX_FAULTS = 10
"""The most faults of one value that are reported."""
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}
# What JSON takes for an integer; longer ones go the way of all other values.
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\Z", re.ASCII)
_SAMPLES: dict[str, Any] = {"string": "…", "integer": 1, "number": 1, "boolean": True}


class Fault(NamedTuple):
    """What is wrong with a value.

    Attributes:
        path: The indexes and keys from the value to the part that is wrong; empty for the value.
        message: What was found and what would be right.
    """

    path: tuple[str | int, ...]
    message: str

    @property
    def where(self) -> str:
        """The path as templates write it: ``[2].age``, or ``["first name"]`` for other keys."""
        return dotted(self.path)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a persona, an item of an array, or a field of an object.

    Attributes:
        name: A Python identifier without a leading double underscore. That of an item ends in
            ``[]``, and that of a field in the name of the field, as in ``guests[].age``.
        type: string, integer, number, boolean, array, object, or any for values of every type.
        default: The value used if the caller gives none; ignored if `required`.
        required: True if the caller must give a value.
        enum: The allowed values; empty if every value is allowed.
        minimum: The smallest allowed number, array length or string length.
        maximum: The largest allowed number, array length or string length.
        pattern: A regular expression that must match somewhere in a string, in the syntax of
            Rust's `regex` crate: linear in time, so that a persona file cannot hang a process.
        items: The declaration of the items of an array; None if every item is allowed.
        properties: The declarations of the fields of an object; empty if every field is allowed.
        additional: True if an object may have more fields than `properties`.
        description: The purpose of the variable.
        example: A value for documentation; never used at run time.
    """

    name: str
    type: str = "string"
    default: Any = None
    required: bool = False
    enum: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    items: Variable | None = None
    properties: Mapping[str, Variable] = field(default_factory=FrozenDict)
    additional: bool = False
    description: str = ""
    example: Any = None

    __repr__ = brief_repr

    @property
    def nested(self) -> bool:
        """Whether the items or the fields of a value are declared."""
        return self.items is not None or bool(self.properties)

    def faults(self, value: Any) -> tuple[Fault, ...]:
        """Return what is wrong with a value, in the order of its parts; at most `MAX_FAULTS`."""
        return tuple(islice(self._faults(value), MAX_FAULTS))

    def _faults(self, value: Any) -> Iterator[Fault]:
        fault = self._fault(value)
        if fault:
            yield Fault((), fault)
            return
        if self.items is not None:
            for index, item in enumerate(value):
                yield from _below(index, self.items._faults(item))
        if self.properties:
            yield from self._fields(value)

    def _fields(self, value: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield what is wrong with the fields of an object."""
        for name, variable in self.properties.items():
            if name not in value:
                if variable.required:
                    yield Fault((), f"the field {name!r} is missing{variable._about()}")
            # Null is what a field without a value has after the first check.
            elif value[name] is not None or variable.required or variable.default is not None:
                yield from _below(name, variable._faults(value[name]))
        for name in () if self.additional else value:
            if name not in self.properties:
                hint = did_you_mean(str(name), self.properties)
                known = f" (declared: {', '.join(self.properties)})"
                yield Fault((name,), f"unknown field{hint or known}")

    def errors(self, value: Any) -> list[str]:
        """Return the messages for the faults of a value, each with the name and the path."""
        return [f"variable {self.name + it.where!r}: {it.message}" for it in self.faults(value)]

    def filled(self, value: Any) -> Any:
        """Return a valid value with the defaults of the fields that it leaves out.

        Returns the value itself if it leaves out none.
        """
        if value is None or not self.nested:
            return value
        if self.items is not None:
            items = [self.items.filled(item) for item in value]
            if all(new is old for new, old in zip(items, value, strict=True)):
                return value
            return tuple(items) if isinstance(value, tuple) else items
        fields = {
            name: variable.filled(value.get(name, variable.default))
            for name, variable in self.properties.items()
        }
        if all(name in value and value[name] is item for name, item in fields.items()):
            return value
        return {**value, **fields}

    def _fault(self, value: Any) -> str | None:
        """Return what is wrong with a value, items and fields aside."""
        if not is_type(value, self.type):
            hint = retyped(value, self.type)
            return f"expected {article(self.type)}, found {describe(value)}{hint}"
        if self.enum and freeze(value, f"variable {self.name!r}") not in self.enum:
            allowed = brief(", ".join(map(str, self.enum)))
            found = value if isinstance(value, str) else shown(value)
            hint = did_you_mean(found, map(str, self.enum))
            return f"{brief(shown(value))} is not one of {allowed}{hint}"
        return self._out_of_range(value) or self._mismatch(value)

    def _out_of_range(self, value: Any) -> str | None:
        unbounded = self.minimum is None and self.maximum is None
        if unbounded or self.type in ("boolean", "object"):
            return None
        sized = self.type in ("string", "array")
        size, what = (len(value), "its length") if sized else (value, "it")
        if self.minimum is not None and size < self.minimum:
            return f"{what} is {shown(size)}, the minimum is {self.minimum}"
        if self.maximum is not None and size > self.maximum:
            return f"{what} is {shown(size)}, the maximum is {self.maximum}"
        return None

    def _mismatch(self, value: Any) -> str | None:
        if self.pattern is None or self.type != "string":
            return None
        from personakit.schemas import Pattern  # noqa: PLC0415

        try:
            matches = Pattern.of(self.pattern).search(value)
        except ValueError as error:
            return str(error)
        if not matches:
            return f"{brief(shown(value))} does not match the pattern {brief(self.pattern)}"
        return None

    def convert(self, text: str) -> Any:
        """Convert a text from a command line to the type of the variable.

        Raises:
            VariableError: The text is not a value of that type.
        """
        if self.type == "integer" and _WHOLE.match(text):
            return int(text)
        if self.type == "array" and self._is_separated(text):
            parts = [part.strip() for part in text.split(",")] if text.strip() else []
            return [self._converted(part, index) for index, part in enumerate(parts)]
        return self._converted(text)

    def _is_separated(self, text: str) -> bool:
        """Return whether a text is ``a,b,c`` for an array, and not JSON."""
        items = self.items.type if self.items is not None else "string"
        return not text.lstrip().startswith("[") and items not in ("array", "object")

    def _converted(self, text: str, index: int | None = None) -> Any:
        """Convert a text, or one item of an array; the errors are those of `convert`."""
        variable = self
        if index is not None:
            if self.items is None:
                return text
            variable = self.items
        try:
            return variable._parsed(text)
        except ValueError as error:
            name = self.name if index is None else f"{self.name}[{index}]"
            hint = f", as in {self.name}={variable._hint()}" if variable._hint() else ""
            why = f" (not JSON: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
            why = why if variable.type in ("array", "object") else ""
            raise VariableError(
                f"variable {name!r}: expected {article(variable.type)}{hint}, "
                f"found {brief(repr(text))}{why}"
            ) from None

    def _parsed(self, text: str) -> Any:
        if self.type == "string":
            return text
        if self.type == "boolean":
            if text.strip().lower() not in _WORDS:
                raise ValueError(text)
            return _WORDS[text.strip().lower()]
        try:
            value = read_json(text)
        except ValueError:
            if self.type == ANY:
                return text
            raise
        if not is_type(value, self.type):
            raise ValueError(text)
        return value

    def to_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the values, with the default and the example."""
        schema: dict[str, Any] = {} if self.type == ANY else {"type": self.type}
        if self.properties:
            schema = object_schema(self.properties, additional=self.additional)
        if self.items is not None:
            schema["items"] = self.items.to_schema()
        bounds = {"string": "Length", "array": "Items"}.get(self.type, "imum")
        for edge, value in (("min", self.minimum), ("max", self.maximum)):
            if value is not None:
                schema[f"{edge}{bounds}"] = value
        if self.enum:
            schema["enum"] = [thaw(value) for value in self.enum]
        for key in ("pattern", "description"):
            if text := getattr(self, key):
                schema[key] = text
        if self.default is not None and not self.required:
            schema["default"] = thaw(self.default)
        if self.example is not None:
            schema["examples"] = [thaw(self.example)]
        return schema

    def _about(self) -> str:
        """Return the description in parentheses, for a message; empty if there is none."""
        return f" ({self.description.rstrip('.')})" if self.description else ""

    def _hint(self) -> str:
        """Return how a value is written on a command line; empty if that needs no hint."""
        if self.nested:
            return f"'{json.dumps(self.sample(), ensure_ascii=False)}'"
        return {"array": '\'["a", "b"]\' or a,b', "object": "'{\"key\": 1}'"}.get(self.type, "")

    def sample(self) -> Any:
        """Return a value for documentation: the example, or one of the declared types."""
        for value in (self.example, self.default, *self.enum[:1]):
            if value is not None:
                return value
        if self.minimum is not None and self.type in ("integer", "number"):
            return self.minimum
        if self.items is not None:
            return [self.items.sample()]
        if self.properties:
            return {name: variable.sample() for name, variable in self.properties.items()}
        return _SAMPLES.get(self.type, "…")


def object_schema(variables: Mapping[str, Variable], *, additional: bool = False) -> dict[str, Any]:
    """Return variables as a JSON Schema of type object.

    Args:
        variables: The variables by name.
        additional: Whether an object may have more fields.
    """
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: variable.to_schema() for name, variable in variables.items()},
        "additionalProperties": additional,
    }
    if required := [name for name, variable in variables.items() if variable.required]:
        schema["required"] = required
    return schema


def described(variable: Variable, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return attributes as plain values, and those of the declared items and fields."""
    result = {key: thaw(getattr(variable, key)) for key in keys}
    if variable.items is not None:
        result["items"] = described(variable.items, keys)
    if variable.properties:
        fields = {name: described(it, keys) for name, it in variable.properties.items()}
        result |= {"properties": fields, "additional": variable.additional}
    return result


def missing(variable: Variable) -> str:
    """Return the error message for a required variable without a value."""
    about = variable._about()
    value = variable.sample() if variable.nested else variable.example
    value = "…" if value is None else value
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    quoted = f"'{shown}'" if re.search(r"[^\w…@%+=:,./-]", shown) else shown
    way = spelled(
        terminal=f"-v {variable.name}={quoted}",
        python=f"variables={ ({variable.name: thaw(value)}) }",
        service=json.dumps({variable.name: thaw(value)}, ensure_ascii=False),
    )
    return f"variable {variable.name!r} is required{about}: give it as {way}"


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path as templates write it."""
    return "".join(
        f".{part}" if isinstance(part, str) and part.isidentifier() else f"[{_key(part)}]"
        for part in path
    )


def _key(part: object) -> str:
    return brief(json.dumps(part, ensure_ascii=False) if isinstance(part, str) else shown(part), 60)


def _below(part: str | int, faults: Iterator[Fault]) -> Iterator[Fault]:
    for path, message in faults:
        yield Fault((part, *path), message)
