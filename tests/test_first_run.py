"""The first run of the async API loads in a thread what it needs, and `warm` does so ahead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.stall import longest
from personakit import (
    Config,
    Persona,
    PersonaError,
    PersonakitError,
    Registry,
    Request,
    Runner,
    TemplateError,
    UsageError,
    VariableError,
    hookimpl,
)
from personakit.testing import Server, Upstream

ANN = "system: You are {{ name }}.\nvariables: {name: Ann}\n"


def runner(folder: Path, **options: Any) -> Runner:
    (folder / "ann.yaml").write_text(ANN)
    return Runner(Config(path=(folder,)), backend=Upstream(), **options)


def test_the_first_run_stops_the_loop_for_a_small_part_of_what_its_imports_take() -> None:
    with Server(["Hello."]) as server:
        environ = server.environ()
        whole = longest("import openai", environ)
        # On an idle machine, it is a fiftieth. Other processes stop both.
        assert min(longest("arun", environ) for _ in range(2)) < whole / 3


class Where:
    """Notes the threads in which plugins are set up and created."""

    threads: list[threading.Thread]

    def __init__(self, marks: int = 1) -> None:
        type(self).threads.append(threading.current_thread())

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.template_filter("loud", str.upper)

    @hookimpl
    def chat(self, request: Request) -> None:
        type(self).threads.append(threading.current_thread())


@pytest.mark.parametrize("way", ["arun", "astream", "warm", "turn", "streamed turn"])
def test_templates_and_plugins_are_loaded_outside_of_the_loop_once(
    way: str, tmp_path: Path
) -> None:
    Where.threads = []
    using = runner(tmp_path, plugins=[Where])

    async def run() -> None:
        if way == "warm":
            await using.warm("ann")
        turns = using.conversation("ann")
        for _ in range(2):
            if "stream" in way:
                stream = using.astream("ann", "Hi") if way == "astream" else turns.astream("Hi")
                async for _ in stream:
                    pass
            elif way == "turn":
                await turns.arun("Hi")
            else:
                await using.arun("ann", "Hi")

    asyncio.run(run())
    created, *called = Where.threads
    assert created is not threading.main_thread()
    assert called == [threading.main_thread()] * 2


def test_the_first_turn_in_a_running_loop_that_waits_for_it(tmp_path: Path) -> None:
    turns = runner(tmp_path).conversation("ann")

    async def run() -> list[str]:
        return [turns.run("Hi").text, *turns.stream("Hi"), (await turns.arun("Hi")).text]

    assert "".join(asyncio.run(run())) == "Hello!" * 3


def test_what_is_wrong_is_raised_by_the_first_run_as_by_the_second(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("systm: Hi\n")
    (tmp_path / "bad.yaml").write_text("system: '{{ a.b }}'\nvariables: {a: {default: {c: 1}}}\n")
    cases: list[tuple[str, dict[str, Any], type[PersonakitError]]] = [
        ("anne", {}, UsageError),
        ("broken", {}, PersonaError),
        ("ann", {"variables": {"b": 1}}, VariableError),
        ("ann", {"temperature": 1}, UsageError),
        ("ann", {"parameters": {"stream": True}}, UsageError),
    ]

    async def run(using: Runner) -> None:
        for persona, options, kind in cases:
            with pytest.raises(kind):
                await using.arun(persona, "Hi", **options)
            with pytest.raises(kind):
                using.astream(persona, "Hi", **options)
        with pytest.raises(TemplateError):
            await using.arun("bad", "Hi")

    using = runner(tmp_path)
    asyncio.run(run(using))
    asyncio.run(using.warm("ann"))
    asyncio.run(run(using))


def test_warm_loads_personas_and_names_their_mistakes(tmp_path: Path) -> None:
    using = runner(tmp_path)
    (tmp_path / "bad.yaml").write_text("system: '{% if %}'\n")

    async def warm(*personas: Any) -> None:
        await using.warm(*personas)

    asyncio.run(warm())
    asyncio.run(warm("ann", Persona.parse("system: Hi")))
    for name, kind in (("bad", TemplateError), ("none", UsageError)):
        with pytest.raises(kind):
            asyncio.run(warm("ann", name))


def test_a_run_after_warm_imports_nothing_but_what_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "ann.yaml").write_text(ANN)
    script = (
        "import asyncio, sys\nimport personakit\n"
        "async def main():\n"
        "    await personakit.warm('./ann.yaml')\n"
        "    before = set(sys.modules)\n"
        "    response = await personakit.arun('./ann.yaml', 'Hi', model='openai/gpt-5-mini')\n"
        "    response.cost\n"
        "    print(sorted(set(sys.modules) - before))\n"
        "asyncio.run(main())\n"
    )
    with Server(["Hello."]) as server:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server.environ()},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert done.stdout.strip() == "[]"


def test_a_cancelled_first_run_leaves_the_runner_usable(tmp_path: Path) -> None:
    using = runner(tmp_path)

    async def run() -> str:
        task = asyncio.ensure_future(using.arun("ann", "Hi"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        many = await asyncio.gather(*(using.arun("ann", "Hi") for _ in range(20)))
        return many[-1].text

    assert asyncio.run(run()) == "Hello!"


FIRST = """
import asyncio, sys
import personakit

async def arun(delay):
    await asyncio.sleep(delay)
    return (await personakit.arun("./ann.yaml", "Hi")).text

async def astream(delay):
    await asyncio.sleep(delay)
    return "".join([text async for text in personakit.astream("./ann.yaml", "Hi")])

async def warm(delay):
    await asyncio.sleep(delay)
    await personakit.warm()
    return "warm"

async def main():
    delays = (0, 0.01, 0.05, 0.1, 0.2)
    ways = {"arun": arun, "astream": astream, "warm": warm}
    first, *others = sys.argv[1:]
    later = (ways[other](delay) for other in others for delay in delays)
    print(sorted(set(await asyncio.gather(ways[first](0), *later))))

asyncio.run(main())
"""


@pytest.mark.parametrize("first", ["arun", "astream", "warm"])
def test_calls_that_begin_while_the_first_one_loads(first: str, tmp_path: Path) -> None:
    (tmp_path / "ann.yaml").write_text(ANN)
    with Server(["Hello."]) as server:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server.environ()}
        done = subprocess.run(
            [sys.executable, "-c", FIRST, first, "arun", "astream", "warm"],
            cwd=tmp_path,
            env={**environ, "PERSONAKIT_MODEL": "openai/test-model"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert (done.stderr, done.stdout.strip()) == ("", "['Hello.', 'warm']")


def test_threads_that_begin_at_once_share_a_runner() -> None:
    script = (
        "import threading, time, personakit\n"
        "import personakit.runner as module\n"
        "init, made = module.Runner.__init__, []\n"
        "def slow(self, *given, **options):\n"
        "    made.append(self); time.sleep(0.2); init(self, *given, **options)\n"
        "module.Runner.__init__ = slow\n"
        "threads = [threading.Thread(target=personakit.load, args=('chef',)) for _ in range(3)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "print(len(made))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", "1")
