"""An upstream that answers when the test lets it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from personakit import Request, Response, Usage
from personakit.testing import Upstream


class HeldUpstream(Upstream):
    """Answers only after `go` is set.

    Attributes:
        go: Lets all requests be answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    async def send(self, request: Request, emit: Any = None) -> Response:
        self.requests.append(request)
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        return Response("Hello!", model="m", usage=Usage(1, 1, 2))

    def wait_for(self, number: int, seconds: float = 10) -> bool:
        """Return whether a number of requests arrived in time."""
        until = time.monotonic() + seconds
        while len(self.requests) < number and time.monotonic() < until:
            time.sleep(0.005)
        return len(self.requests) >= number
