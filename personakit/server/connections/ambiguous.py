"""Requests that two servers could read in different ways, which is how requests are smuggled.

The parser (llhttp, in its strict mode) refuses most of them: two lengths, a length beside
`Transfer-Encoding`, folded headers, bare CR or LF, a space before the colon. This is the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# RFC 3986, 3.2.2: a name, an IPv4 address or an IPv6 address in brackets; and a port.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?", re.ASCII)


def fault(
    method: bytes, version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> str | None:
    """Return what is wrong with the head of a request, or None.

    Args:
        method: The method.
        version: Of HTTP, such as ``1.1``.
        target: The second word of the request line.
        headers: Names in lower case, and values without white space around them.
    """
    if version not in ("1.1", "1.0"):
        return f"HTTP/{version} is not supported; use HTTP/1.1"
    if method == b"CONNECT":
        return "CONNECT is not supported: this server is not a proxy"
    if b"#" in target:
        return "the request's target has a fragment ('#…'); send it without"
    hosts: list[bytes] = []
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
    if codings and (version == "1.0" or len(codings) > 1 or codings[0].lower() != b"chunked"):
        # RFC 9112, 6.1: with HTTP/1.0 the length of such a body is not known.
        return "the only transfer encoding is 'chunked', once and with HTTP/1.1"
    return _wrong_host(version, target, hosts)


def _wrong_host(version: str, target: bytes, hosts: list[bytes]) -> str | None:
    """RFC 9112, 3.2: one valid `Host`, which HTTP/1.0 alone may leave out."""
    if len(hosts) != 1:
        if not hosts and version == "1.0":
            return None
        return f"the request has {len(hosts) or 'no'} Host headers; send one"
    if not _HOST.fullmatch(hosts[0]):
        return "the Host header is not a host and a port"
    if not target.startswith((b"/", b"*")):
        scheme, _, rest = target.partition(b"://")
        if scheme.lower() not in (b"http", b"https"):
            return "the request's target is neither a path nor an http URL"
        if rest.partition(b"/")[0].lower() != hosts[0].lower():
            return "the request's target and its Host header name different hosts"
    return None
