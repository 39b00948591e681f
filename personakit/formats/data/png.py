"""The texts in a picture of the format PNG (https://www.w3.org/TR/png-3/#5DataRep)."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator

from personakit.formats.note import Unreadable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONGEST = 32 * 1024 * 1024
_KEYWORDS = ("ccv3", "chara")
"""The keywords of a card's text; the first one there wins."""


def card_in(data: bytes) -> bytes:
    """Return the JSON of a character card in a picture.

    Raises:
        Unreadable: It is no PNG, is damaged, or has no card.
    """
    texts: dict[str, bytes] = {}
    for kind, content in _chunks(data):
        if kind == b"tEXt":
            name, mark, text = content.partition(b"\0")
            if mark:
                texts.setdefault(name.decode("latin-1").lower(), text)
    for keyword in _KEYWORDS:
        if keyword in texts:
            try:
                return base64.b64decode(texts[keyword], validate=False)
            except (binascii.Error, ValueError) as error:
                raise Unreadable(f"the card in the png is not Base64: {error}") from None
    raise Unreadable(
        "the png has no card: expected a text with the keyword ccv3 or chara, as programs for "
        "character cards write it"
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the content of each chunk up to IEND.

    Raises:
        Unreadable: A length or a checksum is wrong.
    """
    if not data.startswith(_SIGNATURE):
        raise Unreadable("no png: the signature is missing")
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if length > _LONGEST or len(content) < length or at + 12 + length > len(data):
            raise Unreadable(f"the png is damaged: the chunk at byte {at:,} is cut off")
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise Unreadable(
                f"the png is damaged: the checksum of the chunk at byte {at:,} is wrong"
            )
        if kind == b"IEND":
            return
        yield kind, content
        at += 12 + length
    raise Unreadable("the png is damaged: it has no end")


def with_card(picture: bytes, card: bytes) -> bytes:
    """Return a picture with a card in it, in the place of one that is there.

    Raises:
        Unreadable: It is no PNG, or is damaged.
    """
    written = [_SIGNATURE]
    for kind, content in _chunks(picture):
        keyword = content.partition(b"\0")[0].decode("latin-1").lower()
        if kind != b"tEXt" or keyword not in _KEYWORDS:
            written.append(_chunk(kind, content))
    written.append(_chunk(b"tEXt", b"chara\0" + base64.b64encode(card)))
    return b"".join([*written, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
