"""Server-sent events, cut anywhere, with any line ending."""

from __future__ import annotations

import pytest

from personakit.backend.sse import Decoder

STREAM = (
    ': a comment\nevent: message\nid: 7\nretry: 10\ndata: {"a": "€ \u2028 \x85 \x0b é"}\n\n'
    "data:no space\n\n"
    "data:  two spaces\n\n"
    "data: one\ndata: two\ndata\n\n"
    "\n\n"
    "data:\n\n"
    "dataset: not data\nother\n\n"
    "data: last\n\n"
)
EVENTS = [
    '{"a": "€ \u2028 \x85 \x0b é"}',
    "no space",
    " two spaces",
    "one\ntwo\n",
    "last",
]


def events(body: bytes, *cuts: int) -> list[str]:
    decoder, at = Decoder(), 0
    found: list[bytes] = []
    for cut in (*cuts, len(body)):
        found += decoder.feed(body[at:cut])
        at = cut
    found += decoder.flush()
    return [data.decode() for data in found]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_cut_gives_the_same_events(end: str) -> None:
    body = STREAM.replace("\n", end).encode()
    for cut in range(len(body) + 1):
        assert events(body, cut) == EVENTS
    for size in range(1, 40):
        assert events(body, *range(0, len(body), size)) == EVENTS


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"data: a\n")) == []
    assert list(decoder.feed(b"\ndata: b\n\nda")) == [b"a", b"b"]


def test_done_ends_the_stream() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"data: a\n\ndata: [DONE]\n\ndata: b\n\n")) == [b"a"]
    assert decoder.done
    assert list(decoder.feed(b"data: c\n\n")) == list(decoder.flush()) == []


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r", b"\r\n"])
def test_an_event_that_no_blank_line_ends_is_an_event(tail: bytes) -> None:
    assert events(b"data: a\n\ndata: b" + tail) == ["a", "b"]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    body = b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbfb\n\n"
    for cut in range(len(body)):
        assert events(body, cut) == ["a", "\ufeffb"]
