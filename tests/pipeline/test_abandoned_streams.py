"""Streams that nobody reads to the end leave no connection open, and say nothing on stderr.

``PERSONAKIT_EXAMPLES=…`` abandons 1,000 streams in each way, as `just properties` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psutil
import pytest

from personakit import AsyncStream, Config, PersonakitError, Runner
from personakit.testing import Server, persona, runner

COUNT = 1000 if "PERSONAKIT_EXAMPLES" in os.environ else 4
# The event loop's select() takes at most 1024 files, and each connection has two.
AT_ONCE = 100


class Endless:
    """A server whose answers never end.

    Attributes:
        open: The number of connections that are open.
        total: The number of answers that it began.
    """

    def __init__(self) -> None:
        self.open = self.total = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = (line.lower() for line in head.split(b"\r\n"))
            length = next(line for line in lines if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            self.total += 1
            kind = b"content-type: text/event-stream\r\ntransfer-encoding: chunked"
            writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
            choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
            event = f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice]})}\n\n"
            for _ in range(3):
                writer.write(b"%x\r\n%s\r\n" % (len(event), event.encode()))
                await writer.drain()
                await asyncio.sleep(0.001)
            await reader.read()
        self.open -= 1
        writer.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[Runner]:
        """Yield a runner that sends to the server, which runs in a thread until the end."""

        async def main() -> None:
            async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
                ports.append(server.sockets[0].getsockname()[1])
                stops.append(asyncio.get_running_loop().create_future())
                started.set()
                await stops[0]

        ports: list[int] = []
        stops: list[asyncio.Future[None]] = []
        started = threading.Event()
        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        assert started.wait(60)
        url = f"http://127.0.0.1:{ports[0]}/v1"
        environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url}
        try:
            with Runner(Config(model="openai/m", path=(), environ=environ)) as runner:
                yield runner
        finally:
            stops[0].get_loop().call_soon_threadsafe(stops[0].set_result, None)
            thread.join(60)


async def until_closed(endless: Endless) -> None:
    async with asyncio.timeout(60):
        while endless.open:
            await asyncio.sleep(0.001)


@pytest.fixture
def silent(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run a coroutine in a loop in debug mode; nothing may be reported, then or later."""
    reports: list[Any] = []

    def run(main: Any) -> Any:
        async def watched() -> Any:
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = 60
            loop.set_exception_handler(lambda _, context: reports.append(context))
            return await main

        # The debug mode notes where each task was created, which takes long.
        return asyncio.run(watched(), debug=COUNT < AT_ONCE)

    yield run
    gc.collect()
    assert reports == []
    assert [str(warning.message) for warning in recwarn.list] == []
    assert capfd.readouterr().err == ""


# --- ways to leave -------------------------------------------------------------------------------


async def raises(stream: AsyncStream[Any]) -> None:
    async for _ in stream:
        raise KeyError


async def is_cancelled(stream: AsyncStream[Any]) -> None:
    async for _ in stream:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)


async def is_cancelled_while_it_waits(stream: AsyncStream[Any]) -> None:
    # Once: httpcore 1 leaves a connection open if it is cancelled again while it closes it.
    cancel: Callable[[], Any] | None = asyncio.current_task().cancel  # type: ignore[union-attr]
    async for _ in stream:
        if cancel is not None:
            asyncio.get_running_loop().call_later(0.05, cancel)
            cancel = None


async def breaks(stream: AsyncStream[Any]) -> None:
    async for _ in stream:
        break


async def closes(stream: AsyncStream[Any]) -> None:
    async for _ in stream:
        await stream.aclose()


async def takes_too_long(stream: AsyncStream[Any]) -> None:
    async with asyncio.timeout(None) as limit:
        async for _ in stream:
            limit.reschedule(0)
            await asyncio.sleep(60)


async def has_a_failing_sibling(stream: AsyncStream[Any]) -> None:
    async def slow() -> None:
        async for _ in stream:
            begun.set()
            await asyncio.sleep(60)

    async def fails() -> None:
        await begun.wait()
        raise KeyError

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow())
        group.create_task(fails())


async def raises_around_a_generator(stream: AsyncStream[Any]) -> None:
    async def wrapped() -> AsyncIterator[str]:
        async for text in stream:
            yield text.upper()

    async for _ in wrapped():
        raise KeyError


async def drops_it_in_a_thread(stream: AsyncStream[Any]) -> None:
    kept = [stream]
    await anext(stream)
    del stream
    await asyncio.to_thread(kept.clear)


WAYS = [
    raises, is_cancelled, is_cancelled_while_it_waits, breaks, closes, takes_too_long,
    has_a_failing_sibling, raises_around_a_generator, drops_it_in_a_thread,
]  # fmt: skip


# The traceback of an exception that somebody holds refers to the stream.
HELD = [(way, True) for way in (raises, is_cancelled, raises_around_a_generator)]


@pytest.mark.parametrize(("way", "is_held"), [*((way, False) for way in WAYS), *HELD])
def test_an_abandoned_stream_closes_its_connection(way: Any, is_held: bool, silent: Any) -> None:
    async def main() -> None:
        files = 0
        for begin in range(0, COUNT, AT_ONCE):
            streams = (running.astream(persona(), "Hi") for _ in range(min(COUNT - begin, AT_ONCE)))
            ends = await asyncio.gather(*map(way, streams), return_exceptions=True)
            if not is_held:
                del ends
            await until_closed(endless)
            files = files or psutil.Process().num_fds()
        assert endless.total == COUNT
        # The server counts a connection as closed before it closes its socket.
        async with asyncio.timeout(60):
            while psutil.Process().num_fds() > files:
                await asyncio.sleep(0.001)
        async with asyncio.timeout(60):
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0.001)
        await running.aclose()

    endless = Endless()
    with endless.running() as running:
        silent(main())


# --- the end of the loop -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returns", "raises", "leaves a reader"])
def test_a_loop_that_ends_closes_the_streams_that_are_left(how: str, silent: Any) -> None:
    async def main() -> None:
        for _ in range(8):
            stream = running.astream(persona(), "Hi")
            kept.append(stream)
            await anext(stream)
            if how == "leaves a reader":
                kept.append(asyncio.create_task(reads(stream)))
        if how == "raises":
            async for _ in stream:
                raise KeyError

    kept: list[Any] = []
    endless = Endless()
    with endless.running() as running:
        with pytest.raises(KeyError) if how == "raises" else contextlib.nullcontext():
            silent(main())
        asyncio.run(until_closed(endless))


async def reads(stream: AsyncStream[Any]) -> None:
    async for _ in stream:
        pass


def test_a_loop_that_ends_at_once_closes_a_stream_too(silent: Any) -> None:
    kept = []

    async def main() -> None:
        stream = runner(size=1)[0].astream(persona())
        kept.append(stream)
        await anext(stream)

    silent(main())
    assert kept[0].text == "H"


# --- another task reads on -----------------------------------------------------------------------


def test_a_task_may_return_a_stream_that_another_one_reads_on(silent: Any) -> None:
    async def main() -> None:
        async def begins() -> AsyncStream[Any]:
            stream = running.astream(persona())
            assert await anext(stream) == "H"
            return stream

        running, _ = runner(size=1)
        stream = await asyncio.create_task(begins())
        for _ in range(10):
            await asyncio.sleep(0)
        assert [text async for text in stream] == list("ello!")
        assert stream.response.text == "Hello!"

    silent(main())


def test_a_task_may_read_on_when_another_one_failed(silent: Any) -> None:
    async def main() -> None:
        stream = runner(size=1)[0].astream(persona())
        with pytest.raises(KeyError):
            await asyncio.create_task(raises(stream))
        assert [text async for text in stream] == list("ello!")
        assert stream.response.text == "Hello!"

    silent(main())


def test_a_task_that_reads_on_too_late_is_told_so(silent: Any) -> None:
    async def main() -> None:
        stream = runner(size=1)[0].astream(persona())
        with pytest.raises(KeyError):
            await asyncio.create_task(raises(stream))
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(PersonakitError, match="closed because the task that read it failed"):
            await anext(stream)
        await stream.aclose()
        assert stream.text == "H"

    silent(main())


def test_each_piece_may_be_read_by_a_task_of_its_own(silent: Any) -> None:
    async def main() -> None:
        stream = runner(size=1)[0].astream(persona())
        texts = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                texts.append(await asyncio.create_task(stream.__anext__()))
        assert texts == list("Hello!")

    silent(main())


def test_a_stream_may_be_closed_while_its_keeper_closes_it(silent: Any) -> None:
    async def main() -> None:
        stream = running.astream(persona(), "Hi")
        with pytest.raises(KeyError):
            await asyncio.create_task(raises(stream))
        for _ in range(4):
            await asyncio.sleep(0)
            closing = asyncio.create_task(stream.aclose())
        await closing
        await until_closed(endless)
        await running.aclose()

    endless = Endless()
    with endless.running() as running:
        silent(main())


def test_a_task_keeps_no_stream_that_it_has_read(silent: Any) -> None:
    async def main() -> None:
        running, _ = runner(size=1)
        ends = []
        gc.disable()
        for _ in range(3):
            stream = running.astream(persona())
            ends.append(weakref.ref(stream))
            async for _ in stream:
                pass
        del stream
        gc.enable()
        assert [end() for end in ends] == [None] * 3

    silent(main())


# --- the sync API --------------------------------------------------------------------------------


def test_a_failing_thread_leaves_no_connection_open() -> None:
    def reads() -> None:
        with contextlib.suppress(KeyError):
            for _ in running.stream(persona(), "Hi"):
                raise KeyError

    with Server(["word " * 1000]) as server, Runner(server.config()) as running:
        threads = [threading.Thread(target=reads) for _ in range(min(COUNT, 20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        ports = {received.port for received in server.requests}
        assert len(server.requests) == len(threads)
        connections = psutil.Process().net_connections("tcp")
        ours = [one for one in connections if one.laddr.port in ports]
        assert [one for one in ours if one.status == "ESTABLISHED"] == []
