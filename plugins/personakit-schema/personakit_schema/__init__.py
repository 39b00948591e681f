"""A personakit plugin that validates the answer against the persona's JSON Schema."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from personakit import (
    ConfigError,
    InvalidAnswer,
    Message,
    Persona,
    Request,
    Response,
    Send,
    Timeout,
    Usage,
    hookimpl,
    schema_validator,
)

__all__ = ["Schema"]

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[ \t]*\r?$", re.MULTILINE)
_MOST_FAULTS = 5


class _Unfit(Exception):
    """The answer does not match the schema; the message is for the model."""


MOST_ATTEMPTS = 100
"""The most attempts that a persona can ask for; each is paid."""


@dataclass(eq=False)
class Schema:
    """Validation of the answer against a JSON Schema, with further attempts if it does not match.

    The schema is the `output=` of the run, else the persona's `output:`.

    Attributes:
        attempts: The most attempts, including the first.
        strip_fences: Extract the JSON from a ```json fence and drop the text around it.
        instruct: Write the schema into the system message instead of sending it as
            response_format, for models that do not support that parameter.

    Raises:
        ValueError: `attempts` is less than 1.
    """

    # Only answers that match are stored.
    inside_of = ("cache",)

    attempts: int = 3
    strip_fences: bool = True
    instruct: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise ValueError(
                f"attempts is {self.attempts}; use 1 to {MOST_ATTEMPTS} (the first attempt counts)"
            )

    @hookimpl
    async def chat(self, request: Request, send: Send, persona: Persona) -> Response:
        """Send the request until the answer matches, and hold the answer until then."""
        schema = _schema(request, persona)
        check = _checker(schema)
        first = _instructed(request, schema) if self.instruct else request
        asked, spent = first, None
        for attempt in range(1, self.attempts + 1):
            response = await send(asked, reasoning=True)  # the schema is about the text alone
            spent = _added(spent, response)
            if response.tool_calls:
                return spent
            try:
                text, value = self._read(response)
                check(value)
            except Timeout as error:
                error.partial = response.text
                raise
            except _Unfit as unfit:
                fault = str(unfit)
                asked = first.with_messages(*_complaint(response, fault))
            else:
                return spent.replace(
                    text=text,
                    parsed=value,
                    metadata={**response.metadata, "schema": {"attempts": attempt}},
                )
        raise InvalidAnswer(
            f"attempt {attempt} of {self.attempts}: the answer does not match the `output:` of "
            f"persona {persona.name!r}:\n{fault}",
            partial=response.text,
        )

    def _read(self, response: Response) -> tuple[str, Any]:
        """Return the JSON text of an answer and its value."""
        text = (_unfenced(response.text) if self.strip_fences else response.text).strip()
        cut = response.finish_reason == "length"
        try:
            value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            fault = f"it is not valid JSON: {error}" if text else "it is empty"
        else:
            # A truncated array, object or string is not valid JSON, but a truncated number may be.
            if not cut or isinstance(value, dict | list | str):
                return text, value
            fault = "it may be incomplete"
        if cut:
            fault += "; it was cut off at the token limit (finish_reason: length)"
        raise _Unfit(fault)


def _schema(request: Request, persona: Persona) -> dict[str, Any]:
    """Return the schema of the request, else the persona's `output:`, as plain JSON."""
    asked = (request.parameters.get("response_format") or {}).get("json_schema") or {}
    wanted = asked.get("schema") or persona.output
    if wanted is None:
        raise ConfigError(
            f"persona {persona.name!r} lists the plugin schema but has no `output:`; add an "
            f"`output:` with the JSON Schema of the answer, or remove the plugin"
        )
    schema: dict[str, Any] = json.loads(json.dumps(wanted))
    return schema


def _checker(schema: dict[str, Any]) -> Callable[[Any], None]:
    """Return a function that raises `_Unfit` for a value that does not match `schema`."""
    try:
        faults = schema_validator(schema)
    except ValueError as error:
        raise ConfigError(f"`output:` is not a valid JSON Schema: {error}") from None

    def check(value: Any) -> None:
        if found := faults(value):
            raise _Unfit("\n".join(f"- {fault}" for fault in found[:_MOST_FAULTS]))

    return check


def _instructed(request: Request, schema: Mapping[str, Any]) -> Request:
    """Return the request with the schema in the system message."""
    form = request.parameters.get("response_format") or {}
    dropped = {"response_format"} if form.get("type") == "json_schema" else set()
    return request.with_system(
        "Answer with JSON alone, without a code fence, that matches this JSON Schema:\n"
        + json.dumps(schema, ensure_ascii=False)
    ).replace(parameters={k: v for k, v in request.parameters.items() if k not in dropped})


def _complaint(response: Response, fault: str) -> list[Message]:
    """Return the rejected answer and a user message with its faults."""
    complaint = Message(
        "user",
        f"Your answer does not match the JSON Schema:\n{fault}\n"
        f"Answer again with the whole corrected JSON alone.",
    )
    # Some upstreams refuse an empty assistant message.
    return [response.message, complaint] if response.text else [complaint]


def _added(spent: Response | None, response: Response) -> Response:
    """Return `response` with the usage and cost of `spent` added."""
    # Reading `cost` looks up prices, which is needless work for the first answer.
    if spent is None:
        return response
    costs = [cost for cost in (spent.cost, response.cost) if cost is not None]
    return response.replace(
        usage=Usage.sum((spent.usage, response.usage)),
        # The known costs of some attempts are not the cost of all.
        cost=sum(costs) if len(costs) == 2 else None,
    )


def _unfenced(text: str) -> str:
    """Return the content of a text's only JSON fence; any other text unchanged.

    If a bracket stands outside the fence, the fence may be a draft or an example.
    """
    # A line inside JSON cannot start with a fence, because JSON strings contain no line breaks.
    # More than two fences are not one block.
    parts = _FENCE.split(text, 3)
    outside = "".join(parts[::4])
    fenced = len(parts) == 5 and parts[1].lower() in {"", "json"} and not parts[3]
    if fenced and not re.search(r"[{\[]", outside):
        return parts[2]
    return text


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
