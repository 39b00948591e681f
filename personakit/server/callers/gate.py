"""The gate: how many requests run at the same time, and how many wait for one of them to end."""

from __future__ import annotations

import asyncio
from collections import deque

from personakit.server.http import unavailable


class Gate:
    """Lets requests in, in the order of their arrival.

    Args:
        most: The most requests that run at the same time.
        queue: The most requests that wait.
    """

    def __init__(self, most: int, queue: int) -> None:
        self._free = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place, which `leave` gives back.

        Raises:
            Refusal: Too many requests wait (503).
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait()

    async def _wait(self) -> None:
        if len(self._waiting) >= self._queue:
            message = "the server runs as many requests as it may; try again"
            raise unavailable(message, code="server_overloaded", seconds=1, reason="full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            elif turn in self._waiting:  # else `leave` has passed over it
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give back a place."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
