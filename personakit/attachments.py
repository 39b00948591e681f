"""Attachments: images, PDFs and audio sent with the user's message.

The limits are those that OpenAI documents for its API ("Images and vision", "File inputs"). Other
providers have their own limits; their errors are passed on.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.parse import urlsplit

from personakit.base import brief_repr, read_file, size
from personakit.errors import UsageError, did_you_mean
from personakit.frozen import freeze
from personakit.messages import Message, Request

MEGABYTE = 1_000_000
MAX_IMAGE = 20 * MEGABYTE
"""Bytes of one image."""
MAX_TOTAL = 50 * MEGABYTE
"""Bytes of all attachments of a request together, and of one PDF."""

TAKEN = "a PNG, JPEG, GIF or WebP image, a PDF, or WAV or MP3 audio"
_SOUND = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_ELSEWHERE = re.compile(r"data:|[a-zA-Z][a-zA-Z0-9+.-]+://")
_NOT_BY_ADDRESS = {".pdf": "a PDF", ".wav": "audio", ".mp3": "audio"}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
)
# Unsupported types, recognized for the error message.
_REFUSED = (
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"PK\3\4", "an archive or an Office document"),
    (b"OggS", "Ogg audio"),
    (b"fLaC", "FLAC audio"),
)

Source: TypeAlias = "Attachment | str | Path | bytes"
"""A path, an http(s) URL of an image, bytes, or an `Attachment`."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image, a PDF or audio sent with the user's message.

    Attributes:
        type: The media type, such as ``image/png``; detected from the content if empty.
        data: The bytes; empty if `url` is set.
        url: The http(s) URL of an image, which the upstream fetches.
        name: The name of the file; sent to the model with a PDF.

    Raises:
        UsageError: The content is empty, too large or of an unsupported type.
    """

    type: str = ""
    data: bytes = field(default=b"", repr=False)
    url: str = ""
    name: str = ""

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        if self.url:
            yield "url", self.url
        else:
            yield from (("type", self.type), ("size", size(len(self.data))))
            yield from [("name", self.name)] if self.name else ()

    def __post_init__(self) -> None:
        if self.url and self.data:
            raise UsageError(f"cannot attach {self.url}: both url and data are set; set only one")
        if self.url:
            _check_address(self.url)
            return
        shown = self.name or "the attachment"
        if not isinstance(self.data, bytes):
            kind = type(self.data).__name__
            raise UsageError(f"cannot attach {shown}: data must be bytes, found {kind}")
        if not self.data:
            raise UsageError(f"cannot attach {shown}: it is empty")
        object.__setattr__(self, "type", self.type or _type_of(self.data, shown))
        if not (self.type in {*_SOUND, "application/pdf"} or self.type.startswith("image/")):
            raise UsageError(f"cannot attach {shown}: expected {TAKEN}, found {self.type}")
        limit = MAX_IMAGE if self.type.startswith("image/") else MAX_TOTAL
        if len(self.data) > limit:
            raise UsageError(
                f"cannot attach {shown}: {size(len(self.data))}; the limit for {self.type} is "
                f"{size(limit)}; make it smaller"
            )

    @classmethod
    def of(cls, source: Source) -> Attachment:
        """Return an attachment for a path, a URL or bytes.

        Raises:
            UsageError: The source cannot be read, or is empty, too large or of an unsupported type.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, bytes | bytearray):
            return cls(data=bytes(source))
        if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
            return cls(url=source)
        if isinstance(source, str) and _ELSEWHERE.match(source):
            raise UsageError(
                f"cannot attach {source[:60]!r}: a URL must begin with http:// or https://; pass "
                f"other content as a file or as bytes"
            )
        if source == "":
            raise UsageError("cannot attach '': expected a path or a URL")
        if isinstance(source, str | Path):
            return cls(data=_read(Path(source)), name=Path(source).name)
        raise UsageError(
            f"cannot attach {type(source).__name__}: expected a path, an http(s) URL, bytes or an "
            f"Attachment"
        )

    @classmethod
    def from_stream(cls, stream: IO[bytes], name: str) -> Attachment:
        """Return an attachment with the content of a stream, such as standard input."""
        return cls(data=stream.read(MAX_TOTAL + 1), name=name)

    def part(self) -> dict[str, Any]:
        """Return the content part as chat.completions.create() accepts it."""
        if self.url:
            return {"type": "image_url", "image_url": {"url": self.url}}
        coded = base64.b64encode(self.data).decode("ascii")
        if self.type in _SOUND:
            sound = {"data": coded, "format": _SOUND[self.type]}
            return {"type": "input_audio", "input_audio": sound}
        address = f"data:{self.type};base64,{coded}"
        if self.type == "application/pdf":
            name = self.name or "document.pdf"
            return {"type": "file", "file": {"filename": name, "file_data": address}}
        return {"type": "image_url", "image_url": {"url": address}}


def attach(request: Request, sources: Iterable[Source]) -> Request:
    """Return a request with attachments appended to the last user message.

    If the last message is not a user message, a new one is added.

    Raises:
        UsageError: An attachment cannot be sent, or all together are too large.
    """
    if isinstance(sources, str | bytes | Path | Attachment):
        raise UsageError("attachments must be a list: write attachments=[…]")
    attachments = [Attachment.of(source) for source in sources]
    if not attachments:
        return request
    check_total(attachments)
    parts = [attachment.part() for attachment in attachments]
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user":
        return request.with_messages(Message("user", freeze(parts)))
    content = last.content
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}, *parts] if content else parts
    else:
        parts = [*(content or ()), *parts]
    return request.replace(messages=(*request.messages[:-1], last.replace(content=freeze(parts))))


def check_total(attachments: Iterable[Attachment]) -> None:
    """Check the size of all attachments of a request.

    Raises:
        UsageError: It is more than `MAX_TOTAL`.
    """
    total = sum(len(attachment.data) for attachment in attachments)
    if total > MAX_TOTAL:
        raise UsageError(
            f"the attachments have {size(total)} in total; the limit is {size(MAX_TOTAL)}"
        )


def describe(part: Mapping[str, Any]) -> str:
    """Return a short description of a content part other than text.

    Parts written by hand may lack fields.
    """
    kind = str(part.get("type"))
    fields = part.get(kind)
    inner = fields if isinstance(fields, Mapping) else {}
    if kind == "input_audio" and inner:
        return f"{inner.get('format', 'unknown')} audio, {_coded(str(inner.get('data', '')))}"
    if kind == "file" and inner:
        coded = str(inner.get("file_data", "")).rpartition(",")[2]
        size_or_id = inner.get("file_id") or _coded(coded)
        return f"{inner.get('filename', 'a file')}, {size_or_id}"
    address = str(inner.get("url") or kind)
    if address.startswith("data:"):
        media, _, coded = address[5:].partition(";base64,")
        return f"{media}, {_coded(coded)}"
    return address


def _coded(text: str) -> str:
    """Return the size of base64 text in bytes, formatted for people."""
    return size(len(text) * 3 // 4 - text[-2:].count("="))


def _check_address(url: str) -> None:
    try:
        parsed = urlsplit(url)
        good = parsed.scheme in ("http", "https") and bool(parsed.hostname)
        good = good and len(url.split()) == 1
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"cannot attach {url!r}: expected a URL such as https://example.com/a.png")
    for ending, kind in _NOT_BY_ADDRESS.items():
        if parsed.path.lower().endswith(ending):
            raise UsageError(
                f"cannot attach {url}: {kind} cannot be sent as a URL; download it and "
                f"attach the file"
            )


def _read(path: Path) -> bytes:
    """Return the content of a file."""
    try:
        return read_file(path.expanduser(), MAX_TOTAL)
    # RuntimeError: an unknown user (~nobody).
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot attach {path}: {reason}{_near(path)}") from None


def _near(path: Path) -> str:
    try:
        if path.exists():
            return ""
        names = (entry.name for entry in path.parent.iterdir() if entry.name != path.name)
        return did_you_mean(path.name, names)
    except (OSError, ValueError):
        return ""


def _type_of(data: bytes, shown: str) -> str:
    """Return the media type, detected from the content: a file's name can be wrong."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if data[8:12] == b"WEBP" else "audio/wav"
    # The first frame of MPEG audio, layer III.
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2:
        return "audio/mpeg"
    raise UsageError(f"cannot attach {shown}: it is {_found(data)}; expected {TAKEN}")


def _found(data: bytes) -> str:
    for magic, kind in _REFUSED:
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp":
        return "a HEIC image, or MP4 video or audio"
    try:
        # An incremental decoder accepts a character that is cut at the end.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:4096])
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return "text, which belongs in the prompt (use -f, or -v NAME=@FILE)"
    return f"of an unknown type (it begins with {data[:8].hex(' ')})"
