"""A canary key, searched for in every byte that a run writes, whatever happens to it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from personakit.testing import Reply, Server

CANARY = "sk-canary+7f/3a9Q0zP=="
HEADER = "hk-canary+8g/4b0R1yO=="


def forms(key: str) -> set[bytes]:
    """Return a key as it is and as it may be written, in part as well."""
    found = {key, quote(key), quote(key, safe=""), json.dumps(key)[1:-1], key[:12], key[-12:]}
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + key.encode()).decode()
        found |= {whole[4:20], whole[4:20].translate({43: 45, 47: 95})}
    return {form.encode() for form in found}


FORMS = forms(CANARY) | forms(HEADER)


def check(data: bytes, where: str) -> None:
    for form in FORMS:
        at = data.find(form)
        assert at < 0, f"{where}: {data[max(at - 300, 0) : at + 100].decode(errors='replace')}"


ECHO = {"error": {"message": f"bad key {CANARY}", "param": CANARY, "code": quote(CANARY, safe="")}}
SSE = {"content-type": "text/event-stream"}


def late(hurry: threading.Event) -> Generator[bytes]:
    hurry.wait(60)
    yield b""


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, str]]:
    """Addresses by what goes wrong there."""
    hurry = threading.Event()
    echo = json.dumps(ECHO).encode()
    named = {"x-request-id": f"req-{CANARY}"}
    answers: dict[str, Any] = {
        "refused": Reply(echo, 401, named),
        "forbidden": Reply(f"<html>{CANARY} {HEADER}</html>".encode(), 403),
        "forbidden-base64": Reply(base64.b64encode(f"u:{CANARY}".encode()), 403),
        "bad-request": Reply(json.dumps({"error": f"say {CANARY!r} {HEADER}"}).encode(), 400),
        "limited": Reply(echo, 429),
        "broken": Reply(echo, 500, named),
        "html": Reply(b"<html>"),
        "error-in-200": Reply(echo),
        "no-choices": {"choices": [], "note": CANARY},
        "redirect": Reply(b"", 307, {"location": "http://127.0.0.1:9/v1"}),
        "error-event": Reply(b"data: " + echo + b"\n\ndata: [DONE]\n\n", 200, SSE),
        "slow": Reply(late(hurry)),
    }
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    servers = {name: Server([answer]) for name, answer in answers.items()}
    servers["fine"] = Server(["Hello!"])
    servers["cut"] = Server([Reply(b"data: {", 200, SSE)])
    for server in servers.values():
        server.__enter__()
    yield {
        "dead": dead,
        "tls": servers["fine"].base_url.replace("http:", "https:"),
        "no-host": "http://nohost.invalid/v1",
        "no-url": "http://[::1/v1",
        **{name: server.base_url for name, server in servers.items()},
    }
    hurry.set()
    for headers in [r.headers for server in servers.values() for r in server.requests]:
        # The canary was there to be found.
        assert {CANARY, HEADER} <= {v.removeprefix("Bearer ") for v in headers.values()}
    for server in servers.values():
        server.__exit__()


SCRIPT = """
import contextlib, json, logging, os, pickle, sys, traceback
from rich.console import Console
from rich.traceback import Traceback
from personakit import Runner, Trace
from personakit.testing import MODES, in_mode, persona

logging.basicConfig(level=1, stream=sys.stderr)

def show(error):
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]
        made = traceback.TracebackException.from_exception(found, capture_locals=True)
        print(*made.format(), repr(found), str(found), found.args, vars(found))
        logging.getLogger("user").exception("failed", exc_info=found)
    with contextlib.suppress(Exception):
        print(pickle.dumps(error), pickle.dumps(error, 0))

def main(name, url):
    os.environ["OPENAI_BASE_URL"] = url
    running = Runner()
    for mode in MODES:
        trace = Trace()
        request = running.render(persona(), "Hi!").replace(max_retries=0, timeout=1)
        try:
            response = in_mode(mode, running, persona(), request, trace=trace)
        except Exception as error:
            print("FAILED", name, mode, type(error).__name__)
            show(error)
            if mode == "run" and name in ("refused", "dead"):
                shown = Traceback.from_exception(
                    type(error), error, error.__traceback__, show_locals=True, max_frames=0
                )
                Console(file=sys.stdout, width=300).print(shown)
        else:
            print("ANSWERED", name, mode, repr(response), repr(response.request))
        print(trace, running, running._backend, vars(running), running.router)
    running.close()

for name, url in json.loads(os.environ.pop("URLS")).items():
    main(name, url)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config whose provider sends a header with a key."""
    config = tmp_path / "home" / ".config" / "personakit"
    config.mkdir(parents=True)
    (config / "config.yaml").write_text(
        "model: openai/m\n"
        f"providers: {{openai: {{headers: {{x-api-key: '{HEADER}', x-app: personakit}}}}}}\n"
    )
    return tmp_path


def environ(folder: Path, **more: str) -> dict[str, str]:
    names = ("COVERAGE", "PYTHON", "COV_")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PERSONAKIT_PLUGINS": "",
        "OPENAI_API_KEY": CANARY,
        "OPENAI_LOG": "debug",
        "PYTHONWARNINGS": "always",
        "PYTHONDEVMODE": "",
        **{k: v for k, v in os.environ.items() if k.startswith(names)},
        **more,
    }


def test_no_error_of_any_mode_shows_a_key(upstreams: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environ(folder, URLS=json.dumps(upstreams)),
        cwd=folder, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:].decode()
    lines = done.stdout.decode().splitlines()
    ended = [line.split()[:2] for line in lines if line.startswith(("FAILED ", "ANSWERED "))]
    assert len(ended) == 4 * len(upstreams)
    assert {name for how, name in ended if how == "ANSWERED"} == {"fine"}
    assert b"DEBUG" in done.stderr
    check(done.stdout, "standard output")
    check(logged(done.stderr), "standard error")


def logged(data: bytes) -> bytes:
    """Return a log without the lines in which HTTP libraries show headers that a server sent."""
    lines = data.splitlines()
    return b"\n".join(line for line in lines if not (b"DEBUG" in line and b"req-sk" in line))


COMMANDS = [
    ("run", "ann", "hi"),
    ("run", "ann", "hi", "--stream"),
    ("run", "ann", "hi", "--trace"),
    ("run", "ann", "hi", "--json"),
    ("run", "ann", "hi", "--dry-run"),
    ("run", "ann", "hi", "--dry-run", "--json"),
    ("run", "ann", "hi", "-m", "opnai/x"),
    ("run", "ann", "hi", "-p", "api_key=x"),
    ("render", "ann", "hi"),
    ("show", "ann"),
    ("list", "--json"),
    ("plugins", "--json"),
    ("schema",),
    ("test", "--record", "all", "-m", "openai/m"),
    ("keys", "list"),
    ("keys", "list", "--json"),
    ("keys", "set", "groq", "--file"),
    ("keys", "set", "openai", CANARY),
    ("keys", "rm", "groq"),
]


@pytest.mark.parametrize("where", ["fine", "refused", "dead"])
def test_no_command_shows_or_writes_a_key(
    upstreams: dict[str, str], folder: Path, where: str
) -> None:
    (folder / "personas").mkdir()
    (folder / "personas" / "ann.yaml").write_text(
        "system: You are Ann.\ntests: [{name: a, prompt: hi, expect: {contains: [Hello]}}]\n"
    )
    env = environ(folder, OPENAI_BASE_URL=upstreams[where])
    commands = {"fine": COMMANDS, "refused": COMMANDS[:4], "dead": COMMANDS[:1]}[where]
    code = "import sys; from personakit.cli import main; main()"
    for args in commands:
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            # Another command would take the input for a part of the prompt.
            env=env, cwd=folder, input=CANARY.encode() if args[0] == "keys" else b"",
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        check(done.stdout + logged(done.stderr), " ".join(args))
        assert b"Traceback" not in done.stdout
        assert done.returncode in (0, 1, 2)
        if args[:2] == ("run", "ann") and len(args) == 3:
            assert done.returncode == (0 if where == "fine" else 1)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "config.yaml":
            check(path.read_bytes(), str(path))
