"""The server on standard input and output, which belong to the protocol alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO

from personakit_mcp.serving.offer import Serving


class _Lines:
    """The lines of standard input, read by a thread that does not keep the process from ending.

    Args:
        file: Standard input.
        refuse: Called with the answer to a line that is no message.
    """

    def __init__(self, file: BinaryIO, refuse: Callable[[str], Awaitable[None]]) -> None:
        self._file, self._refuse = file, refuse
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue(1000)
        threading.Thread(target=self._read, name="personakit mcp input", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            if line.isspace():
                continue
            # The library drops what it cannot read, and the client would wait for ever.
            if (answer := refusal(line)) is None:
                yield line
            else:
                await self._refuse(answer)

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):  # it has ended
            for line in iter(self._file.readline, b""):
                self._put(line.decode("utf-8", "replace"))
            self._put("")

    def _put(self, line: str) -> None:
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()


class _Output:
    """Standard output: each text is written whole, in a thread, since a client may read slowly.

    Args:
        file: Standard output.
        gone: Called if nobody reads it any more.
    """

    def __init__(self, file: BinaryIO, gone: Callable[[], None]) -> None:
        self._file, self._gone, self._lock = file, gone, asyncio.Lock()

    async def write(self, text: str) -> None:
        """Write a text."""
        async with self._lock:
            try:
                await asyncio.to_thread(self._write, text.encode())
            except OSError:
                self._gone()

    async def flush(self) -> None:
        """Do nothing: a text has been written."""

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


def refusal(line: str) -> str | None:
    """Return the answer to a line that is no message of JSON-RPC; None for one that is.

    See https://www.jsonrpc.org/specification#error_object.
    """
    import mcp_types as types  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        code, reason = types.PARSE_ERROR, "the line is not valid JSON, or it is nested too deep"
    else:
        # A request whose id is neither a string nor an integer is read as a notification.
        if not isinstance(message, types.JSONRPCNotification) or "id" not in json.loads(line):
            return None
    identity = None
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        code, reason = types.INVALID_REQUEST, "the line is not a message of JSON-RPC 2.0"
        given = value.get("id") if isinstance(value, dict) else None
        if isinstance(given, int | str) and not isinstance(given, bool):
            identity = given
    error = {"code": code, "message": reason}
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": error})


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


def serve_stdio(serving: Serving, streams: tuple[BinaryIO, BinaryIO]) -> int:
    """Serve the client on standard input and output until it closes the input.

    Args:
        serving: What is offered.
        streams: The input and the output; see `claimed`.

    Returns:
        The exit code: 0, or 143 if SIGTERM has ended the server.
    """
    return asyncio.run(_serve(serving, *streams))


async def _serve(serving: Serving, given: BinaryIO, taken: BinaryIO) -> int:
    # Each takes a part of a second to import.
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    from personakit_mcp.serving.application import options, server  # noqa: PLC0415

    task: Any = asyncio.current_task()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        task.cancel()

    # The input need not end before the reader of the output does.
    output: Any = _Output(taken, lambda: end(0))

    async def refuse(answer: str) -> None:
        await output.write(f"{answer}\n")

    lines: Any = _Lines(given, refuse)
    made = server(serving)
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end, 128 + signal.SIGTERM)
    try:
        async with stdio_server(lines, output) as (reads, writes):
            await made.run(reads, writes, options(made))
    except asyncio.CancelledError:
        if not codes:
            raise
        return codes[0]
    finally:
        await serving.runner.aclose()
    return 0
