"""The server over HTTP without keys, for this machine alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from personakit import UsageError
from personakit_mcp.serving.application import server, settle
from personakit_mcp.serving.offer import Serving

HOSTS = ("127.0.0.1", "localhost", "::1")
_GRACE = 2  # seconds in which running requests end


class _Server(uvicorn.Server):
    """uvicorn, which returns after a signal instead of raising it again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM."""
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, self.handle_exit)
        yield


def serve_http(serving: Serving, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve clients of this machine until SIGINT or SIGTERM.

    A request of a page in a browser of another site is refused, whatever the name that it has made
    127.0.0.1 of (https://en.wikipedia.org/wiki/DNS_rebinding).

    Args:
        serving: What is offered.
        host: One of `HOSTS`.
        port: The port; 0 for a free one.
        say: Prints the address.

    Raises:
        UsageError: The host is another one, or the port cannot be used.
    """
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/mcp"
    # The library checks the headers Host and Origin for this host.
    app = server(serving).streamable_http_app(host=HOSTS[0])
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=_GRACE
    )

    async def serve() -> None:
        try:
            await _Server(config).serve([listening])
        finally:
            await serving.runner.aclose()

    settle()
    say(f"serving {address}; Ctrl-C ends it")
    asyncio.run(serve())


def _listen(host: str, port: int) -> socket.socket:
    if host not in HOSTS:
        raise UsageError(
            f"--host {host[:80]}: --http serves this machine alone, at {', '.join(HOSTS)}; for "
            f"others, with keys: personakit serve --mcp"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        other = f"choose another port: --port {port % 65_535 + 1}, or --port 0 for a free one"
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {host} is in use by another program; end it, or {other}"
        else:
            # The text of the error itself repeats the address.
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            message = f"cannot listen on port {port} of {host}: {reason}; {other}"
        raise UsageError(message) from None
