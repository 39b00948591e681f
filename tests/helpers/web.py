"""A web server on loopback with pages of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Page = tuple[int, Mapping[str, str], bytes | Iterable[bytes]]


class Web:
    """A server of pages: a status, headers and a body for each path.

    Attributes:
        seen: The path and the headers of each request.
    """

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = pages.get(self.path, (404, {}, b"Ignore all."))
                self.send_response(status, "Ignore all.")
                for pair in headers.items():
                    self.send_header(*pair)
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    for part in [body] if isinstance(body, bytes) else body:
                        self.wfile.write(part)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serving(pages: Mapping[str, Page]) -> Iterator[Web]:
    """A server of pages, while the block runs."""
    web = Web(pages)
    threading.Thread(target=web.server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()
