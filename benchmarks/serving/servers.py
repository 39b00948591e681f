"""The servers that are compared, each a process of its own in an environment of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import sample
from benchmarks.harness.bench import Bench
from benchmarks.harness.envs import Missing
from benchmarks.serving import account

_PASSTHROUGH = Path(__file__).parent.parent / "peers" / "passthrough.py"
PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
KEY = "sk-bench-0123456789abcdefghijklmnop"
"""Of the upstream; as long as a real one, which takes time to hide in what is logged."""
PATIENCE = 120.0
"""Seconds until the first answer after which a server is taken for broken."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that takes part.

    Attributes:
        name: As the table says it.
        env: Its environment, of `envs.REQUIREMENTS` or `envs.OURS`.
        packages: The distributions whose versions are recorded.
        make: Writes its files into a folder; returns its command and its token. It gets the
            environments, the address of the upstream, the folder and the port.
        ours: Whether it renders the persona itself: it gets variables, the others ready messages.
        rounds: In how many it takes part; fewer for one that is very slow.
    """

    name: str
    env: str
    packages: tuple[str, ...]
    make: Any
    ours: bool = False
    rounds: int = 1000


@dataclass(slots=True)
class Running:
    """A server that runs.

    Attributes:
        kind: What it is.
        process: Its process.
        port: Where it listens on loopback.
        headers: What a request to it has.
        start: Seconds of time from its start to its first answer.
        start_cpu: Seconds of CPU until then.
        folder: Where its files are.
    """

    kind: Kind
    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)
    start: float = 0.0
    start_cpu: float = 0.0

    def body(self, options: str = "", *, stream: bool = False) -> dict[str, Any]:
        """Return the body of a request, which tells the upstream some options."""
        prompt = f"{sample.PROMPT} ({options})" if options else sample.PROMPT
        said = {"role": "user", "content": prompt}
        asked: dict[str, Any] = {"stream": True} if stream else {}
        if self.kind.ours:
            return {"model": "bench", "messages": [said], "variables": sample.VALUES, **asked}
        return {"model": MODEL, "messages": [*sample.messages(2)[:-1], said], **asked}

    def worker(self) -> int:
        """Return the process that holds the most memory: the worker, if there is a supervisor."""
        return max(account.family(self.process.pid), key=account.resident)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and body of a GET request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=self.headers)
            reply = connection.getresponse()
            return reply.status, reply.read()


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def yardstick(bench: Bench, env: str, folder: Path, port: int) -> tuple[list[str], str]:
    """Return the command of the aiohttp pass-through."""
    address = bench.server.url().removesuffix("/v1")
    return [bench.envs.python(env), "-P", str(_PASSTHROUGH), address, str(port)], "none"


_LIMITS = {"usd-day": "1000", "tokens-day": "1000000000", "rpm": "1000000"}


def ours(*options: str, **limits: str) -> Any:
    """Return what makes personakit serve: with a key that has a budget, and the log.

    Args:
        options: Of ``personakit serve``.
        limits: Of the key, such as `tokens_day`, over very generous ones.
    """
    chosen = {**_LIMITS, **{name.replace("_", "-"): value for name, value in limits.items()}}

    def make(bench: Bench, env: str, folder: Path, port: int) -> tuple[list[str], str]:
        personas = folder / "personas"
        personas.mkdir()
        (personas / "bench.yaml").write_text(sample.persona(), "utf-8")
        python, where = bench.envs.python(env), {"env": environ(bench, folder), "cwd": folder}
        command = [python, "-m", "personakit", "serve"]
        made = subprocess.run(
            [*command, "keys", "new", "bench", *(f"--{n}={v}" for n, v in chosen.items())],
            capture_output=True, text=True, check=False, **where,  # type: ignore[call-overload]
        )  # fmt: skip
        found = [word for word in made.stdout.split() if word.startswith("pk-")]
        if not found:
            raise Missing(f"no key was made: {(made.stderr or made.stdout).strip()[-300:]}")
        return [*command, "--port", str(port), *options], found[0]

    return make


def litellm(bench: Bench, env: str, folder: Path, port: int) -> tuple[list[str], str]:
    """Return the command of LiteLLM's proxy, without a database, and with its quiet settings."""
    params = {
        "model": f"openai/{MODEL}",
        "api_base": bench.server.url(),
        "api_key": KEY,
    }
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": params}],
        "general_settings": {"master_key": "sk-bench"},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }
    (folder / "config.yaml").write_text(json.dumps(config), "utf-8")
    program = bench.envs.script(env, "litellm")
    where = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    return [program, *where, "--num_workers", "1", "--telemetry", "False"], "sk-bench"


KINDS = (
    Kind("aiohttp pass-through", "openai-aiohttp", ("aiohttp",), yardstick),
    Kind("**personakit serve**", "personakit-serve", ("personakit", "uvicorn"), ours(), ours=True),
    Kind("LiteLLM's proxy", "litellm-proxy", ("litellm",), litellm, rounds=2),
)


def environ(bench: Bench, folder: Path) -> dict[str, str]:
    """Return the environment of a server whose files are all in one folder."""
    places = ("CONFIG", "DATA", "STATE", "CACHE")
    return bench.envs.environ(
        HOME=str(folder),
        **{f"XDG_{place}_HOME": str(folder / place.lower()) for place in places},
        OPENAI_BASE_URL=bench.server.url(),
        OPENAI_API_KEY=KEY,
        PERSONAKIT_MODEL=f"openai/{MODEL}",
        PERSONAKIT_LOG=str(folder / "log.db"),
        # LiteLLM fails a stream that says the same again and again.
        REPEATED_STREAMING_CHUNK_LIMIT="1000000",
    )


@contextlib.contextmanager
def running(bench: Bench, kind: Kind, folder: Path, **more: str) -> Iterator[Running]:
    """Start a server, wait for its first answer, and end it.

    Raises:
        Missing: It cannot be installed, or gives no right answer; the message ends as it said.
    """
    folder.mkdir()
    port = free_port()
    command, token = kind.make(bench, kind.env, folder, port)
    output = folder / "output"
    start = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, env={**environ(bench, folder), **more}, cwd=folder, stdin=subprocess.PIPE,
            stdout=file, stderr=file,
        )  # fmt: skip
    server = Running(kind, process, port, folder, {"authorization": f"Bearer {token}"})
    try:
        _first(server, start, output)
        yield server
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> int:
    """Let a server end, and kill it if it does not; return its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    every = account.family(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(40)
    except subprocess.TimeoutExpired:
        for pid in every:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return process.wait()


def _first(server: Running, start: float, output: Path) -> None:
    """Wait for the first answer."""
    body = json.dumps(server.body())
    headers = {**server.headers, "content-type": "application/json"}
    said = "it does not listen"
    while time.perf_counter() - start < PATIENCE and server.process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            try:
                connection.request("POST", PATH, body, headers)
                reply = connection.getresponse()
                said = f"{reply.status}: {reply.read()[:300]!r}"
            except OSError:
                time.sleep(0.005)
                continue
            if reply.status == 200:
                server.start = time.perf_counter() - start
                server.start_cpu = account.cpu(server.process.pid)
                return
            time.sleep(0.02)
    lines = output.read_text("utf-8", "replace").strip().splitlines()
    raise Missing(f"{said}; {' '.join(lines[-3:])[-300:]}")


def versions(bench: Bench, kinds: Sequence[Kind]) -> Mapping[str, str]:
    """Return the versions of the packages of servers."""
    code = (
        "import sys, json; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    every: dict[str, str] = {}
    for kind in kinds:
        command = [bench.envs.python(kind.env), "-c", code, *kind.packages]
        every |= json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return every
