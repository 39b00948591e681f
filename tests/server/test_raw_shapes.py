"""What may be sent on a connection: shapes that have one meaning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.raw import GET, POST, Client, listening

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening("helpers.raw_app", {}) as port:
        yield port


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


INVALID = {
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a length with a plus": POST + b"Content-Length: +3\r\n\r\nabc",
    "a length with a minus": POST + b"Content-Length: -3\r\n\r\nabc",
    "a length with a space in it": POST + b"Content-Length: 3 3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": POST + b"Content-Length: \r\n\r\nabc",
    "a length over 64 bits": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "length and coding": POST + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "coding identity": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "an empty element": POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"\r\n",
    "identity, then chunked": POST + b"Transfer-Encoding: identity\r\n" + CHUNKED + b"\r\n",
    "vertical tab in a coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunks with HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n",
    "a folded header": GET + b"A: b\r\n c\r\n\r\n",
    "a folded first header": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "bare LF after a header": GET + b"A: b\nC: d\r\n\r\n",
    "bare CR in a value": GET + b"A: b\rC: d\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\rHost: localhost\r\r",
    "NUL in a value": GET + b"A: b\x00c\r\n\r\n",
    "NUL in the target": head("GET /\0 HTTP/1.1", "Host: localhost"),
    "space in the target": head("GET /a b HTTP/1.1", "Host: localhost"),
    "a letter over 127 in the target": head("GET /ä HTTP/1.1", "Host: localhost"),
    "space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "no colon": GET + b"Foo\r\n\r\n",
    "no name": GET + b": x\r\n\r\n",
    "no Host": head("GET / HTTP/1.1"),
    "two Hosts": GET + b"Host: localhost\r\n\r\n",
    "an empty Host": head("GET / HTTP/1.1", "Host: "),
    "no valid Host": head("GET / HTTP/1.1", "Host: a b/.."),
    "user in the Host": head("GET / HTTP/1.1", "Host: a@localhost"),
    "a bad port": head("GET / HTTP/1.1", "Host: localhost:x"),
    "another host in the target": head("GET http://evil/ HTTP/1.1", "Host: localhost"),
    "user in the target": head("GET http://a@localhost/ HTTP/1.1", "Host: localhost"),
    "another scheme": head("GET ftp://localhost/ HTTP/1.1", "Host: localhost"),
    "no path": head("GET http://localhost HTTP/1.1", "Host: localhost"),
    "no slash": head("GET a HTTP/1.1", "Host: localhost"),
    "a fragment": head("GET /a#b HTTP/1.1", "Host: localhost"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": head("GET / HTTP/2.0", "Host: localhost"),
    "HTTP/1.2": head("GET / HTTP/1.2", "Host: localhost"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": head("CONNECT localhost:443 HTTP/1.1", "Host: localhost"),
    "CONNECT with a path": head("CONNECT /a HTTP/1.1", "Host: localhost"),
    "a method in lower case": head("get / HTTP/1.1", "Host: localhost"),
    "an unknown method": head("FOO / HTTP/1.1", "Host: localhost"),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(60),
    "noise": b"\xff\xfe\x00noise\r\n\r\n",
    "the header of a proxy": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + GET + b"\r\n",
}


@pytest.mark.parametrize("data", INVALID.values(), ids=list(INVALID))
def test_a_request_without_one_meaning_is_refused_and_ends_the_connection(
    port: int, data: bytes
) -> None:
    with Client(port) as client:
        client.send(data)
        answer = client.answer()
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["connection"] == "close"
        assert "date" in answer.headers
        error = answer.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_http")
        assert error["message"]
        client.send(GET + b"\r\n")
        assert client.rest() == b""


BAD_CHUNKS = {
    "LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "over 64 bits": b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n",
    "LF": b"3\nabc\r\n0\r\n\r\n",
    "no CRLF after the data": b"3\r\nabcX\r\n0\r\n\r\n",
    "an empty line": b"\r\n3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=list(BAD_CHUNKS))
def test_an_invalid_chunk_is_refused_once(port: int, data: bytes) -> None:
    with Client(port) as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + data)
        assert client.answer().status == 400
        assert client.rest() == b""


VALID = {
    "a request": (GET + b"\r\n", 0),
    "a length with spaces around": (POST + b"Content-Length:   3  \r\n\r\nabc", 3),
    "chunks": (POST + CHUNKED + b"\r\n", 3),
    "CHUNKED": (POST + CHUNKED.replace(b"chunked", b"CHUNKED") + b"\r\n", 3),
    "space after chunked": (POST + CHUNKED.replace(b"chunked", b"chunked ") + b"\r\n", 3),
    "an extension of a chunk": (POST + CHUNKED.replace(b"3\r", b'3;a="b"\r') + b"\r\n", 3),
    "GET with a body": (GET + b"Content-Length: 3\r\n\r\nabc", 3),
    "empty lines before": (b"\r\n\r\n" + GET + b"\r\n", 0),
    "a whole URL": (head("GET http://LOCALHOST/echo HTTP/1.1", "Host: localhost"), 0),
    "a Host with a port": (head("GET /echo HTTP/1.1", "Host: [::1]:80"), 0),
    "a Host of a proxy": (head("GET /echo HTTP/1.1", "Host: chat.example-1.com:8443"), 0),
    "latin-1 in a value": (GET + b"A: \xe4\r\n\r\n", 0),
    "websocket": (GET + UPGRADE.replace(b"h2c", b"websocket") + b"\r\n", 0),
}


@pytest.mark.parametrize(("data", "body"), VALID.values(), ids=list(VALID))
def test_a_request_with_one_meaning_is_answered_and_another_one_follows(
    port: int, data: bytes, body: int
) -> None:
    with Client(port) as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.json()["body"]) == (200, body)
        client.send(GET + b"\r\n")
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "target", ["//echo//a", "/../a/./b", "/%61%2f%00", "/%zz", "*", "/a?b=%00&c"]
)
def test_a_target_reaches_the_application_as_it_is(port: int, target: str) -> None:
    with Client(port) as client:
        client.send(head(f"GET {target} HTTP/1.1", "Host: localhost"))
        assert client.answer().status == 200


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "DELETE", "PURGE", "M-SEARCH"])
def test_a_known_method_reaches_the_application(port: int, method: str) -> None:
    with Client(port) as client:
        client.send(head(f"{method} /echo HTTP/1.1", "Host: localhost"))
        assert client.answer().json()["method"] == method


def test_the_answer_to_head_has_no_body(port: int) -> None:
    with Client(port) as client:
        client.send(GET.replace(b"GET", b"HEAD") + b"\r\n" + GET + b"\r\n")
        assert int(client.answer("HEAD").headers["content-length"]) > 0
        assert client.answer().json()["method"] == "GET"


@pytest.mark.parametrize("connection", ["", "Connection: keep-alive\r\n"])
def test_http_1_0_needs_no_host_and_ends_the_connection(port: int, connection: str) -> None:
    with Client(port) as client:
        client.send(f"GET /echo HTTP/1.0\r\n{connection}\r\n".encode())
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.rest() == b""


@pytest.mark.parametrize(("version", "is_chunked"), [("1.0", False), ("1.1", True)])
def test_http_1_0_gets_a_stream_without_chunks(port: int, version: str, is_chunked: bool) -> None:
    with Client(port) as client:
        client.send(head(f"GET /three HTTP/{version}", "Host: localhost", "Connection: close"))
        lines, _, body = client.rest().partition(b"\r\n\r\n")
        assert lines.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (b"transfer-encoding: chunked" in lines) is is_chunked
        assert body == (b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n" if is_chunked else b"012")


def test_trailers_are_not_headers_of_this_request_nor_of_the_next(port: int) -> None:
    with Client(port) as client:
        client.send(POST + CHUNKED + b"Authorization: Bearer x\r\nX-A: b\r\n\r\n" + GET + b"\r\n")
        names = [[name for name, _ in client.answer().json()["headers"]] for _ in range(2)]
        assert names == [["host", "transfer-encoding"], ["host"]]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_offer_of_http_2_is_ignored_and_the_body_is_read(
    port: int, apart: bool, chunked: bool
) -> None:
    """Java's HTTP client, and so LangChain4j, Spring AI and the IDEs of JetBrains, offers it."""
    inner = GET.replace(b"echo", b"smuggled") + b"\r\n"
    framing = b"Content-Length: %d\r\n\r\n" % len(inner)
    body = inner
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    with Client(port) as client:
        client.send(POST + UPGRADE + b"X: y\r\n" + framing + (b"" if apart else body))
        if apart:
            # The server has read the head when it has answered another connection.
            with Client(port) as other:
                other.send(GET + b"\r\n")
                other.answer()
            client.send(body)
        shown = client.answer().json()
        assert (shown["method"], shown["path"], shown["body"]) == ("POST", "/echo", len(inner))
        names = [name for name, _ in shown["headers"]]
        assert names[:4] == ["host", "connection", "http2-settings", "x"]
        client.send(GET + b"\r\n" + GET.replace(b"echo", b"last") + b"\r\n")
        assert [client.answer().json()["path"] for _ in range(2)] == ["/echo", "/last"]


def test_what_follows_a_body_does_not_reach_into_its_reply(port: int) -> None:
    with Client(port) as client:
        client.send(POST.replace(b"echo", b"slow") + b"Content-Length: 2\r\n\r\nabcd\r\n\r\n")
        answer = client.answer()
        assert (answer.json()["body"], answer.headers["connection"]) == (2, "close")
        assert client.rest() == b""


def test_expect_100_continue_is_answered_when_the_body_is_read(port: int) -> None:
    with Client(port) as client:
        client.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.answer().status == 100
        client.send(b"abc")
        assert client.answer().json()["body"] == 3


def test_what_follows_an_error_in_place_of_100_continue_is_no_request(port: int) -> None:
    with Client(port) as client:
        inner = GET + b"\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(inner)
        client.send(POST.replace(b"echo", b"early") + b"Expect: 100-continue\r\n" + length)
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert client.rest() == b""
