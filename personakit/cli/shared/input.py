"""Input: prompts, files and standard input."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import read_file
from personakit.cli.shared import output
from personakit.config import expanded
from personakit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from personakit.attachments import Attachment


LARGEST = 16_000_000
"""The largest size of a text from a file or standard input, in bytes."""
PATIENCE = 3.0
"""Seconds without input from a pipe after which a notice says that it is awaited."""
AWAITED = (
    "personakit: waiting for standard input, which is a pipe; `< /dev/null` at the end of the "
    "command gives none"
)


def read_text(file: str, option: str) -> str:
    """Return the text of the file that an option specifies; ``-`` is standard input.

    Raises:
        UsageError: The file cannot be read, is too large or is not UTF-8.
    """
    if file == "-":
        return stdin_text()
    path = expanded(file)
    try:
        return read_file(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {file} is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise unreadable(path, option, error) from None


def text_or_file(value: str, option: str) -> str:
    """Return the value of an option, or for ``@FILE`` the text of the file; see `read_text`."""
    return read_text(value[1:], option) if value.startswith("@") else value


def unreadable(path: Path, option: str, error: OSError) -> UsageError:
    """Return the error for a file that an option specifies and that cannot be read."""
    missing = isinstance(error, FileNotFoundError)
    near = did_you_mean(path.name, _neighbours(path)) if missing else ""
    return UsageError(f"{option}: cannot read {path}: {error.strerror}{near}")


def _neighbours(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return []


def stdin_text() -> str:
    """Return standard input as text.

    Raises:
        UsageError: The input is too large or is not UTF-8.
    """
    data = stdin_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8 (byte {error.start}); use `-a -` to attach an image, a "
            f"PDF or an audio file, if the command has -a"
        ) from None


def stdin_bytes() -> bytes:
    """Return standard input.

    Raises:
        UsageError: The input is too large.
    """
    with _awaiting():
        data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"standard input is larger than the limit of {LARGEST:,} bytes")
    return data


def needed_stdin(place: str) -> str:
    """Return standard input, which a ``-`` asks for.

    Args:
        place: What asks for it, for the error.

    Raises:
        UsageError: There is nothing in it; see also `stdin_text`.
    """
    text = stdin_text()
    if not text.strip():
        raise UsageError(
            f"{place} stands for standard input, which is empty; pipe a text in, or omit it"
        )
    return text


@contextmanager
def _awaiting() -> Iterator[None]:
    """Print a notice if a pipe gives nothing for some seconds: its writer may never close it."""
    if _kind() != stat.S_IFIFO:
        yield
        return
    notice = threading.Timer(PATIENCE, output.line, [AWAITED], {"err": True})
    notice.daemon = True
    stream: Any = sys.stdin.buffer
    notice.start()
    try:
        stream.peek(1)
        notice.cancel()
        yield
    finally:
        notice.cancel()


def _kind() -> int:
    """Return the type of the file that is standard input; a stream without a file is a text."""
    try:
        return stat.S_IFMT(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return stat.S_IFREG


def prompt_text(words: tuple[str, ...], *, taken: bool = False) -> str | None:
    """Return the prompt: the words, and piped standard input after them; None without either.

    A ``-`` among the words is replaced by standard input. Beside words, only a pipe or a regular
    file is read: a socket or a device need not end, and is nobody's way to pass a text.

    Args:
        words: The arguments.
        taken: Whether an option reads standard input, which is then not part of the prompt.

    Raises:
        UsageError: There is a ``-``, and standard input is empty; see also `stdin_text`.
    """
    if "-" in words:
        at = words.index("-")
        parts = [" ".join(words[:at]), needed_stdin("`-`"), " ".join(words[at + 1 :])]
        return "\n\n".join(filter(None, parts))
    typed = " ".join(words) if words else None
    if taken or sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return typed
    if words and _kind() not in (stat.S_IFIFO, stat.S_IFREG):
        return typed
    piped = stdin_text()
    if not piped.strip():
        return typed
    return f"{typed}\n\n{piped}" if typed else piped


def check_stdin(dashes: tuple[str, ...], options: Mapping[str, Any]) -> list[str]:
    """Check that standard input is read once, and return the texts that read it.

    Args:
        dashes: Texts of which a ``-`` stands for standard input.
        options: The options of the command, some of which accept ``@-``.

    Raises:
        UsageError: It is used twice.
    """
    files = [pair.partition("=")[2] for pair in options["pairs"]]
    files.append(options.get("system") or "")
    used = [text for text in (*dashes, options["file"]) if text == "-"]
    used += [text for text in files if text == "@-"]
    if len(used) > 1:
        raise UsageError(
            "standard input can be read only once: use one `-`, in the prompt or in an option"
        )
    return used


def attachments_of(sources: tuple[str, ...]) -> list[Attachment]:
    """Return the attachments that `-a` names.

    Raises:
        UsageError: An attachment cannot be sent.
    """
    if not sources:
        return []
    from personakit.attachments import Attachment  # noqa: PLC0415

    return [
        Attachment.from_stream(sys.stdin.buffer, "standard input")
        if source == "-"
        else Attachment.of(source)
        for source in sources
    ]
