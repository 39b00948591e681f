"""The openai clients: made once for each address, key, process and event loop, reused and closed.

This is the only module that imports openai, and it does so when the first request leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, Unpack
from urllib.parse import urlsplit

from personakit.backend.retries import http_clients
from personakit.base import Secret, only_sync
from personakit.providers import Endpoint, Provider

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI
    from openai._types import RequestOptions


NO_KEY = "none"
# What machine and Python this is, nobody asked; to send it takes 30 µs a request besides.
_TELEMETRY = tuple(
    f"X-Stainless-{name}"
    for name in "Lang Package-Version OS Arch Runtime Runtime-Version Async".split()
)
# The same, of each attempt.
_PROGRESS = ("X-Stainless-Retry-Count", "X-Stainless-Read-Timeout")


@functools.cache
def openai() -> Any:
    """Return the openai package.

    Where the async API will not be used it is imported as if aiohttp were not installed, which
    takes a fifth of the time.
    """
    # Its thousand modules make objects that stay: looking through them for garbage while they are
    # made takes an eighth of the import.
    collects = gc.isenabled()
    gc.disable()
    try:
        with _hidden("aiohttp") if only_sync.get() else contextlib.nullcontext():
            import openai as package  # noqa: PLC0415
    finally:
        if collects:
            gc.enable()
    return package


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let a package be imported by nobody, unless it has been: None among the modules says so.

    (https://docs.python.org/3/reference/import.html#the-module-cache)
    """
    is_new = package not in sys.modules
    if is_new:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_new:
            del sys.modules[package]


_SHARE = 16
"""Requests that one async client serves at once. Its pool looks at every connection for each
request: 256 at once took three times as long in one pool as in sixteen (benchmarks, `many`)."""


@functools.cache
def _http_clients() -> tuple[Any, Any]:
    """Return the HTTP clients that the openai clients send through, sync and async."""
    package = openai()

    class Overdue(package.OpenAIError):  # type: ignore[misc,name-defined]
        """Ends the attempts: the client passes its own errors on."""

        def __init__(self, original: Exception) -> None:
            super().__init__(str(original))
            self.original = original

    return http_clients(_http_library(), package.DefaultHttpxClient, _async_base(package), Overdue)


def _async_base(package: Any) -> Any:
    """Return the HTTP client on aiohttp where the extra is installed: it is the faster one."""
    try:
        package.DefaultAioHttpClient(verify=False)
    except RuntimeError:
        return package.DefaultAsyncHttpxClient

    class Guarded(package.DefaultAioHttpClient):  # type: ignore[misc]
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            guard(self)

    return Guarded


@functools.cache
def _http_library() -> Any:
    """Return the HTTP library under openai: httpx or its successor."""
    homes = [base.__module__.partition(".")[0] for base in openai().DefaultHttpxClient.__mro__]
    return next(
        sys.modules[home] for home in homes if hasattr(sys.modules[home], "create_ssl_context")
    )


@functools.cache
def response_class() -> Any:
    """Return the class of a reply: a client that is asked for it gives the reply as it is."""
    return _http_library().Response


@functools.cache
def _certificates() -> Any:
    """Return what checks the other side's certificate: made for each client, it takes 20 ms."""
    return _http_library().create_ssl_context()


class Client:
    """A client, and what each of its requests is made with.

    The address is whole and every option is given: the openai client would put the one together and
    copy what the others are by default for each request, a sixth of its time (benchmarks, `call`).
    """

    def __init__(self, client: OpenAI | AsyncOpenAI) -> None:
        base = client.base_url
        self.close: Callable[[], Any] = client.close
        self._post: Any = client.post
        self._url = str(base.copy_with(raw_path=base.raw_path + b"chat/completions"))
        self._options: RequestOptions = {
            "follow_redirects": False,
            "headers": dict.fromkeys(_PROGRESS, openai().omit),
            "max_retries": client.max_retries,
            "params": {},
            "security": {"bearer_auth": True},  # as chat.completions.create() has it
            "timeout": client.timeout,
        }

    def post(self, body: dict[str, Any], **options: Unpack[RequestOptions]) -> Any:
        """Ask for a chat completion; return the reply, of which the headers have come.

        Args:
            body: The body, as chat.completions.create() would send it.
            options: What is otherwise than for other requests.
        """
        all_options = {**self._options, **options} if options else self._options
        return self._post(
            self._url, cast_to=response_class(), body=body, options=all_options, stream=True
        )


class Shared(Client):
    """An async client; within `with` it serves a request."""

    def __init__(self, client: AsyncOpenAI) -> None:
        super().__init__(client)
        self.owner = _owner(self)
        self.busy = 0

    def __enter__(self) -> Self:
        self.busy += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.busy -= 1


@dataclass(slots=True)
class Clients:
    """Clients by address, key, process and event loop."""

    _sync: dict[Any, Client] = field(default_factory=dict)
    _async: dict[Any, list[Shared]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sync(self, provider: Provider, endpoint: Endpoint) -> Client:
        """Return the client of an address, made on first use."""
        key = (os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        with self._lock:
            client = self._sync.get(key)
            if client is None:
                given = _arguments(provider, endpoint, _http_clients()[0])
                client = self._sync[key] = Client(openai().OpenAI(**given))
            return client

    async def asynchronous(self, provider: Provider, endpoint: Endpoint) -> Shared:
        """Return a client of an address for the running event loop, made on first use."""
        loop = asyncio.get_running_loop()
        key = (loop, os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        known = self._async.get(key)
        if known is None:
            self._forget_closed_loops()
            known = self._async[key] = []
        for shared in known:
            if shared.busy < _SHARE:
                return shared
        shared = Shared(openai().AsyncOpenAI(**_arguments(provider, endpoint, _http_clients()[1])))
        known.append(shared)
        # An event loop closes its asynchronous generators when it ends, and with this one the
        # client: one left to the garbage collector would break connections of other clients.
        await anext(shared.owner)
        return shared

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
            for shared in self._async.pop(key):
                await shared.owner.aclose()


async def _owner(client: Client) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()


def _arguments(provider: Provider, endpoint: Endpoint, http_client: Any) -> dict[str, Any]:
    headers: dict[str, Any] = {name: Secret(value).reveal() for name, value in provider.headers}
    # An answer is small, and one that is compressed can be a gigabyte.
    headers = {"Accept-Encoding": "identity", **headers}
    headers = {**dict.fromkeys(_TELEMETRY, openai().omit), **headers}
    if provider.name != "openai":
        # The client reads these from the environment; they are nobody else's business.
        nothing = openai().omit
        custom = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        own = [
            "OpenAI-Organization",
            "OpenAI-Project",
            *(line.partition(":")[0] for line in custom),
        ]
        headers = {**{name.strip(): nothing for name in own if name.strip()}, **headers}
    here = _is_loopback(endpoint.base_url)
    plain = here and endpoint.base_url.startswith("http:")
    return {
        "base_url": endpoint.base_url,
        "api_key": endpoint.api_key.reveal() if endpoint.api_key else NO_KEY,
        "default_headers": headers,
        # A proxy of the environment would look for a loopback address on its own machine.
        "http_client": http_client(trust_env=not here, verify=False if plain else _certificates()),
    }


def _is_loopback(url: str) -> bool:
    """Tell whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def guard(client: Any) -> None:
    """Guard the sessions of an HTTP client that sends through aiohttp, before it sends anything.

    Args:
        client: An ``openai.DefaultAioHttpClient``. That it has transports which make sessions is
            known and not promised; one that has none is left as it is.
    """
    for transport in (
        getattr(client, "_transport", None),
        *getattr(client, "_mounts", {}).values(),
    ):
        if hasattr(transport, "get_client") and getattr(transport, "client", "") is None:
            transport.client = functools.partial(_session, transport)


def _session(transport: Any) -> Any:
    """Return the session that a transport would make, with another class of responses."""
    transport.client = None
    plain = transport.get_client()
    library = sys.modules[type(plain).__module__.partition(".")[0]]
    connector = plain.connector
    plain.detach()
    return library.ClientSession(connector=connector, response_class=_guarded(library))


@functools.cache
def _guarded(library: Any) -> Any:
    class Guarded(library.ClientResponse):  # type: ignore[misc]
        async def start(self, connection: Any) -> Any:
            """Begin to read, unless there is something to read already."""
            protocol = connection.protocol
            if protocol is not None and protocol.should_close:
                raise library.ServerDisconnectedError("something came unasked before the answer")
            return await super().start(connection)

    return Guarded
