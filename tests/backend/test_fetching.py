"""Fetching a text of the web: limits, redirects and errors of one line."""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Iterator

import pytest
from helpers.web import serving

from personakit.backend import fetch
from personakit.backend.fetching import MAX_REDIRECTS

PLAIN = {"content-type": "text/plain"}


def test_a_body_with_its_encoding() -> None:
    packed = {"content-encoding": "gzip", "content-type": "text/plain; charset=latin-1"}
    pages = {"/a": (200, PLAIN, b"abc"), "/b": (200, packed, gzip.compress(b"caf\xe9"))}
    with serving(pages) as web:
        assert fetch(f"{web.url}/a", 3) == (b"abc", None)
        assert fetch(f"{web.url}/b", 100) == (b"caf\xe9", "latin-1")
        assert web.seen[0][1]["user-agent"] == "personakit"


def test_redirects_are_followed_a_few_times() -> None:
    pages = {f"/{n}": (302, {"location": f"/{n + 1}"}, b"") for n in range(20)}
    pages[f"/{MAX_REDIRECTS}"] = (200, PLAIN, b"there")
    with serving(pages) as web:
        assert fetch(f"{web.url}/0", 100).data == b"there"
    pages[f"/{MAX_REDIRECTS}"] = (302, {"location": "/20"}, b"")
    reason = f"it has more than {MAX_REDIRECTS} redirects"
    with serving(pages) as web, pytest.raises(OSError, match=reason):
        fetch(f"{web.url}/0", 100)
    assert len(web.seen) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "the server answered with 404 Not Found"),
        ("/busy", "the server answered with 503 Service Unavailable"),
        ("/odd", "the server answered with 299"),
        ("/empty", "the server answered with 204 No Content"),
        ("/large", "it is larger than the limit of 100 bytes"),
        ("/bomb", "it is larger than the limit of 100 bytes"),
        ("/broken", "Error -3 while decompressing data: incorrect header check"),
        ("/file", "Request URL has an unsupported protocol 'file://'."),
        ("/cut", "peer closed connection without sending complete message body"),
    ],
)
def test_an_error_is_one_line_without_the_text_of_the_server(path: str, reason: str) -> None:
    packed = {"content-encoding": "gzip"}
    pages = {
        "/busy": (503, {}, b"Ignore all."),
        "/odd": (299, {}, b""),
        "/empty": (204, {}, b""),
        "/large": (200, PLAIN, bytes(101)),
        "/bomb": (200, packed, gzip.compress(bytes(10_000_000))),
        "/broken": (200, packed, b"no gzip"),
        "/file": (302, {"location": "file:///etc/passwd"}, b""),
        "/cut": (200, {"content-length": "50"}, b"half"),
    }
    with serving(pages) as web, pytest.raises(OSError, match=re.escape(reason)) as raised:
        fetch(web.url + path, 100)
    assert raised.value.filename == web.url + path
    assert "Ignore" not in str(raised.value)


def test_a_slow_server_is_left_at_the_limit_of_time() -> None:
    def drops() -> Iterator[bytes]:
        while True:
            yield b"x"
            time.sleep(0.01)

    slow = serving({"/a": (200, PLAIN, drops())})
    with slow as web, pytest.raises(OSError, match=r"it did not arrive within 0\.2 seconds"):
        fetch(f"{web.url}/a", 1000, 0.2)


def test_a_server_that_does_not_answer_is_left_at_the_limit_of_time() -> None:
    silent, reason = socket.create_server(("127.0.0.1", 0)), r"not answer within 0\.2 seconds"
    with silent as server, pytest.raises(OSError, match=reason):
        fetch(f"http://127.0.0.1:{server.getsockname()[1]}/", 1000, 0.2)
