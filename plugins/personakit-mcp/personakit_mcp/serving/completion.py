"""Completion of arguments: the values of enums and booleans, and the names of personas."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import mcp_types as types

from personakit_mcp.serving.offer import Serving, answer
from personakit_mcp.serving.wording import unknown

MOST = 100
"""The most values of an answer, as the specification has it."""


class Completion:
    """Answers the requests for completion."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def complete(self, ctx: Any, params: types.CompleteRequestParams) -> dict[str, Any]:
        """Answer ``completion/complete``.

        Raises:
            MCPError: There is no such prompt.
        """
        serving, caller = self._serving, self._serving.caller(ctx)
        values: Sequence[str] = ()
        if isinstance(params.ref, types.PromptReference):
            persona = await serving.find(caller, params.ref.name)
            if persona is None:
                known = await serving.offered(caller)
                raise unknown("prompt", params.ref.name, known, "prompts/list")
            variable = persona.variables.get(params.argument.name)
            if variable is not None and variable.type == "boolean":
                values = ("true", "false")
            elif variable is not None:
                values = tuple(map(str, variable.enum))
        elif params.argument.name == "name":
            values = tuple(await serving.offered(caller))
        found = matching(params.argument.value, values)
        more = len(found) > MOST
        values = found[:MOST]
        return answer(completion={"values": values, "total": len(found), "hasMore": more})


def matching(typed: str, values: Sequence[str]) -> list[str]:
    """Return the values that begin with what was typed; without any, those that are similar."""
    word = typed.casefold()
    found = [value for value in values if value.casefold().startswith(word)]
    if found:
        return found
    folded = {value.casefold(): value for value in values[:1000]}
    close = difflib.get_close_matches(word[:100], folded, n=10, cutoff=0.5)
    return [folded[each] for each in close]
