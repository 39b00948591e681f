"""Personas as tools: what is listed, and which persona a call is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from personakit import Persona, UsageError, did_you_mean
from personakit_mcp.serving import arguments
from personakit_mcp.serving.arguments import INPUT
from personakit_mcp.serving.offer import Serving, after, answer
from personakit_mcp.serving.prompts import PAGE, about
from personakit_mcp.serving.running import Runs, failed, plain
from personakit_mcp.serving.wording import unknown

ASK = "ask"
"""The name of the one tool."""
_NAMED = 100  # personas in the schema of the one tool
_DESCRIBED = 4_000  # characters of its description


class Tools:
    """Answers the requests for tools."""

    def __init__(self, serving: Serving) -> None:
        self._serving, self._runs = serving, Runs(serving)

    async def list(self, ctx: Any, params: types.PaginatedRequestParams) -> dict[str, Any]:
        """Answer ``tools/list``."""
        personas = await self._serving.as_tools(self._serving.caller(ctx))
        if self._serving.one_tool:
            return answer(tools=[_one(personas)] if personas else [])
        names, cursor = after(iter(personas), params.cursor, PAGE)
        is_new = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        shown = [_tool(personas[name], is_new=is_new) for name in names]
        return answer(tools=shown, nextCursor=cursor)

    async def call(
        self, ctx: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Answer ``tools/call``.

        Raises:
            MCPError: There is no such tool.
        """
        serving = self._serving
        personas = await serving.as_tools(serving.caller(ctx))
        given: Mapping[str, Any] = params.arguments or {}
        if not serving.one_tool:
            if params.name not in personas:
                raise unknown("tool", params.name, personas, "tools/list")
            return await self._runs.call(ctx, params, personas[params.name], given)
        if params.name != ASK:
            raise unknown("tool", params.name, [ASK], "tools/list")
        try:
            persona, given = _chosen(personas, given)
        except UsageError as error:
            return failed(str(error))
        return await self._runs.call(ctx, params, persona, given)

    def close(self) -> None:
        """Remove the journals of runs that nobody can continue after the process has ended."""
        self._runs.close()


def _chosen(
    personas: Mapping[str, Persona], given: Mapping[str, Any]
) -> tuple[Persona, Mapping[str, Any]]:
    """Return the persona that the one tool is called for, and its arguments.

    Raises:
        UsageError: The arguments are wrong.
    """
    name, variables = given.get("persona"), given.get("variables") or {}
    if name is None:
        raise UsageError(f"argument 'persona' is required{_known(personas)}")
    if not isinstance(name, str) or name not in personas:
        hint = did_you_mean(str(name), personas)
        raise UsageError(
            f"argument 'persona': no persona {str(name)[:80]!r}{hint}{_known(personas)}"
        )
    if not isinstance(variables, dict):
        kind = type(variables).__name__
        raise UsageError(f"argument 'variables': expected an object, found {kind}")
    if others := sorted(given.keys() - {"persona", "variables", INPUT}):
        raise UsageError(
            f"unknown argument {others[0][:80]!r}: the variables of the persona belong into "
            f"'variables'"
        )
    if INPUT in variables:
        raise UsageError(f"argument 'variables': write {INPUT!r} beside it")
    return personas[name], {**variables, INPUT: given.get(INPUT)}


def _known(personas: Mapping[str, Persona]) -> str:
    return f" (known: {', '.join(personas)[:500]})"


def _tool(persona: Persona, *, is_new: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": persona.name,
        **about(persona),
        "inputSchema": arguments.input_schema(persona),
        "annotations": _annotations(reads_only=not persona.tools),
    }
    output = output_schema(persona)
    if output is not None and (is_new or output.get("type") == "object"):
        shown["outputSchema"] = output
    return shown


def _one(personas: Mapping[str, Persona]) -> dict[str, Any]:
    names = list(personas)
    persona: dict[str, Any] = {"type": "string", "description": "The name of the persona."}
    if len(names) <= _NAMED:
        persona["enum"] = names
    lines = ["Ask a persona: it answers in its own way, with its own instructions."]
    for name, each in personas.items():
        lines.append(f"- {name}: {each.description}" if each.description else f"- {name}")
        if sum(map(len, lines)) > _DESCRIBED:
            lines[-1] = "- … (see prompts/list)"
            break
    return {
        "name": ASK,
        "title": "Ask a persona",
        "description": "\n".join(lines),
        "inputSchema": {
            "type": "object",
            "properties": {
                "persona": persona,
                INPUT: {"type": "string", "description": "The message of the user."},
                "variables": {
                    "type": "object",
                    "description": "The variables of the persona; prompts/list has them.",
                },
            },
            "required": ["persona"],
            "additionalProperties": False,
        },
        "annotations": _annotations(reads_only=not any(each.tools for each in personas.values())),
    }


def _annotations(*, reads_only: bool) -> dict[str, bool]:
    return {"readOnlyHint": reads_only, "openWorldHint": True}


def output_schema(persona: Persona) -> dict[str, Any] | None:
    """Return the JSON Schema of the answer of a persona; None for text."""
    return None if persona.output is None else plain(persona.output)
