"""The arguments of a prompt and of a tool: the variables of a persona, and the user's input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personakit import Persona, Variable, VariableError, did_you_mean

INPUT = "input"
"""The argument for the message of the user. No variable has this name."""
MAX_SIZE = 4_000_000
"""The most characters of all arguments."""
_USES = re.compile(r"\binput\b")
_OPTIONAL = re.compile(r"\bif\b[^%}]*\binput\b|\binput\s*(?:is\b|\|\s*default|or\b)")
# Flags, names of groups, classes of POSIX, and escapes that JavaScript lacks or reads differently.
_DIALECT = re.compile(r"\(\?(?!:)|\[\[:|\\[AzpPQxuU<>]|&&|--|~~")
_DESCRIPTION = "The message of the user."


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of a request.

    Attributes:
        values: The values of the variables.
        input: The message of the user; None if there is none.
        faults: What is wrong with them, missing ones aside.
        missing: The required arguments without a value; None stands for the input.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    input: str | None = None
    faults: tuple[str, ...] = ()
    missing: tuple[Variable | None, ...] = ()

    def __str__(self) -> str:
        return "\n".join((*self.faults, *map(_missing, self.missing)))


def takes_input(persona: Persona) -> bool:
    """Return whether a persona has a place for the message of the user.

    It is seen from the text, since compiling the templates of a library takes long.
    """
    prompt = persona.prompt
    if prompt is None:
        return True
    return not prompt.literal and bool(_USES.search(prompt.source) or "include" in prompt.source)


def needs_input(persona: Persona) -> bool:
    """Return whether the `prompt:` of a persona cannot be rendered without input."""
    prompt = persona.prompt
    if prompt is None or prompt.literal or not _USES.search(prompt.source):
        return False
    return not _OPTIONAL.search(prompt.source)


def ordered(persona: Persona) -> list[Variable]:
    """Return the variables, required ones first: clients ask for them in this order."""
    return sorted(persona.variables.values(), key=lambda variable: not variable.required)


def input_schema(persona: Persona) -> dict[str, Any]:
    """Return the JSON Schema of the arguments of a tool."""
    variables = ordered(persona)
    properties: dict[str, Any] = {each.name: _portable(each.to_schema()) for each in variables}
    required = [each.name for each in variables if each.required]
    if takes_input(persona):
        properties[INPUT] = {"type": "string", "description": _DESCRIPTION}
        # Without it, the user would say nothing.
        required += [INPUT] if persona.prompt is None or needs_input(persona) else []
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _portable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without patterns that other dialects do not have, and its parts likewise.

    Clients compile schemas with the regular expressions of JavaScript, and drop all tools of a
    server if they cannot. The values are checked here in any case.
    """
    kept = dict(schema)
    if _DIALECT.search(kept.get("pattern", "")):
        del kept["pattern"]
    if "items" in kept:
        kept["items"] = _portable(kept["items"])
    if "properties" in kept:
        fields = kept["properties"].items()
        kept["properties"] = {name: _portable(field) for name, field in fields}
    return kept


def described(persona: Persona) -> list[dict[str, Any]]:
    """Return the arguments of a prompt as MCP lists them."""
    result: list[dict[str, Any]] = []
    for variable in ordered(persona):
        about = _about(variable)
        one = {"name": variable.name, "required": variable.required}
        result.append({**one, "description": about} if about else one)
    if takes_input(persona):
        needed = needs_input(persona)
        result.append({"name": INPUT, "required": needed, "description": _DESCRIPTION})
    # Required ones first: some clients fill them by their place.
    return sorted(result, key=lambda one: not one["required"])


def converted(persona: Persona, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a prompt as values, typed as on the command line.

    Clients send an empty text for a field that was left empty. It counts as no value, except for a
    required text.

    Raises:
        VariableError: A text is not a value of its type.
    """
    declared = persona.variables
    values: dict[str, Any] = {}
    for name, text in texts.items():
        variable = declared.get(name)
        if variable is None or (variable.type == "string" and (text or variable.required)):
            values[name] = text
        elif text:
            values[name] = variable.convert(text)
    return values


def from_texts(persona: Persona, texts: Mapping[str, str]) -> Given:
    """Return the arguments of a prompt, with everything that is wrong with them."""
    values: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, text in texts.items():
        try:
            values |= converted(persona, {name: text})
        except VariableError as error:
            failed[name] = _argument(str(error))
    return _checked(persona, values, needed=needs_input(persona), failed=failed)


def from_json(persona: Persona, arguments: Mapping[str, Any]) -> Given:
    """Return the arguments of a tool. Null counts as no value, as models mean it."""
    if len(json.dumps(arguments)) > MAX_SIZE:
        return Given(faults=(f"the arguments have more than {MAX_SIZE:,} characters as JSON",))
    values = {name: value for name, value in arguments.items() if value is not None}
    needed = takes_input(persona) and (persona.prompt is None or needs_input(persona))
    return _checked(persona, values, needed=needed, failed={})


def _checked(
    persona: Persona, given: Mapping[str, Any], *, needed: bool, failed: Mapping[str, str]
) -> Given:
    values, declared = dict(given), persona.variables
    text = values.pop(INPUT, None) if takes_input(persona) else None
    faults = list(failed.values())
    if text is not None and not isinstance(text, str):
        faults.append(f"argument {INPUT!r}: expected a string, found {type(text).__name__}")
        text = None
    for name, value in values.items():
        if name in declared:
            faults += map(_argument, declared[name].errors(value))
        else:
            names = [*declared, *([INPUT] if takes_input(persona) else [])]
            known = f" (known: {', '.join(names)[:500]})" if names else " (there are none)"
            faults.append(f"unknown argument {name[:80]!r}{did_you_mean(name, names)}{known}")
    missing: list[Variable | None] = [
        each
        for each in ordered(persona)
        if each.required and each.name not in values and each.name not in failed
    ]
    if needed and not text and INPUT not in given:
        missing.append(None)
    return Given(values, text or None, tuple(faults), tuple(missing))


def _argument(message: str) -> str:
    """Return the message of a variable in the words of a client."""
    return f"argument{message.removeprefix('variable')}" if message[:9] == "variable " else message


def _missing(variable: Variable | None) -> str:
    if variable is None:
        return f"argument {INPUT!r} is required: the message of the user"
    about = variable.description.rstrip(".")
    allowed = f"one of {', '.join(map(str, variable.enum))}"[:300] if variable.enum else ""
    example = "" if variable.example is None else f"such as {_shown(variable.example)}"
    more = "; ".join(each for each in (about, allowed, example) if each)
    return f"argument {variable.name!r} is required{f': {more}' if more else ''}"


def _about(variable: Variable) -> str:
    """Return the description of a variable with its allowed values and its default."""
    parts = [variable.description.rstrip(".")] if variable.description else []
    if variable.enum:
        parts.append(f"One of {', '.join(map(_shown, variable.enum))}"[:500])
    elif variable.type != "string":
        parts.append(f"{variable.type.capitalize()}{_range(variable)}")
    if variable.default not in (None, "") and not variable.required:
        parts.append(f"Default: {_shown(variable.default)}"[:200])
    return ". ".join(parts) + "." if parts else ""


def _range(variable: Variable) -> str:
    if variable.type not in ("integer", "number"):
        return ""
    low, high = variable.minimum, variable.maximum
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=list)


def from_form(content: Mapping[str, Any], asked: Sequence[Variable | None]) -> Given:
    """Return the arguments that the user wrote into a form.

    Args:
        content: The values of the fields.
        asked: The variables that were asked for; None stands for the input.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for variable in asked:
        name = INPUT if variable is None else variable.name
        value = content.get(name)
        if value is None or value == "":
            continue
        if variable is None:
            values[name] = str(value)
            continue
        try:
            if isinstance(value, str):
                value = variable.convert(value) if variable.type != "string" else value
        except VariableError as error:
            faults.append(_argument(str(error)))
            continue
        wrong = [_argument(message) for message in variable.errors(value)]
        faults += wrong
        if not wrong:
            values[name] = value
    return Given(values, None, tuple(faults))
