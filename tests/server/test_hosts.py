"""Which `Host` headers name this machine."""

from __future__ import annotations

import pytest

from personakit.server.protocol import is_loopback_host


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8111", "127.0.0.1", "127.0.0.1:80", "127.8.9.1", "[::1]", "[::1]:1"],
)
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example localhost.evil.example 127.0.0.1.nip.io evil.localhost a@[::1]".split()),
        *("0.0.0.0 10.0.0.1 ::1 [::] [::2]:1 localhost:x localhost:80:80 127.1 2130706433".split()),
        *("0x7f.0.0.1 0127.0.0.1 [localhost] [127.0.0.1] :80".split()),
        *("", " localhost", "localhost ", "localhost, evil.example", "localhost\n"),
    ],
)
def test_other_names(host: str) -> None:
    assert not is_loopback_host(host)
