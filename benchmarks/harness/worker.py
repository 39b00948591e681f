"""One side of a comparison: a process that does one thing again and again, and measures itself.

It runs in the environment of a peer, so it imports nothing but the standard library and the
adapter. The job comes as one line of JSON on standard input, then commands: how often, and how
many at once. Each answer is one line of JSON on the stream that standard output was.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Work:
    """What an adapter's function gave, called in the way that suits it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.first: list[float] = []
        self.whole = bool(inspect.signature(function).parameters)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(
            function
        )
        self.loop = asyncio.Runner() if self.is_async else None

    def do(self, times: int, at_once: int = 1) -> Any:
        """Do it so many times and return the last answer."""
        if self.loop is not None:
            return self.loop.run(self._ado(times, at_once))
        once = self._stream if inspect.isgeneratorfunction(self.function) else self.function
        answer = None
        for _ in range(times):
            answer = once()
        return answer

    async def _ado(self, times: int, at_once: int) -> Any:
        if self.whole:
            return (await self.function(times, at_once))[-1]
        once = self._astream if inspect.isasyncgenfunction(self.function) else self.function
        left, answer = iter(range(times)), None

        async def one_after_the_other() -> None:
            nonlocal answer
            for _ in left:
                answer = await once()

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
        return answer

    def _stream(self) -> str:
        start, pieces = time.perf_counter(), list[str]()
        for piece in self.function():
            if piece:
                if not pieces:
                    self.first.append(time.perf_counter() - start)
                pieces.append(piece)
        return "".join(pieces)

    async def _astream(self) -> str:
        start, pieces = time.perf_counter(), list[str]()
        async for piece in self.function():
            if piece:
                if not pieces:
                    self.first.append(time.perf_counter() - start)
                pieces.append(piece)
        return "".join(pieces)


def load(path: str, name: str) -> Callable[[dict[str, Any]], Callable[..., Any]]:
    """Return a function of an adapter."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module  # where dataclasses look for the names of annotations
    spec.loader.exec_module(module)
    function: Callable[[dict[str, Any]], Callable[..., Any]] = getattr(module, name)
    return function


def right(answer: Any, job: dict[str, Any]) -> bool:
    """Tell whether an answer is the right one, but for the numbers that `fresh` makes."""
    wanted = job["expect"]
    if "values" not in job or not isinstance(answer, str):
        return bool(answer == wanted)
    return re.sub(r"\d+", "0", answer) == re.sub(r"\d+", "0", wanted)


def main() -> None:
    """Do the job that standard input says."""
    # What a library prints must not come between the lines of the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**values: Any) -> None:
        print(json.dumps(values), file=out, flush=True)

    job = json.loads(sys.stdin.readline())
    # Values that differ each time: what a library remembers of the last ones is of no use to it.
    count = itertools.count(45)
    job["fresh"] = lambda: {**job["values"], job.get("varies", "minutes"): next(count)}
    memory = {"bare": resident()}
    try:
        work = Work(load(job["adapter"], job["function"])(job))
        memory["made"] = resident()
        answer = work.do(1)
        memory["once"] = resident()
    except Exception as error:
        say(error=f"{type(error).__name__}: {str(error)[:300]}")
        raise
    if not right(answer, job):
        say(error=f"it gave {str(answer)[:200]!r} instead of {str(job['expect'])[:200]!r}")
        return
    say(memory=memory, versions={name: metadata.version(name) for name in job["packages"]})
    for line in sys.stdin:
        command = json.loads(line)
        gc.collect()
        work.first.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        answer = work.do(command["times"], command.get("at_once", 1))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        good = right(answer, job)
        say(good=good, cpu=cpu, wall=wall, first=sorted(work.first), memory=resident())
    if work.loop is not None:
        work.loop.close()


if __name__ == "__main__":
    main()
