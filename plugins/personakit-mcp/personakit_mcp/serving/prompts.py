"""Personas as prompts: listed with their variables, and rendered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from personakit import Message, Persona, PersonaNotFound, TemplateError, VariableError, told
from personakit_mcp.serving import arguments
from personakit_mcp.serving.arguments import INPUT
from personakit_mcp.serving.offer import Serving, after, answer
from personakit_mcp.serving.wording import invalid, unknown

PAGE = 1000
"""The most entries of a page of a list."""
MAX_INLINE = 20_000
"""Characters of arguments from which a prompt is rendered in a thread."""


class Prompts:
    """Answers the requests for prompts."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def list(self, ctx: Any, params: types.PaginatedRequestParams) -> dict[str, Any]:
        """Answer ``prompts/list``."""
        rows = await self._serving.offered(self._serving.caller(ctx))
        names, cursor = after(iter(rows), params.cursor, PAGE)
        shown = [json.loads(rows[name].text) for name in names]
        return answer(prompts=shown, nextCursor=cursor)

    async def get(self, ctx: Any, params: types.GetPromptRequestParams) -> dict[str, Any]:
        """Answer ``prompts/get``.

        Raises:
            MCPError: There is no such prompt, or its arguments are wrong.
        """
        serving, name = self._serving, params.name
        caller = serving.caller(ctx)
        if not (serving.shelf.offers(name) and caller.allows(name)):
            raise unknown("prompt", name, await serving.offered(caller), "prompts/list")
        try:
            persona = await serving.shelf.ready(name)
        except PersonaNotFound:
            raise unknown("prompt", name, await serving.offered(caller), "prompts/list") from None
        texts = params.arguments or {}
        size = sum(map(len, texts.values()))
        if size > arguments.MAX_SIZE:
            raise invalid(f"the arguments have more than {arguments.MAX_SIZE:,} characters")
        async with caller.counting():
            if size < MAX_INLINE:
                return self._rendered(persona, texts)
            return await asyncio.to_thread(self._rendered, persona, texts)

    def _rendered(self, persona: Persona, texts: Mapping[str, str]) -> dict[str, Any]:
        try:
            values = arguments.converted(persona, texts)
            text = values.pop(INPUT, None) or None
            request = self._serving.runner.render(persona, text, variables=values)
        except (TemplateError, VariableError) as error:
            # Checking takes longer than rendering, so it is done only now.
            message = str(arguments.from_texts(persona, texts))
            raise invalid(message or told(error)) from error
        messages = [_message(message) for message in request.messages]
        return answer(description=persona.description or None, messages=messages)


def _message(message: Message) -> dict[str, Any]:
    """Return a message as MCP has it, which knows the roles user and assistant only."""
    role = "assistant" if message.role == "assistant" else "user"
    return {"role": role, "content": {"type": "text", "text": message.text}}
