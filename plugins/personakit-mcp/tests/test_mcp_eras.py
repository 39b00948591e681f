"""Servers of `mcp` 1.30 and 2.x in both protocol versions, over stdio and over HTTP."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from personakit_mcp import MCP, close

from personakit import PluginError, Question, Response, Suspended, ToolCall
from personakit.testing import MODES, in_mode, persona, runner

SCRIPT = str(Path(__file__).with_name("mcp_server.py"))
OLD = "mcp==1.30.*"
KINDS = ["2026", "2025", "1.30"]
VERSIONS = {"2026": "2026-07-28", "2025": "2025-11-25", "1.30": "2025-11-25"}


@dataclass
class Fleet:
    """Servers of one kind."""

    kind: str
    python: str
    file: Path
    child: subprocess.Popen[bytes] | None = None
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return [self.python, SCRIPT, *(["--legacy"] if self.kind == "2025" else [])]

    def use(self, transport: str) -> None:
        entry: dict[str, Any] = {"command": self.command[0], "args": self.command[1:]}
        if transport == "http":
            if self.child is None:
                self.start()
            entry = {"url": f"http://127.0.0.1:{self.port}/mcp", "headers": self.headers}
        self.file.write_text(json.dumps({"mcpServers": {"one": entry}}))

    def start(self) -> None:
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        command = [*self.command, str(self.port)]
        self.child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp-eras")


@pytest.fixture(scope="module")
def old_python(folder: Path) -> str:
    """The Python of an environment with the old version of the library."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is missing, which installs the old version of mcp")
    home = folder / "old"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, home], check=True)
    python = home / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, OLD], check=True)
    return str(python)


@pytest.fixture(params=KINDS, scope="module")
def fleet(request: pytest.FixtureRequest, folder: Path) -> Iterator[Fleet]:
    old = request.param == "1.30"
    python = request.getfixturevalue("old_python") if old else sys.executable
    fleet = Fleet(request.param, python, folder / "mcp.json")
    yield fleet
    close()
    fleet.stop()


@pytest.fixture(params=["stdio", "http"])
def servers(request: pytest.FixtureRequest, fleet: Fleet, environment: None) -> Fleet:
    fleet.use(request.param)
    return fleet


@pytest.fixture
def http(fleet: Fleet, environment: None) -> Fleet:
    fleet.use("http")
    return fleet


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    monkeypatch.setenv("PERSONAKIT_MCP", str(folder / "mcp.json"))


def calls(name: str, /, **arguments: Any) -> Response:
    call = ToolCall("1", name, json.dumps(arguments))
    return Response("", tool_calls=(call,), finish_reason="tool_calls")


def run(
    name: str, mode: str = "run", /, *, timeout: float = 60, ask: Any = None, **given: Any
) -> str:
    """Return what the model gets to read when it calls a tool."""
    running, _ = runner([calls(name, **given), "Done."], allow_tools={"*"}, ask=ask)
    who = persona(tools=[name], plugins=[{"mcp": {"timeout": timeout}}])
    return str(in_mode(mode, running, who, "Go").messages[1].text)


def until(check: Any) -> Any:
    for _ in range(200):
        if value := check():
            return value
        time.sleep(0.02)
    return check()


def test_results(servers: Fleet) -> None:
    assert run("version") == VERSIONS[servers.kind]
    assert run("add", a=1, b=2) == "3"
    assert run("fail").startswith("error: ToolError: Error executing tool fail: no such file")
    assert run("steps") == "all done"
    assert run("picture") == "[image/png, 4 bytes]"
    assert run("sound") == "[audio/wav, 5 bytes]"
    assert json.loads(run("data")) == {"degrees": 21.5, "wind": None}
    assert run("resources") == ("Hello\n[application/octet-stream, 4 bytes]\n[more: note://3]")


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(servers: Fleet, mode: str) -> None:
    assert run("add", mode, a=1, b=2) == "3"


def test_every_page_of_the_list_is_read(servers: Fleet) -> None:
    names = [tool.name for tool in MCP().tools()]
    assert {"add", "pid", "header", "resources", "book"} <= set(names)
    assert len(names) == len(set(names)) > 14


def test_a_list_that_changes_is_read_again(servers: Fleet, request: Any) -> None:
    name = f"late_{request.node.callspec.id.replace('.', '_').replace('-', '_')}"
    first = run("pid")
    assert run("grow", name=name) == "grown"
    # The notification can arrive after the result.
    assert until(lambda: name in {tool.name for tool in MCP().tools()})
    assert run(name) == first


def test_headers_reach_the_server(http: Fleet) -> None:
    http.headers = {"Authorization": "Bearer t0ken", "X-Team": "kitchen"}
    http.use("http")
    try:
        assert run("header", name="authorization") == "Bearer t0ken"
        assert run("header", name="x-team") == "kitchen"
        assert run("header", name="mcp-protocol-version") == VERSIONS[http.kind]
    finally:
        http.headers = {}


def test_a_server_that_was_restarted_is_used_again(http: Fleet) -> None:
    first = run("pid")
    http.stop()
    http.start()
    second = run("pid")
    assert second.isdigit()
    assert second != first
    http.stop()
    message = run("add", a=1, b=2)
    assert "mcp.json: mcpServers.one: cannot be reached at http://127" in message
    http.start()
    assert run("add", a=1, b=2) == "3"


def test_calls_at_the_same_time_share_the_new_session(http: Fleet) -> None:
    run("pid")
    http.stop()
    http.start()

    async def together() -> set[str]:
        async def one() -> str:
            running, _ = runner([calls("pid"), "Done."], allow_tools={"*"})
            response = await running.arun(persona(tools=["pid"], plugins=["mcp"]), "Go")
            return str(response.messages[1].text)

        return set(await asyncio.gather(*(one() for _ in range(20))))

    assert http.child is not None
    assert asyncio.run(together()) == {str(http.child.pid)}


def test_a_call_that_may_have_had_effects_is_not_repeated(
    servers: Fleet, tmp_path: Path, request: Any
) -> None:
    run("pid")
    result = run("leave", file=str(tmp_path / "lines"))
    assert "mcpServers.one: the server stopped during the call" in result
    assert (tmp_path / "lines").read_text() == "called\n"
    if "http" in request.node.callspec.id:
        servers.stop()
        servers.start()
    assert run("pid").isdigit()


def test_a_call_that_takes_too_long_is_cancelled(servers: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "state"
    run("pid")
    result = run("wait", file=str(file), timeout=2)
    assert result == "error: TimeoutError: the call did not end within 2 s"
    assert until(lambda: file.read_text() == "cancelled")
    assert run("add", a=1, b=2) == "3"


def test_a_call_of_a_cancelled_run_is_cancelled(servers: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "state"

    async def cancelled() -> None:
        running, _ = runner([calls("wait", file=str(file)), "Done."], allow_tools={"*"})
        task = asyncio.create_task(running.arun(persona(tools=["wait"], plugins=["mcp"]), "Go"))
        async with asyncio.timeout(20):
            while not file.exists():
                await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert until(lambda: file.read_text() == "cancelled")
    assert run("add", a=1, b=2) == "3"


@pytest.mark.parametrize("mode", MODES)
def test_a_server_asks_the_user(servers: Fleet, mode: str) -> None:
    questions: list[Question] = []
    answers = iter(["tomorrow", "2026-12-24", "3", "yes"])

    def ask(question: Question) -> str:
        questions.append(question)
        return next(answers)

    result = run("book", mode, ask=ask)
    assert result == "{'day': '2026-12-24', 'seats': 3, 'window': True}"
    assert questions[0].text == "The MCP server 'one' asks: Which day? Day:"
    assert "as in 2026-12-24" in questions[0].details
    assert "'tomorrow'" in questions[1].text
    assert questions[3].choices == ("yes", "no", "leave out")


def test_the_user_declines_or_leaves_fields_out(servers: Fleet) -> None:
    assert run("book", ask=lambda question: "") == "decline"
    answers = iter(["2026-12-24", "", "leave out"])
    result = run("book", ask=lambda question: next(answers))
    assert result == "{'day': '2026-12-24', 'seats': 1, 'window': False}"


def test_time_of_the_user_is_not_time_of_the_server(servers: Fleet) -> None:
    answers = iter(["2026-12-24", "", "leave out"])

    def ask(question: Question) -> str:
        time.sleep(0.8)
        return next(answers)

    run("pid")
    assert run("book", ask=ask, timeout=2).startswith("{'day'")


def resumed(mode: str, tool: str, answers: list[str]) -> Response:
    """Return the answer of a run that is suspended at each question."""
    running, upstream = runner([calls(tool), "Done."], allow_tools={"*"})
    who = persona(tools=[tool], plugins=["mcp"])
    prompt: Any = "Go"
    for answer in answers:
        with pytest.raises(Suspended) as waiting:
            in_mode(mode, running, who, prompt)
        prompt = waiting.value.resume_with(answer)
    response = in_mode(mode, running, who, prompt)
    assert len(upstream.requests) == 2
    return response


@pytest.mark.parametrize("mode", ["run", "arun"])
def test_a_run_waits_for_the_user(servers: Fleet, mode: str) -> None:
    response = resumed(mode, "book", ["2026-12-24", "2", "no"])
    assert response.messages[1].text == "{'day': '2026-12-24', 'seats': 2, 'window': False}"


def test_outside_of_a_run_a_question_is_declined(servers: Fleet) -> None:
    (book,) = (tool for tool in MCP().tools() if tool.name == "book")
    assert asyncio.run(book.call("{}")) == "decline"


@pytest.mark.parametrize("fleet", ["2026"], indirect=True)
def test_other_requests_of_a_server(fleet: Fleet) -> None:
    """Only in the newer protocol version a server answers a call with them."""
    for transport in ("stdio", "http"):
        fleet.use(transport)
        assert run("again") == "state one"
        assert run("visit", ask=lambda question: "done") == "accept after 2 calls"
        assert run("visit", ask=lambda question: "decline") == "decline after 2 calls"
        # The first request is not sent again when the run is resumed.
        assert resumed("run", "visit", ["done"]).messages[1].text == "accept after 2 calls"
        assert "asked for sampling/createMessage, which is not supported" in run("sample")


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


def test_a_refused_key_is_named_with_its_status(folder: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/mcp"
        entry = {"url": url, "headers": {"Authorization": "Bearer t0ken"}}
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"shut": entry}}))
        with pytest.raises(PluginError, match=r"mcpServers\.shut: .*HTTP 401") as raised:
            run("add", a=1, b=2)
        assert "t0ken" not in str(raised.value)
        assert "check 'url' and 'headers'" in str(raised.value)
        server.shutdown()
