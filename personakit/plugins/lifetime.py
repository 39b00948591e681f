"""The life of plugins: a runner closes the instances that it created, once, the last one first.

An instance that was created from a class belongs to the runner. An object that the caller passed,
or that an entry point names, belongs to others and stays open.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from personakit.base import Emit, in_sync, io
from personakit.messages import Request, Response
from personakit.pipeline import RunLayer, needs_loop, run_sync

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop as Loop

_log = logging.getLogger("personakit")


class _Instance(NamedTuple):
    """An instance of a plugin's class, and the process that created it."""

    plugin: str
    target: Any
    pid: int


class _HasTarget(Protocol):
    @property
    def target(self) -> Any: ...


class Instances:
    """The instances of one runner that have a `close` or an `aclose`.

    They are closed when the runner is, at the end of the event loop of its runs, or at the end of
    the program. The end of a loop closes nothing that another loop or a running sync run may use.

    Attributes:
        lock: Held while instances are created, and while all of them are given up.
        forget: Called when all are given up: the next run must create new ones.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forget: weakref.WeakMethod[Any] | None = None
        # By the identity of the instance, in the order of creation.
        self._all: dict[int, _Instance] = {}
        self._dropped: deque[_Instance] = deque()
        self._owners: dict[Loop, AsyncGenerator[None]] = {}
        self._busy = 0

    def add(self, plugin: str, target: Any) -> None:
        """Add a new instance, if it can be closed."""
        if can_close(target):
            with self.lock:
                self._all[id(target)] = _Instance(plugin, target, os.getpid())
            _open_ones.add(self)

    def __contains__(self, target: Any) -> bool:
        return id(target) in self._all

    def around(self, run: RunLayer) -> RunLayer:
        """Return a run that closes the instances at the end of its event loop."""

        async def living(request: Request, emit: Emit | None) -> Response:
            if not in_sync():
                import asyncio  # noqa: PLC0415

                loop = asyncio.get_running_loop()
                if loop not in self._owners:
                    self._forget_closed_loops()
                    owner = self._owners[loop] = self._owner(loop)
                    # An event loop closes its async generators when it ends.
                    await anext(owner)
                return await run(request, emit)
            with self.lock:
                self._busy += 1
            try:
                return await run(request, emit)
            finally:
                with self.lock:
                    self._busy -= 1

        return living

    def _forget_closed_loops(self) -> None:
        """Forget loops that were closed without the end of their generators.

        What their runs used stays open for the next run, whose loop closes it.
        """
        for loop in list(self._owners):
            if loop.is_closed():
                self._owners.pop(loop, None)

    async def _owner(self, loop: Loop) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._owners.pop(loop, None)
            if not self._busy and self._loop() is None:
                await self.aclose()

    def _loop(self) -> Loop | None:
        """Return an event loop whose runs may use the instances."""
        return next((loop for loop in list(self._owners) if not loop.is_closed()), None)

    @contextmanager
    def kept(self, made: Sequence[_HasTarget]) -> Iterator[None]:
        """Give up the instances that the block appends to a list, if it fails; see `drop`."""
        try:
            yield
        except BaseException:
            self.drop(one.target for one in made)
            raise

    def drop(self, targets: Iterable[Any]) -> None:
        """Give up the instances of a persona that nobody uses any more; `sweep` closes them.

        The garbage collector may call this anywhere, so it neither waits nor calls a plugin.
        """
        self._dropped.extend(self._all[id(one)] for one in targets if one in self)

    def sweep(self) -> None:
        """Close the instances that were dropped: in an event loop of their runs if there is one."""
        dropped = []
        with self.lock:
            while self._dropped:
                instance = self._dropped.popleft()
                if self._all.pop(id(instance.target), None) is not None:
                    dropped.append(instance)
        if not dropped:
            return
        loop = self._loop()
        if loop is None:
            run_sync(functools.partial(_close, dropped))
        else:
            import asyncio  # noqa: PLC0415

            asyncio.run_coroutine_threadsafe(_close(dropped), loop)

    def _take(self) -> list[_Instance]:
        with self.lock:
            taken, self._all = [*self._all.values()], {}
            self._dropped.clear()
            forget = self.forget and self.forget()
            if forget is not None:
                forget()
        # A process that was forked has no right to close what its parent opened.
        return [instance for instance in taken if instance.pid == os.getpid()]

    def close(self) -> None:
        """Close the instances, the last one first; later runs create new ones."""
        run_sync(functools.partial(_close, self._take()))

    async def aclose(self) -> None:
        """Close the instances as `close` does, with their `aclose` if they have one."""
        await _close(self._take())


_open_ones: weakref.WeakSet[Instances] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    for instances in list(_open_ones):
        instances.close()


def can_close(target: Any) -> bool:
    """Return whether an instance has a method `close` or `aclose`."""
    return callable(getattr(target, "close", None)) or callable(getattr(target, "aclose", None))


def close_now(plugin: str, target: Any) -> None:
    """Close an instance that no run has used."""
    if can_close(target):
        run_sync(functools.partial(_close, [_Instance(plugin, target, os.getpid())]))


async def _close(taken: Iterable[_Instance], _: None = None) -> None:
    """Close instances, the last one first, whatever one of them raises."""
    async with AsyncExitStack() as stack:
        for instance in taken:
            stack.push_async_callback(_close_one, instance)


async def _close_one(instance: _Instance) -> None:
    """Close an instance. Under the sync API an `aclose` can await only `personakit.io`."""
    plugin, target, _ = instance
    close, aclose = getattr(target, "close", None), getattr(target, "aclose", None)
    name = "close" if aclose is None or (in_sync() and callable(close)) else "aclose"
    try:
        if name == "aclose":
            await getattr(target, name)()
        elif callable(close):
            result = await io(close)()
            if inspect.iscoroutine(result):
                result.close()
                _log.warning("plugin %r: close() must not be async; name it aclose()", plugin)
    except (Exception, SystemExit) as error:
        if in_sync() and needs_loop(error):
            _log.warning(
                "plugin %r was not closed: its aclose() needs an event loop (%s); use "
                "`await runner.aclose()`, or write a close() beside it",
                plugin, error,
            )  # fmt: skip
            return
        _log.warning("plugin %r failed in %s()", plugin, name, exc_info=True)
