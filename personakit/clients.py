"""The openai clients: one per provider, process and event loop, reused and closed.

This is the only module that imports openai, and it does so when the first request leaves.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from personakit.providers import Endpoint, Provider
from personakit.secrets import Secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream

NO_KEY = "none"


def openai() -> Any:
    """Return the openai package."""
    import openai as package  # noqa: PLC0415

    return package


def stream_class() -> type[Stream[object]]:
    """Return the class whose `response` is read, of which nothing else is used."""
    return openai().Stream[object]  # type: ignore[no-any-return]


def async_stream_class() -> type[AsyncStream[object]]:
    """As `stream_class`, for the async client."""
    return openai().AsyncStream[object]  # type: ignore[no-any-return]


@dataclass(slots=True)
class Clients:
    """Clients by address, key, process and event loop."""

    _sync: dict[Any, OpenAI] = field(default_factory=dict)
    _async: dict[Any, tuple[AsyncOpenAI, AsyncGenerator[None]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sync(self, provider: Provider, endpoint: Endpoint) -> OpenAI:
        """Return the client of an address, made on first use."""
        key = (os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        with self._lock:
            client = self._sync.get(key)
            if client is None:
                client = openai().OpenAI(**_arguments(provider, endpoint, "DefaultHttpxClient"))
                self._sync[key] = client
            return client

    async def asynchronous(self, provider: Provider, endpoint: Endpoint) -> AsyncOpenAI:
        """Return the client of an address for the running event loop, made on first use."""
        loop = asyncio.get_running_loop()
        key = (loop, os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        known = self._async.get(key)
        if known is None:
            self._forget_closed_loops()
            client = openai().AsyncOpenAI(
                **_arguments(provider, endpoint, "DefaultAsyncHttpxClient")
            )
            known = self._async[key] = (client, _owner(client))
            # An event loop closes its asynchronous generators when it ends, and with this one the
            # client: one left to the garbage collector would break connections of other clients.
            await anext(known[1])
        return known[0]

    def _forget_closed_loops(self) -> None:
        for key in list(self._async):
            if key[0].is_closed():
                self._async.pop(key, None)

    def close(self) -> None:
        """Close the clients of the sync API."""
        with self._lock:
            clients, self._sync = list(self._sync.values()), {}
        for client in clients:
            client.close()

    async def aclose(self) -> None:
        """Close the clients of the running event loop."""
        loop = asyncio.get_running_loop()
        for key in [key for key in self._async if key[0] is loop]:
            _, owner = self._async.pop(key)
            await owner.aclose()


async def _owner(client: AsyncOpenAI) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()


def _arguments(provider: Provider, endpoint: Endpoint, http_client: str) -> dict[str, Any]:
    headers: dict[str, Any] = {name: Secret(value).reveal() for name, value in provider.headers}
    if provider.name != "openai":
        # The client reads these from the environment; they are nobody else's business.
        nothing = openai().omit
        headers = {"OpenAI-Organization": nothing, "OpenAI-Project": nothing, **headers}
    arguments: dict[str, Any] = {
        "base_url": endpoint.base_url,
        "api_key": endpoint.api_key.reveal() if endpoint.api_key else NO_KEY,
        "default_headers": headers,
    }
    if _is_loopback(endpoint.base_url):
        # A proxy of the environment would look for the address on its own machine.
        arguments["http_client"] = getattr(openai(), http_client)(trust_env=False)
    return arguments


def _is_loopback(url: str) -> bool:
    """Tell whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
