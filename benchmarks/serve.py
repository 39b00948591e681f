"""What does a request through a server cost, beside a proxy that only passes it on?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import ratios
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import Missing
from benchmarks.harness.server import answer_of
from benchmarks.serving import account
from benchmarks.serving.servers import KINDS, PATH, Kind, Running, running, versions

_LOAD = Path(__file__).with_name("serving") / "load.py"
YARDSTICK, OURS = KINDS[0].name, KINDS[1].name
EVENTS = 500
OPEN = 1000
MEBI = 2**20
NOTE = f"""\
CPU of the server's processes, read from outside; each batch is small, the servers take turns, and \
the smallest batch of each counts. 1 is the {YARDSTICK}: aiohttp's server and client with nothing \
between them. personakit checks a key with a budget, renders a persona of six variables, logs the \
run and settles its cost; LiteLLM checks its master key, and has no database."""


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of load.

    Attributes:
        name: As the table says it.
        options: What the upstream is told.
        stream: Whether the answer is streamed.
        at_once: Concurrent requests.
        times: Requests of a batch.
        per: What one request consists of: 1, or its events.
        goal: The most that ours may cost, as a multiple of the yardstick.
    """

    name: str
    at_once: int
    times: int
    stream: bool = False
    options: str = ""
    per: int = 1
    goal: float = 4.0


def cases(bench: Bench) -> list[Case]:
    """Return the kinds of load, in batches so small that some are not disturbed."""
    events, few = f"/events{EVENTS}", bench.pick(4, 2)
    return [
        Case("a request, 1 at a time", 1, 20),
        Case("a request, 16 at once", 16, 48),
        Case("an event, in one read", 1, 5, True, events, EVENTS, 3.0),
        Case("an event, in one read, 16 at once", 16, 16, True, events, EVENTS, 3.0),
        Case("an event, 1 ms apart", 1, few, True, f"{events}/pace1", EVENTS, 3.0),
        Case("an event, 20 ms apart, 64 at once", 64, 64, True, "/events50/pace20", 50, 3.0),
    ]


@dataclass(slots=True)
class _Taken:
    """What a server took: the seconds of CPU of the cheapest batch of each case, and memory."""

    cpu: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    rest: int = 0
    loaded: int = 0
    open: int = 0
    start: float = 0.0
    start_cpu: float = 0.0


class Loader:
    """The process that sends the requests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_LOAD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, what: str, job: str, **command: Any) -> dict[str, Any]:
        """Let it do something and return the result.

        Raises:
            Missing: An answer was not right.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": what, "job": job, **command}).encode() + b"\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in result:
            raise Missing(result["error"])
        return result

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def ask(bench: Bench) -> list[Table]:
    """Compare requests and streams, memory, and starts."""
    if not account.available():
        return [Table("Serve", ["Serve"], [], missing={"all": "it measures by means of Linux"})]
    taken: dict[str, _Taken] = {}
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        load = stack.enter_context(contextlib.closing(Loader()))
        for kind in KINDS:
            try:
                taken[kind.name] = _held(bench, load, kind, folder)
            except Missing as why:
                missing[kind.name] = str(why)
        servers = [
            stack.enter_context(running(bench, kind, folder / f"{number}-load"))
            for number, kind in enumerate(KINDS)
            if kind.name in taken
        ]
        for case in cases(bench):
            servers = [server for server in servers if server.kind.name not in missing]
            _compare(bench, load, case, servers, taken, missing)
        for server in servers:
            taken[server.kind.name].loaded = account.resident(server.worker())
        said = versions(bench, [server.kind for server in servers])
    return [_costs(bench, taken, missing, said), _sizes(bench, taken)]


def _held(bench: Bench, load: Loader, kind: Kind, folder: Path) -> _Taken:
    """Start a server, and measure its memory at rest and with open streams.

    Raises:
        Missing: It cannot be installed, or gives no right answer.
    """
    name = kind.name
    bench.envs.python(kind.env)
    # The first start compiles, and finds nothing in memory.
    with running(bench, kind, folder / f"{name[:8]}-cold"):
        pass
    with running(bench, kind, folder / name[:8]) as server:
        taken = _Taken(start=server.start, start_cpu=server.start_cpu)
        body = server.body(stream=True)
        job = {"port": server.port, "path": PATH, "headers": server.headers, "body": body}
        load("make", name, **job, expect=answer_of(1))
        load("send", name, times=200, at_once=16)
        taken.rest = account.resident(server.worker())
        job["body"] = server.body("/events600/pace1000", stream=True)
        load("make", name, **job, expect="")
        streams = bench.pick(OPEN, 200)
        if load("hold", name, streams=streams)["open"] == streams:
            taken.open = account.resident(server.worker())
        load("leave", name)
    return taken


def _compare(
    bench: Bench,
    load: Loader,
    case: Case,
    servers: list[Running],
    taken: Mapping[str, _Taken],
    missing: dict[str, str],
) -> None:
    """Let all servers take turns at a case."""
    for server in servers:
        body = server.body(case.options, stream=case.stream)
        job = {"port": server.port, "path": PATH, "headers": server.headers, "body": body}
        count = int("".join(filter(str.isdigit, case.options.partition("/pace")[0])) or 1)
        load("make", server.kind.name, **job, expect=answer_of(count))
    for number in bench.rounds(bench.pick(40, 10)):
        for server in servers:
            name = server.kind.name
            if name in missing or number >= server.kind.rounds:
                continue
            try:
                load("renew", name, at_once=case.at_once)
                before = account.cpu(server.process.pid)
                took = load("send", name, times=case.times, at_once=case.at_once)
            except Missing as why:
                missing[name] = f"{case.name}: {why}"
                continue
            each = (account.cpu(server.process.pid) - before) / case.times / case.per
            one = taken[name]
            one.cpu[case.name] = min(each, one.cpu.get(case.name, each))
            one.first[case.name] = min(took["first"], one.first.get(case.name, took["first"]))


def _costs(
    bench: Bench, taken: Mapping[str, _Taken], missing: Mapping[str, str], said: Mapping[str, str]
) -> Table:
    names = list(taken)
    rows: list[list[Cell]] = []
    for case in cases(bench):
        one = taken[YARDSTICK].cpu.get(case.name, 0.0) if YARDSTICK in taken else 0.0
        costs = [taken[name].cpu.get(case.name, 0.0) for name in names]
        each = [
            ratios.ratio(cost, one)
            for name, cost in zip(names, costs, strict=True)
            if name != YARDSTICK
        ]
        micro = [cost * ratios.MICRO or None for cost in costs]
        rows.append([case.name, *each, f"≤ {case.goal:g}", *micro])
    peers = [name for name in names if name != YARDSTICK]
    columns = ["Serve", *peers, "goal of ours", *(f"{name}, µs" for name in names)]
    return Table("Serve: CPU", columns, rows, NOTE, 0, dict(missing), dict(said))


def _sizes(bench: Bench, taken: Mapping[str, _Taken]) -> Table:
    streams = bench.pick(OPEN, 200)
    rows: list[list[Cell]] = [
        [
            "memory of a worker after 200 requests, MiB",
            *(one.rest / MEBI for one in taken.values()),
            "≤ 90",
        ],
        [
            f"with {streams:,} open streams",
            *(one.open / MEBI or None for one in taken.values()),
            "≤ 150",
        ],
        ["after the load above", *(one.loaded / MEBI or None for one in taken.values()), ""],
        ["start to first answer, s", *(one.start for one in taken.values()), "≤ 0.8"],
        ["CPU of the start, s", *(one.start_cpu for one in taken.values()), ""],
    ]
    return Table("Serve: memory and start", ["Serve", *taken, "goal of ours"], rows)
