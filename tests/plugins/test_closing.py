"""Plugins are closed once, the last one first, by the runner that created them."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.lint import lint

import personakit
from personakit import PersonakitError, Request, Response, Send, hookimpl
from personakit.testing import MODES, check_plugin, in_mode, persona, runner

Install = Callable[..., None]
events: list[str] = []


@pytest.fixture(autouse=True)
def no_events() -> Iterator[None]:
    events.clear()
    yield
    gc.collect()


class Plugin:
    """Notes what happens to its instances."""

    made = 0

    def __init__(self, mark: str = "") -> None:
        type(self).made += 1
        self.mark = f"{type(self).__name__}{mark}"
        self.closed = False
        events.append(f"{self.mark} made")

    @hookimpl
    def chat(self, request: Request) -> None:
        assert not self.closed
        events.append(f"{self.mark} used")

    def end(self, how: str) -> None:
        assert not self.closed
        self.closed = True
        events.append(f"{self.mark} {how}")


class Sync(Plugin):
    def close(self) -> None:
        self.end("closed")


class Async(Plugin):
    async def aclose(self) -> None:
        await personakit.io(lambda: None)()
        self.end("aclosed")


class Both(Sync, Async):
    pass


class Fails(Plugin):
    def close(self) -> None:
        self.end("closed")
        raise RuntimeError("the disk is full")


class Exits(Plugin):
    def close(self) -> None:
        self.end("closed")
        sys.exit("it exits")


class NeedsLoop(Plugin):
    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.end("aclosed")


class Wrong(Plugin):
    async def close(self) -> None:
        raise AssertionError


PLUGINS = {"sync": Sync, "async": Async, "both": Both, "fails": Fails, "exits": Exits}


@pytest.fixture
def plugins(install: Install) -> None:
    install(**PLUGINS, loop=NeedsLoop, wrong=Wrong, plain=Plugin)


def ends() -> list[str]:
    return [event for event in events if event.endswith("closed")]


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("mode", ["run", "stream"])
def test_the_last_one_is_closed_first(mode: str) -> None:
    running, _ = runner(plugins=["sync"])
    with running:
        in_mode(mode, running, persona(plugins=["async", {"both": {"mark": "1"}}, "plain"]))
        assert ends() == []
    assert ends() == ["Both1 closed", "Async aclosed", "Sync closed"]
    running.close()
    assert len(ends()) == 3


@pytest.mark.usefixtures("plugins")
def test_under_the_async_api_aclose_comes_before_close() -> None:
    async def main() -> None:
        running, _ = runner(plugins=["sync", "loop"])
        async with running:
            await running.arun(persona(plugins=["both"]))
            assert ends() == []
        assert ends() == ["Both aclosed", "NeedsLoop aclosed", "Sync closed"]

    asyncio.run(main())
    assert len(ends()) == 3


@pytest.mark.usefixtures("plugins")
def test_close_is_called_in_a_thread_under_the_async_api(install: Install) -> None:
    threads = []

    class Where(Plugin):
        def close(self) -> None:
            threads.append(threading.current_thread())

    async def main() -> None:
        running, _ = runner(plugins=[Where])
        await running.arun(persona())
        await running.aclose()

    asyncio.run(main())
    assert threads
    assert threads[0] is not threading.main_thread()


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("mode", ["arun", "astream"])
def test_the_end_of_the_event_loop_closes(mode: str) -> None:
    running, _ = runner(plugins=["sync"])
    listed = persona(plugins=["loop"])
    in_mode(mode, running, listed)
    assert ends() == ["NeedsLoop aclosed", "Sync closed"]
    in_mode(mode, running, listed)
    assert ends() == ["NeedsLoop aclosed", "Sync closed"] * 2


@pytest.mark.usefixtures("plugins")
def test_a_stream_left_open_at_the_end_of_the_loop_ends_first() -> None:
    class Tidy(Sync):
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:  # type: ignore[override]
            try:
                return await send.live(request)
            finally:
                events.append(f"run ended, closed: {self.closed}")

    running, _ = runner(["a long answer"], plugins=[Tidy], size=1)

    async def main() -> Any:
        stream = running.astream(persona())
        await anext(stream)
        return stream

    stream = asyncio.run(main())
    assert events[-2:] == ["run ended, closed: False", "Tidy closed"]
    del stream


@pytest.mark.usefixtures("plugins")
def test_the_end_of_a_loop_closes_nothing_that_others_use() -> None:
    running, _ = runner(plugins=["both"])
    used, ended = threading.Event(), threading.Event()

    async def other() -> None:
        await running.arun(persona())
        used.set()
        await asyncio.to_thread(ended.wait, 60)
        await running.arun(persona())

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    assert used.wait(60)
    asyncio.run(running.arun(persona()))
    assert ends() == []
    # A run of the sync API that is not at its end, either.
    stream = running.stream(persona())
    next(stream)
    ended.set()
    thread.join()
    assert ends() == []
    list(stream)
    running.close()
    assert ends() == ["Both closed"]
    assert events.count("Both made") == 1


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("mode", MODES)
def test_a_closed_runner_creates_new_plugins(mode: str) -> None:
    running, _ = runner(plugins=["both"])
    listed = persona(plugins=["sync"])
    for _ in range(3):
        in_mode(mode, running, listed)
        running.close()
    assert events.count("Sync made") == events.count("Sync closed") == 3
    assert len(ends()) == 6


@pytest.mark.usefixtures("plugins")
def test_one_that_fails_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    running, _ = runner(plugins=["sync"])
    running.run(persona(plugins=["fails", "exits", "wrong", "loop", "async"]))
    with caplog.at_level(logging.WARNING, "personakit"):
        running.close()
    assert ends() == ["Async aclosed", "Exits closed", "Fails closed", "Sync closed"]
    loop, wrong, exits, fails = (record.getMessage() for record in caplog.records)
    assert loop.startswith("plugin 'loop' was not closed: its aclose() needs an event loop")
    assert wrong == "plugin 'wrong': close() must not be async; name it aclose()"
    assert (exits, fails) == (
        "plugin 'exits' failed in close()",
        "plugin 'fails' failed in close()",
    )
    assert "the disk is full" in str(caplog.records[-1].exc_info)


@pytest.mark.usefixtures("plugins")
def test_a_cancelled_aclose_closes_the_others() -> None:
    class Slow(Plugin):
        async def aclose(self) -> None:
            events.append("Slow began")
            await asyncio.sleep(60)

    async def main() -> None:
        running, _ = runner(plugins=["sync", Slow])
        await running.arun(persona())
        closing = asyncio.create_task(running.aclose())
        while events[-1] != "Slow began":
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert ends() == ["Sync closed"]

    asyncio.run(main())


def test_what_the_caller_made_is_not_closed(install: Install) -> None:
    given = Both()
    running, _ = runner(plugins=[given, Sync])
    with running:
        running.run(persona())
    asyncio.run(running.arun(persona()))
    assert ends() == ["Sync closed"] * 2
    assert not given.closed


an_object = Both("object")


def test_an_object_of_an_entry_point_is_not_closed(install: Install) -> None:
    install(one=f"{__name__}:an_object")
    with runner()[0] as running:
        running.run(persona(plugins=["one"]))
    assert ends() == []


@pytest.mark.usefixtures("plugins")
def test_the_plugins_of_a_persona_that_is_gone_are_closed_before_the_next_one_loads() -> None:
    running, _ = runner(plugins=["both"])
    for number in range(3):
        running.run(persona(plugins=[{"sync": {"mark": str(number)}}]))
        gc.collect()
    assert ends() == ["Sync0 closed", "Sync1 closed"]
    running.close()
    assert ends()[2:] == ["Sync2 closed", "Both closed"]


@pytest.mark.usefixtures("plugins")
def test_so_they_are_in_their_event_loop() -> None:
    async def main() -> None:
        running, _ = runner()
        for number in range(3):
            await running.arun(persona(plugins=[{"loop": {"mark": str(number)}}]))
            gc.collect()
        while len(ends()) < 2:
            await asyncio.sleep(0.001)
        await running.aclose()

    asyncio.run(main())
    assert ends() == [f"NeedsLoop{number} aclosed" for number in range(3)]


@pytest.mark.usefixtures("plugins")
def test_the_plugins_of_a_persona_that_a_plugin_ran_are_closed() -> None:
    class Asks:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            await send.run(persona(plugins=["both"]), "Hi!")
            return await send(request)

    with runner(plugins=[Asks])[0] as running:
        running.run(persona(plugins=["sync"]))
    assert sorted(ends()) == ["Both closed", "Sync closed"]


@pytest.mark.usefixtures("plugins")
def test_a_plugin_that_lint_creates_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lint({"a.yaml": "system: You.\ndescription: A.\nplugins: [both]\n"}, plugins="both")
    assert events == ["Both made", "Both closed"]


def test_check_plugin_closes_what_it_creates() -> None:
    check_plugin(NeedsLoopOrNot)
    made = [event for event in events if event.endswith("made")]
    assert len(ends()) == len(made) == 25


class NeedsLoopOrNot(Plugin):
    def close(self) -> None:
        self.end("closed")

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.end("aclosed")


@pytest.mark.usefixtures("plugins")
def test_a_plugin_that_was_never_used_is_not_created_to_be_closed() -> None:
    running, _ = runner(plugins=["both"])
    running.close()
    asyncio.run(running.aclose())
    assert events == []


class Broken(Plugin):
    def __init__(self) -> None:
        raise ValueError("no")


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("mode", ["run", "arun"])
def test_plugins_made_before_one_that_fails_are_closed(mode: str, install: Install) -> None:
    install(**PLUGINS, broken=Broken)
    running, _ = runner(plugins=["both"])
    for _ in range(3):
        with pytest.raises(PersonakitError, match="no"):
            in_mode(mode, running, persona(plugins=["sync", "fails", "broken"]))
    assert ends() == ["Fails closed", "Sync closed"] * 3
    running.close()
    assert ends()[6:] == ["Both closed"]
    events.clear()
    for _ in range(2):
        with pytest.raises(PersonakitError, match="no"):
            in_mode(mode, runner(plugins=[Sync, Broken])[0], persona())
    assert ends() == ["Sync closed"] * 2


def test_a_loop_that_was_closed_without_its_end_is_forgotten() -> None:
    running, _ = runner(plugins=[Async])
    loops = []
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(running.arun(persona()))
        loop.close()
        loops.append(weakref.ref(loop))
        del loop
    gc.collect()
    # Of the last one nothing is known until the next begins.
    assert [one() is None for one in loops] == [True, True, False]
    # What they used stays open for the next run, and the end of its loop closes it.
    assert ends() == []
    asyncio.run(running.arun(persona()))
    assert ends() == ["Async aclosed"]
    assert events.count("Async made") == 1


PROGRAM = """
import personakit
from personakit.testing import persona, runner

class Saves:
    @personakit.hookimpl
    def chat(self, request): ...

    def close(self):
        print("saved")

running, _ = runner(plugins=[Saves])
running.run(persona())
print("the program ends")
"""


def test_the_end_of_the_program_closes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "the program ends\nsaved\n"


@pytest.mark.usefixtures("plugins")
def test_runs_in_threads_while_the_runner_is_closed_never_load_a_closed_plugin() -> None:
    running, _ = runner(plugins=["plain"])
    listed = persona(plugins=["sync"])
    barrier = threading.Barrier(5)

    def run() -> None:
        barrier.wait()
        for _ in range(20):
            running.render(listed)
            running.catalog.bind(listed)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for _ in range(20):
        running.close()
    for thread in threads:
        thread.join()
    running.close()
    assert events.count("Sync made") == events.count("Sync closed")
