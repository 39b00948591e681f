"""The sockets that the server listens on."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from personakit.errors import ConfigError, spelled

BACKLOG = 2048
"""Connections that wait until a worker takes them; the kernel may allow fewer."""


class Address(NamedTuple):
    """An address to listen on.

    Attributes:
        family: Of IPv4 or IPv6.
        place: What `socket.bind` takes; its first item is the address as a text.
    """

    family: socket.AddressFamily
    place: tuple[Any, ...]

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        return ipaddress.ip_address(str(self.place[0]).partition("%")[0]).is_loopback


def addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        ConfigError: It has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"host {host[:80]!r} has no address ({reason}); 127.0.0.1 serves this machine, and "
            f"0.0.0.0 all networks"
        ) from None
    return list(dict.fromkeys(Address(family, place) for family, _, _, _, place in found))


def listen(host: str, wanted: Sequence[Address]) -> list[socket.socket]:
    """Return a listening socket for each address; all have the same port.

    An address that this machine does not have is left out if there is another: in many containers
    ``localhost`` has an address of IPv6, and the machine has none.

    Raises:
        ConfigError: The port is in use or needs more rights, or the machine has no such address.
    """
    sockets: list[socket.socket] = []
    fault: OSError | None = None
    for family, place in wanted:
        port = place[1] or (sockets[0].getsockname()[1] if sockets else 0)
        is_all = place[0] == "::" and socket.has_dualstack_ipv6()
        try:
            made = socket.create_server(
                (place[0], port), family=family, backlog=BACKLOG, dualstack_ipv6=is_all
            )
            sockets.append(made)
        except OSError as error:
            fault = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    else:
        if sockets:
            return sockets
    close(sockets)
    assert fault is not None
    raise ConfigError(_fault(fault, host, wanted[0].place[1]))


def close(sockets: Sequence[socket.socket]) -> None:
    """Close sockets; other processes that have them go on listening."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.close()


def allow_files(count: int) -> None:
    """Let this process and its workers open so many files, or as many as the system allows.

    Each connection is one; most systems allow 1,024 unless a program asks for more.

    Args:
        count: The number of files.
    """
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has another limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def url(host: str, sockets: Sequence[socket.socket]) -> str:
    """Return the base URL for clients, with the real port."""
    port = sockets[0].getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _fault(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        free = spelled(python="port=0", terminal="--port 0")
        other = spelled(python="another `port`", terminal=f"--port {port % 65_535 + 1}")
        return (
            f"port {port} of {host} is in use by another program; end it, or choose another port: "
            f"{other}, or {free} for a free one"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {port} of {host} is not allowed for this user; choose one above 1023 behind a "
            f"reverse proxy, or give the right with AmbientCapabilities=CAP_NET_BIND_SERVICE in "
            f"systemd"
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return (
            f"this machine has no address {host}; 127.0.0.1 serves this machine, and 0.0.0.0 all "
            f"networks"
        )
    return f"cannot listen on port {port} of {host}: {error.strerror or error}"
