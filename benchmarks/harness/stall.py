"""How long the first `arun` stops the event loop, beside the import of openai alone.

    uv run --dev python -m benchmarks.harness.stall

Each case runs in a process of its own, with a task that wants its turn every millisecond. The
figure is the longest time between two of its turns, in milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from personakit.testing import Server

CASES = {
    "import openai": "import openai",
    "arun": 'await personakit.arun("ann", "Hi", model="openai/test")',
    "astream": 'async for _ in personakit.astream("ann", "Hi", model="openai/test"): pass',
    "a runner's arun": 'await runner.arun("ann", "Hi", model="openai/test")',
    "the first turn of a conversation": (
        'await runner.conversation("ann", model="openai/test").arun("Hi")'
    ),
    "warm": 'await personakit.warm("ann")',
    "warm, then arun": (
        'await personakit.warm("ann"); await personakit.arun("ann", "Hi", model="openai/test")'
    ),
}
SCRIPT = """
import asyncio, json, time
import personakit
{setup}

async def main():
    gaps = []

    async def tick():
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    gaps.clear()
    {code}
    await asyncio.sleep(0.01)
    task.cancel()
    print(json.dumps(max(gaps)))

asyncio.run(main())
"""


def longest(case: str, environ: dict[str, str]) -> float:
    """Return the longest stall of a case, in seconds.

    Args:
        case: One of `CASES`.
        environ: The environment of the process, with the address of a server.
    """
    with tempfile.TemporaryDirectory() as folder:
        personas = Path(folder, "personas")
        personas.mkdir()
        (personas / "ann.yaml").write_text("system: You are {{ name }}.\nvariables: {name: Ann}\n")
        setup = "runner = personakit.Runner()" if "runner" in CASES[case] else ""
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(setup=setup, code=CASES[case])],
            cwd=folder,
            env={"HOME": folder, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
    seconds: float = json.loads(done.stdout)
    return seconds


def main() -> None:
    with Server(["Hello."]) as server:
        for case in CASES:
            print(f"{case:32} {longest(case, server.environ()) * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
