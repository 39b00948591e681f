"""The magics in IPython on a terminal, where nothing that is printed can be updated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from personakit.testing import Server

TYPED = (
    "%load_ext personakit\n%persona chef What's {x} for dinner?\nanswer\n"
    "%persona cheff Soup\n%persona chef\n%persona chef --trace Pie\nexit\n"
)


def test_pieces_are_printed_and_errors_are_one_line(tmp_path: Path) -> None:
    with Server(["**Soup** \x1b[31mred\n\nand more"]) as server:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PERSONAKIT_PLUGINS": "",
               "PERSONAKIT_MODEL": "openai/test-model", **server.environ()}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "IPython", "--colors=NoColor", "--simple-prompt"],
            input=TYPED, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        asked = [request.body["messages"] for request in server.requests]
    printed = done.stdout + done.stderr
    answer = done.stdout.partition("In [2]: ")[2].splitlines()
    assert answer[0].startswith("**Soup** ")
    assert "\x1b[31m" not in printed
    assert answer[1:3] == ["", "and more"]
    assert answer[3].startswith("test-model · 5 + ")
    assert "**Soup** \\u001b[31mred" in done.stdout.partition("In [3]: ")[2]
    assert "Traceback" not in printed
    assert "did you mean 'chef'" in printed
    card = done.stdout.partition("In [5]: ")[2].splitlines()
    assert card[0].startswith("chef: Plans healthy")
    assert any(line.startswith("guests ") and " integer 1..40 " in line for line in card)
    assert "--- system" in card
    traced = done.stdout.partition("In [6]: ")[2]
    assert "test-model · 5 + " in traced
    assert re.search(r"^model, .* ms$", done.stderr, re.MULTILINE)
    assert "Trace(" not in done.stdout
    assert "<Persona" not in done.stdout
    assert [messages[-1]["content"] for messages in asked] == ["What's {x} for dinner?", "Pie"]
