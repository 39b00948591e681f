"""The server on standard input and output, which belong to the protocol alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO

from personakit_mcp.serving.offer import Serving

_GRACE = 5.0
"""Seconds in which the requests that came before the end of the input are answered."""
_GRACES = {"tools/call": 0.5, "subscriptions/listen": 0.0}
"""The same by method: a model may take long, and a subscription does not end."""


class _Lines:
    """The lines of standard input, read by a thread that does not keep the process from ending.

    Args:
        file: Standard input.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue(1000)
        threading.Thread(target=self._read, name="personakit mcp input", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            if not line.isspace():
                yield line

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

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


class _Transport:
    """The messages of the input and the output.

    The transport of the library drops a line that it cannot read, so that the client would wait for
    ever, and gives up the requests that it has read when the input ends.

    Args:
        lines: The input.
        output: The output.

    Attributes:
        reads: The messages of the client, for the library.
        writes: Takes the messages for the client from the library.
    """

    def __init__(self, lines: _Lines, output: _Output) -> None:
        import anyio  # noqa: PLC0415

        self._lines, self._output = lines, output
        self._received, self.reads = anyio.create_memory_object_stream[Any]()
        self.writes, self._sent = anyio.create_memory_object_stream[Any]()
        self._methods: dict[int | str, str] = {}  # of the requests without an answer, by id
        self._answered = asyncio.Event()

    async def read(self) -> None:
        """Pass on the messages of the client until the input ends and they are answered."""
        from mcp.shared.message import ServerMessageMetadata, SessionMessage  # noqa: PLC0415
        from mcp_types import JSONRPCRequest  # noqa: PLC0415

        async with self._received:
            async for line in self._lines:
                message = parsed(line)
                if isinstance(message, str):
                    await self._output.write(f"{message}\n")
                    continue
                about = None
                if isinstance(message, JSONRPCRequest):
                    self._methods[message.id] = message.method
                    # A call that the client cancels has no answer.
                    cancelled = functools.partial(self._end, message.id)
                    about = ServerMessageMetadata(on_request_unanswered=cancelled)
                await self._received.send(SessionMessage(message, about))
            await self._wait()

    async def write(self) -> None:
        """Write the messages of the library until it has ended."""
        from mcp_types import JSONRPCError, JSONRPCResponse  # noqa: PLC0415

        async with self._sent:
            async for each in self._sent:
                message = each.message
                text = message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._output.write(f"{text}\n")
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    await self._end(message.id)

    async def _end(self, identity: int | str | None) -> None:
        self._methods.pop(identity, None)  # type: ignore[arg-type]
        self._answered.set()

    async def _wait(self) -> None:
        """Wait for the answers to the requests, as long as each may take."""
        end = time.monotonic()
        while self._methods:
            grace = max(_GRACES.get(method, _GRACE) for method in self._methods.values())
            self._answered.clear()
            try:
                await asyncio.wait_for(self._answered.wait(), end + grace - time.monotonic())
            except TimeoutError:
                return


def parsed(line: str) -> Any:
    """Return the message of a line, or the answer to a line that is no message of JSON-RPC.

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
        is_odd = isinstance(message, types.JSONRPCNotification) and '"id"' in line
        if not (is_odd and "id" in json.loads(line)):
            return message
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
    import anyio  # noqa: PLC0415

    from personakit_mcp.serving.application import options, server, settle  # noqa: PLC0415

    task: Any = asyncio.current_task()
    codes: list[int] = []

    def end(code: int) -> None:
        # A second signal must not cut off how the first one ends the calls.
        if not codes:
            codes.append(code)
            task.cancel()

    # The input need not end before the reader of the output does.
    transport = _Transport(_Lines(given), _Output(taken, lambda: end(0)))
    made = server(serving)
    settle()
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end, 128 + signal.SIGTERM)
    try:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(transport.read)
                group.start_soon(transport.write)
                await made.run(transport.reads, transport.writes, options(made))
        finally:
            await serving.runner.aclose()
    except asyncio.CancelledError:
        if not codes:
            raise
        return codes[0]
    return 0
