"""What ``-c`` goes on with after a cell that was stopped or failed, and what a name stands for."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

from helpers.notebook import Desk, failed

from personakit.testing import Reply

STREAM = {"content-type": "text/event-stream"}


def stopped(desk: Desk) -> Reply:
    """Return an answer during which the user stops the cell, before any text."""
    pid = desk.notebook.pid

    def pieces() -> Iterator[bytes]:
        time.sleep(0.3)
        os.kill(pid, signal.SIGINT)
        for _ in range(600):  # until the client leaves
            time.sleep(0.1)
            yield b": still here\n\n"

    return Reply(pieces(), headers=STREAM)  # type: ignore[arg-type]


def dying(desk: Desk) -> Reply:
    """Return an answer that ends in the middle."""
    events = list(desk.server.events("Half of it is missing, I fear.", usage=True))

    def pieces() -> Iterator[bytes]:
        yield from events[:3]
        raise ConnectionError

    return Reply(pieces(), headers=STREAM)  # type: ignore[arg-type]


def said(desk: Desk) -> list[str]:
    """Return the messages of the last request after the system message."""
    return [m["content"] for m in desk.server.requests[-1].body["messages"]][1:]


def test_after_a_cell_that_was_stopped_before_its_text(desk: Desk) -> None:
    desk("%persona chef A pie", "Pie")
    message = failed(desk("%persona chef Soup", stopped(desk)))
    assert message == "Stopped: no text had arrived, and nothing is kept; run the cell again."
    message = failed(desk("%persona -c And more", "x"))
    assert "-c: the last run as 'answer' was stopped before any text arrived" in message
    assert desk.server.requests == []
    earlier = re.search(r"or write (--conversation \S+) instead of -c", message)
    assert earlier is not None
    desk(f"%persona {earlier[1]} And more", "x")
    assert said(desk) == ["A pie", "Pie", "And more"]
    assert failed(desk("%persona -c Last", "y")) == ""
    assert len(said(desk)) == 5


def test_after_a_turn_that_was_stopped_before_its_text(desk: Desk) -> None:
    desk("%persona chef A pie", "Pie")
    message = failed(desk("%persona -c Why", stopped(desk)))
    assert message.endswith("`%%persona -c` goes on from the turn before this cell.")
    desk("%persona -c And more", "x")
    assert said(desk) == ["A pie", "Pie", "And more"]


def test_after_a_run_that_failed(desk: Desk) -> None:
    desk("%persona chef --as lunch A pie", "Pie")
    for answer in (dying(desk), Reply(b"{}", 401)):
        assert failed(desk("%persona chef --as dead Soup", answer))
        for line in ("%persona -c And more", "%persona -c --as dead And more"):
            message = failed(desk(line, "x"))
            assert "-c: the last run as 'dead' failed, so it cannot go on" in message
            assert desk.server.requests == []
    desk("%persona -c --as lunch And more", "x")
    assert said(desk) == ["A pie", "Pie", "And more"]
    assert failed(desk("%persona chef --as dead Soup", "x")) == ""
    assert failed(desk("%persona -c --as dead And more", "x")) == ""


def test_a_name_that_no_conversation_has_is_an_error(desk: Desk) -> None:
    desk("%persona chef --as dinner A pie", "Pie")
    message = failed(desk("%persona -c --as diner And more", "x"))
    assert "this notebook has no conversation 'diner'; did you mean 'dinner'?" in message
    message = failed(desk("%persona -c --as zzzzzz And more", "x"))
    assert re.search("the conversations here are .*dinner", message)


def test_no_name_stands_for_an_answer_of_an_earlier_cell(desk: Desk) -> None:
    desk("%persona chef --as kept A pie", "Pie")
    assert failed(desk("%persona chef --as kept Soup", dying(desk)))
    assert "not defined" in failed(desk("kept"))
    desk("kept = 5\n")
    assert failed(desk("%persona chef --as kept Soup", dying(desk)))
    assert desk("print(kept)").outputs[0].text == "5\n"


def test_a_blank_cell_is_not_sent(desk: Desk) -> None:
    message = failed(desk("%%persona chef\n \n", "x"))
    assert "the prompt is missing: write it below the line, the cell is blank" in message
    assert desk.server.requests == []
    desk("%%persona new own\nprompt: What is in season?\nsystem: x")
    assert failed(desk("%%persona own\n\n", "Leeks")) == ""
    assert said(desk) == ["What is in season?"]
