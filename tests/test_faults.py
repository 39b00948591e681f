"""Whatever the other side does, a run ends in the right answer or in one typed error.

`tests/faulty` has the server and its modes, each with how a run has to end under it; here each runs
whole and streamed, sync and async. Of the Responses API, ``PERSONAKIT_EXAMPLES=…`` tries all, as
`just properties` does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from faulty import FAMILIES, RESPONSES, TEXT, Faulty, Gives, Mode, works, works_again
from faulty.body import packed
from faulty.judging import judged, show
from faulty.running import WHO, attempts, in_all_ways
from faulty.server import LIFE

from personakit import Runner
from personakit.testing import MODES as WAYS

SMOKE = frozenset(
    "closed before the headers|hangs in the body|status 404|status 503|400 in OpenAI's words|"
    "HTML with 200 as events|cut JSON|deep|lone surrogate|gzip that nobody asked for|output null|"
    "status incomplete|200 with an error: a limit|cut by a TCP reset|closed without an end|stalls|"
    "split into bytes|hangs after [DONE]|ends with [DONE] before a finish reason|"
    "error event without the key|broken JSON in an event|no [DONE]|finish_reason length|"
    "second response behind the first".split("|")
)
"""The faults of the Responses API that are always tried."""
ALL = [(family, mode) for family, modes in FAMILIES.items() for mode in modes]
ALL += [
    (f"responses, {family}", mode)
    for family, modes in RESPONSES.items()
    for mode in modes
    if mode.name in SMOKE or "PERSONAKIT_EXAMPLES" in os.environ
]


# aiohttp reads ahead: invalid bytes after an answer can fail it, so that it is requested again, and
# it waits for the end of an invalid chunk. docs/models.md says so.
AHEAD = (
    {"extra bytes after the body", "chunks that are none", "garbage after [DONE]"}
    if importlib.util.find_spec("aiohttp")
    else set()
)


def params(modes: list[tuple[str, Mode]]) -> list[Any]:
    return [
        pytest.param(
            family,
            mode,
            id=f"{family}: {mode.name}",
            marks=pytest.mark.xfail(strict=False) if mode.name in AHEAD else (),
        )
        for family, mode in modes
    ]


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    """Do once what takes a while, and would count against a deadline: import openai, pack."""
    packed()
    mode = Mode("works", works, Gives(), deadline=60)
    with Faulty(works, works=works) as server:
        (ended,) = attempts("run", server, mode)
    assert not judged(ended, Gives(), mode, server)


@pytest.mark.parametrize(("family", "mode"), params(ALL))
def test_a_fault(family: str, mode: Mode) -> None:
    """A run ends as it should, in all four ways."""

    def check(way: str) -> list[str]:
        with (
            Faulty(works, works=works) as other,
            Faulty(
                mode.serve, works=works, elsewhere=other.base_url, deaf=mode.deaf and LIFE
            ) as server,
        ):
            (ended,) = attempts(way, server, mode)
        whole = way in ("run", "arun") and mode.whole is not None
        found = judged(ended, mode.whole if whole else mode.ends, mode, server)
        if mode.requests is not None and len(server.requests) != mode.requests:
            found.append(f"{len(server.requests)} requests, not {mode.requests}")
        if other.connections:
            found.append("another server was called")
        return found

    found = show(in_all_ways(check))
    assert not found, f"\n{found}"


RETRIED = [(family, mode) for family, mode in ALL if mode.retried]


@pytest.mark.parametrize(("family", "mode"), params(RETRIED))
def test_a_fault_that_passes(family: str, mode: Mode) -> None:
    """A server that misbehaves once and then works gives its answer."""

    def check(way: str) -> list[str]:
        times = 0 if mode.deaf else 1
        with Faulty(mode.serve, works=works, times=times, deaf=mode.deaf) as server:
            (ended,) = attempts(way, server, mode)
        return judged(ended, Gives(), mode, server)

    found = show(in_all_ways(check))
    assert not found, f"\n{found}"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_retries_are_counted_and_never_doubled(times: int) -> None:
    """With two retries a server may misbehave twice; the third time is the last."""
    (mode,) = [mode for mode in FAMILIES["status"] if mode.name == "status 503"]

    def check(way: str) -> list[str]:
        with Faulty(mode.serve, works=works, times=times) as server:
            (ended,) = attempts(way, server, mode, retries=2)
        wanted = Gives() if times < 3 else mode.ends
        requests = len(server.requests)
        right = min(times + 1, 3)
        return judged(ended, wanted, mode, server) + (
            [] if requests == right else [f"{requests} requests, not {right}"]
        )

    found = show(in_all_ways(check))
    assert not found, f"\n{found}"


AGAIN = [(family, mode) for family, mode in ALL if mode.again]


@pytest.mark.parametrize(("family", "mode"), params(AGAIN))
def test_the_next_request_gets_its_own_answer(family: str, mode: Mode) -> None:
    """What a connection holds behind an answer is nobody's answer."""

    def check(way: str) -> list[str]:
        with Faulty(mode.serve, works=works) as server:
            first, *later = attempts(way, server, mode, runs=3)
        found = judged(first, Gives(TEXT), mode, server)
        for ended in later:
            text = ended.response.text if ended.response else ""
            if not re.fullmatch(r"Answer \d\.", text):
                found.append(f"{ended}: a later request got that")
        return found

    found = show(in_all_ways(check))
    assert not found, f"\n{found}"


def test_connections_are_kept() -> None:
    """Where nothing is wrong, the next request takes the same connection."""

    def check(way: str) -> tuple[list[str], int]:
        mode = Mode("works", works_again, Gives())
        with Faulty(works_again, works=works) as server:
            ended = attempts(way, server, mode, runs=3)
        return [each.response.text for each in ended if each.response], server.connections

    wanted = ["Answer 1.", "Answer 2.", "Answer 3."]
    assert in_all_ways(check) == dict.fromkeys(WAYS, (wanted, 1))


LARGE = [
    "body: 50 MB",
    "body: without end",
    "body: gzip bomb of 500 MB",
    "status: 400 with a body of 50 MB",
    "status: 400 with a gzip bomb",
    "status: 400 with a body without end",
    "stream: never ends",
    "stream: line without end",
    "stream: event without end",
    "stream: fast comments without end",
]
MEASURE = """
import re
import resource
import sys
from pathlib import Path
from faulty import FAMILIES, Faulty, Gives, Mode, works
from faulty.body import packed
from faulty.running import attempts
from personakit.testing import MODES

def peak():
    # On Linux ru_maxrss begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024

def run(mode):
    for way in MODES:
        with Faulty(mode.serve, works=works) as server:
            attempts(way, server, mode)
        yield f"{peak() - start:.0f}"

modes = {f"{family}: {mode.name}": mode for family in FAMILIES for mode in FAMILIES[family]}
start = 0
packed()
list(run(Mode("works", works, Gives())))
start = peak()
for name in sys.argv[1:]:
    print(f"{name}:", *run(modes[name]))
"""


def test_memory_stays_flat() -> None:
    """What is sent without measure is not kept: peak memory, in a process of its own."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *LARGE],
        env={"PYTHONPATH": f"{here}:{here.parent}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line.rpartition(": ") for line in done.stdout.splitlines()]
    found = {name: sizes for name, _, sizes in lines}
    assert list(found) == LARGE, done.stderr
    # What it has grown by, in MB, after each way of running.
    assert max(int(size) for sizes in found.values() for size in sizes.split()) < 150, found


def test_a_stream_that_is_left_ends_the_request() -> None:
    (mode,) = [mode for mode in FAMILIES["stream"] if mode.name == "drips characters"]

    async def leave(runner: Runner) -> None:
        async with runner.astream(WHO, "Hi!") as stream:
            await anext(stream)
        await runner.aclose()

    for way in ("stream", "astream"):
        with Faulty(mode.serve, works=works) as server:
            runner = Runner(server.config())
            if way == "astream":
                asyncio.run(leave(runner))
            else:
                with runner.stream(WHO, "Hi!") as stream:
                    next(stream)
            assert server.settled.wait(LIFE / 2), way
            runner.close()


def test_a_run_that_is_cancelled_ends_the_request() -> None:
    async def cancelled(server: Faulty) -> None:
        runner = Runner(server.config())
        run = asyncio.create_task(runner.arun(WHO, "Hi!"))
        assert await asyncio.to_thread(server.asked.wait, LIFE)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert await asyncio.to_thread(server.settled.wait, LIFE / 2)
        await runner.aclose()

    with Faulty(lambda exchange: exchange.wait(), works=works) as server:
        asyncio.run(cancelled(server))
        assert len(server.requests) == 1


def test_the_server_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with Faulty(lambda exchange: exchange.wait(), works=works) as server:
        mode = Mode("hangs", works, Gives(), timeout=0.2, deadline=0.5)
        attempts("run", server, mode, retries=0)
    assert set(threading.enumerate()) - before == set()


def test_the_modes_have_names_of_their_own() -> None:
    for family, modes in (*FAMILIES.items(), *RESPONSES.items()):
        names = [mode.name for mode in modes]
        assert sorted(names) == sorted(set(names)), family
    assert len(ALL) >= 79
