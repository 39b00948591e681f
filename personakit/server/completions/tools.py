"""The client's own tools: functions, custom tools, and the question of an approval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from personakit.base import TOOL, describe, read_json
from personakit.errors import PersonakitError
from personakit.server.http import Refusal
from personakit.tools import Tool

APPROVE = "personakit_approve"
"""The tool of a client that can ask its user: a question becomes a call of it."""
_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Offered:
    """The tools of a client.

    Attributes:
        tools: The tools; the client runs them.
        custom: The names of those whose input is a text instead of JSON.
        approves: Whether the client can ask its user.
    """

    tools: tuple[Tool, ...] = ()
    custom: frozenset[str] = frozenset()
    approves: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The names of the tools."""
        return frozenset(tool.name for tool in self.tools)

    def chosen(self, choice: Any) -> Any:
        """Return a `tool_choice` as chat.completions.create() accepts it; None for none.

        Raises:
            Refusal: It is invalid (400).
        """
        if choice is None or not self.tools:
            return None
        if choice in ("none", "auto", "required"):
            return choice
        name = None
        if isinstance(choice, dict):
            inner = choice.get(str(choice.get("type")))
            name = inner.get("name") if isinstance(inner, dict) else choice.get("name")
        if name in self.names:
            return {"type": "function", "function": {"name": name}}
        raise wrong(
            "tool_choice",
            f"tool_choice must be none, auto, required, or name one of the tools, "
            f"found {describe(choice):.200}",
        )

    def as_arguments(self, text: Any) -> str:
        """Return the input of a custom tool as the arguments of a function."""
        return json.dumps({"input": text if isinstance(text, str) else ""})

    def as_call(self, identity: str, name: str, arguments: str) -> dict[str, Any]:
        """Return a tool call as the client expects it."""
        if name not in self.custom:
            function = {"name": name, "arguments": arguments}
            return {"id": identity, "type": "function", "function": function}
        try:
            text = read_json(arguments)["input"]
        except (ValueError, KeyError, TypeError):
            text = arguments
        custom = {"name": name, "input": text if isinstance(text, str) else json.dumps(text)}
        return {"id": identity, "type": "custom", "custom": custom}


def offered(items: Any) -> Offered:
    """Return the tools of a body.

    Raises:
        Refusal: One is invalid (400).
    """
    if items is None:
        return Offered()
    if not isinstance(items, list):
        raise wrong("tools", f"tools must be an array, found {describe(items)}")
    tools: dict[str, Tool] = {}
    custom = set()
    approves = False
    for number, item in enumerate(items):
        at = f"tools[{number}]"
        tool, is_custom = _tool(item, at)
        if tool.name == APPROVE:
            approves = True
            continue
        if tool.name in tools:
            raise wrong(f"{at}.function.name", f"{at}: the tool {tool.name!r} is there twice")
        tools[tool.name] = tool
        if is_custom:
            custom.add(tool.name)
    return Offered(tuple(tools.values()), frozenset(custom), approves)


def _tool(item: Any, at: str) -> tuple[Tool, bool]:
    """Return a tool, and whether it is a custom one; also in the shape of the Responses API."""
    kind = item.get("type") if isinstance(item, dict) else None
    if kind not in ("function", "custom"):
        raise wrong(f"{at}.type", f"{at}.type must be function or custom, found {describe(kind)}")
    inner: Any = item.get(kind, item)
    if not isinstance(inner, Mapping):
        raise wrong(f"{at}.{kind}", f"{at}.{kind} must be an object, found {describe(inner)}")
    name, about = inner.get("name"), inner.get("description")
    if not isinstance(name, str) or not TOOL.match(name):
        allowed = "1 to 64 letters of ASCII, digits, '_' and '-'"
        found = describe(name)
        raise wrong(f"{at}.{kind}.name", f"{at}.{kind}.name must be {allowed}, found {found:.80}")
    schema = inner.get("parameters")
    if kind == "custom":
        schema = _TEXT
        form = inner.get("format")
        if isinstance(form, Mapping) and form.get("type") == "grammar":
            rule = str(form.get("definition", ""))
            about = f"{about or ''}\n\nThe input follows this grammar:\n{rule}".strip()
    elif schema is None:
        schema = {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping):
        found = describe(schema)
        raise wrong(f"{at}.{kind}.parameters", f"{at}: parameters must be an object, found {found}")
    try:
        tool = Tool(
            name,
            None,
            about if isinstance(about, str) else "",
            schema,
            strict=kind == "function" and inner.get("strict") is True,
        )
        return tool, kind == "custom"
    except PersonakitError as error:
        raise wrong(f"{at}.{kind}", str(error)) from None


def wrong(param: str, message: str) -> Refusal:
    """Return the refusal of an invalid body, with the part that is wrong."""
    return Refusal(400, message[:2000], param=param or None, code="invalid_value", reason="invalid")
