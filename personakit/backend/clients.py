"""The openai clients, one for each address, key, process and event loop.

This is the only module that imports openai, and it does so when the first request is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, Unpack
from urllib.parse import urlsplit

from personakit.backend.requests.remembering import Kind, remembering
from personakit.backend.retries import http_clients
from personakit.base import Secret, check_file, install_command, only_sync
from personakit.errors import ConfigError
from personakit.frozen import FrozenDict
from personakit.providers import Endpoint, Provider

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI
    from openai._types import RequestOptions


NO_KEY = "none"
# These headers describe the machine and its Python; they also cost 30 µs a request.
_TELEMETRY = tuple(
    f"X-Stainless-{name}"
    for name in "Lang Package-Version OS Arch Runtime Runtime-Version Async".split()
)
# The same for each attempt.
_PROGRESS = ("X-Stainless-Retry-Count", "X-Stainless-Read-Timeout")


@functools.cache
def openai() -> Any:
    """Return the openai package.

    If only the sync API is used, openai is imported as if aiohttp were not installed, which takes
    a fifth of the time.
    """
    # The objects of its thousand modules live on. Collecting garbage takes an eighth of the import,
    # and the first time after it a tenth, in which all threads wait: so they become old without it.
    collects = gc.isenabled()
    gc.disable()
    try:
        with _hidden("aiohttp") if only_sync.get() else contextlib.nullcontext():
            import openai as package  # noqa: PLC0415
    finally:
        if collects:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # moves them to the oldest generation
            gc.enable()
    return package


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Make imports of a package fail, unless it is already imported.

    A None in `sys.modules` does so:
    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    is_new = package not in sys.modules
    if is_new:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_new:
            del sys.modules[package]


# What the HTTP library imports when it connects, through names that depend on the event loop.
_LATE = ("anyio._core._synchronization", "anyio._backends._asyncio")
_MOST = 64  # kinds of requests that a client remembers
_MAX_CERTIFICATES = 32_000_000  # bytes
_SHARE = 16
"""Concurrent requests per async client. Its pool checks every connection for each request: 256
concurrent requests took three times as long in one pool as in sixteen (benchmarks, `many`)."""


@functools.cache
def _http_clients() -> tuple[Any, Any]:
    """Return the classes of the HTTP clients under the openai clients, sync and async."""
    package = openai()

    class Overdue(package.OpenAIError):  # type: ignore[misc,name-defined]
        """An error that ends the attempts: the client does not retry after its own errors."""

        def __init__(self, original: Exception) -> None:
            super().__init__(str(original))
            self.original = original

    return http_clients(http_library(), package.DefaultHttpxClient, _async_base(package), Overdue)


def _async_base(package: Any) -> Any:
    """Return the HTTP client on aiohttp, the faster one, if that extra is installed."""
    try:
        package.DefaultAioHttpClient(verify=False, trust_env=False)
    except RuntimeError:
        return package.DefaultAsyncHttpxClient

    class Guarded(package.DefaultAioHttpClient):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            guard(self)

    return Guarded


@functools.cache
def http_library() -> Any:
    """Return the HTTP library that openai uses: httpx or its successor."""
    homes = [base.__module__.partition(".")[0] for base in openai().DefaultHttpxClient.__mro__]
    return next(
        sys.modules[home] for home in homes if hasattr(sys.modules[home], "create_ssl_context")
    )


@functools.cache
def response_class() -> Any:
    """Return the class of a reply; an openai client returns it unparsed."""
    return http_library().Response


@functools.cache
def certificates() -> Any:
    """Return the TLS context, which is shared because one takes 20 ms to create.

    Raises:
        ConfigError: The certificates that the environment names cannot be read.
    """
    folder = os.environ.get("SSL_CERT_DIR")
    try:
        for name in ("SSLKEYLOGFILE", "SSL_CERT_FILE"):
            if file := os.environ.get(name):
                check_file(file, must_exist=name == "SSL_CERT_FILE", limit=_MAX_CERTIFICATES)
        if folder and not os.environ.get("SSL_CERT_FILE"):
            os.listdir(folder)  # noqa: PTH208 - ssl would ignore a missing folder
        return http_library().create_ssl_context()
    except OSError as error:
        for name in ("SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            path = os.environ.get(name)
            if path and error.filename in (None, path):
                raise ConfigError(
                    f"{name} is {path!r}, which cannot be used: "
                    f"{error.strerror or error}; correct the variable, or unset it"
                ) from error
        raise


def _has_port(url: str) -> bool:
    """Return whether the port of a URL is a number, or missing."""
    try:
        return urlsplit(url).port is not None or True
    except ValueError:
        return False


def new_http_client(client: Any, *, trust_env: bool, verify: Any) -> Any:
    """Return an HTTP client, with the proxies of the environment if it is trusted.

    Raises:
        ConfigError: A proxy that the environment names cannot be used.
    """
    try:
        return client(trust_env=trust_env, verify=verify)
    except (ImportError, ValueError) as error:
        names = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
        spelled = [name for pair in names for name in (pair.lower(), pair)]
        for name in (name for name in spelled if os.environ.get(name)):
            scheme, advice = os.environ[name].partition("://")[0], ""
            if isinstance(error, ImportError):
                is_socks = scheme.lower().startswith("socks")
                command = install_command("socksio")
                advice = f"install SOCKS support with `{command}`" if is_socks else ""
            elif scheme.lower() not in ("http", "https", "socks5", "socks5h"):
                advice = "its scheme must be http, https, socks5 or socks5h"
            elif not _has_port(os.environ[name]):
                advice = "its port must be a number"
            if not advice:
                continue
            raise ConfigError(
                f"the proxy in {name} ({scheme}://…) cannot be used: {advice}; or unset {name}"
            ) from error
        raise


class Client:
    """An openai client with the URLs and options of its requests."""

    def __init__(self, client: OpenAI | AsyncOpenAI) -> None:
        base = client.base_url
        self.close: Callable[[], Any] = client.close
        self._client: Any = client
        self._base = base
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._options: RequestOptions = {
            "follow_redirects": False,
            "headers": dict.fromkeys(_PROGRESS, openai().omit),
            "max_retries": client.max_retries,
            "params": {},
            "security": {"bearer_auth": True},  # as chat.completions.create() has it
            "timeout": client.timeout,
        }

    def post(
        self,
        path: str,
        body: dict[str, Any],
        own_headers: Mapping[str, str | None] = FrozenDict(),
        **options: Unpack[RequestOptions],
    ) -> Any:
        """Send a request; return the reply as soon as its headers have arrived.

        Args:
            path: What follows the address in the URL.
            body: The JSON of the body.
            own_headers: More headers; None removes one.
            options: Options of this request.
        """
        key = (path, *own_headers.items(), *options.items())
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST:
                self._kinds.clear()
            kind = self._kinds[key] = self._kind(path, own_headers, options)
        return kind.send(self._client, body, response_class())

    def _kind(self, path: str, headers: Mapping[str, str | None], options: RequestOptions) -> Kind:
        omit = openai().omit
        own = {name: omit if value is None else value for name, value in headers.items()}
        merged = {**self._options, **options, "headers": {**self._options["headers"], **own}}
        raw = self._base.raw_path + path.encode()
        return Kind.of(openai(), str(self._base.copy_with(raw_path=raw)), merged)

    def models(self, query: str, headers: dict[str, Any], timeout: float) -> Any:
        """Request the list of models once; return the reply as soon as its headers have arrived.

        Args:
            query: The query of the URL; empty for none.
            headers: More headers.
            timeout: Seconds that the server may stay silent.
        """
        path = self._base.raw_path + b"models" + f"?{query}".encode() * bool(query)
        options = {
            **self._options,
            "headers": {**dict.fromkeys(_PROGRESS, openai().omit), **headers},
            "max_retries": 0,
            "timeout": timeout,
        }
        url = str(self._base.copy_with(raw_path=path))
        return self._client.get(url, cast_to=response_class(), options=options, stream=True)


class Shared(Client):
    """An async client; each `with` block counts as one request that it serves."""

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
        """Return the client of an address; it is created on first use."""
        key = (os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        with self._lock:
            client = self._sync.get(key)
            if client is None:
                arguments = _arguments(provider, endpoint, _http_clients()[0])
                client = self._sync[key] = Client(remembering(openai().OpenAI)(**arguments))
            return client

    async def asynchronous(self, provider: Provider, endpoint: Endpoint) -> Shared:
        """Return a client of an address for the running event loop; it is created on first use."""
        loop = asyncio.get_running_loop()
        key = (loop, os.getpid(), endpoint.base_url, endpoint.api_key, provider.headers)
        pool = self._async.get(key)
        if pool is None:
            self._forget_closed_loops()
            pool = self._async[key] = []
        for shared in pool:
            if shared.busy < _SHARE:
                return shared
        arguments = _arguments(provider, endpoint, _http_clients()[1])
        shared = Shared(remembering(openai().AsyncOpenAI)(**arguments))
        pool.append(shared)
        # An event loop closes its async generators when it ends, and this one closes the client:
        # left to the garbage collector, it would break connections of other clients.
        await anext(shared.owner)
        return shared

    def load(self, url: str) -> None:
        """Import openai and what its async client imports; create the TLS context if needed."""
        new_http_client(_http_clients()[1], trust_env=False, verify=False)
        for name in _LATE if "anyio" in sys.modules else ():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _verified(url)

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
    # An answer is small; a compressed one could expand to a gigabyte.
    headers = {"Accept-Encoding": "identity", **headers}
    headers = {**dict.fromkeys(_TELEMETRY, openai().omit), **headers}
    if provider.name != "openai":
        # The client reads these from the environment; only OpenAI may see them.
        nothing = openai().omit
        custom = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        own = [
            "OpenAI-Organization",
            "OpenAI-Project",
            *(line.partition(":")[0] for line in custom),
        ]
        headers = {**{name.strip(): nothing for name in own if name.strip()}, **headers}
    here = is_loopback(endpoint.base_url)
    return {
        "base_url": endpoint.base_url,
        "api_key": endpoint.api_key.reveal() if endpoint.api_key else NO_KEY,
        "default_headers": headers,
        # A proxy from the environment would resolve a loopback address to its own machine.
        "http_client": new_http_client(
            http_client,
            trust_env=not here,
            verify=_verified(endpoint.base_url),
        ),
    }


def _verified(url: str) -> Any:
    """Return what verifies the server of a URL: a TLS context; False for nothing."""
    return not (is_loopback(url) and url.startswith("http:")) and certificates()


def is_loopback(url: str) -> bool:
    """Return whether a URL has a loopback address."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def guard(client: Any) -> None:
    """Guard the sessions of an HTTP client on aiohttp; call this before the first request.

    Args:
        client: An ``openai.DefaultAioHttpClient``. Its transports create sessions, which is not
            documented; a client without such transports stays unchanged.
    """
    for transport in (
        getattr(client, "_transport", None),
        *getattr(client, "_mounts", {}).values(),
    ):
        if hasattr(transport, "get_client") and getattr(transport, "client", "") is None:
            transport.client = functools.partial(_session, transport)


def _session(transport: Any) -> Any:
    """Return the session that a transport would create, with a guarded class of responses."""
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
            """Begin to read, unless data arrived before the request was sent."""
            protocol = connection.protocol
            if protocol is not None and protocol.should_close:
                raise library.ServerDisconnectedError("received data before the request was sent")
            return await super().start(connection)

    return Guarded
