"""Fetch a text of the web that a user names, with the HTTP library that openai uses."""

from __future__ import annotations

import errno
import functools
import http
import time
from typing import Any, NamedTuple

from personakit.backend.clients import certificates, http_library, is_loopback, new_http_client

MAX_REDIRECTS = 5
SECONDS = 30.0
"""The default limit of time."""


class Fetched(NamedTuple):
    """The body of a reply and the encoding that the reply declares; None if it declares none."""

    data: bytes
    charset: str | None


def fetch(url: str, limit: int, seconds: float = SECONDS) -> Fetched:
    """Return what is at a URL; follow up to `MAX_REDIRECTS` redirects.

    Args:
        url: An http or https URL.
        limit: The most bytes.
        seconds: How long to wait for a step of the exchange, and for the whole body.

    Raises:
        OSError: There is no reply in this time, its status is not 200, or it is larger than
            the limit. `strerror` is the reason, as a clause; it contains no text of the reply.
        ConfigError: A proxy or certificates that the environment names cannot be used.
    """
    library = http_library()
    until = time.monotonic() + seconds
    try:
        with _client(library, url, seconds) as client, client.stream("GET", url) as reply:
            if reply.status_code != library.codes.OK:
                raise _failed(f"the server answered with {_status(reply.status_code)}", url)
            pieces, size = [], 0
            for piece in reply.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise _failed(f"it is larger than the limit of {limit:,} bytes", url)
                if time.monotonic() > until:
                    raise _failed(f"it did not arrive within {seconds:g} seconds", url)
            return Fetched(b"".join(pieces), reply.charset_encoding)
    except library.TimeoutException:
        raise _failed(f"the server did not answer within {seconds:g} seconds", url) from None
    except library.TooManyRedirects:
        raise _failed(f"it has more than {MAX_REDIRECTS} redirects", url) from None
    except (library.HTTPError, library.InvalidURL, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _failed(reason, url) from None


def _status(code: int) -> str:
    """Return a status with its standard phrase; that of the server may be any text."""
    known = {status.value: status.phrase for status in http.HTTPStatus}
    return f"{code} {known.get(code, '')}".strip()


def _client(library: Any, url: str, seconds: float) -> Any:
    """Return an HTTP client, with the proxies and certificates of the environment."""
    client = functools.partial(
        library.Client,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        timeout=seconds,
        headers={"User-Agent": "personakit", "Accept": "text/*, */*;q=0.5"},
    )
    # A redirect may lead from a loopback address to one whose certificate counts.
    return new_http_client(client, trust_env=not is_loopback(url), verify=certificates())


def _failed(reason: str, url: str) -> OSError:
    return OSError(errno.EIO, reason, url)
