"""The server on standard input and output, which belong to the protocol alone."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

from personakit_mcp.serving.offer import Serving


class _Lines:
    """The lines of standard input, read by a thread that does not keep the process from ending."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue(1000)
        threading.Thread(target=self._read, name="personakit mcp input", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            yield line

    def _read(self) -> None:
        try:
            for line in iter(self._file.readline, b""):
                self._put(line.decode("utf-8", "replace"))
            self._put("")
        except RuntimeError:
            pass  # the loop has ended

    def _put(self, line: str) -> None:
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()


def claimed() -> tuple[BinaryIO, BinaryIO]:
    """Return standard input and output, and put others in their place for everything else.

    What a plugin or a process that it starts prints then goes to standard error, and what they read
    is empty.
    """
    sys.stdout.flush()
    given, taken = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return os.fdopen(given, "rb"), os.fdopen(taken, "wb")


def serve_stdio(serving: Serving, streams: tuple[BinaryIO, BinaryIO]) -> None:
    """Serve the client on standard input and output until it closes the input.

    Args:
        serving: What is offered.
        streams: The input and the output; see `claimed`.
    """
    asyncio.run(_serve(serving, *streams))


async def _serve(serving: Serving, given: BinaryIO, taken: BinaryIO) -> None:
    # Each takes a part of a second to import.
    import io  # noqa: PLC0415

    import anyio  # noqa: PLC0415
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    from personakit_mcp.serving.application import options, server  # noqa: PLC0415

    lines: Any = _Lines(given)
    output = anyio.wrap_file(io.TextIOWrapper(taken, encoding="utf-8", newline="\n"))
    made = server(serving)
    try:
        async with stdio_server(lines, output) as (reads, writes):
            await made.run(reads, writes, options(made))
    finally:
        await serving.runner.aclose()
