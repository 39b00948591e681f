"""Attachments: images, PDFs and sound that go along with what the user says.

The limits are those that OpenAI documents for its API ("Images and vision", "File inputs"): other
providers have their own, and their error is passed on.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.parse import urlsplit

from personakit.errors import UsageError, did_you_mean
from personakit.frozen import freeze
from personakit.messages import Message, Request

MEGABYTE = 1_000_000
MAX_IMAGE = 20 * MEGABYTE
"""Bytes of one image."""
MAX_TOTAL = 50 * MEGABYTE
"""Bytes of all attachments of a request together, and of one PDF."""

TAKEN = "a PNG, JPEG, GIF or WebP image, a PDF, or WAV or MP3 sound"
_SOUND = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_ELSEWHERE = re.compile(r"data:|[a-zA-Z][a-zA-Z0-9+.-]+://")
_NOT_BY_ADDRESS = {".pdf": "a PDF", ".wav": "sound", ".mp3": "sound"}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
)
# What people try as well, by the name that they know it under.
_REFUSED = (
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"PK\3\4", "an archive or an Office document"),
    (b"OggS", "Ogg sound"),
    (b"fLaC", "FLAC sound"),
)

Source: TypeAlias = "Attachment | str | Path | bytes"
"""A file's path, an address (http or https) of an image, the bytes themselves, or an attachment."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image, a PDF or sound that goes along with what the user says.

    Attributes:
        type: The media type, such as ``image/png``; found by content when it is left out.
        data: The bytes; empty when there is an address.
        url: The address of an image, http or https, which the upstream fetches.
        name: The file's name, which the model gets to see with a PDF.

    Raises:
        UsageError: It is empty, too large, or of a type that cannot be sent.
    """

    type: str = ""
    data: bytes = field(default=b"", repr=False)
    url: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.url and self.data:
            raise UsageError(f"cannot attach {self.url}: it has data as well; give one of the two")
        if self.url:
            _check_address(self.url)
            return
        shown = self.name or "the attachment"
        if not isinstance(self.data, bytes):
            raise UsageError(f"cannot attach {shown}: its data is no bytes")
        if not self.data:
            raise UsageError(f"cannot attach {shown}: it is empty")
        object.__setattr__(self, "type", self.type or _type_of(self.data, shown))
        if not (self.type in {*_SOUND, "application/pdf"} or self.type.startswith("image/")):
            raise UsageError(f"cannot attach {shown}: {self.type} is not {TAKEN}")
        limit = MAX_IMAGE if self.type.startswith("image/") else MAX_TOTAL
        if len(self.data) > limit:
            raise UsageError(
                f"cannot attach {shown}: {size(len(self.data))}; the limit for {self.type} is "
                f"{size(limit)}; make it smaller"
            )

    @classmethod
    def of(cls, source: Source) -> Attachment:
        """Return the attachment of a path, an address or bytes.

        Raises:
            UsageError: It cannot be read, is empty, too large, or of a type that cannot be sent.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, bytes | bytearray):
            return cls(data=bytes(source))
        if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
            return cls(url=source)
        if isinstance(source, str) and _ELSEWHERE.match(source):
            raise UsageError(
                f"cannot attach {source[:60]!r}: addresses begin with http:// or https://; give "
                f"anything else as a file or as bytes"
            )
        if source == "":
            raise UsageError("cannot attach '': name a file or give an address")
        if isinstance(source, str | Path):
            return cls(data=_read(Path(source)), name=Path(source).name)
        raise UsageError(
            f"cannot attach {type(source).__name__}; give a path, an http(s) address, bytes or an "
            f"Attachment"
        )

    @classmethod
    def from_stream(cls, stream: IO[bytes], name: str) -> Attachment:
        """Return the attachment that a stream holds, such as standard input."""
        return cls(data=stream.read(MAX_TOTAL + 1), name=name)

    def part(self) -> dict[str, Any]:
        """Return the content part, as chat.completions.create() takes it."""
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
    """Return a request whose last user's message carries attachments, after its text.

    Without a user's message at the end they are one of their own.

    Raises:
        UsageError: One of them cannot be sent, or together they are too large.
    """
    if isinstance(sources, str | bytes | Path | Attachment):
        raise UsageError("attachments is a list: write attachments=[…]")
    found = [Attachment.of(source) for source in sources]
    if not found:
        return request
    total = sum(len(one.data) for one in found)
    if total > MAX_TOTAL:
        raise UsageError(
            f"the attachments have {size(total)} together; the limit is {size(MAX_TOTAL)} a request"
        )
    parts = [one.part() for one in found]
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user":
        return request.with_messages(Message("user", freeze(parts)))
    said = last.content
    if isinstance(said, str):
        parts = [{"type": "text", "text": said}, *parts] if said else parts
    else:
        parts = [*(said or ()), *parts]
    return request.replace(messages=(*request.messages[:-1], last.replace(content=freeze(parts))))


def describe(part: Mapping[str, Any]) -> str:
    """Return a content part other than text in a few words; it may have been written by hand."""
    kind = str(part.get("type"))
    held = part.get(kind)
    inner = held if isinstance(held, Mapping) else {}
    if kind == "input_audio" and inner:
        return f"{inner.get('format', 'unknown')} sound, {_coded(str(inner.get('data', '')))}"
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
    """Return for people how many bytes a text in base64 holds."""
    return size(len(text) * 3 // 4 - text[-2:].count("="))


def size(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.1f} kB" if count < MEGABYTE else f"{count / MEGABYTE:.1f} MB"


def _check_address(url: str) -> None:
    try:
        found = urlsplit(url)
        good = found.scheme in ("http", "https") and bool(found.hostname) and len(url.split()) == 1
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"cannot attach {url!r}: it is no address such as https://example.com/a.png"
        )
    for ending, kind in _NOT_BY_ADDRESS.items():
        if found.path.lower().endswith(ending):
            raise UsageError(
                f"cannot attach {url}: {kind} cannot be sent by its address; download it and "
                f"attach the file"
            )


def _read(path: Path) -> bytes:
    """Return the content of a file; of one that is too large, a little more than may be sent."""
    try:
        with path.expanduser().open("rb") as file:
            return file.read(MAX_TOTAL + 1)
    # The last two are for a user and a character that no path can have.
    except (OSError, RuntimeError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and path.is_dir():
            said = "it is a folder; name a file in it"
        raise UsageError(f"cannot attach {path}: {said}{_near(path)}") from None


def _near(path: Path) -> str:
    try:
        if path.exists():
            return ""
        return did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))
    except (OSError, ValueError):
        return ""


def _type_of(data: bytes, shown: str) -> str:
    """Return the media type of a content; a name can say anything."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if data[8:12] == b"WEBP" else "audio/wav"
    # The first frame of MPEG sound, layer III.
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2:
        return "audio/mpeg"
    raise UsageError(f"cannot attach {shown}: it is {_found(data)}; what can be sent is {TAKEN}")


def _found(data: bytes) -> str:
    for magic, kind in _REFUSED:
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp":
        return "a HEIC image, a film or MP4 sound"
    try:
        # A decoder of pieces: a character that the cut divides does not make it binary.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:4096])
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return "text, which goes into the prompt (pipe it in, or -v NAME=@FILE)"
    return f"of an unknown type (it begins with {data[:8].hex(' ')})"
