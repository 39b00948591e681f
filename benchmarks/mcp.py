"""What does `personakit mcp` cost: its start, a long list, and a prompt?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import Missing
from benchmarks.serving import account

BARE = Path(__file__).with_name("serving") / "bare_mcp.py"
FEW, MANY = 10, 1_000
SETTLED = 2.5
ENV = "personakit-mcp"
OURS = ["-m", "personakit", "mcp"]
IMPORT = 'import mcp; print(\'{"id": 2, "result": {}}\', flush=True); input()'
START = """\
From exec to the answer of `prompts/list` over stdio, by the number of personas, which have been \
listed before; and to the end of `import mcp`. The smallest of the rounds counts, in turns."""
LIST = """\
CPU of the server for all pages of `prompts/list`, read from outside; the files have not changed."""
GET = """\
CPU of the server's process for `prompts/get` of a persona of six variables, in batches that take \
turns; the smallest counts. 1 is `Runner.render` and `json.dumps` in a loop. A bare server is \
`mcp`'s own, whose prompt is a function that calls `Runner.render`. The goals of ours are 1.2 for \
the handler alone, and 1.2 beside the bare server."""


class Talk:
    """A server over stdio that is asked one thing at a time.

    Attributes:
        start: Seconds until the first answer.
        start_cpu: Seconds of CPU until then.
    """

    def __init__(self, words: list[str], environ: dict[str, str], folder: Path) -> None:
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            words, env=environ, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._begun, self.id = begun, 1
        self.start = self.start_cpu = 0.0

    def begin(self) -> None:
        """Ask for its prompts for the first time, and note what that took.

        Raises:
            Missing: It gives no answer.
        """
        about = {"name": "bench", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": about}
        self.write("initialize", hello, id=1)
        self.write("notifications/initialized")
        self.ask("prompts/list")
        self.start = time.perf_counter() - self._begun
        self.start_cpu = account.cpu(self.process.pid)

    def write(self, method: str, params: Any = None, **more: Any) -> None:
        """Send a request, or without an id a notification."""
        assert self.process.stdin
        said = {"jsonrpc": "2.0", "method": method, **more}
        data = json.dumps({**said, "params": params} if params else said).encode()
        with contextlib.suppress(OSError):  # what it has printed says more
            self.process.stdin.write(data + b"\n")
            self.process.stdin.flush()

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        """Return the result of a request.

        Raises:
            Missing: The server answers with an error, or ends.
        """
        self.id += 1
        self.write(method, params, id=self.id)
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self.id:
                if "result" not in message:
                    raise Missing(f"{method}: {message['error']['message'][:200]}")
                result: dict[str, Any] = message["result"]
                return result
        raise Missing(f"it ended with {self.process.wait(10)}")

    def close(self) -> None:
        """End it as a client does."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.stdout.close()


@dataclass(slots=True)
class _Least:
    """The smallest values of several kinds."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.seconds[name] = min(value, self.seconds.get(name, value))

    def __getitem__(self, name: str) -> float:
        return self.seconds[name]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the servers run.

    Attributes:
        python: Their interpreter.
        folder: Their home.
        environ: Their environment.
    """

    python: str
    folder: Path
    environ: dict[str, str]

    @contextlib.contextmanager
    def talk(self, words: list[str], personas: Path) -> Iterator[Talk]:
        """Start a server with a folder of personas."""
        environ = {**self.environ, "PERSONAKIT_PATH": str(personas)}
        talk = Talk([self.python, "-P", *words], environ, self.folder)
        with contextlib.closing(talk):
            talk.begin()
            yield talk

    @contextlib.contextmanager
    def loop(self, what: str, personas: Path) -> Iterator[Callable[..., float]]:
        """Start a process that renders so many times and says the seconds of CPU."""
        words = [self.python, "-P", str(BARE), what]
        with subprocess.Popen(
            words, env={**self.environ, "PERSONAKIT_PATH": str(personas)}, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            stdin, stdout = process.stdin, process.stdout
            assert stdin
            assert stdout

            def render(**command: Any) -> float:
                stdin.write(json.dumps(command).encode() + b"\n")
                stdin.flush()
                return float(json.loads(stdout.readline())["cpu"])

            try:
                yield render
            finally:
                stdin.close()


def ask(bench: Bench) -> list[Table]:
    """Compare starts, lists and prompts."""
    if not account.available():
        return [Table("MCP", ["MCP"], [], missing={"all": "it measures by means of Linux"})]
    with TemporaryDirectory() as name:
        folder = Path(name)
        few, many = (_filled(folder / str(number), number) for number in (FEW, MANY))
        time.sleep(SETTLED)  # after it, the index need not doubt the times of the files
        try:
            place = _Place(bench.envs.python(ENV), folder, bench.envs.environ(HOME=name))
            return [
                _starts(bench, place, few, many),
                _lists(bench, place, many),
                _prompts(bench, place, few),
            ]
        except Missing as why:
            return [Table("MCP", ["MCP"], [], missing={"all": str(why)})]


def _filled(folder: Path, number: int) -> Path:
    """Make a folder of so many personas."""
    folder.mkdir()
    for at in range(number):
        text = sample.persona(name=f"bench{at}")
        (folder / f"bench{at}.yaml").write_text(text, "utf-8")
    return folder


def _starts(bench: Bench, place: _Place, few: Path, many: Path) -> Table:
    commands = {
        "`import mcp`": (["-c", IMPORT], few),
        f"**`personakit mcp`**, {FEW} personas": (OURS, few),
        f"**`personakit mcp`**, {MANY:,} personas": (OURS, many),
    }
    time_of, cpu_of = _Least(), _Least()
    for words, path in commands.values():  # the first compiles, and makes the index
        with place.talk(words, path):
            pass
    for number in bench.rounds(bench.pick(30, 3)):
        for name in list(commands) if number % 2 else reversed(list(commands)):
            with place.talk(*commands[name]) as talk:
                time_of.add(name, talk.start)
                cpu_of.add(name, talk.start_cpu)
    base = next(iter(commands))
    rows: list[list[Cell]] = [
        [
            name, cpu_of[name] / cpu_of[base], time_of[name] / time_of[base],
            "≤ 1.5" if words is OURS else "", cpu_of[name] * 1000, time_of[name] * 1000,
        ]
        for name, (words, _) in commands.items()
    ]  # fmt: skip
    columns = ["Start to a list", "CPU", "time", "goal of ours", "CPU ms", "time ms"]
    return Table("MCP: start", columns, rows, START, 1)


def _lists(bench: Bench, place: _Place, path: Path) -> Table:
    least, pages = _Least(), 0
    with place.talk(OURS, path) as talk:
        for _ in bench.rounds(bench.pick(40, 5)):
            before, names, pages = account.cpu(talk.process.pid), 0, 0
            cursor: dict[str, Any] = {}
            while True:
                result = talk.ask("prompts/list", cursor)
                names, pages = names + len(result["prompts"]), pages + 1
                if not result.get("nextCursor"):
                    break
                cursor = {"cursor": result["nextCursor"]}
            if names < MANY:
                raise Missing(f"it lists {names} prompts of {MANY}")
            least.add("list", account.cpu(talk.process.pid) - before)
        memory = account.resident(talk.process.pid)
    rows: list[list[Cell]] = [
        [f"{MANY:,} personas listed, CPU ms", least["list"] * 1000, "≤ 50"],
        ["pages of the list", float(pages), ""],
        ["memory of the server after it, MiB", memory / 2**20, ""],
    ]
    return Table("MCP: a long list", ["List", "personakit", "goal"], rows, LIST)


def _prompts(bench: Bench, place: _Place, path: Path) -> Table:
    values = {key: str(value) for key, value in sample.VALUES.items() if key != "topics"}
    arguments = {**values, "topics": json.dumps(sample.VALUES["topics"]), "input": sample.PROMPT}
    times, least = bench.pick(200, 50), _Least()
    base, bare, ours = "`Runner.render` and JSON", "a bare server", "**`personakit mcp`**"
    handler = "**its handler and JSON**"
    with (
        place.loop("once", path) as loop,
        place.loop("handler", path) as handle,
        place.talk([str(BARE)], path) as plain,
        place.talk(OURS, path) as server,
    ):
        for number in bench.rounds(bench.pick(40, 5)):
            first = 45 + number * times
            least.add(base, loop(times=times, first=first, arguments=arguments))
            least.add(handler, handle(times=times, first=first, arguments=arguments))
            for name, talk in ((bare, plain), (ours, server)):
                before = account.cpu(talk.process.pid)
                for at in range(times):
                    fresh = {**arguments, "minutes": str(first + at)}
                    result = talk.ask("prompts/get", {"name": "bench0", "arguments": fresh})
                least.add(name, account.cpu(talk.process.pid) - before)
                text = result["messages"][0]["content"]["text"]
                if text != sample.TEXT.replace("45", fresh["minutes"]):
                    raise Missing(f"{name} gave {text[:200]!r}")
    micro = {name: least[name] / times * 1e6 for name in (base, handler, bare, ours)}
    rows: list[list[Cell]] = [
        [name, cost / micro[base], cost / micro[bare] if name in (bare, ours) else None, cost]
        for name, cost in micro.items()
    ]
    columns = ["A prompt", "CPU", "beside the bare server", "CPU µs"]
    return Table("MCP: a prompt", columns, rows, GET, 1)
