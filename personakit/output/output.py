"""Structured output: the schema of an answer, its request parameter and its parsed value."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import time_left, typed
from personakit.errors import ConfigError, InvalidAnswer, Timeout
from personakit.frozen import freeze, thaw
from personakit.messages import Request, Response
from personakit.output.json_values import json_values
from personakit.output.strict_schema import qualifies, rooted, strictened
from personakit.output.type_patterns import bounded
from personakit.schemas import InvalidSchema, Meter, checked, schema_validator

WRAPPED = "value"
"""The key of a value that is not an object: APIs accept only schemas of objects."""
_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_SHOWN = 5

Faults = Callable[[Any, Meter], list[str]]


@dataclass(frozen=True, slots=True)
class Output:
    """The required form of an answer.

    Attributes:
        name: The name in the API: at most 64 letters, digits, ``_`` and ``-``.
        schema: The JSON Schema.
        make: Called with a JSON text; returns the value of a Python type, or raises ValueError
            with one line for each fault. None for a JSON Schema.
        wrapped: Whether the value is in an object under `WRAPPED`.
    """

    name: str
    schema: Mapping[str, Any]
    make: Callable[[str], Any] | None = field(default=None, repr=False)
    wrapped: bool = False

    @classmethod
    def of(cls, wanted: Any, name: str) -> Output:
        """Return the output for a JSON Schema, or for a type that pydantic supports.

        Args:
            wanted: A JSON Schema as a mapping, or a type: a pydantic model, a dataclass, a
                TypedDict, ``list[int]``.
            name: The name of a schema.

        Raises:
            ConfigError: `wanted` is neither, or the schema is invalid.
        """
        if isinstance(wanted, Output):
            return wanted
        if isinstance(wanted, Mapping):
            try:
                checked(wanted)
            except InvalidSchema as error:
                raise ConfigError(f"`output` is not a valid JSON Schema: {error}") from None
            return cls(_NAME.sub("_", name)[:64] or "output", freeze(wanted))
        # pydantic would accept a function as a model of its arguments.
        if isinstance(wanted, str | list | tuple) or inspect.isroutine(wanted):
            raise ConfigError(
                f"output: expected a type or a JSON Schema as a mapping, found {wanted!r:.60}"
            )
        plain, make = typed(wanted, bounded)
        schema = rooted(plain)
        named = _NAME.sub("_", getattr(wanted, "__name__", "")) or "output"
        wrapped = schema.get("type") != "object"
        if wrapped:
            shared = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
            schema = {
                "type": "object",
                "properties": {WRAPPED: schema},
                "required": [WRAPPED],
                "additionalProperties": False,
                **shared,
            }
        return cls(named[:64], freeze(strictened(schema)), make, wrapped)

    def reader(self) -> Callable[[Response], Response]:
        """Return the function that parses the structured answer; see `_read`.

        Raises:
            ConfigError: The schema is invalid. This is checked before anything is sent.
        """
        if self.make is not None:
            return functools.partial(self._read, None)
        try:
            return functools.partial(self._read, schema_validator(self.schema))
        except InvalidSchema as error:
            raise ConfigError(f"`output` is not a valid JSON Schema: {error}") from None

    @property
    def response_format(self) -> dict[str, Any]:
        """The request parameter; strict if the schema follows OpenAI's rules for that."""
        form: dict[str, Any] = {"name": self.name, "schema": self.schema}
        if qualifies(self.schema):
            form["strict"] = True
        return {"type": "json_schema", "json_schema": form}

    def _read(self, faults: Faults | None, response: Response) -> Response:
        """Return a response with the value of its answer as `parsed`.

        A value that a plugin has set stays, unless a Python type is wanted; that of the output of a
        run inside does not.

        Raises:
            InvalidAnswer: The answer is cut off, is not valid JSON, or does not match the schema.
            Timeout: The deadline of the run passed while the answer was checked.
        """
        if self.make is None and response.parsed is not None and not response._foreign:
            return response
        text = response.messages[-1].text if response.messages else response.text
        cut = response.finish_reason == "length"
        check = functools.partial(self._checked, faults, Meter())
        try:
            if response.tool_calls:
                names = ", ".join(call.name for call in response.tool_calls)
                raise ValueError(f"it calls tools that the run does not have: {names[:100]}")
            found = self._found(text, check, cut=cut)
            return response.replace(parsed=found, _foreign=False)
        except Timeout as error:
            error.partial = text
            raise
        except ValueError as error:
            advised = "schema" not in response.metadata
            raise self._invalid(str(error), text, cut=cut, advised=advised) from None

    @staticmethod
    def _found(text: str, check: Callable[[str, Any], Any], *, cut: bool) -> Any:
        """Return the one value in an answer that matches the schema.

        Raises:
            ValueError: There is none, or there are several that differ.
        """
        matching: dict[str, Any] = {}
        fault = ValueError()
        for source, value in json_values(text, whole=cut):
            # A closing bracket or quote marks the end of a value; a number may be truncated.
            if cut and not isinstance(value, dict | list | str):
                raise ValueError("its end is missing")
            try:
                parsed = check(source, value)
            except ValueError as error:
                fault = error
            else:
                matching.setdefault(_text_of(value), parsed)
        if not matching:
            raise fault
        if len(matching) > 1:
            shown = " and ".join(f"{each:.200}" for each in [*matching][:2])
            raise ValueError(f"it contains different values that match: {shown}")
        return next(iter(matching.values()))

    def _checked(self, faults: Faults | None, meter: Meter, text: str, value: Any) -> Any:
        time_left()
        if faults is not None:
            if messages := faults(value, meter):
                raise ValueError("\n".join(f"- {fault}" for fault in messages[:_SHOWN]))
            return value
        assert self.make is not None
        if self.wrapped and isinstance(value, dict) and value.keys() == {WRAPPED}:
            text = _text_of(value[WRAPPED])
        return self.make(text)

    def _invalid(self, fault: str, text: str, *, cut: bool, advised: bool) -> InvalidAnswer:
        if cut:
            advice = "it was cut off at the token limit; increase max_tokens"
        elif advised:
            advice = "the plugin `schema` sends the faults to the model and asks again"
        else:
            advice = "it matches the schema that was sent, so the plugin `schema` accepted it"
        apart = "\n" if fault.startswith("- ") else " "
        return InvalidAnswer(
            f"the answer does not match the output {self.name!r}:{apart}{fault}{apart}({advice})",
            partial=text,
        )


def _text_of(value: Any) -> str:
    """Return the JSON text of a value, the same one for equal values.

    Raises:
        ValueError: The value is nested too deep.
    """
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def instructed(request: Request) -> Request:
    """Return a request with its schema in the system prompt, for models without schema support."""
    form = request.parameters["response_format"]
    schema = (form.get("json_schema") or {}).get("schema") or {"type": "object"}
    rest = {k: v for k, v in request.parameters.items() if k != "response_format"}
    return request.replace(parameters=rest).with_system(
        "Answer with JSON alone, without a code fence, that matches this JSON Schema:\n"
        + json.dumps(thaw(schema), ensure_ascii=False)
    )
