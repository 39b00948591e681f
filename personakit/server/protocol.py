"""What is asked of a connection before the application sees a request."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from personakit.server.settings import Limits

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?", re.IGNORECASE)


def protocol(
    limits: Limits, refused: Callable[[str], None] | None = None
) -> type[asyncio.Protocol]:
    """Return the class for ``http=`` of `uvicorn.Config`: its httptools protocol, with limits.

    Args:
        limits: `header`, `connections` and `idle` are used; `body` is the application's.
        refused: Called with the reason of each refusal: ``headers``, ``invalid``, ``timeout`` or
            ``full``.

    Raises:
        ImportError: uvicorn or httptools is not installed; ``personakit[serve]`` has both.
    """
    from personakit.server.connections.limited import Limited  # noqa: PLC0415

    return type("Limited", (Limited,), {"limits": limits, "refused": staticmethod(refused or str)})


@functools.lru_cache(maxsize=64)
def is_loopback_host(host: str) -> bool:
    """Return whether a `Host` header names this machine: ``localhost``, ``127.0.0.1``, ``[::1]``.

    A page of another site can have its name resolve to 127.0.0.1, and then read what a server on
    loopback answers, but it cannot choose the header (https://en.wikipedia.org/wiki/DNS_rebinding).

    Args:
        host: The value of the header, with or without a port.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    try:
        if match["six"]:
            return IPv6Address(match["six"]).is_loopback
        return match["name"].lower() == "localhost" or IPv4Address(match["name"]).is_loopback
    except ValueError:
        return False
