"""How much may be sent on a connection, how slowly, and how many connections there may be."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.raw import GET, POST, Answer, Client, listening

HEADER, IDLE = 4096, 0.4
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening("helpers.raw_app", {"header": HEADER}) as port:
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with listening("helpers.raw_app", {"idle": IDLE}) as port:
        yield port


def seen(port: int) -> list[Any]:
    """Return what the application noted."""
    with Client(port) as client:
        client.send(GET.replace(b"echo", b"seen") + b"\r\n")
        value: list[Any] = client.answer().json()
        return value


def is_refusal(answer: Answer, status: int, code: str) -> bool:
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert answer.headers["connection"] == "close"
    return (answer.status, error["code"]) == (status, code)


LARGE = {
    "one header": GET + b"A: " + b"a" * HEADER + b"\r\n\r\n",
    "64 KB": GET + b"A: " + b"a" * 65_536 + b"\r\n\r\n",
    "10 MB": GET + b"A: " + b"a" * 10_000_000 + b"\r\n\r\n",
    "10 MB without an end": GET + b"A: " + b"a" * 10_000_000,
    "many headers": GET + b"A: b\r\n" * 2000 + b"\r\n",
    "a long name": GET + b"a" * HEADER + b": b\r\n\r\n",
    "a long target": b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("data", LARGE.values(), ids=list(LARGE))
def test_large_headers_are_431_and_the_client_can_read_it(port: int, data: bytes) -> None:
    with Client(port) as client:
        client.send(data)
        assert is_refusal(client.answer(), 431, "headers_too_large")
        assert client.rest() == b""
    assert "headers" in seen(port)


def test_headers_up_to_the_limit_pass(port: int) -> None:
    with Client(port) as client:
        used = len("/echo") + len("HostlocalhostA") + 8
        client.send(GET + b"A: " + b"a" * (HEADER - used) + b"\r\n\r\n")
        assert client.answer().status == 200
        client.send(GET + b"A: " + b"a" * (HEADER - used + 1) + b"\r\n\r\n")
        assert client.answer().status == 431


def test_the_headers_of_each_request_are_counted_for_themselves(port: int) -> None:
    with Client(port) as client:
        one = GET + b"A: " + b"a" * 3000 + b"\r\n\r\n"
        client.send(one * 5)
        assert [client.answer().status for _ in range(5)] == [200] * 5
        for part in (one[:2000], one[2000:] + one[:100], one[100:]):
            client.send(part)
            time.sleep(0.02)
        assert [client.answer().status for _ in range(2)] == [200] * 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (CHUNKED + b"3;a=" + b"b" * 5_000_000 + b"\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0" * 5_000_000 + b"3\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 500_000 + b"\r\n", 431),
        (CHUNKED + b"3\r\nabc\r\n0\r\nA: " + b"b" * 5_000_000 + b"\r\n\r\n", 400),
    ],
    ids=["an extension", "zeros", "trailers", "a trailer"],
)
def test_what_a_chunked_body_has_besides_its_bytes_is_bounded(
    port: int, data: bytes, status: int
) -> None:
    with Client(port) as client:
        client.send(data)
        assert client.answer().status == status
        assert client.rest() == b""


def test_a_large_body_in_small_chunks_passes(port: int) -> None:
    with Client(port) as client:
        client.send(CHUNKED + b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n")
        assert client.answer().json()["body"] == 300_000


@pytest.mark.parametrize("data", [b"GET", GET, GET + b"A:", POST + b"A: b\r\n"])
def test_headers_that_do_not_arrive_are_408(impatient: int, data: bytes) -> None:
    with Client(impatient) as client:
        client.send(data)
        assert is_refusal(client.answer(), 408, "timeout")
        assert client.rest() == b""
    assert "timeout" in seen(impatient)


def test_headers_that_arrive_byte_by_byte_have_no_more_time(impatient: int) -> None:
    with Client(impatient) as client:
        begun = time.monotonic()
        client.socket.settimeout(0.05)
        for byte in GET:
            client.send(bytes([byte]))
            try:
                if client.more():
                    break
            except TimeoutError:
                continue
        client.socket.settimeout(20)
        assert client.answer().status == 408
        assert time.monotonic() - begun < 5 * IDLE


@pytest.mark.parametrize("data", [b"", b"\r\n"])
def test_a_connection_on_which_nothing_comes_is_closed(impatient: int, data: bytes) -> None:
    with Client(impatient) as client:
        client.send(data)
        assert client.rest() == b""


def test_a_connection_may_wait_between_requests(impatient: int) -> None:
    with Client(impatient) as client:
        for _ in range(2):
            client.send(GET + b"\r\n")
            assert client.answer().status == 200
            time.sleep(2 * IDLE)


def test_a_connection_over_the_limit_is_503_and_another_one_is_free_later() -> None:
    with listening("helpers.raw_app", {"connections": 2}) as port:
        with Client(port) as first, Client(port) as second:
            for client in (first, second):
                client.send(GET + b"\r\n")
                assert client.answer().status == 200
            with Client(port) as third:
                third.send(GET + b"\r\n")
                answer = third.answer()
                assert is_refusal(answer, 503, "server_overloaded")
                assert answer.headers["retry-after"] == "1"
                assert third.rest() == b""
            first.send(GET + b"\r\n")
            assert first.answer().status == 200
        assert "full" in seen(port)


def test_a_body_after_its_answer_is_read_and_dropped(port: int) -> None:
    with Client(port) as client:
        early = POST.replace(b"echo", b"early")
        client.send(early + b"Content-Length: 5000000\r\n\r\n" + b"a" * 5_000_000 + GET + b"\r\n")
        assert client.answer().status == 401
        assert client.answer().json()["method"] == "GET"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_before_a_body_can_be_read_though_the_connection_ends(
    port: int, version: str
) -> None:
    with Client(port) as client:
        early = POST.replace(b"echo", b"early").replace(b"1.1", version.encode())
        early += b"Connection: close\r\nContent-Length: 5000000\r\n\r\n"
        client.send(early + b"a" * 5_000_000 + GET + b"\r\n")
        assert client.answer().status == 401
        assert client.rest() == b""


def test_a_body_that_does_not_end_after_its_answer_ends_the_connection(impatient: int) -> None:
    with Client(impatient) as client:
        client.send(POST.replace(b"echo", b"early") + b"Content-Length: 5000000\r\n\r\nabc")
        assert client.answer().status == 401
        assert client.rest() == b""


def test_requests_on_one_connection_are_answered_in_turn(port: int) -> None:
    with Client(port) as client:
        client.send(b"".join(GET.replace(b"echo", b"slow/%d" % n) + b"\r\n" for n in range(10)))
        assert [client.answer().json()["path"] for _ in range(10)] == [
            f"/slow/{n}" for n in range(10)
        ]


def test_of_too_many_requests_on_one_connection_the_first_are_answered(port: int) -> None:
    with Client(port) as client:
        client.send(GET.replace(b"echo", b"slow") + b"\r\n" + (GET + b"\r\n") * 1000)
        replies = client.rest()
    assert replies.count(b"HTTP/1.1 200 OK\r\n") == replies.count(b"HTTP/1.1 ") == 17


@pytest.mark.parametrize("more", [b"", GET + b"\r\n"], ids=["alone", "with another"])
@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "closed"])
def test_a_client_that_leaves_is_noticed_at_once(port: int, half: bool, more: bytes) -> None:
    before = seen(port)
    with Client(port) as client:
        client.send(GET.replace(b"echo", b"hold") + b"\r\n" + more)
        while len(seen(port)) <= len(before):
            pass
        begun = time.monotonic()
        if half:
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.socket.close()
        while len(after := seen(port)) <= len(before) + 1:
            assert time.monotonic() - begun < 10
        assert after[-1] - begun < 0.5
        if half:
            assert client.rest() == b""


def test_a_client_that_does_not_read_is_closed_and_delays_no_other(impatient: int) -> None:
    events = GET.replace(b"/echo", b"/events?%d")
    with Client(impatient, buffer=4096) as slow, Client(impatient) as quick:
        begun = time.monotonic()
        slow.send(events % 100_000 + b"\r\n")
        quick.send(events % 10 + b"\r\n")
        longest, last = 0.0, time.monotonic()
        quick.until(b"\r\n\r\n")
        while time.monotonic() - begun < 3 * IDLE:
            quick.until(b"x" * 10)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert longest < IDLE
        # A whole stream would end with an empty chunk; this one ends in the middle.
        assert not slow.rest().endswith(b"0\r\n\r\n")


def test_a_client_that_reads_slowly_is_not_closed(impatient: int) -> None:
    with Client(impatient, buffer=4096) as client:
        client.send(GET.replace(b"/echo", b"/events?20000") + b"\r\n")
        begun = time.monotonic()
        while time.monotonic() - begun < 4 * IDLE:
            assert client.socket.recv(8192)
            time.sleep(0.01)


def test_a_request_after_the_last_one_of_a_connection_does_not_run(port: int) -> None:
    before = seen(port)
    with Client(port) as client:
        last = b"GET /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        client.send(last + POST.replace(b"echo", b"hold") + b"Content-Length: 100\r\n\r\nabc")
        assert client.answer().json()["path"] == "/slow"
        assert client.rest() == b""
        client.send(b"a" * 97)
    assert seen(port) == before


def test_an_invalid_chunk_ends_the_run_of_its_request(port: int) -> None:
    before = seen(port)
    with Client(port) as client:
        client.send(CHUNKED.replace(b"echo", b"hold") + b"3\r\nabc\r\n")
        while len(seen(port)) <= len(before):
            pass
        client.send(b"x\r\n")
        assert client.answer().status == 400
        begun = time.monotonic()
        while not any(isinstance(each, float) for each in seen(port)[len(before) :]):
            assert time.monotonic() - begun < 2
