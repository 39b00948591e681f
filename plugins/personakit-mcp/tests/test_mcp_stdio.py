"""`personakit mcp` in a process: the protocol on standard output, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from serving_clients import COOK, PLAN, library, process

from personakit.testing import Reply, Server

ERAS = pytest.mark.parametrize("is_new", [True, False], ids=["2026-07-28", "2025-11-25"])
GIVEN = {"name": "plan", "arguments": {"who": "Ann", "days": 3, "input": "Go!"}}
NOISY = """\
import os
from personakit import hookimpl

print("printed when loaded")
os.system("echo printed by a process")


class Noisy:
    @hookimpl
    def chat(self):
        print("printed in a run", flush=True)
        os.write(1, b"written in a run\\n")
"""


class Endless:
    """An answer that begins and does not end; `closed` is set when the client has left."""

    def __init__(self) -> None:
        self.closed = False

    def body(self) -> Generator[bytes]:
        delta = {"role": "assistant", "content": "Once"}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        head = {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
        try:
            yield f"data: {json.dumps(head)}\n\n".encode()
            while True:
                time.sleep(0.02)
                yield b": wait\n\n"
        finally:
            self.closed = True

    def is_closed(self) -> bool:
        """Wait until the client has left, for at most 10 s."""
        for _ in range(500):
            if self.closed:
                break
            time.sleep(0.02)
        return self.closed


@ERAS
def test_a_session(tmp_path: Path, is_new: bool) -> None:
    folder = library(tmp_path, cook=COOK)
    with process(folder, "--personas", "cook", is_new=is_new) as client:
        client.ask("prompts/list", {})
        assert [each["name"] for each in client.read()["result"]["prompts"]] == ["cook"]
        given = {"tone": "kind", "input": "soup"}
        client.ask("prompts/get", {"name": "cook", "arguments": given})
        assert client.read()["result"]["messages"][-1]["content"]["text"] == "Cook: soup"
        client.ask("tools/list", {})
        assert client.read()["error"]["code"] == -32601
        assert client.end() == (0, "", "")


@ERAS
@pytest.mark.parametrize("way", ["cancel", "end", "interrupt", "terminate"])
def test_what_ends_a_call_ends_the_request_of_the_upstream(
    tmp_path: Path, is_new: bool, way: str
) -> None:
    endless = Endless()
    reply = Reply(endless.body(), headers={"content-type": "text/event-stream"})
    with Server([reply]) as upstream:
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": is_new}
        with process(library(tmp_path, plan=PLAN), "--tools", "plan", **options) as client:
            client.ask("tools/call", GIVEN, identity=7, token=8)
            progress = client.read()["params"]
            assert (progress["progressToken"], progress["message"]) == (8, "Once")
            code = {"interrupt": 130, "terminate": 143}.get(way, 0)
            if way == "cancel":
                gone = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
                client.write({**gone, "params": {"requestId": 7}})
                assert endless.is_closed()
                client.ask("prompts/get", {"name": "plan", "arguments": {"who": "A", "days": "1"}})
                assert client.read()["id"] == 1
            elif way != "end":
                client.kill(signal.SIGINT if way == "interrupt" else signal.SIGTERM)
            found, _, errors = client.end()
        assert endless.is_closed()
    assert found == code
    assert errors.strip() == ""


def test_a_client_that_does_not_read_any_more_ends_the_server(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "personakit", "mcp"],
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        started.stdin.write(b"{\n")
        started.stdin.flush()
        assert started.wait(30) == 0
        assert started.stderr.read() == b""


def test_progress_is_the_text_so_far(tmp_path: Path) -> None:
    with Server(["Go by train."], size=2) as upstream:
        folder = library(tmp_path, plan=PLAN)
        with process(folder, "--tools", "plan", environ=upstream.environ()) as client:
            client.ask("tools/call", GIVEN, token=5)
            messages = [client.read()]
            while "result" not in messages[-1]:
                messages.append(client.read())
            client.ask("tools/call", GIVEN, identity=2)
            assert client.read()["id"] == 2
    *progress, result = messages
    texts = [each["params"]["message"] for each in progress]
    assert texts
    assert all("Go by train.".startswith(text) for text in texts)
    assert texts[-1] == "Go by train."
    counts = [each["params"]["progress"] for each in progress]
    assert counts == sorted(set(counts))
    assert result["result"]["content"][0]["text"] == "Go by train."


def test_what_plugins_print_goes_to_standard_error(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    info = tmp_path / "noisy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[personakit]\nnoisy = noisy:Noisy\n")
    folder = library(tmp_path, plan=f"plugins: [noisy]\n{PLAN}")
    with Server(["Go."]) as upstream:
        environ = {**upstream.environ(), "PYTHONPATH": str(tmp_path)}
        with process(folder, "--tools", "plan", environ=environ) as client:
            client.ask("tools/call", GIVEN)
            assert client.read()["result"]["content"][0]["text"] == "Go."
            code, output, errors = client.end()
    assert (code, output) == (0, "")
    for text in ("when loaded", "by a process", "printed in a run", "written in a run"):
        assert text in errors


@ERAS
def test_half_a_character_in_the_json_of_a_model_does_not_end_the_server(
    tmp_path: Path, is_new: bool
) -> None:
    text = """\
system: You count.
output:
  type: object
  properties: {word: {type: string}}
  required: [word]
  additionalProperties: false
"""
    with Server(['{"word": "one \\ud800"}']) as upstream:
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": is_new}
        with process(library(tmp_path, word=text), "--tools", "word", **options) as client:
            client.ask("tools/call", {"name": "word", "arguments": {"input": "x"}})
            assert client.read()["result"]["structuredContent"] == {"word": "one \ufffd"}
            assert client.end()[0] == 0


@ERAS
def test_a_line_that_is_no_message_is_answered(tmp_path: Path, is_new: bool) -> None:
    deep = "[" * 100_000
    lines = [
        (b"{\n", -32700, None),
        (b"\xff\n", -32700, None),
        (f'{{"jsonrpc":"2.0","id":3,"method":"ping","params":{deep}\n'.encode(), -32700, None),
        (b'{"jsonrpc":"2.0","id":4,"method":"ping","params":{"x":"\\ud800"}}\n', -32600, 4),
        (b"[]\n", -32600, None),
        *(
            (f'{{"jsonrpc":"2.0","id":{identity},"method":"ping"}}\n'.encode(), -32600, None)
            for identity in ("null", "1.5", "true", "[]", "{}")
        ),
    ]  # fmt: skip
    with process(library(tmp_path, cook=COOK), is_new=is_new) as client:
        client.write(b"\n")
        for line, code, identity in lines:
            client.write(line)
            answer = client.read()
            assert (answer["error"]["code"], answer["id"]) == (code, identity)
        client.ask("prompts/list", {}, identity=9)
        assert client.read()["id"] == 9
        assert client.end() == (0, "", "")


@ERAS
def test_a_persona_that_appears_changes_or_goes_is_told(tmp_path: Path, is_new: bool) -> None:
    def changed() -> None:
        methods = {client.read()["method"] for _ in range(2)}
        assert methods == {
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        }

    with process(library(tmp_path, cook=COOK), is_new=is_new) as client:
        if is_new:
            wanted = {"promptsListChanged": True, "resourcesListChanged": True}
            client.ask("subscriptions/listen", {"notifications": wanted})
            assert client.read()["method"] == "notifications/subscriptions/acknowledged"
        time.sleep(2.5)  # the first look
        library(tmp_path, new="system: Hi!")
        changed()
        library(tmp_path, new="system: Good morning!")
        changed()
        (tmp_path / "new.yaml").unlink()
        changed()


@ERAS
def test_the_next_process_lists_the_same_and_what_has_changed(tmp_path: Path, is_new: bool) -> None:
    def prompts() -> dict[str, Any]:
        with process(tmp_path, is_new=is_new) as client:
            client.ask("prompts/list", {})
            listed = {each["name"]: each for each in client.read()["result"]["prompts"]}
            code, output, errors = client.end()
            assert (code, output) == (0, "")
            assert ("broken.yaml" in errors) == (tmp_path / "broken.yaml").exists()
            return listed

    library(tmp_path, cook=COOK, child="extends: cook\n", broken="sytem: Hi!")
    time.sleep(2.5)  # younger files are read again
    first = prompts()
    assert list((tmp_path / ".cache" / "personakit" / "listings").rglob("*.index"))
    assert prompts() == first
    library(tmp_path, cook=COOK.replace("How many eat", "Who eats"), broken="system: Hi!")
    (tmp_path / "broken.yaml").rename(tmp_path / "mended.yaml")
    after = prompts()
    assert after.keys() - first.keys() == {"mended"}
    for name in ("cook", "child"):
        assert "Who eats. Integer from 1 to 20. Default: 4." in str(after[name]["arguments"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--one-tool"], "--one-tool needs --tools"),
        (["--tools", "cok"], "did you mean 'cook'?"),
        (["--tools", " , "], "--tools names no persona; write --tools chef,tutor or --tools all"),
        (["--personas", "none-*"], "--personas: no persona matches 'none-*'"),
        (["--personas", "cook", "--tools", "chef"], "'chef' is not among the personas that are "
         "offered: cook"),
        (["--tools", "db:chef"], "--tools: 'db:chef' is a persona of a plugin"),
        (["zzz"], "unknown command 'zzz'; `personakit mcp --help` lists them"),
        (["cook"], "unknown command 'cook'; it is a persona: personakit mcp --personas cook"),
        (["tools"], "unknown command 'tools'; it is an option: personakit mcp --tools"),
        (["instal"], "unknown command 'instal'; did you mean 'install'?"),
        (["--http", "--port", "x"], "expected a port from 0 to 65,535, found 'x'"),
        (["--http", "--port", "65536"], "expected a port from 0 to 65,535, found '65536'"),
        (["--http", "--host", "0.0.0.0"], "--http serves this machine alone"),
    ],
)  # fmt: skip
def test_wrong_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    library(tmp_path, cook="system: You cook.")
    done = subprocess.run(
        [sys.executable, "-m", "personakit", "mcp", *arguments],
        env={**os.environ, "HOME": str(tmp_path), "PERSONAKIT_PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "personakit", "mcp", "--http", "--port", str(port)],
            env={**os.environ, "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    message = f"Error: port {port} of 127.0.0.1 is in use by another program; end it, or choose "
    assert (done.returncode, done.stderr[: len(message)]) == (2, message)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudo-terminals")
def test_on_a_terminal_it_says_what_it_is(tmp_path: Path) -> None:
    outer, inner = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "personakit", "mcp"],
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        assert started.stderr is not None
        assert b"MCP clients" in started.stderr.readline()
        assert b"personakit mcp install claude-desktop" in started.stderr.readline()
        os.write(outer, b"\x04")
        assert started.wait(30) == 0
    os.close(outer)
    os.close(inner)
