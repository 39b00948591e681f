"""The clients: connections are reused, never shared where they must not be, and closed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from personakit import Config, Runner
from personakit.testing import MODES, Reply, Server, in_mode, persona

WHO = persona()


def ports(server: Server) -> list[int]:
    """Return the port of each request's connection."""
    return [request.port for request in server.requests]


def test_the_sync_api_uses_one_connection() -> None:
    with Server() as server:
        running = Runner(server.config())
        for _ in range(2):
            running.run(WHO)
            assert "".join(running.stream(WHO)) == "Hello!"
        assert len(set(ports(server))) == 1
        running.close()
        running.run(WHO)
        assert len(set(ports(server))) == 2
        running.close()


def test_the_async_api_uses_one_connection_of_a_loop() -> None:
    async def main() -> None:
        for _ in range(2):
            await running.arun(WHO)
            # The events of one read are emitted once.
            assert [piece async for piece in running.astream(WHO)] == ["Hello!"]

    with Server() as server:
        running = Runner(server.config())
        asyncio.run(main())
        assert len(set(ports(server))) == 1
        asyncio.run(main())
        assert len(set(ports(server))) == 2


def test_a_reply_that_stays_open_after_its_last_event_keeps_no_async_caller() -> None:
    hurry = threading.Event()

    def lingers() -> Generator[bytes]:
        yield b'data: {"choices": [{"delta": {"content": "Hello!"}, "finish_reason": "stop"}]}\n\n'
        yield b"data: [DONE]\n\n"
        hurry.wait(30)

    async def main() -> list[str]:
        async with asyncio.timeout(10):
            return [piece async for piece in running.astream(WHO)]

    with Server([Reply(lingers(), headers={"content-type": "text/event-stream"})]) as server:
        running = Runner(server.config())
        assert asyncio.run(main()) == ["Hello!"]
        hurry.set()


def test_aclose_closes_the_connections_of_the_loop() -> None:
    async def main() -> None:
        await running.arun(WHO)
        await running.aclose()
        await running.arun(WHO)
        await running.aclose()

    with Server() as server:
        running = Runner(server.config())
        asyncio.run(main())
        assert len(set(ports(server))) == 2


def test_the_end_of_its_block_closes_a_runners_connections() -> None:
    async def main() -> None:
        for _ in range(2):
            async with running:
                await running.arun(WHO)
                await running.arun(WHO)

    with Server() as server:
        running = Runner(server.config())
        for _ in range(2):
            with running:
                running.run(WHO)
                running.run(WHO)
        asyncio.run(main())
        assert len(ports(server)) == 8
        assert len(set(ports(server))) == 4


def test_closing_a_runner_that_sent_nothing() -> None:
    running = Runner(Config(environ={}))
    running.close()
    asyncio.run(running.aclose())


def test_loops_in_threads_do_not_share_a_client() -> None:
    ready = threading.Barrier(4)

    def work(_: int) -> list[str]:
        async def main() -> list[str]:
            ready.wait(30)
            answers = await asyncio.gather(*(running.arun(WHO) for _ in range(5)))
            return [answer.text for answer in answers]

        return asyncio.run(main())

    with Server() as server:
        running = Runner(server.config())
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(4))) == [["Hello!"] * 5] * 4
        assert len(server.requests) == 20


def test_threads_share_the_sync_client() -> None:
    with Server() as server:
        running = Runner(server.config())
        with ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda n: running.run(WHO, str(n)).text, range(40)))
        assert texts == ["Hello!"] * 40
        assert len(set(ports(server))) <= 4
        running.close()


def test_each_runner_closes_its_own() -> None:
    with Server() as server:
        one, two = Runner(server.config()), Runner(server.config())
        one.run(WHO)
        two.run(WHO)
        one.close()
        two.run(WHO)
        assert len(set(ports(server))) == 2
        assert ports(server)[1] == ports(server)[2]
        two.close()


HEAD = """
import asyncio, gc, os, sys
from personakit import Runner
from personakit.testing import persona

running, who = Runner(), persona()
"""
TWO_LOOPS = """
async def main():
    async with running.astream(who) as stream:
        async for _ in stream:
            break
    return (await running.arun(who)).text

print(asyncio.run(main()), asyncio.run(main()))
del running
gc.collect()
"""
CANCELLED = """
async def main():
    tasks = [asyncio.create_task(running.arun(who)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    return [type(t).__name__ for t in await asyncio.gather(*tasks, return_exceptions=True)]

print(*asyncio.run(main()))
gc.collect()
"""
FORK = """
def child():
    print(running.run(who).text, "".join(running.stream(who)), asyncio.run(running.arun(who)).text)
    running.close()

running.run(who)
pid = os.fork()
if pid == 0:
    child()
    sys.stdout.flush()
    os._exit(0)
print(os.waitpid(pid, 0)[1], running.run(who).text)
running.close()
"""


@pytest.mark.parametrize(
    ("script", "out"),
    [
        (TWO_LOOPS, ["Hello! Hello!"]),
        (CANCELLED, ["CancelledError Response Response Response Response"]),
        pytest.param(
            FORK,
            ["Hello! Hello! Hello!", "0 Hello!"],
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
        ),
    ],
)
def test_a_process_ends_without_a_warning(script: str, out: list[str]) -> None:
    with Server() as server:
        environ = {**server.environ(), "PERSONAKIT_MODEL": "openai/x", "PERSONAKIT_PLUGINS": ""}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", HEAD + script],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout.splitlines() == out
        if script is FORK:
            parent, *child, again = ports(server)
            assert parent == again
            assert parent not in child


def test_a_client_is_one_of_its_address_and_key() -> None:
    def check(call: Callable[[Runner], Any]) -> None:
        with Server() as server:
            running = Runner(server.config())
            call(running)
            environ: Any = running.config.environ
            environ["OPENAI_API_KEY"] = "second"
            call(running)
            sent = [{k.lower(): v for k, v in r.headers.items()} for r in server.requests]
            assert [s["authorization"] for s in sent] == ["Bearer test-key", "Bearer second"]
            running.close()

    def run_async(running: Runner) -> None:
        asyncio.run(coroutine(running))

    async def coroutine(running: Runner) -> Any:
        return await running.arun(WHO)

    check(lambda running: running.run(WHO))
    check(run_async)


@pytest.mark.parametrize("mode", MODES)
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Server() as server:
        running = Runner(server.config())
        assert in_mode(mode, running, persona()).text == "Hello!"
        running.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_request_says_what_it_must_and_no_more(mode: str) -> None:
    with Server() as server:
        running = Runner(server.config())
        assert in_mode(mode, running, WHO, "Hi").text == "Hello!"
        running.close()
    (request,) = server.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["authorization"] == "Bearer test-key"
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] in server.base_url
    assert not {name for name in headers if name.startswith(("x-stainless", "openai-"))}


@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize("mode", MODES)
def test_cookies_of_an_upstream_are_sent_back(mode: str, timeout: float | None) -> None:
    """Some stand behind a server that gives each caller one and slows those that forget it."""
    cookie = Reply(
        b'{"choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}]}',
        headers={"set-cookie": "seen=yes; Path=/"},
    )
    with Server([cookie]) as server:
        running = Runner(server.config())

        async def twice() -> None:
            for _ in range(2):
                assert (await running.arun(WHO, "Hi", timeout=timeout)).text == "Hello!"

        if mode in ("arun", "astream"):
            asyncio.run(twice())
        else:
            for _ in range(2):
                assert in_mode(mode, running, WHO, "Hi", timeout=timeout).text == "Hello!"
        running.close()
    cookies = [
        {name.lower(): value for name, value in request.headers.items()}.get("cookie")
        for request in server.requests
    ]
    assert cookies == [None, "seen=yes"]


ASYNC = """
import asyncio, personakit
from personakit.testing import persona
print(asyncio.run(personakit.arun(persona(), "Hi", model="openai/m")).text)
"""


def test_the_command_line_imports_no_aiohttp(shell: Any) -> None:
    """It takes a fifth of the time until the first answer, and would not be used."""
    for name in ("aiohttp", "httpx_aiohttp"):  # the latter imports the former for openai 2
        said = f"print('{name} was wanted', flush=True)\nraise ImportError('none')\n"
        shell.write(f"site/{name}/__init__.py", said if name == "aiohttp" else "import aiohttp\n")
    shell.write("personas/ann.yaml", "system: Hello.\n")
    with Server() as server:
        env = {**shell.env, **server.environ(), "PYTHONPATH": str(shell.folder / "site")}
        done = shell("run", "ann", "Hi", "-m", "openai/m", **env)
        assert (done.returncode, done.stdout) == (0, "Hello!\n"), done.stderr
        command = [sys.executable, "-c", ASYNC]
        used = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert used.stdout == "aiohttp was wanted\nHello!\n"


REMOTE = "https://llm.invalid/v1"  # a name that does not exist: nothing is sent


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SSL_CERT_FILE": "/no/such.pem"}, "SSL_CERT_FILE is '/no/such.pem'.*No such file"),
        ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE is .*no certificate"),
        ({"SSL_CERT_DIR": "/no/such"}, "SSL_CERT_DIR is '/no/such'.*No such file"),
        ({"ALL_PROXY": "socks://u:p@127.0.0.1:1"}, r"proxy in ALL_PROXY \(socks://…\).*scheme"),
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "ALL_PROXY.*pip install .*socksio"),
        ({"https_proxy": "ftp://127.0.0.1:1"}, r"proxy in https_proxy \(ftp://…\).*scheme"),
    ],
)
def test_a_fault_of_this_machine_is_not_told_as_one_of_the_server(
    variables: dict[str, str], message: str
) -> None:
    script = (
        "from personakit import Config, Runner\n"
        "from personakit.testing import persona\n"
        f"environ = {{'OPENAI_BASE_URL': {REMOTE!r}, 'OPENAI_API_KEY': 'k'}}\n"
        "running = Runner(Config(model='openai/m', path=(), environ=environ))\n"
        "try:\n    running.run(persona(), 'Hi')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
    clean = {k: v for k, v in os.environ.items() if k.upper() not in names}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, **variables}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.match(f"ConfigError .*{message}", done.stdout), done.stdout


def test_a_proxy_that_refuses_is_named() -> None:
    script = (
        "from personakit import Config, Runner\n"
        "from personakit.testing import persona\n"
        f"environ = {{'OPENAI_BASE_URL': {REMOTE!r}, 'OPENAI_API_KEY': 'k'}}\n"
        "running = Runner(Config(model='openai/m', path=(), environ=environ))\n"
        "request = running.render(persona(), 'Hi').replace(max_retries=0)\n"
        "try:\n    running.run(persona(), request)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    names = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
    clean = {k: v for k, v in os.environ.items() if k.upper() not in names}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, "HTTPS_PROXY": "http://user:secret@127.0.0.1:9"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "check the proxy in HTTPS_PROXY" in done.stdout
    assert "secret" not in done.stdout
