"""Clients of other people against `personakit mcp`: what their user sees, over stdio and HTTP.

PERSONAKIT_CLIENTS is `smoke` for one call of each client (`just mcp-clients`), or `all`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from helpers.client_envs import node_script, python_program, run
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import ElicitResult

from personakit.testing import Reply, Server

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
ASKED = os.environ.get("PERSONAKIT_CLIENTS")
if ASKED not in ("smoke", "all"):
    pytest.skip("installs other clients: just mcp-clients", allow_module_level=True)
full = pytest.mark.skipif(ASKED != "all", reason="just mcp-clients all")
TOOLS = "greeter,judge,test_*"
GREETING = [["user", "You greet people in French."], ["user", "Greet this person: Zoë"]]
LANGUAGES = ["English", "French", "Finnish"]


def slowly(upstream: Server, text: str) -> Reply:
    """Return a stream of a provider that is as slow as a model; a reply can be sent once."""

    def events() -> Generator[bytes]:
        for event in upstream.events(text, usage=True):
            time.sleep(0.05)
            yield event

    return Reply(events(), headers={"content-type": "text/event-stream"})


@dataclass
class Site:
    """The server, and the provider behind its tools.

    Attributes:
        upstream: The provider.
        environ: The environment of the server.
        folder: Its home.
        stack: Ends the server over HTTP.
    """

    upstream: Server
    environ: dict[str, str]
    folder: Path
    stack: ExitStack

    @cached_property
    def url(self) -> str:
        """The address of `personakit mcp --http`, which this starts."""
        options = ["mcp", "--http", "--tools", TOOLS]
        return self.stack.enter_context(over_http(options, self.environ, self.folder / "http"))

    @cached_property
    def served(self) -> str:
        """The address of MCP behind `personakit serve`, which this starts."""
        options = ["serve", "--mcp-tools", TOOLS]
        return self.stack.enter_context(over_http(options, self.environ, self.folder / "serve"))

    def address(self, transport: str) -> str:
        """Return the address for ``http`` or ``serve``."""
        return self.url if transport == "http" else self.served

    @property
    def words(self) -> list[str]:
        """The command that a client starts."""
        return [sys.executable, "-P", "-m", "personakit", "mcp", "--tools", TOOLS]

    def job(self, transport: str) -> str:
        """Return what a program needs for a connection."""
        command, *arguments = self.words
        stdio = {"command": command, "args": arguments, "env": self.environ}
        is_stdio = transport == "stdio"
        return json.dumps(stdio if is_stdio else {"url": self.address(transport)})

    def sees(self, program: str, scenario: str, transport: str = "stdio") -> Any:
        """Return what the user of a program sees."""
        return python_program(PROGRAMS / program, self.job(transport), scenario)


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mcp")
    with Server() as upstream, ExitStack() as stack:
        kept = ("COVERAGE", "PYTHON", "COV_")
        environ = {
            "PATH": os.environ["PATH"],
            **{key: value for key, value in os.environ.items() if key.startswith(kept)},
            "HOME": str(folder),
            "PERSONAKIT_PATH": str(HERE / "personas"),
            "PERSONAKIT_MODEL": "openai/test-model",
            "PERSONAKIT_PLUGINS": "mcp",
            **upstream.environ(),
        }
        yield Site(upstream, environ, folder, stack)


@contextmanager
def over_http(options: list[str], environ: dict[str, str], folder: Path) -> Iterator[str]:
    """Run a command that serves MCP over HTTP while the block runs, and give the address."""
    folder.mkdir()
    log = folder / "output"
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "personakit", *options, "--port", "0"],
            env=environ, cwd=folder, stdout=output, stderr=output,
        ) as process,
    ):  # fmt: skip
        try:
            end = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < end:
                if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8")):
                    break
                time.sleep(0.02)
            else:
                raise AssertionError(log.read_text("utf-8"))
            yield f"{found[0]}/mcp"
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
    assert "Traceback" not in log.read_text("utf-8")


@pytest.fixture
def site(_running: Site) -> Site:
    """The server, whose upstream answers ``Hello!`` and has received nothing."""
    _running.upstream.answers = ("Hello!",)
    _running.upstream.requests.clear()
    return _running


def bodies(site: Site) -> list[dict[str, Any]]:
    """Return what reached the upstream."""
    return [one.body for one in site.upstream.requests if one.method == "POST"]


both = pytest.mark.parametrize("transport", ["stdio", "http"])
each = pytest.mark.parametrize("transport", ["stdio", "http", "serve"])


# --- mcp 1.30 ------------------------------------------------------------------------------------


@each
def test_prompts_in_the_old_client(site: Site, transport: str) -> None:
    seen = site.sees("old_client.py", "prompts", transport)
    assert seen["version"] == "2025-11-25"
    assert "greeter" in seen["names"]
    assert seen["arguments"] == [["language", True], ["input", True], ["formal", False]]
    assert seen["messages"] == GREETING
    assert seen["completed"] == ["French", "Finnish"]
    assert bodies(site) == []


@full
@each
def test_tools_in_the_old_client(site: Site, transport: str) -> None:
    greeting = slowly(site.upstream, "Bonjour Zoë, how are you?")
    site.upstream.answers = (greeting, '{"dish": "soup", "stars": 4}')
    seen = site.sees("old_client.py", "tools", transport)
    assert {"greeter", "judge"} <= set(seen["names"])
    assert seen["text"] == "Bonjour Zoë, how are you?"
    assert seen["structured"] == {"dish": "soup", "stars": 4}
    assert len(seen["steps"]) > 2
    done = [step[0] for step in seen["steps"]]
    assert done == sorted(set(done))
    assert bodies(site)[0]["temperature"] == 0.4


@full
@pytest.mark.parametrize("scenario", ["missing", "wrong"])
@each
def test_wrong_arguments_in_the_old_client(site: Site, scenario: str, transport: str) -> None:
    seen = site.sees("old_client.py", scenario, transport)
    text = seen.get("message") or seen["text"]
    assert "language" in text
    assert "French" in text
    assert "-v" not in text
    assert seen.get("code") == -32602 if scenario == "missing" else seen["is_error"]
    assert bodies(site) == []


@full
@both
def test_an_argument_that_the_old_client_is_asked_for(site: Site, transport: str) -> None:
    seen = site.sees("old_client.py", "asked", transport)
    assert seen == {"is_error": False, "text": "Hello!"}
    assert "in French" in json.dumps(bodies(site))


@full
@each
def test_resources_in_the_old_client(site: Site, transport: str) -> None:
    seen = site.sees("old_client.py", "resources", transport)
    assert {"persona://greeter", "persona://greeter/rendered"} <= set(seen["uris"])
    assert seen["text"] == (HERE / "personas" / "greeter.yaml").read_text("utf-8")


# --- mcp 2.x -------------------------------------------------------------------------------------


async def new_client(site: Site, transport: str, mode: str) -> dict[str, Any]:
    """Return what the client of `mcp` 2.x gets in one of the two eras."""

    async def answered(context: Any, params: Any) -> ElicitResult:
        del context
        values: dict[str, Any] = dict.fromkeys(params.requested_schema["properties"], "French")
        return ElicitResult(action="accept", content=values)

    command, *arguments = site.words
    stdio = StdioServerParameters(
        command=command, args=arguments, env=site.environ, cwd=site.folder
    )
    server = stdio if transport == "stdio" else site.address(transport)
    async with Client(server, mode=mode, elicitation_callback=answered) as client:
        listed = await client.list_prompts()
        values = {"language": "French", "input": "Zoë"}
        rendered = await client.get_prompt("greeter", values)
        called = await client.call_tool("judge", {"input": "soup"})
        asked = await client.call_tool("greeter", {"input": "Zoë"})
        with pytest.raises(MCPError, match="language") as missing:
            await client.session.get_prompt("greeter", {"input": "Zoë"})
        return {
            "version": client.protocol_version,
            "names": [one.name for one in listed.prompts],
            "messages": [[one.role, getattr(one.content, "text", "")] for one in rendered.messages],
            "structured": called.structured_content,
            "asked": getattr(asked.content[0], "text", ""),
            "code": missing.value.code,
        }


@pytest.mark.parametrize(
    ("transport", "mode"),
    [
        *itertools.product(["stdio", "http"], ["legacy", "2026-07-28"]),
        # Without sessions, a client of 2025-11-25 cannot be asked.
        ("serve", "2026-07-28"),
    ],
)
def test_the_new_client(site: Site, transport: str, mode: str) -> None:
    site.upstream.answers = ('{"dish": "soup", "stars": 4}', "Bonjour !")
    seen = asyncio.run(new_client(site, transport, mode))
    assert seen["version"] == ("2025-11-25" if mode == "legacy" else mode)
    assert "greeter" in seen["names"]
    assert seen["messages"] == GREETING
    assert seen["structured"] == {"dish": "soup", "stars": 4}
    assert seen["asked"] == "Bonjour !"
    assert seen["code"] == -32602
    assert "in French" in json.dumps(bodies(site)[1])


# --- LangChain and the OpenAI Agents SDK ---------------------------------------------------------


def test_tools_in_langchain(site: Site) -> None:
    seen = site.sees("langchain_tools.py", "tools")
    assert {"greeter", "judge"} <= set(seen["names"])
    assert seen["arguments"] == ["formal", "input", "language"]
    assert seen["text"] == "Hello!"


@full
@each
def test_prompts_in_langchain(site: Site, transport: str) -> None:
    seen = site.sees("langchain_tools.py", "prompts", transport)
    assert seen == [["human", text] for _, text in GREETING]


@full
def test_tools_in_langchain_over_http(site: Site) -> None:
    assert site.sees("langchain_tools.py", "tools", "http")["text"] == "Hello!"


def test_tools_in_the_openai_agents_sdk(site: Site) -> None:
    seen = site.sees("openai_agents.py", "tools")
    assert {"greeter", "judge"} <= set(seen["names"])
    assert seen["text"] == "Hello!"


@full
@each
def test_prompts_in_the_openai_agents_sdk(site: Site, transport: str) -> None:
    seen = site.sees("openai_agents.py", "prompts", transport)
    assert "greeter" in seen["names"]
    assert seen["messages"] == GREETING


# --- the inspector -------------------------------------------------------------------------------


def inspected(site: Site, *words: str, transport: str = "stdio", era: str = "legacy") -> Any:
    """Return what a command of the inspector prints."""
    inspector = [*node_script("@modelcontextprotocol/inspector", "mcp-inspector"), "--cli"]
    options = ["--format", "json", "--protocol-era", era, *words]
    if transport != "stdio":
        address = site.address(transport)
        done = run([*inspector, "--server-url", address, "--transport", "http", *options])
    else:
        # Its environment is what follows -e, as a client's file has it under `env`. The inspector
        # refuses empty values.
        given = [pair for pair in site.environ.items() if pair[1]]
        variables = [word for pair in given for word in ("-e", "=".join(pair))]
        done = run([*inspector, *variables, *options, "--", *site.words])
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["result"]


def test_prompts_in_the_inspector(site: Site) -> None:
    listed = inspected(site, "--method", "prompts/list")["prompts"]
    (greeter,) = [one for one in listed if one["name"] == "greeter"]
    assert (greeter["title"], greeter["description"]) == ("Greeter", "Greets a person.")
    first = greeter["arguments"][0]
    assert (first["name"], first["required"]) == ("language", True)
    assert first["description"].startswith("The language of the greeting.")


@full
@each
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_prompt_in_the_inspector(site: Site, transport: str, era: str) -> None:
    words = ["--method", "prompts/get", "--prompt-name", "greeter", "--prompt-args"]
    rendered = inspected(site, *words, "language=French", "input=Zoë", transport=transport, era=era)
    assert [[one["role"], one["content"]["text"]] for one in rendered["messages"]] == GREETING


@full
@each
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_tool_in_the_inspector(site: Site, transport: str, era: str) -> None:
    site.upstream.answers = ('{"dish": "soup", "stars": 4}',)
    words = ["--method", "tools/call", "--tool-name", "judge", "--tool-arg", "input=soup"]
    called = inspected(site, *words, transport=transport, era=era)
    assert called["structuredContent"] == {"dish": "soup", "stars": 4}


@full
def test_the_inspector_finds_no_fault_in_the_schemas(site: Site) -> None:
    assert inspected(site, "--method", "tools/list", "--strict")["tools"]


# --- the conformance suite -----------------------------------------------------------------------


def conforms(site: Site, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run scenarios of the conformance suite."""
    suite = node_script("@modelcontextprotocol/conformance", "conformance")
    return run([*suite, "server", "--url", site.url, *words], folder=folder)


def test_a_prompt_of_the_conformance_suite(site: Site, tmp_path: Path) -> None:
    done = conforms(site, tmp_path, "--scenario", "prompts-get-with-args")
    assert done.returncode == 0, done.stdout + done.stderr


@full
def test_the_conformance_suite(site: Site, tmp_path: Path) -> None:
    """The baseline lists what fails, with a reason each; what passes must not be in it."""
    text = "This is a simple text response for testing."
    # The third run is that of the tool whose progress is counted.
    site.upstream.answers = (text, text, slowly(site.upstream, text), text)
    baseline = str(HERE / "conformance.yaml")
    done = conforms(site, tmp_path, "--suite", "all", "--expected-failures", baseline)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(bodies(site)) == 4
