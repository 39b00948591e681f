"""Keys and words of variables, tests and messages that have the names of other formats."""

from __future__ import annotations

from typing import Any


def synonyms(**names: str) -> dict[str, str]:
    """Return the key for each of the names, which are separated by spaces."""
    return {other: key for key, others in names.items() for other in others.split()}


# JSON Schema, OpenAPI, Python, TypeScript, Promptfile.
_KEYS = synonyms(
    minimum="min minlength minitems",
    maximum="max maxlength maxitems",
    pattern="regex",
    description="desc help",
    enum="choices values options allowed one_of",
    default="value",
    example="examples",
    properties="fields",
    additional="additionalproperties",
)
_TYPES = synonyms(
    string="str text enum",
    integer="int",
    number="float double",
    boolean="bool",
    array="list tuple",
    object="dict map mapping",
)
_OF_TESTS = synonyms(
    prompt="input question user message query",
    variables="vars inputs arguments",
    name="description title id",
    expect="assert asserts assertions expected expected_output output answer evaluators",
)
# OpenAI's functions, LangChain, Gemini.
_ROLES = synonyms(user="human me person", assistant="ai bot model gpt llm", system="instructions")


def hint_in_test(key: str) -> str:
    """Return what to write for an unknown key of a test, as ``; …``; empty if not known."""
    name = _OF_TESTS.get(key.lower())
    example = ", as in `expect: {contains: word}`" if name == "expect" else ""
    return f"; write `{name}:`{example}" if name else ""


def role_hint(role: str) -> str:
    """Return what to write for an unknown role, as ``; …``; empty if not known."""
    name = _ROLES.get(role.lower())
    return f"; write {name}" if name else ""


def key_hint(key: str) -> str:
    """Return what to write for an unknown key of a variable, as ``; …``; empty if not known."""
    name = _KEYS.get(key.lower())
    return f"; write `{name}:`" if name else ""


def type_name(value: Any) -> str | None:
    """Return the type of a variable for the name that another format gives it, or None."""
    return _TYPES.get(str(value).lower())
