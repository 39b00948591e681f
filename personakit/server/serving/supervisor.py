"""Several workers on the same sockets: they are started, restarted, replaced and stopped.

uvicorn's own supervisor looks at signals every half second, at none while it waits for workers (so
a second SIGTERM or a SIGTERM during a restart does nothing), and kills a worker that takes five
seconds to start on a busy machine.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.server.metrics import FOLDER, count_as, forget
from personakit.server.serving.lines import Say, say
from personakit.server.serving.signals import AT_ONCE, END, RETIRE
from personakit.server.serving.sockets import close

if TYPE_CHECKING:
    from personakit.server.settings import Settings

_spawn = get_context("spawn")
_CTRL_C = {signal.SIGINT}
_SLACK = 15.0
"""Seconds after the grace in which a worker ends by itself; then it is killed."""
_SHORTEST, _LONGEST = 0.5, 5.0  # seconds between two attempts to start a worker


@dataclass(slots=True)
class _Worker:
    number: int
    process: SpawnProcess
    channel: Connection
    ready: bool = False
    retired: bool = False


class Supervisor:
    """Keeps a number of workers running until a signal.

    SIGTERM and Ctrl-C stop them, a second one at once; SIGHUP replaces each by a new one.

    Args:
        settings: What is served.
        sockets: They listen already; each worker inherits them.
        ready: Called when the first worker accepts requests.
        say: Prints a line.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket],
        *,
        ready: Callable[[], None],
        say: Say,
    ) -> None:
        self._settings, self._sockets = settings, sockets
        self._ready, self._say = ready, say
        self._workers: list[_Worker] = []
        self._old: list[_Worker] = []  # to be replaced
        self._signals: list[int] = []
        self._announced = self._stopping = False
        self._failures, self._next, self._last = 0, 0.0, math.inf
        self._code = 0
        # A closed terminal sends SIGHUP, too.
        self._terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()

    def run(self) -> int:
        """Return the exit code after all workers have ended."""
        with _metrics_folder() as folder, self._waking() as wakes:
            try:
                self._fill()
                while self._workers or not self._stopping:
                    self._wait(wakes)
                    self._obey()
                    self._reap(folder)
                    self._fill()
            finally:
                for worker in self._workers:
                    worker.process.kill()
        return self._code

    def _wait(self, wakes: socket.socket) -> None:
        """Wait for a signal, the end of a worker, or a worker that is ready."""
        now = time.monotonic()
        starting = [worker.channel for worker in self._workers if not worker.ready]
        ended = [worker.process.sentinel for worker in self._workers]
        until = self._last if self._stopping else self._next if self._next > now else now + 60
        happened: list[Any] = wait([wakes, *ended, *starting], max(0.0, min(until - now, 60.0)))
        if wakes in happened:
            with contextlib.suppress(BlockingIOError):
                wakes.recv(4096)
        for worker in [each for each in self._workers if each.channel in happened]:
            with contextlib.suppress(EOFError, OSError):
                worker.channel.recv_bytes(1)
                self._started(worker)
        if self._stopping and time.monotonic() >= self._last:
            self._kill()

    def _started(self, worker: _Worker) -> None:
        worker.ready, self._failures = True, 0
        if not self._announced:
            self._announced = True
            self._ready()
        elif self._old:
            old = self._old.pop(0)
            old.retired = True
            _send(old, RETIRE)

    # --- signals ---------------------------------------------------------------------------------

    def _obey(self) -> None:
        while self._signals:
            sig = self._signals.pop(0)
            if sig in (signal.SIGINT, signal.SIGTERM) or self._terminal:
                self._stop(sig)
            elif not self._stopping:
                self._old = [worker for worker in self._workers if not worker.retired]

    def _stop(self, sig: int) -> None:
        if not self._stopping:
            self._stopping = True
            self._last = time.monotonic() + self._settings.grace + _SLACK
            # While a process has them, connections wait there, even if nobody takes them.
            close(self._sockets)
            self._tell(signal.SIGTERM)
        elif not self._code:
            self._code = 128 + sig
            self._last = time.monotonic() + AT_ONCE + 0.5
            self._tell(END)
        else:
            self._kill()

    def _tell(self, sig: int) -> None:
        for worker in self._workers:
            _send(worker, sig)

    def _kill(self) -> None:
        self._last = math.inf
        for worker in self._workers:
            worker.process.kill()

    @contextlib.contextmanager
    def _waking(self) -> Iterator[socket.socket]:
        """Note signals, and give a socket that can be read after each."""
        reads, writes = socket.socketpair()
        with reads, writes:
            reads.setblocking(False)
            writes.setblocking(False)
            before = {
                sig: signal.signal(sig, lambda sig, frame: self._signals.append(sig))
                for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            }
            fd = signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
            try:
                yield reads
            finally:
                signal.set_wakeup_fd(fd)
                for sig, handler in before.items():
                    signal.signal(sig, handler)

    # --- workers ---------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start the workers that are missing, the first one alone: it may fail to start."""
        now = time.monotonic()
        if self._stopping or now < self._next:
            return
        serving = [worker for worker in self._workers if not worker.retired]
        wanted = self._settings.workers + bool(self._old) if self._announced else 1
        for _ in range(wanted - len(serving)):
            self._start()

    def _start(self) -> None:
        reads, writes = _spawn.Pipe(duplex=False)
        taken = {worker.number for worker in self._workers}
        number = next(number for number in itertools.count() if number not in taken)
        process = _spawn.Process(target=work, args=(number, self._settings, self._sockets, writes))
        # A new process holds back what this one does: Ctrl-C must not reach it while it imports.
        # A tracker that is started with it would lift that here.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
            writes.close()
        self._workers.append(_Worker(number, process, reads))

    def _reap(self, folder: Path) -> None:
        """Remove the workers that have ended."""
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._workers.remove(worker)
            worker.process.join()
            worker.channel.close()
            pid, code = worker.process.pid or 0, worker.process.exitcode or 0
            forget(worker.number, folder)
            if worker in self._old:
                self._old.remove(worker)
            if not (self._stopping or worker.retired):
                self._died(worker, pid, code)

    def _died(self, worker: _Worker, pid: int, code: int) -> None:
        if not self._announced:
            self._stopping, self._code = True, code if code > 0 else 1
            return
        how = f"was ended by {_name(-code)}" if code < 0 else f"ended with code {code}"
        if worker.ready:
            self._say(f"worker {pid} {how}; another one starts")
            return
        if code > 0:  # it failed by itself, such as for a config file that is broken now
            self._failures += 1
        pause = min(_LONGEST, _SHORTEST * 2**self._failures)
        self._next = time.monotonic() + pause
        self._say(f"worker {pid} {how} while it started; the next attempt is in {pause:g} s")
        if self._old:
            self._old.clear()
            self._say("the workers are not replaced: the others go on as they are")


def work(
    number: int, settings: Settings, sockets: list[socket.socket], channel: Connection
) -> None:
    """Serve in a process of the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
    threading.Thread(target=_follow, daemon=True).start()
    count_as(number)
    # The supervisor does not need what it takes to serve.
    from personakit.server.serving.worker import serve_alone  # noqa: PLC0415

    def ready() -> None:
        channel.send_bytes(b"\0")
        channel.close()

    sys.exit(serve_alone(settings, sockets, ready=ready, say=say, alone=False))


def _follow() -> None:
    """Stop this process when the supervisor is gone, such as after `kill -9`."""
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _send(worker: _Worker, sig: int) -> None:
    # A process that has not been waited for keeps its number.
    if worker.process.pid is not None and worker.process.is_alive():
        os.kill(worker.process.pid, sig)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _metrics_folder() -> Iterator[Path]:
    """Give the workers a folder for their metrics."""
    before = os.environ.get(FOLDER)
    with tempfile.TemporaryDirectory(prefix="personakit-", ignore_cleanup_errors=True) as folder:
        os.environ[FOLDER] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop(FOLDER)
            if before is not None:
                os.environ[FOLDER] = before
