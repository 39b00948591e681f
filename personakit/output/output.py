"""Structured output: what an answer must be, how that is asked for, and what is made of it."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import read_json, typed
from personakit.errors import ConfigError, InvalidAnswer
from personakit.frozen import freeze, thaw
from personakit.messages import Request, Response
from personakit.output.json_schema import validator
from personakit.output.strict_schema import qualifies, rooted, strictened

WRAPPED = "value"
"""The key that holds a value other than an object: APIs take schemas of objects alone."""
_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[ \t]*\r?$", re.MULTILINE)
_SHOWN = 5

Faults = Callable[[Any], list[str]]


@dataclass(frozen=True, slots=True)
class Output:
    """What an answer must be.

    Attributes:
        name: What the API calls it: at most 64 letters, digits, ``_`` and ``-``.
        schema: Its JSON Schema.
        make: Called with a JSON text; returns the value of a Python type, or raises ValueError
            with what is wrong, a line for each fault. None for a JSON Schema.
        wrapped: Whether the value stands in an object under `WRAPPED`.
    """

    name: str
    schema: Mapping[str, Any]
    make: Callable[[str], Any] | None = field(default=None, repr=False)
    wrapped: bool = False

    @classmethod
    def of(cls, wanted: Any, name: str) -> Output:
        """Return the output for a JSON Schema, or for a type that pydantic takes.

        Args:
            wanted: A mapping is a JSON Schema; anything else a type: a pydantic model, a
                dataclass, a TypedDict, ``list[int]``.
            name: What to call a schema.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(wanted, Output):
            return wanted
        if isinstance(wanted, Mapping):
            return cls(_NAME.sub("_", name)[:64] or "output", freeze(wanted))
        # pydantic would take a function for its arguments.
        if isinstance(wanted, str | list | tuple) or inspect.isroutine(wanted):
            raise ConfigError(
                f"output takes a type or a JSON Schema as a mapping, found {wanted!r:.60}"
            )
        plain, make = typed(wanted)
        made = rooted(plain)
        named = _NAME.sub("_", getattr(wanted, "__name__", "")) or "output"
        wrapped = made.get("type") != "object"
        if wrapped:
            shared = {"$defs": made.pop("$defs")} if "$defs" in made else {}
            made = {
                "type": "object",
                "properties": {WRAPPED: made},
                "required": [WRAPPED],
                "additionalProperties": False,
                **shared,
            }
        return cls(named[:64], freeze(strictened(made)), make, wrapped)

    def reader(self) -> Callable[[Response], Response]:
        """Return what puts the value of an answer into its response; see `_read`.

        Raises:
            ConfigError: The schema is none, which is told before anything is sent.
        """
        if self.make is not None:
            return functools.partial(self._read, None)
        try:
            return functools.partial(self._read, validator(self.schema))
        except ValueError as error:
            raise ConfigError(f"`output` is no JSON Schema: {error}") from None

    @property
    def response_format(self) -> dict[str, Any]:
        """The parameter that asks for it; strict where OpenAI's rules for that are kept."""
        said: dict[str, Any] = {"name": self.name, "schema": self.schema}
        if qualifies(self.schema):
            said["strict"] = True
        return {"type": "json_schema", "json_schema": said}

    def _read(self, faults: Faults | None, response: Response) -> Response:
        """Return a response with the value of its answer as `parsed`.

        A value that a plugin has put there stays, unless a Python type is wanted.

        Raises:
            InvalidAnswer: It is cut off, no JSON, or not what the schema says.
        """
        if self.make is None and response.parsed is not None:
            return response
        text = response.messages[-1].text if response.messages else response.text
        cut = response.finish_reason == "length"
        try:
            if response.tool_calls:
                names = ", ".join(call.name for call in response.tool_calls)
                raise ValueError(f"it calls tools that the run does not have: {names[:100]}")
            found, value = _value(text, whole=cut)
            # What ends with a bracket or a quote has come to its end, a number may not have.
            if cut and not isinstance(value, dict | list | str):
                raise ValueError("its end is missing")
            return response.replace(parsed=self._checked(found, value, faults))
        except ValueError as error:
            told = "schema" not in response.metadata
            raise self._invalid(str(error), text, cut=cut, advised=told) from None

    def _checked(self, text: str, value: Any, faults: Faults | None) -> Any:
        if faults is not None:
            if found := faults(value):
                raise ValueError("\n".join(f"- {fault}" for fault in found[:_SHOWN]))
            return value
        assert self.make is not None
        if self.wrapped and isinstance(value, dict) and value.keys() == {WRAPPED}:
            text = json.dumps(value[WRAPPED])
        return self.make(text)

    def _invalid(self, fault: str, text: str, *, cut: bool, advised: bool) -> InvalidAnswer:
        if cut:
            advice = "it was cut off at the limit of tokens: raise max_tokens"
        elif advised:
            advice = "the plugin `schema` asks the model again with what is wrong"
        else:
            advice = "it keeps the schema that was sent, so that the plugin `schema` let it pass"
        apart = "\n" if fault.startswith("- ") else " "
        return InvalidAnswer(
            f"the answer is not the output {self.name!r}:{apart}{fault}{apart}({advice})",
            partial=text,
        )


def instructed(request: Request) -> Request:
    """Return a request that says its schema in words, for a model that takes no schema."""
    form = request.parameters["response_format"]
    schema = (form.get("json_schema") or {}).get("schema") or {}
    rest = {k: v for k, v in request.parameters.items() if k != "response_format"}
    return request.replace(parameters=rest).with_system(
        "Answer with JSON alone, without a code fence, that matches this JSON Schema:\n"
        + json.dumps(thaw(schema), ensure_ascii=False)
    )


def _value(text: str, *, whole: bool) -> tuple[str, Any]:
    """Return the JSON text in an answer, and its value.

    That is the whole text, else what stands in its only code fence, else what stands from the
    first opening bracket to the last closing one. It is checked in any case.

    Args:
        text: The answer.
        whole: Whether brackets within it do not count: what was cut off has none at its end.

    Raises:
        ValueError: There is none.
    """
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return text, read_json(text)
    except ValueError as error:
        first = error
    # No line within JSON begins with a fence, since its strings hold no line break.
    parts = _FENCE.split(text)
    inner = parts[2] if len(parts) == 5 and not parts[3] else ""
    if not inner and not whole:
        start = re.search(r"[{\[]", text)
        end = max(text.rfind("}"), text.rfind("]")) + 1
        inner = text[start.start() : end] if start else ""
    if inner:
        try:
            return inner, read_json(inner)
        except ValueError:
            pass
    shown = text.strip()[:60]
    raise ValueError(f"it is not JSON: {first}; it begins with {shown!r}") from None
