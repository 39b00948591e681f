"""Answers of real servers, from a folder that PERSONAKIT_TEST_DATA names (see its README)."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from personakit import (
    BackendError,
    Config,
    IncompleteAnswer,
    Response,
    Runner,
    UpstreamUnavailable,
    Usage,
)
from personakit.testing import MODES, Reply, Server, in_mode, persona

DATA = os.environ.get("PERSONAKIT_TEST_DATA", "")
if not DATA:
    pytest.skip("PERSONAKIT_TEST_DATA names no folder", allow_module_level=True)

WIRE = Path(DATA, "wire").resolve()
FOLDERS = sorted(path.parent for path in WIRE.glob("*/whole.json"))
# By the number of the folder: the text, the value or the error that is right, as its README says.
RIGHT: dict[str, Any] = {
    "01": [["c1", "5"], ["c2", "20"]],
    "03": [["c1", "5"]],
    "04": [["c1", "5"]],
    "05": (IncompleteAnswer, "raise max_tokens"),
    "06": (UpstreamUnavailable, "Provider went away."),
    "07": {"guests": 2},
    "08": Usage(1_000_000, 1_000_000, 2_000_000),
    "09": Usage(10, 1005, 1015, reasoning_tokens=1000),
    "10": (IncompleteAnswer, "raise max_tokens"),
    "12": "Hello there.",
    "14": [["c1", "12:00"]],
}


class Replays(Server):
    """A server that plays the answer of a folder, and then repeats what the tools gave."""

    def __init__(self, folder: Path, tools: Any) -> None:
        super().__init__([""])
        self.folder, self.tools = folder, tools

    def reply(self, answer: Any, body: Any) -> Reply:
        if any(message.get("tool_calls") for message in body["messages"]):
            fault = getattr(self.tools, "check", lambda _: None)(body)
            if fault:
                return Reply(json.dumps({"error": {"message": fault}}).encode(), 400)
            said = [
                (m["tool_call_id"], m["content"]) for m in body["messages"] if m["role"] == "tool"
            ]
            return super().reply(json.dumps(said), body)
        if body.get("stream"):
            events = {"content-type": "text/event-stream"}
            return Reply((self.folder / "stream.sse").read_bytes(), headers=events)
        return Reply((self.folder / "whole.json").read_bytes())


def tools_of(folder: Path) -> Any:
    path = folder / "tools.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("tools", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_folder_has_its_expectation() -> None:
    assert {folder.name[:2] for folder in FOLDERS} == RIGHT.keys()


def play(folder: Path, mode: str, tools: Any) -> Response:
    options: dict[str, Any] = {"tools": tools.TOOLS} if tools else {}
    if (folder / "output.json").exists():
        options["output"] = json.loads((folder / "output.json").read_text("utf-8"))
    with Replays(folder, tools) as server:
        config = Config(model="openai/gpt-5-mini", path=(), environ=server.environ())
        with Runner(config, log=False) as running:
            return in_mode(mode, running, persona(), "Hi", **options)


def folders(*, fail: bool) -> list[Any]:
    chosen = [f for f in FOLDERS if isinstance(RIGHT.get(f.name[:2]), tuple) is fail]
    return [pytest.param(folder, id=folder.name) for folder in chosen]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folder", folders(fail=False))
def test_an_answer_is_read_rightly(folder: Path, mode: str) -> None:
    response = play(folder, mode, tools_of(folder))
    right = RIGHT[folder.name[:2]]
    if isinstance(right, Usage):
        assert response.usage == right
    elif isinstance(right, dict):
        assert response.parsed == right
    else:
        assert response.text in (right, json.dumps(right))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folder", folders(fail=True))
def test_an_answer_that_is_none_is_an_error(folder: Path, mode: str) -> None:
    kind, words = RIGHT[folder.name[:2]]
    tools = tools_of(folder)
    with pytest.raises(BackendError, match=words) as raised:
        play(folder, mode, tools)
    assert type(raised.value) is kind
    assert getattr(tools, "RAN", []) == []
