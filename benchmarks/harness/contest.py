"""Contests: several sides do the same in turns, each in a process and environment of its own."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.harness.envs import Missing

_PEERS = Path(__file__).parent.parent / "peers"
_WORKER = Path(__file__).with_name("worker.py")
_PATIENCE = 300
"""Seconds that a worker may take to answer; one that takes longer is killed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One that takes part.

    Attributes:
        name: As the table says it.
        function: Its adapter and the function there: ``openai_client:call``.
        env: Its environment, of `envs.REQUIREMENTS`.
        packages: The distributions whose versions are recorded.
        job: What the function gets, over what all sides of a contest get.
        share: Does so many of the contest's repetitions; for one that is very slow.
    """

    name: str
    function: str
    env: str
    packages: tuple[str, ...] = ()
    job: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0


@dataclass(slots=True)
class Measured:
    """What a side took, the medians over all rounds.

    Attributes:
        cpu: Seconds of CPU for one repetition, all threads.
        wall: Seconds for one repetition.
        first: Seconds until the first piece of text; 0 where nothing is streamed.
        memory: Bytes held: `bare` with the harness alone, `made` after imports and set-up, `once`
            after the first answer, `end` after the last.
        missing: Why it could not take part; empty when it did.
        versions: Of the packages.
        connections: Connections that the server saw in the last round.
    """

    cpu: float = 0.0
    wall: float = 0.0
    first: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)
    missing: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    connections: int = 0


class _Worker:
    """A side's process."""

    def __init__(self, bench: Bench, side: Side, job: Mapping[str, Any]) -> None:
        module, _, function = side.function.partition(":")
        adapter = str(_PEERS / f"{module}.py")
        given = {**job, **side.job, "adapter": adapter, "function": function}
        self.side, self.rounds = side, list[dict[str, Any]]()
        self.measured = Measured()
        # The worker's own folder is not on the path: modules there have the names of packages.
        command = [bench.envs.python(side.env), "-P", str(_WORKER)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=bench.envs.environ(**given.pop("environ", {})),
            cwd=given.pop("folder", None),
            text=True,
        )
        self._job = {**given, "packages": list(side.packages)}

    def begin(self) -> None:
        """Make everything ready and do it once."""
        ready = self._ask(self._job)
        self.measured.memory, self.measured.versions = ready["memory"], ready["versions"]

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Missing("it ended") from None
        timer = threading.Timer(_PATIENCE, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise Missing(f"it ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Missing(answer["error"])
        return answer

    def turn(self, times: int, at_once: int) -> None:
        """Do it some times and keep what it took for one."""
        times = max(1, int(times * self.side.share))
        took = self._ask({"times": times, "at_once": at_once})
        if not took["good"]:
            raise Missing("it gave another answer")
        first = statistics.median(took["first"]) if took["first"] else 0.0
        self.rounds.append(
            {"cpu": took["cpu"] / times, "wall": took["wall"] / times, "first": first}
        )
        self.measured.memory["end"] = took["memory"]

    def warm(self, at_once: int) -> None:
        """Do it once, on every connection, and forget what it took."""
        self._ask({"times": at_once, "at_once": at_once})

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: so many rounds at most, in each of which every side has a turn."""

    rounds: int
    times: int
    at_once: int = 1


def contest(
    bench: Bench, sides: Sequence[Side], job: Mapping[str, Any], effort: Effort
) -> dict[str, Measured]:
    """Return what each side took, by name.

    Args:
        bench: The environments and the server.
        sides: Those that take part; all are in memory at once and one is at work at a time.
        job: What the adapters get; `expect` is the right answer, and `said`, if it is there, are
            the messages that the server must have got.
        effort: How much to do.
    """
    results: dict[str, Measured] = {}
    workers: list[_Worker] = []
    try:
        for side in sides:
            try:
                worker = _Worker(bench, side, job)
                workers.append(worker)
                worker.begin()
                if "said" in job:
                    _check(bench.server.last(), side.job.get("said", job["said"]))
                worker.turn(max(1, effort.times // 10), effort.at_once)
                worker.measured.memory["warm"] = worker.measured.memory["end"]
                worker.rounds.clear()
                results[side.name] = worker.measured
            except Missing as missing:
                results[side.name] = Measured(missing=str(missing))
        playing = [worker for worker in workers if worker.side.name in results]
        playing = [worker for worker in playing if not results[worker.side.name].missing]
        for number in bench.rounds(effort.rounds):
            # There and back again: what disturbs the machine for a while hits not always the same.
            for worker in playing if number % 2 == 0 else reversed(playing):
                # The connections were idle for as long as the others took, and may be gone.
                worker.warm(effort.at_once)
                before = bench.server.connections()
                worker.turn(effort.times, effort.at_once)
                # One of them is that of the question itself.
                worker.measured.connections = bench.server.connections() - before - 1
    finally:
        for worker in workers:
            worker.end()
    for worker in playing:
        for name in ("cpu", "wall", "first"):
            middle = statistics.median(taken[name] for taken in worker.rounds)
            setattr(worker.measured, name, middle)
    return results


def _check(got: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> None:
    """Check that a side sent what all are to send; a last line end is nobody's fault."""
    plain = [[role, text.rstrip("\n")] for role, text in got]
    right = [[role, text.rstrip("\n")] for role, text in wanted]
    if plain != right:
        raise Missing(f"it sent {str(plain)[:200]} instead of {str(right)[:200]}")
