"""One process that serves: uvicorn, and what a signal does to the requests that run."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from personakit.base import counted
from personakit.errors import PersonakitError
from personakit.server.application import Application
from personakit.server.protocol import protocol
from personakit.server.serving.lines import Say, described, quiet_logs
from personakit.server.serving.signals import AT_ONCE, END, RETIRE
from personakit.server.serving.sockets import BACKLOG

if TYPE_CHECKING:
    from personakit.server.settings import Settings

KEEP_ALIVE = 75
"""Seconds after which an idle connection is closed: more than the 60 of common load balancers.

A pooled connection that the server closes first is a reset for the client.
"""
_ENDING = 2.0  # seconds in which cancelled requests send their error
_LAST = 10.0  # seconds after which the process ends, whatever its threads do
_ACCEPTED = 0.5  # seconds in which a client sends its request after it has connected
_STEP = 0.02
_REFRESH = 5  # seconds


class Serving(uvicorn.Server):
    """uvicorn in one process, which lets the running requests end before it stops.

    Args:
        application: Answers the requests.
        settings: Its grace, and the limits of connections.
        ready: Called when requests are accepted.
        say: Prints a line.
        alone: Whether there is no supervisor: a second signal then ends the process at once.

    Attributes:
        code: The exit code.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        *,
        ready: Callable[[], None],
        say: Say,
        alone: bool,
    ) -> None:
        super().__init__(_config(application, settings))
        self._say = say
        self.code = 0
        self._application, self._grace = application, settings.grace
        self._ready, self._alone = ready, alone
        self._early: list[int] | None = []  # the signals until it serves
        self._retired = False
        self._until = math.inf

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal has ended it."""
        for sig in filter(None, (getattr(signal, "SIGHUP", 0), RETIRE, END)):
            signal.signal(sig, self.handle_exit)
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections."""
        await super().startup(sockets)
        _settle()
        self._ready()

    async def main_loop(self) -> None:
        """Serve until a signal, then until the running requests have ended."""
        early, self._early = self._early or [], None
        for sig in early:
            self.handle_exit(sig, None)
        await super().main_loop()
        await self._drained()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at a second signal, stop at once.

        A process with a supervisor gets signals that are not meant for it: Ctrl-C reaches all
        processes of a terminal, and systemd sends SIGTERM to all of a service. So a second one of
        these does not count there.
        """
        if not self._alone and sig not in (signal.SIGTERM, RETIRE, END):
            return
        if self._early is not None:  # uvicorn would end without ending the application
            self._early.append(sig)
            return
        again = self.should_exit
        if not again:
            self._until = time.monotonic() + self._grace
            self._retired = sig == RETIRE
            if not self._retired:
                self._application.drain()
            self.should_exit = True
        if sig == END or (again and self._alone):
            self.code, self._until = 128 + sig, 0.0
            _end_after(AT_ONCE, self.code)

    async def _drained(self) -> None:
        """Wait for the running requests, and cancel those that are left after the grace.

        New requests are still accepted, and refused by the application: a load balancer sees at
        once that the server is not ready.
        """
        if self._retired:
            await self._leave()
        elif self._alone and (running := len(self.server_state.tasks)):
            self._say(f"waiting for {counted(running, 'request')}; a second signal ends it at once")
        await self._ended(self._until)
        if self.server_state.tasks:
            self._application.end()
            await self._ended(min(self._until, time.monotonic()) + _ENDING)
        _end_after(_LAST, self.code)

    async def _leave(self) -> None:
        """Leave new connections to the other workers, and answer what this one has accepted."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_ACCEPTED)
        for connection in tuple(self.server_state.connections):
            connection.shutdown()  # after the request that it is at

    async def _ended(self, until: float) -> None:
        while self.server_state.tasks and time.monotonic() < min(until, self._until + _ENDING):
            await asyncio.sleep(_STEP)


def _settle() -> None:
    """Take what is loaded out of garbage collections, and let these be rarer.

    They would look at all of it again and again: a twelfth of the CPU of a request. What is left is
    little, so all of it is looked at often: the requests that run during a collection grow old.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 4)
    gc.collect()  # a full one would wait for a quarter as many new objects as the last one saw


def serve_alone(
    settings: Settings,
    sockets: list[socket.socket],
    *,
    ready: Callable[[], None],
    say: Say,
    alone: bool = True,
) -> int:
    """Serve in this process until a signal; return the exit code.

    Args:
        settings: What is served.
        sockets: They listen already.
        ready: Called when requests are accepted.
        say: Prints a line.
        alone: Whether there is no supervisor.
    """
    quiet_logs(say, tuple)
    try:
        application = Application(settings)
    except PersonakitError as error:
        say(f"Error: {error}")
        return error.exit_code
    quiet_logs(say, application.secrets)
    server = Serving(application, settings, ready=ready, say=say, alone=alone)
    try:
        server.run(sockets)
    except SystemExit as error:  # uvicorn could not start; the reason was printed
        return 1 if error.code else 0
    except Exception as error:
        say(f"Error: the server failed: {described(error)}")
        return 1
    return server.code


def _config(application: Application, settings: Settings) -> uvicorn.Config:
    async def refresh() -> None:
        application.metrics.refresh()

    return uvicorn.Config(
        application,
        http=protocol(settings.limits, application.metrics.refused),
        ws="none",
        lifespan="on",
        interface="asgi3",
        workers=1,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
        timeout_notify=_REFRESH,
        callback_notify=refresh,
    )


def _end_after(seconds: float, code: int) -> None:
    """End the process after some seconds, if a thread keeps it from ending by itself."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
