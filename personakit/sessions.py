"""Sessions of aiohttp that take nothing for an answer which came before its request.

aiohttp gives a connection out again without a look at what has come on it meanwhile: what an
upstream sent unasked, a while after its answer, would be the answer to the next request.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


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
