"""Input: prompts, files and standard input."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import read_file
from personakit.config import expanded
from personakit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from personakit.attachments import Attachment


LARGEST = 16_000_000
"""The largest size of a text from a file or standard input, in bytes."""


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
    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"standard input is larger than the limit of {LARGEST:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8 (byte {error.start}); use `-a -` to attach an image, a "
            f"PDF or an audio file, if the command has -a"
        ) from None


def prompt_text(words: tuple[str, ...], *, taken: bool = False) -> str | None:
    """Return the prompt: the words, or standard input if it is piped; None without either.

    A ``-`` among the words is replaced by standard input. Words without a ``-`` leave standard
    input unread, so that a shell loop that reads its lines from there does not lose them.

    Args:
        words: The arguments.
        taken: Whether an option reads standard input, which is then not the prompt.
    """
    if words:
        if "-" not in words:
            return " ".join(words)
        return "\n\n".join(stdin_text() if word == "-" else word for word in words)
    if taken or sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    return stdin_text() or None


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
