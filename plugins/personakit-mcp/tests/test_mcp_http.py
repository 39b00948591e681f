"""MCP over HTTP by servers in processes of their own."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.process import Folder, command
from helpers.server_process import Running, serving
from mcp import Client
from serving_clients import MODES, library, run

BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
TOOLS = ("--personas", "slow", "--mcp-tools", "slow")
PLUGINS = {"PERSONAKIT_PLUGINS": "mcp"}


def call(steps: int, mode: str) -> tuple[str, dict[str, str]]:
    """Return the body and headers of a call whose answer has so many pieces, 50 ms apart."""
    params: dict[str, Any] = {
        "name": "slow",
        "arguments": {"input": str(steps)},
        "_meta": {"progressToken": 1},
    }
    headers = dict(BOTH)
    if mode != "legacy":
        headers |= {"mcp-protocol-version": mode, "mcp-method": "tools/call", "mcp-name": "slow"}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": mode,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
            **params["_meta"],
        }
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    return json.dumps(body), headers


def begun(server: Running, steps: int, mode: str) -> http.client.HTTPConnection:
    connection = server.connect()
    body, headers = call(steps, mode)
    connection.request("POST", "/mcp", body, headers)
    end = time.monotonic() + 30
    while b"personakit_in_flight 1.0" not in server.get("/metrics")[1]:
        assert time.monotonic() < end
        time.sleep(0.05)
    return connection


@pytest.mark.parametrize("mode", MODES)
def test_a_running_call_ends_before_the_server_does(tmp_path: Path, mode: str) -> None:
    with serving(tmp_path, *TOOLS, **PLUGINS) as server:
        connection = begun(server, 60, mode)
        server.signal(signal.SIGTERM)
        shown = connection.getresponse().read().decode()
        assert "x" * 60 in shown
        assert server.end() == 0


def test_what_clients_do_wrong_is_not_printed(tmp_path: Path) -> None:
    with serving(tmp_path, *TOOLS, **PLUGINS) as server:
        body, headers = call(1, MODES[0])
        request = json.loads(body)
        request["params"]["requestState"] = "invalid"
        connection = server.connect()
        connection.request("POST", "/mcp", json.dumps(request), headers)
        assert "error" in json.loads(connection.getresponse().read())
        server.signal(signal.SIGTERM)
        assert server.end() == 0
        (line,) = server.lines
        assert "/v1 and /mcp (no key is needed)" in line


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_takes_too_long_ends_with_an_error(tmp_path: Path, mode: str) -> None:
    with serving(tmp_path, *TOOLS, "--grace", "0.2", **PLUGINS) as server:
        connection = begun(server, 600, mode)
        server.signal(signal.SIGTERM)
        reply = connection.getresponse()
        shown = reply.read().decode()
        assert '"id": 7' in shown
        assert "the server is stopping" in shown
        assert server.end() == 0


@pytest.mark.parametrize("mode", MODES)
def test_any_worker_answers(tmp_path: Path, mode: str) -> None:
    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        """Let the server stream, as the upstream does."""

    async def work() -> None:
        async with Client(url, mode=mode, cache=None) as client:
            for _ in range(8):
                assert [each.name for each in (await client.list_prompts()).prompts] == ["slow"]
            result: Any = await client.call_tool(
                "slow", {"input": "2"}, progress_callback=on_progress
            )
            assert result.content[0].text == "xx"

    with serving(tmp_path, *TOOLS, "--workers", "2", **PLUGINS) as server:
        server.workers(2)
        url = f"http://127.0.0.1:{server.port}/mcp"
        run(work)
        server.signal(signal.SIGTERM)
        assert server.end() == 0


@contextlib.contextmanager
def alone(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `personakit mcp --http` on a free port."""
    home = Folder(folder)
    (folder / "personas").mkdir()
    library(folder / "personas", plain="description: Plain.\nsystem: You help {{ who }}.\n"
            "variables: {who: {}}\n")  # fmt: skip
    with subprocess.Popen(
        command("mcp", "--http", "--port", "0", *arguments),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=folder, env=home.env | PLUGINS,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", line)
            assert found, line
            yield process, int(found[1])
        finally:
            process.kill()


@pytest.mark.parametrize("mode", MODES)
def test_personas_are_served_to_this_machine(tmp_path: Path, mode: str) -> None:
    async def work() -> None:
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode, cache=None) as client:
            got: Any = await client.get_prompt("plain", {"who": "Anna"})
            assert got.messages[0].content.text == "You help Anna."

    with alone(tmp_path) as (process, port):
        run(work)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")


def test_pages_of_other_sites_are_refused(tmp_path: Path) -> None:
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})

    def status(**headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            connection.request("POST", "/mcp", body, {**BOTH, **headers})
            reply = connection.getresponse()
            reply.read()
            return reply.status

    with alone(tmp_path) as (_, port):
        assert status() == status(Host="localhost:9") == 200
        assert status(Origin="http://localhost:6274") == 200
        assert status(Host="evil.example") == 421
        assert status(Origin="http://evil.example") == 403


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--http", "--host", "0.0.0.0"), "personakit serve --mcp"),
        (("--port", "1"), "personakit mcp --http"),
        (("--http", "--tools", "nosuch"), "no persona has the name 'nosuch'"),
    ],
)
def test_wrong_options_say_what_is_right(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = subprocess.run(
        command("mcp", *arguments), env=Folder(tmp_path).env | PLUGINS, cwd=tmp_path, timeout=60,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
