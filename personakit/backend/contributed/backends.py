"""The backends that plugins contribute, one for each endpoint of a runner."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from personakit.backend.contributed.call import Call
from personakit.backend.endpoint import Router
from personakit.base import Emit, deadline, in_sync, io
from personakit.embeddings import Embeddings
from personakit.errors import Timeout
from personakit.messages import Request, Response
from personakit.providers import Endpoint, Provider

_log = logging.getLogger("personakit")


@dataclass(slots=True)
class Backends:
    """Creates the backends of plugins, and keeps them for reuse."""

    router: Router
    _made: dict[Any, Future[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def send(
        self, request: Request, provider: Provider, endpoint: Endpoint, emit: Emit | None
    ) -> Response:
        """Send a request to the backend of its provider; see `OpenAIBackend.send`.

        Raises:
            BackendError: The backend failed, or could not be created.
            PluginError: It broke its contract.
        """
        call = self._call(request, provider, endpoint)
        return await call.send(await self._ready(call), emit)

    async def embed(self, request: Request, provider: Provider, endpoint: Endpoint) -> Embeddings:
        """Return the embeddings of the texts of a request; see `OpenAIBackend.embed`."""
        call = self._call(request, provider, endpoint)
        return await call.embed(await self._ready(call))

    def _call(self, request: Request, provider: Provider, endpoint: Endpoint) -> Call:
        try:
            plugin = self.router.owner("provider", provider.name)
        except KeyError:  # not from a plugin, but from a `Config` made in Python
            plugin = ""
        return Call(request, provider, endpoint, plugin)

    async def _ready(self, call: Call) -> Any:
        """Return the backend of a call, checked."""
        with call.failing():
            backend = await self._backend(call.provider, call.endpoint)
            call.check_backend(backend)
        return backend

    async def _backend(self, provider: Provider, endpoint: Endpoint) -> Any:
        """Return the backend of an endpoint; while one call creates it, others wait."""
        factory = provider.backend
        assert factory is not None
        key = (os.getpid(), factory, endpoint)
        with self._lock:
            future = self._made.get(key)
            is_first = future is None
            if future is None:
                future = self._made[key] = Future()
        if not is_first and future.done():
            return future.result()
        if is_first:
            future.set_running_or_notify_cancel()
            arguments = (future, key, factory, endpoint)
            if in_sync():
                self._create(*arguments)
            else:
                # Loading a model takes long. A thread of its own ends with a backend even if the
                # call is cancelled, and leaves the few threads of the event loop to others.
                context = copy_context()
                create = threading.Thread(target=context.run, args=(self._create, *arguments))
                create.start()
        try:
            if in_sync():
                return future.result(deadline.shorter(None))
            async with asyncio.timeout(deadline.shorter(None)):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            limit = deadline.current()
            if future.done() or limit is None:
                raise
            raise Timeout(f"the backend was not ready within {limit}") from None

    def _create(
        self,
        future: Future[Any],
        key: Any,
        factory: Callable[[Endpoint], Any],
        endpoint: Endpoint,
    ) -> None:
        try:
            backend = factory(endpoint)
        except BaseException as error:
            # The next call tries again.
            with self._lock:
                self._made.pop(key, None)
            if isinstance(error, StopIteration):  # a future of asyncio refuses it, and never ends
                error = RuntimeError("the factory raised StopIteration")
            future.set_exception(error)
        else:
            future.set_result(backend)

    def _taken(self) -> list[Future[Any]]:
        with self._lock:
            futures, self._made = list(self._made.values()), {}
        return futures

    def close(self) -> None:
        """Close the backends; a later request creates new ones."""
        for future in self._taken():
            future.add_done_callback(_close)  # at once, unless it is being created

    async def aclose(self) -> None:
        """Close the backends as `close` does, with their `aclose` if they have one."""
        for future in self._taken():
            backend = future.result() if future.done() and not future.exception() else None
            aclose = getattr(backend, "aclose", None)
            if aclose is None:
                await io(future.add_done_callback)(_close)
                continue
            try:
                await aclose()
            except Exception:
                _log.warning("%r failed in aclose()", type(backend), exc_info=True)


def _close(future: Future[Any]) -> None:
    backend = None if future.exception() else future.result()
    close = getattr(backend, "close", None)
    if close is None:
        return
    try:
        result = close()
        if inspect.iscoroutine(result):
            result.close()
            _log.warning("%r: close() must not be async; name it aclose()", type(backend))
    except Exception:
        _log.warning("%r failed in close()", type(backend), exc_info=True)
