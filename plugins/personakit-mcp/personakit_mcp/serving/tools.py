"""Personas as tools: what is listed, and which persona a call is for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import mcp_types as types
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from personakit import Persona, UsageError, did_you_mean
from personakit_mcp.serving import arguments
from personakit_mcp.serving.arguments import INPUT
from personakit_mcp.serving.offer import Caller, Serving, after, answer
from personakit_mcp.serving.prompts import PAGE
from personakit_mcp.serving.rows import about
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
        rows = await self._serving.as_tools(self._serving.caller(ctx))
        if self._serving.one_tool:
            personas = await self._personas(rows)
            return answer(tools=[_one(personas)] if personas else [])
        names, cursor = after(iter(rows), params.cursor, PAGE)
        is_new = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        personas = await self._personas(names)
        shown = [_tool(persona, is_new=is_new) for persona in personas.values()]
        return answer(tools=shown, nextCursor=cursor)

    async def call(
        self, ctx: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Answer ``tools/call``.

        Raises:
            MCPError: There is no such tool.
        """
        serving = self._serving
        caller = serving.caller(ctx)
        given: Mapping[str, Any] = params.arguments or {}
        if not serving.one_tool:
            persona = await self._find(caller, params.name)
            if persona is None:
                raise unknown("tool", params.name, await serving.as_tools(caller), "tools/list")
            return await self._runs.call(ctx, params, persona, given)
        if params.name != ASK:
            raise unknown("tool", params.name, [ASK], "tools/list")
        try:
            persona = await self._chosen(caller, given)
            variables = _variables(given)
        except UsageError as error:
            return failed(str(error))
        return await self._runs.call(ctx, params, persona, variables)

    async def _chosen(self, caller: Caller, given: Mapping[str, Any]) -> Persona:
        """Return the persona that the one tool is called for.

        Raises:
            UsageError: There is none of that name.
        """
        name = given.get("persona")
        persona = await self._find(caller, name) if isinstance(name, str) else None
        if persona is not None:
            return persona
        names = list(await self._serving.as_tools(caller))
        known = f" (known: {', '.join(names)[:500]})"
        if name is None:
            raise UsageError(f"argument 'persona' is required{known}")
        hint = did_you_mean(str(name), names)
        raise UsageError(f"argument 'persona': no persona {str(name)[:80]!r}{hint}{known}")

    async def _find(self, caller: Caller, name: str) -> Persona | None:
        if not self._serving.is_tool(name):
            return None
        return await self._serving.find(caller, name)

    async def _personas(self, names: Iterable[str]) -> dict[str, Persona]:
        """Return the personas of names; those that were removed meanwhile are left out."""

        def load() -> dict[str, Persona]:
            loaded = {name: self._serving.shelf.find(name) for name in names}
            return {name: each for name, each in loaded.items() if each is not None}

        return await asyncio.to_thread(load)

    def close(self) -> None:
        """Remove the journals of runs that nobody can continue after the process has ended."""
        self._runs.close()


def _variables(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of the persona that the one tool is called for.

    Raises:
        UsageError: The arguments are wrong.
    """
    variables = given.get("variables") or {}
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
    return {**variables, INPUT: given.get(INPUT)}


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
