"""What does a row cost on Ray, beside the same row in one process?

    uv run --dev --with 'ray[data]>=2.60,<3' python -m benchmarks.serving.ray_rows

CPU is that of all processes: the driver, the workers, and those that Ray runs on a node. One run
is of many rows and one of one row, on a cluster that runs already; what the latter takes, which is
mostly the start of workers and their imports, is subtracted from the former.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

AT_ONCE = 64
GOAL = 1.5
PERSONA = """\
system: You sort reviews of {{ product }}, sold in {{ country }}. Answer with one word.
model: openai/test-model
variables: {product: {required: true}, country: {required: true}}
"""
_LIMIT = 600
_EVERY = 0.25


class Used:
    """The CPU of this process and all below it, which is looked at a few times a second.

    What a process took is gone once it has ended, unless its parent waits for it.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._own = 0.0
        self._thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        while not self._ended.wait(_EVERY):
            self._look()
            self._own = time.thread_time()

    def _look(self) -> None:
        import psutil

        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times, began = process.cpu_times(), process.create_time()
                self._seconds[process.pid, began] = times.user + times.system

    @property
    def seconds(self) -> float:
        """The seconds so far, without those of looking."""
        self._look()
        return sum(self._seconds.values()) - self._own

    def __enter__(self) -> Used:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def plain(rows: Path, out: Path) -> int:
    """Answer rows in this process; return how many answers there are."""
    from personakit.batch import Batch

    batch = Batch("sorter", rows, out=out, key="id", input="review", concurrency=AT_ONCE)
    return sum(result.ok for result in batch.run())


def clustered(rows: Path, out: Path, workers: int) -> int:
    """Answer rows on the cluster of this process; return how many answers there are."""
    from personakit.batch import ClusterBatch

    batch = ClusterBatch(
        "sorter", str(rows), out=str(out), key="id", input="review",
        concurrency=AT_ONCE, workers=workers,
    )  # fmt: skip
    batch.run()
    progress = batch.progress()
    return 0 if progress is None else progress.done


def write_table(file: Path, rows: int) -> None:
    """Write a table of reviews."""
    lines = [
        f'r{row:07},lamp {row % 97},France,{row % 5 + 1},"Good value, works. Order {row}."\n'
        for row in range(rows)
    ]
    file.write_text("id,product,country,stars,review\n" + "".join(lines), "utf-8")


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """Run a cluster of one node."""
    import ray

    ray.init(
        address="local", num_cpus=cpus, object_store_memory=200_000_000, include_dashboard=False,
        log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


def took(run: Callable[[Path, Path], int], folder: Path, name: str, count: int) -> list[float]:
    """Return the seconds of CPU and of time of a row, without what one row alone takes."""
    found = []
    with Used() as used:
        for rows in (1, count):
            out = folder / f"{name}-{rows}.{'jsonl' if name == 'plain' else 'parquet'}"
            cpu, wall = used.seconds, time.perf_counter()
            answers = run(folder / f"{rows}.csv", out)
            found.append((used.seconds - cpu, time.perf_counter() - wall))
            assert answers == rows, f"{answers} of {rows} answers"
    (cpu_one, wall_one), (cpu, wall) = found
    return [(cpu - cpu_one) / (count - 1), (wall - wall_one) / (count - 1)]


def side(folder: Path, name: str, count: int) -> list[float]:
    """Measure a side in this process: ``plain``, or the number of workers on Ray."""
    os.environ["PERSONAKIT_PATH"] = str(folder)
    if name == "plain":
        return took(plain, folder, name, count)
    workers = int(name)
    with cluster(workers):
        return took(lambda rows, out: clustered(rows, out, workers), folder, name, count)


def measure(count: int, rounds: int, names: list[str]) -> dict[str, list[float]]:
    """Return for each side the CPU and the time of a row, in seconds: the medians of rounds."""
    from benchmarks.harness import traffic

    found: dict[str, list[list[float]]] = {name: [] for name in names}
    with traffic.serving() as server:
        for number in range(rounds):
            for name in names:
                with TemporaryDirectory(prefix=f"rows-{number}-") as place:
                    folder = Path(place)
                    (folder / "sorter.yaml").write_text(PERSONA, "utf-8")
                    for rows in (1, count):
                        write_table(folder / f"{rows}.csv", rows)
                    found[name].append(_in_a_process(folder, name, count, server.url()))
    return {
        name: [sorted(values)[len(values) // 2] for values in zip(*each, strict=True)]
        for name, each in found.items()
    }


def _in_a_process(folder: Path, name: str, count: int, url: str) -> list[float]:
    env = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "key", "PERSONAKIT_PLUGINS": ""}
    command = [sys.executable, "-m", "benchmarks.serving.ray_rows", "--side", name]
    command += ["--folder", str(folder), "--count", str(count)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    result: list[float] = json.loads(lines[-1])
    return result


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving.ray_rows", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, metavar="ROWS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        print(json.dumps(side(options.folder, options.side, options.count)))
        return 0
    found = measure(options.count, options.rounds, ["plain", *map(str, options.workers)])
    base: Any = found["plain"]
    print("| a row | CPU µs | time µs | CPU beside plain | time beside plain |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, (cpu, wall) in found.items():
        title = name if name == "plain" else f"Ray, {name} workers"
        ratios = f"{cpu / base[0]:.2f} | {wall / base[1]:.2f}"
        print(f"| {title} | {cpu * 1e6:.0f} | {wall * 1e6:.0f} | {ratios} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
