"""A model that books trains, and a tool that asks before it does."""

from __future__ import annotations

import json
from typing import Any

from personakit.testing import Reply, Server

TOOLS = '''
import pathlib
import personakit

async def book(train: str) -> str:
    """Book a train."""
    choices, details = ["yes", "no", "yes for this run"], f'{{"train": "{train}"}}'
    answer = await personakit.ask(f"Book {train}?", choices=choices, details=details)
    with pathlib.Path("booked").open("a") as file:
        file.write(f"{train}: {answer}\\n")
    return f"{train}: {answer}"
'''


class Booking(Server):
    """Calls the tool for each train, and then answers.

    Args:
        trains: The trains.

    Attributes:
        fails: Whether it refuses each request.
    """

    fails = False

    def __init__(self, *trains: str) -> None:
        super().__init__()
        self.trains = trains or ("the 9:12",)

    def reply(self, answer: Any, body: Any) -> Reply:
        """Return the calls, or the answer if their results are there."""
        if self.fails:
            return Reply(b'{"error": {"message": "not now"}}', status=400)
        if body["messages"][-1]["role"] == "tool":
            return super().reply("**Done**.", body)
        calls = [
            {"index": n, "id": f"call-{n}", "type": "function", "function": function}
            for n, train in enumerate(self.trains)
            for function in [{"name": "book", "arguments": json.dumps({"train": train})}]
        ]
        if not body.get("stream"):
            whole = self.whole("Let me see.")
            whole["choices"][0]["message"]["tool_calls"] = calls
            whole["choices"][0]["finish_reason"] = "tool_calls"
            return super().reply(whole, body)
        head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
        deltas: tuple[Any, ...] = ({"content": "Let me see."}, {"tool_calls": calls}, {})
        choices = (
            {"index": 0, "delta": d, "finish_reason": None if d else "tool_calls"} for d in deltas
        )
        lines = (f"data: {json.dumps({**head, 'choices': [choice]})}\n\n" for choice in choices)
        text = "".join((*lines, "data: [DONE]\n\n"))
        return Reply(text.encode(), headers={"content-type": "text/event-stream"})
