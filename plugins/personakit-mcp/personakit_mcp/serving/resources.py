"""Personas as resources: the YAML as written, and the messages as rendered."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from personakit import Persona, Runner, did_you_mean, read_file
from personakit_mcp.serving import arguments
from personakit_mcp.serving.offer import Serving, after, answer
from personakit_mcp.serving.prompts import PAGE

SCHEME = "persona://"
YAML = "application/yaml"  # RFC 9512
TEXT = "text/markdown"
_URI = re.compile(r"persona://([a-z0-9][a-z0-9_-]*)(/rendered)?/?\Z")
_TEMPLATES = (
    {
        "uriTemplate": f"{SCHEME}{{name}}",
        "name": "persona",
        "title": "The YAML file of a persona",
        "mimeType": YAML,
    },
    {
        "uriTemplate": f"{SCHEME}{{name}}/rendered",
        "name": "rendered persona",
        "title": "The messages of a persona",
        "mimeType": TEXT,
    },
)
_MAX_BYTES = 16 << 20


class Resources:
    """Answers the requests for resources."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def list(self, ctx: Any, params: types.PaginatedRequestParams) -> dict[str, Any]:
        """Answer ``resources/list``."""
        rows = await self._serving.offered(self._serving.caller(ctx))
        names, cursor = after(iter(rows), params.cursor, PAGE // 2)
        shown = [each for name in names for each in _resources(json.loads(rows[name].text))]
        return answer(resources=shown, nextCursor=cursor)

    async def templates(self, ctx: Any, params: Any) -> dict[str, Any]:
        """Answer ``resources/templates/list``."""
        del ctx, params
        return answer(resourceTemplates=list(_TEMPLATES))

    async def read(self, ctx: Any, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        """Answer ``resources/read``.

        Raises:
            MCPError: There is no such resource.
        """
        serving, uri = self._serving, params.uri
        caller, match = serving.caller(ctx), _URI.match(uri)
        persona = await serving.find(caller, match[1]) if match else None
        if match is None or persona is None:
            known = await serving.offered(caller)
            name = uri[:200].removeprefix(SCHEME).partition("/")[0]
            hint = did_you_mean(name, known) or "; see resources/list"
            message = f"unknown resource {uri[:80]!r}{hint}"
            raise MCPError(INVALID_PARAMS, message, data={"uri": uri[:200]})
        if match[2]:
            await serving.shelf.ready(persona.name)
            text, kind = await asyncio.to_thread(_rendered, serving.runner, persona), TEXT
        else:
            text, kind = await asyncio.to_thread(_written, persona), YAML
        return answer(contents=[{"uri": uri, "mimeType": kind, "text": text}])


def _resources(row: dict[str, Any]) -> list[dict[str, Any]]:
    name = row["name"]
    uri = f"{SCHEME}{name}"
    shown: dict[str, Any] = {
        key: row[key] for key in ("title", "description", "icons") if key in row
    }
    rendered = {**shown, "title": f"{shown['title']}, rendered"}
    return [
        {"uri": uri, "name": name, **shown, "mimeType": YAML},
        {
            "uri": f"{uri}/rendered",
            "name": f"{name} rendered",
            **rendered,
            "mimeType": TEXT,
        },
    ]


def _written(persona: Persona) -> str:
    """Return the YAML of a persona as it is written.

    Raises:
        MCPError: Its file cannot be read.
    """
    try:
        return read_file(persona.path, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError):
        message = f"the file of the persona {persona.name!r} cannot be read"
        raise MCPError(INVALID_PARAMS, message) from None


def _rendered(runner: Runner, persona: Persona) -> str:
    """Return the messages of a persona, with samples for the values that it requires."""
    samples = {each.name: each.sample() for each in persona.variables.values() if each.required}
    text = "…" if persona.prompt is not None and arguments.takes_input(persona) else None
    request = runner.render(persona, text, variables=samples)
    return "\n\n".join(f"## {each.role}\n\n{each.text}" for each in request.messages) + "\n"
