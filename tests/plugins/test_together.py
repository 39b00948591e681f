"""First-party plugins together, through the real client, with the stream cut anywhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from personakit import Blocked, Runner
from personakit.testing import MODES, Reply, Server, in_mode, persona

PROMPT = "I am jane@example.com, call 06 12 34 56 78."
ANSWER = "Dear [EMAIL-1], wé cäll [PHONE-1] 🙂."
TEXT = "Dear jane@example.com, wé cäll 06 12 34 56 78 🙂."


def who(*, guarded: bool = True) -> Any:
    guard = [{"guard": {"output": {"deny": ["forbidden"]}}}] if guarded else []
    return persona(plugins=[*guard, {"redact": {"region": "FR"}}, "cache"])


def runner_of(server: Server, folder: Path) -> Runner:
    return Runner(replace(server.config(), plugin_options={"cache": {"folder": str(folder)}}))


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_one_text_however_the_answer_is_cut(mode: str, guarded: bool, tmp_path: Path) -> None:
    for cut, size in [(1, 3), (2, 1), (3, 2), (7, 5), (50, 1), (0, 0)]:
        with Server([ANSWER], cut=cut, size=size) as server:
            running = runner_of(server, tmp_path / f"{cut}-{size}")
            listed = who(guarded=guarded)
            asked = in_mode(mode, running, listed, PROMPT)
            again = in_mode(mode, running, listed, PROMPT)
            running.close()
        assert asked.text == again.text == TEXT
        # The second came out of the store, which never saw what redact hides.
        assert len(server.requests) == 1
        assert "jane@" not in str(server.requests[0].body)
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"[EMAIL-1]" in kept
    assert b"jane@" not in kept


# `just properties` cuts at every byte, which takes long; 7 is no divisor of an event's length.
STEP = 1 if "PERSONAKIT_EXAMPLES" in os.environ else 7


def test_a_stream_cut_anywhere(tmp_path: Path) -> None:
    with Server() as server:
        body = b"".join(server.events(ANSWER, usage=True))
        kind = {"content-type": "text/event-stream"}

        def halves(at: int) -> Any:
            yield body[:at]
            yield body[at:]

        server.answers = [Reply(halves(at), headers=kind) for at in range(1, len(body), STEP)]
        running = runner_of(server, tmp_path / "cache")
        listed = who(guarded=False)
        for number in range(len(server.answers)):
            # Another prompt for each: every answer comes from the model.
            text = "".join(running.stream(listed, f"{PROMPT} {number}"))
            assert text == TEXT
        running.close()


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_that_is_refused_comes_out(mode: str, size: int, tmp_path: Path) -> None:
    with Server(["Her name is [EMAIL-1] and the word is forbidden."], size=size, cut=1) as server:
        running = runner_of(server, tmp_path)
        listed = who()
        if mode == "stream":
            stream = running.stream(listed, PROMPT)
            with pytest.raises(Blocked):
                list(stream)
            assert stream.text == ""
        else:
            with pytest.raises(Blocked):
                in_mode(mode, running, listed, PROMPT)
        running.close()
