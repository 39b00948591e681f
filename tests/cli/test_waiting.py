"""The line on a terminal that says what `run` and `chat` wait for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.backend import EVENTS
from helpers.chat import Slow
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from personakit.cli.shared.output import cut_to
from personakit.testing import Reply, Server

STATUS = "searching… \x1b[31m" + "日本 " * 60
SLOW = f"""
from personakit import hookimpl

class Slow:
    @hookimpl
    async def chat(self, request, send):
        await send.status({STATUS!r})
        return await send.live(request)
"""
TOOL = 'def weather(city: str) -> str:\n    """Return the forecast."""\n    return "sun"\n'


class Asking(Server):
    """Calls a tool first, and then answers as slowly as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = Slow(self)

    def reply(self, answer: Any, body: Any) -> Reply:
        if body["messages"][-1]["role"] == "tool" or not body.get("stream"):
            return self.slow.reply() if body.get("stream") else super().reply("Sunny.", body)
        call = {"name": "weather", "arguments": '{"city": "Lyon"}'}
        calls = [{"index": 0, "id": "1", "type": "function", "function": call}]
        head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
        deltas: tuple[Any, ...] = ({"content": "Let me see."}, {"tool_calls": calls}, {})
        choices = (
            {"index": 0, "delta": d, "finish_reason": None if d else "tool_calls"} for d in deltas
        )
        lines = (f"data: {json.dumps({**head, 'choices': [choice]})}\n\n" for choice in choices)
        return Reply("".join((*lines, "data: [DONE]\n\n")).encode(), headers=EVENTS)


@pytest.fixture
def server() -> Iterator[Asking]:
    with Asking() as server:
        yield server


@pytest.fixture
def run(shell: Any, server: Server) -> Any:
    shell.write("ann.yaml", "system: You help.\nmodel: openai/m\nplugins: [slow]\n")
    shell.write("mine.py", TOOL)
    (shell.folder / "site" / "slow-1.0.dist-info").mkdir(parents=True)
    shell.write("site/slow_plugin.py", SLOW)
    shell.write("site/slow-1.0.dist-info/METADATA", "Name: slow\nVersion: 1.0\n")
    shell.write(
        "site/slow-1.0.dist-info/entry_points.txt", "[personakit]\nslow = slow_plugin:Slow\n"
    )
    shell.env |= {
        **server.environ(), "PYTHONPATH": str(shell.folder / "site"), "PERSONAKIT_PLUGINS": "slow"
    }  # fmt: skip
    return shell


def test_run_shows_what_it_waits_for_until_text_arrives(run: Any, server: Asking) -> None:
    with run.terminal("run", "ann.yaml", "Hi", "--functions", "mine.py") as session:
        session.until("\x1b[2msearching… \\u001b[31m日本")
        shown = session.until("…\x1b[0m\r\x1b[K")
        assert cell_len("searching… \\u001b[31m日本" + shown) < 79
        session.until("\x1b[2mwaiting for openai/m…\x1b[0m\r\x1b[KLet me see.\n")
        session.until("\x1b[2mcalling weather…\x1b[0m\r\x1b[Kpersonakit: weather {")
        session.until("\x1b[2mwaiting for openai/m…\x1b[0m")
        server.slow.say("It is ")
        session.until("\r\x1b[K\n\nIt is ")
        server.slow.say("sunny.")
        server.slow.say(None)
        assert session.end() == 0
    assert session.text.endswith("It is sunny.\n")


@pytest.mark.parametrize("how", ["--json", "--no-stream"])
def test_nothing_of_it_is_left(how: str, run: Any) -> None:
    with run.terminal("run", "ann.yaml", "Hi", how) as session:
        assert session.end() == 0
    assert ("waiting for" in session.text) == (how == "--no-stream")
    assert session.text.rpartition("\r\x1b[K")[2].rstrip()[-1] in "}."
    piped = run("run", "ann.yaml", "Hi", how)
    assert "waiting" not in piped.stdout + piped.stderr
    assert "searching" not in piped.stdout + piped.stderr


def test_chat_shows_it_below_the_text(run: Any, server: Asking) -> None:
    with run.terminal("chat", "ann.yaml", "--functions", "mine.py") as session:
        session.until("leaves")
        session.press("Hi\r")
        session.until("weather {")
        session.until("waiting for openai/m…")
        server.slow.say("It is sunny.")
        session.until("It is sunny.")
        server.slow.say(None)
        session.until("4 messages")
        session.press("\x04")
        assert session.end() == 0
    assert "\x1b[31m" not in session.text


@given(st.text(), st.integers(1, 80))
def test_a_cut_line_fits(text: str, width: int) -> None:
    assert cell_len(cut_to(text, width)) <= width
    assert "\n" not in cut_to(text, width)
