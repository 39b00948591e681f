"""`personakit mcp` over stdio: many requests at once and after each other, and their end."""

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from serving_clients import COOK, PLAN, library, process
from test_mcp_stdio import ERAS, GIVEN, Endless

from personakit.testing import Reply, Server

COUNTS = """\
import gc
import sys
from personakit import hookimpl


class Counts:
    @hookimpl
    def chat(self):
        kinds = [type(each).__name__ for each in gc.get_objects()]
        print(kinds.count("Connection"), file=sys.stderr)
"""


class Echo(Server):
    """A model that says what it was told, after a while."""

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        time.sleep(0.2)
        return super().reply(f"You said: {body['messages'][-1]['content']}", body)


def installed(folder: Path, name: str, text: str) -> dict[str, str]:
    """Write a plugin; return the environment in which it is installed."""
    (folder / f"{name}.py").write_text(text)
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    point = f"[personakit]\n{name} = {name}:{name.capitalize()}\n"
    (info / "entry_points.txt").write_text(point)
    return {"PYTHONPATH": str(folder)}


@ERAS
def test_requests_leave_nothing_behind(tmp_path: Path, is_new: bool) -> None:
    environ = installed(tmp_path, "counts", COUNTS)
    folder = library(tmp_path, plan=f"plugins: [counts]\n{PLAN}")
    with Server(["Go."]) as upstream:
        environ |= upstream.environ()
        with process(folder, "--tools", "plan", environ=environ, is_new=is_new) as client:
            for _ in range(2):
                for number in range(1500):
                    client.ask("resources/templates/list", {}, identity=number)
                    assert client.read()["id"] == number
                client.ask("tools/call", GIVEN)
                assert client.read()["result"]["content"][0]["text"] == "Go."
            code, _, errors = client.end()
    assert code == 0
    counts = list(map(int, errors.split()))
    assert len(counts) == 2
    assert max(counts) < 700


@ERAS
def test_what_came_before_the_end_of_the_input_is_answered(tmp_path: Path, is_new: bool) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("prompts/list", {}),
        ("prompts/get", {"name": "cook", "arguments": {"tone": "kind", "input": "soup"}}),
        ("resources/list", {}),
        ("resources/read", {"uri": "persona://cook/rendered"}),
        ("completion/complete", {
            "ref": {"type": "ref/prompt", "name": "cook"},
            "argument": {"name": "tone", "value": "k"},
        }),
        ("tools/list", {}),
        ("tools/call", {"name": "cook", "arguments": {"tone": "kid", "input": "x"}}),
        ("nosuch", {}),
    ]  # fmt: skip
    with process(library(tmp_path, cook=COOK), "--tools", "cook", is_new=is_new) as client:
        for number, (method, params) in enumerate(asked * 10, 1):
            client.ask(method, params, identity=number)
        code, output, errors = client.end()
    assert (code, errors) == (0, "")
    answers = {each["id"]: each for each in map(json.loads, output.splitlines())}
    assert sorted(answers) == list(range(1, 81))
    for number, answer in answers.items():
        assert ("error" in answer) == (asked[(number - 1) % 8][0] == "nosuch")
        assert "Connection closed" not in str(answer)


@ERAS
@pytest.mark.parametrize("progress", [True, False])
def test_the_end_of_the_input_ends_what_a_model_writes(
    tmp_path: Path, is_new: bool, progress: bool
) -> None:
    endless = Endless()
    reply = Reply(endless.body(), headers={"content-type": "text/event-stream"})
    with Server([reply]) as upstream:
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": is_new}
        with process(library(tmp_path, plan=PLAN), "--tools", "plan", **options) as client:
            if is_new:
                client.ask("subscriptions/listen", {"notifications": {}}, identity=6)
                assert client.read()["method"] == "notifications/subscriptions/acknowledged"
            client.ask("tools/call", GIVEN, identity=7, token=8 if progress else None)
            while not upstream.requests:
                time.sleep(0.01)
            client.ask("prompts/list", {}, identity=9)
            begun = time.monotonic()
            code, output, errors = client.end()
            took = time.monotonic() - begun
        assert endless.is_closed()
    assert (code, errors) == (0, "")
    answers = [each for each in map(json.loads, output.splitlines()) if "id" in each]
    assert "result" in next(each for each in answers if each["id"] == 9)
    assert took < 4


@ERAS
def test_100_calls_at_once_get_their_own_answers(tmp_path: Path, is_new: bool) -> None:
    folder = library(tmp_path, plan=PLAN)
    with Echo() as upstream:
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": is_new}
        with process(folder, "--tools", "plan", **options) as client:
            for number in range(1, 101):
                given = {"who": "Ann", "days": 3, "input": f"day {number}"}
                client.ask("tools/call", {"name": "plan", "arguments": given}, identity=number)
            answers = [client.read() for _ in range(100)]
            assert client.end()[0] == 0
    texts = {each["id"]: each["result"]["content"][0]["text"] for each in answers}
    assert texts == {number: f"You said: day {number}" for number in range(1, 101)}


@ERAS
def test_a_signal_that_is_repeated_ends_the_server_once(tmp_path: Path, is_new: bool) -> None:
    models = [Endless() for _ in range(8)]
    head = {"content-type": "text/event-stream"}
    with Server([Reply(each.body(), headers=head) for each in models]) as upstream:
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": is_new}
        with process(library(tmp_path, plan=PLAN), "--tools", "plan", **options) as client:
            for number in range(len(models)):
                client.ask("tools/call", GIVEN, identity=10 + number, token=10 + number)
            tokens: set[int] = set()
            while len(tokens) < len(models):
                tokens.add(client.read()["params"]["progressToken"])
            for _ in range(10):
                client.kill(signal.SIGTERM)
                time.sleep(0.004)
            code, _, errors = client.end()
        assert all(each.is_closed() for each in models)
    # The last one can meet an interpreter that has taken its handlers away.
    assert code in (143, -signal.SIGTERM)
    assert errors == ""
