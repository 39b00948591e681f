"""The limits of a run that waited for a person, and went on in another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from personakit_budget import Budget

import personakit
from personakit import JournalFolder, Persona, Request, Response, Runner, Usage, hookimpl
from personakit.config import Config
from personakit.testing import Upstream

PERSONA = Persona.parse("name: calc\nsystem: You add.\nmodel: openai/x\n")


class Sends:
    """Sends three times, and asks in between."""

    @hookimpl
    async def chat(self, request: Request, send: Any) -> Response:
        await send(request)
        await personakit.ask("Once more?")
        await send(request)
        await personakit.ask("And again?")
        response: Response = await send(request)
        return response


def test_a_resumed_run_has_the_limits_of_the_whole_run(tmp_path: Path) -> None:
    upstream = Upstream([Response("Hello.", usage=Usage(1000, 2000, 3000))])

    def made() -> Runner:
        plugins = [Sends(), Budget(run_tokens=5000, folder=str(tmp_path / "ledger"))]
        journals = JournalFolder(tmp_path / "journals")
        return Runner(Config(path=()), plugins=plugins, backend=upstream, journals=journals)

    with pytest.raises(personakit.Suspended) as first:
        made().run(PERSONA, "Hi.", parameters={"max_tokens": 100})
    with pytest.raises(personakit.Suspended) as second:
        made().resume(first.value, "yes")
    with pytest.raises(personakit.Blocked, match="run_tokens"):
        made().resume(second.value, "yes")
    assert len(upstream.requests) == 2
