"""Whole runs with tools of a real MCP server, over stdio and over HTTP."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from personakit_mcp import MCP, close

from personakit import (
    ConfigError,
    PersonaError,
    PersonakitError,
    PluginError,
    Response,
    Runner,
    ToolCall,
)
from personakit.testing import MODES, Server, in_mode, persona, runner

SCRIPT = str(Path(__file__).with_name("mcp_server.py"))
STDIO = {"command": sys.executable, "args": [SCRIPT]}
README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hold the file in one place for all tests: equal servers share a session, which saves time."""
    yield tmp_path_factory.mktemp("mcp")
    close()


@pytest.fixture(autouse=True)
def file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("PERSONAKIT_MCP", str(folder / "mcp.json"))
    write(folder / "mcp.json", files=STDIO)
    return folder / "mcp.json"


def write(file: Path, **servers: Any) -> None:
    file.write_text(json.dumps({"mcpServers": servers}))


def asked(name: str, arguments: str = "{}") -> Response:
    return Response("", tool_calls=(ToolCall("1", name, arguments),), finish_reason="tool_calls")


def run(name: str, arguments: str = "{}", mode: str = "run", **options: Any) -> str:
    """Return what the model gets to read when it calls a tool."""
    running, _ = runner([asked(name, arguments), "Done."], allow_tools={"*"})
    who = persona(tools=[name], plugins=[{"mcp": options}])
    response = in_mode(mode, running, who, "Go")
    assert response.text == "Done."
    return response.messages[1].text


def gone(pid: str) -> bool:
    for _ in range(100):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", MODES)
def test_stdio(mode: str) -> None:
    assert run("add", '{"a": 1, "b": 2}', mode) == "3"
    assert run("fail", mode=mode).startswith("error: ToolError: Error executing tool fail: no such")
    assert run("picture", mode=mode) == "[image/png, 4 bytes]"


@pytest.fixture
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, SCRIPT, str(port)], stderr=subprocess.DEVNULL) as child:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
        close()
        child.kill()


def test_http(file: Path, url: str) -> None:
    write(file, web={"url": url})
    for mode in MODES:
        assert run("add", '{"a": 1, "b": 2}', mode) == "3"


def test_over_the_openai_client() -> None:
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a":1,"b":2}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    first = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}
    who = persona(tools=["add"], plugins=["mcp"])
    with (
        Server([first, "3!"]) as server,
        closing(Runner(replace(server.config(), allow_tools=frozenset({"a*"})))) as running,
    ):
        assert running.run(who, "1 + 2?").text == "3!"
        (tool,) = server.requests[0].body["tools"]
        assert tool["function"]["description"] == "Add two numbers."
        assert tool["function"]["parameters"]["required"] == ["a", "b"]
        assert server.requests[1].body["messages"][-1]["content"] == "3"


def test_one_server_serves_all_and_none_is_left_behind() -> None:
    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(lambda _: run("pid"), range(8)))

    async def together() -> set[str]:
        running, _ = runner([asked("pid")] * 4 + ["Done."], allow_tools={"pid"})
        who = persona(tools=["pid"], plugins=["mcp"])
        answers = await asyncio.gather(*(running.arun(who, "Go") for _ in range(4)))
        return {m.text for a in answers for m in a.messages if m.role == "tool"}

    pids |= asyncio.run(together())
    assert len(pids) == 1
    close()
    assert gone(pids.pop())


def test_a_server_that_went_is_started_again() -> None:
    first = run("pid")
    assert "the server stopped during the call" in run("leave")
    second = run("pid")
    assert second != first
    os.kill(int(second), 9)
    assert gone(second)
    third = run("pid")
    assert third.isdigit()
    assert third not in {first, second}


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_tool_is_given_up(mode: str) -> None:
    run("pid")
    result = run("slow", mode=mode, timeout=0.05)
    assert result == "error: TimeoutError: the call did not end within 0.05 s"


def test_twins(file: Path) -> None:
    write(file, one=STDIO, two=STDIO)
    with pytest.raises(ConfigError, match="more than one server: 'one' and 'two'"):
        run("pid")
    assert run("one_pid", prefix=True) != run("two_pid", prefix=True)
    assert run("pid", servers=["two"]) == run("two_pid", prefix=True)
    names = [tool.name for tool in MCP().tools()]
    assert {"one_pid", "two_pid"} <= set(names)
    assert "pid" not in names


def test_all_tools_for_the_command_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {tool.name: tool for tool in MCP().tools()}
    assert tools["add"].touches == ("processes",)
    assert asyncio.run(tools["add"].call('{"a": 1, "b": 2}')) == "3"
    file.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        MCP().tools()
    # Without a file, nothing is configured.
    monkeypatch.delenv("PERSONAKIT_MCP")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent / "none"))
    assert MCP().tools() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mcp.json does not exist; .*PERSONAKIT_MCP"),
        ("{", "mcp.json: cannot be read as JSON"),
        ("{}", "mcp.json: the object 'mcpServers' is missing"),
        ('{"mcpServers": {"a": {"comand": "x"}}}', "mcpServers.a must be .*'command'.*'url'"),
        ('{"mcpServers": {"a": {"command": ["x"]}}}', "mcpServers.a.command: expected a string"),
        ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "mcpServers.a.args: .*found 'y'"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"K": 1}}}}', "a.env.K: expected a string"),
        ('{"mcpServers": {"a": {"url": "ftp://x"}}}', "mcpServers.a.url: 'ftp://x' must start"),
        (
            '{"mcpServers": {"a": {"command": "/no/such"}}}',
            "cannot be started: there is no program '/no/such'; check",
        ),
        ('{"mcpServers": {"a": {"command": "false"}}}', "a: cannot be started: .*stderr is in"),
        ('{"mcpServers": {"a": {"url": "http://127.0.0.1:9"}}}', "a: cannot be reached at http"),
    ],
)
def test_a_wrong_file(file: Path, text: str | None, message: str) -> None:
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises((ConfigError, PluginError), match=message) as caught:
        run("add")
    assert str(caught.value).startswith(f"{file}")


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="unknown server 'file'; defined servers: files"):
        run("add", servers=["file"])
    with pytest.raises(PersonaError, match="timeout is 0; use seconds above 0"):
        run("add", timeout=0)


@pytest.mark.parametrize(
    ("server", "what"), [(STDIO, "processes"), ({"url": "http://127.0.0.1"}, "network")]
)
@pytest.mark.parametrize("allowed", [(), ("add", "pid_*")])
def test_a_persona_gets_only_the_tools_that_the_user_allows(
    server: dict[str, Any], what: str, allowed: tuple[str, ...], file: Path, request: Any
) -> None:
    if "url" in server:
        server = {"url": request.getfixturevalue("url")}
    write(file, one=server)
    running, upstream = runner([asked("pid"), "Done."], allow_tools=frozenset(allowed))
    message = rf"test\.yaml: .* may not use 'pid' \(.*{what}.*\).*allow_tools: \[pid\]"
    with pytest.raises(ConfigError, match=message):
        running.run(persona(tools=["pid"], plugins=["mcp"]), "Go")
    assert upstream.requests == []


def test_a_persona_without_tools_starts_nothing(file: Path) -> None:
    file.unlink()
    running, _ = runner(["Hi"])
    assert running.run(persona(plugins=["mcp"]), "Hi").text == "Hi"


def test_at_exit_the_server_ends_and_stderr_stays_clean(file: Path) -> None:
    code = (
        "from personakit import *; from personakit.testing import *\n"
        "call = Response('', (ToolCall('1', 'pid', '{}'),))\n"
        "r, _ = runner([call, 'x'], allow_tools={'pid'})\n"
        "print(r.run(persona(tools=['pid'], plugins=['mcp']), 'Go').messages[1].text)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert gone(done.stdout)
    assert done.stderr == ""
    assert "started" in (file.parent / "personakit/log/mcp-files.log").read_text()


def test_the_readme_lists_the_options() -> None:
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [f.name for f in fields(MCP)]


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (os.mkfifo, "it is a FIFO"),
        (lambda file: file.symlink_to("/dev/zero"), "it is a device"),
        (lambda file: file.mkdir(), "it is a folder"),
        (lambda file: file.symlink_to("nowhere"), "it is a link to nowhere"),
        (lambda file: file.write_text("[" * 100_000), "nested too deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, what: str
) -> None:
    place(tmp_path / "mcp.json")
    monkeypatch.setenv("PERSONAKIT_MCP", str(tmp_path / "mcp.json"))
    with pytest.raises(PersonakitError, match=rf"mcp\.json: cannot be read.*{what}"):
        run("files_echo")
