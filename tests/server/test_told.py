"""Errors tell a client no folder, no key and no address of the server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import served

from personakit import Request, Response, Runner, Send, hookimpl
from personakit.server import Settings
from personakit.testing import Reply, Server, runner

OTHER_KEY = "sk-proj-Q7w8e9r0t1y2u3i4"


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_says_is_told_without_keys_and_its_address(
    tmp_path: Path, stream: bool
) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    with Server() as provider:
        said = f"the text at {provider.base_url} is too long for test-key and {OTHER_KEY}"
        body = json.dumps({"error": {"message": said, "type": "invalid_request_error"}}).encode()
        provider.answers = [Reply(body, 400)]
        config = dataclasses.replace(provider.config(), path=(tmp_path,))
        with served(Runner(config, log=False), Settings(open=True)) as server:
            answer = server.chat(stream=stream)
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")
    assert answer.error["message"].endswith("the text at its address is too long for *** and ***")


def test_no_file_of_the_server_names_its_folder_or_a_key(tmp_path: Path) -> None:
    folder = tmp_path / "my personas"
    folder.mkdir()
    (folder / "p.yaml").write_text("system: \"{% include 'no.md' %}\"\n")
    (folder / "q.yaml").write_text("extends: no\nsystem: Hi\n")
    (folder / "r.yaml").write_text(f"system: Hi\nparameters: {{temperature: {OTHER_KEY}}}\n")
    (folder / "s.yaml").write_text("system: Hi\nextends: ./no.yaml\n")
    running, _ = runner(["Hello!"], path=[folder])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        for name in "pqrs":
            answer = server.chat(model=name)
            assert 400 <= answer.status < 500
            for hidden in (str(folder), str(tmp_path), "/personas", "my personas/", OTHER_KEY):
                assert hidden not in answer.body.decode()
            assert server.request("GET", f"/v1/models/{name}").body.count(b"my personas/") == 0
        assert b"my personas/" not in server.get("/v1/models").body


class Cancelled:
    """A plugin that waits for a task that was cancelled."""

    def __init__(self, first: str) -> None:
        self.first = first

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response | None:
        if self.first:
            await send.emit(self.first)
        task = asyncio.create_task(asyncio.sleep(9))
        task.cancel()
        await task
        return None


@pytest.mark.parametrize("first", ["", "Hel"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_task_of_a_plugin_is_cancelled(tmp_path: Path, first: str, stream: bool) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, _ = runner(["Hello!"], plugins=[Cancelled(first)], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        answer = server.chat(stream=stream)
        if stream and first:
            found: dict[str, Any] = answer.events[-1]["error"]
            assert not answer.is_done
        else:
            assert answer.status == 500
            found = answer.error
        assert found["type"] == "server_error"
        assert "stopping" not in found["message"]
        assert server.get("/health").status == 200


def test_a_missing_variable_is_told_as_json(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: Cook for {{ n }}.\nvariables: {n: {type: integer}}\n")
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        answer = server.chat()
    assert answer.status == 400
    assert "variable 'n' is required" in answer.error["message"]
    assert 'give it as {"n": ' in answer.error["message"]
