"""Conversations in files, as readable JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit.base import private_files, read_file
from personakit.codec import pretty, read_message, write_message
from personakit.errors import UsageError
from personakit.frozen import thaw
from personakit.messages import Message

FORMAT = 1
LARGEST = 64_000_000
"""The largest size of a file, in bytes."""
ROLES = ("user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Written:
    """The content of a file; the attributes are those of `Conversation`.

    `persona` is the name or path that the persona was loaded by. `system` is the system message of
    a question, whose persona has no file.
    """

    persona: str
    id: str
    system: str = ""
    model: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()


def write(path: Path, written: Written) -> None:
    """Write a conversation to a file that only its owner can read; replace it atomically.

    Raises:
        UsageError: The file cannot be written.
    """
    data = {
        "format": FORMAT,
        "persona": written.persona,
        **({"system": written.system} if written.system else {}),
        "id": written.id,
        "model": written.model,
        "variables": thaw(written.variables),
        "parameters": thaw(written.parameters),
        "messages": [write_message(message) for message in written.messages],
    }
    if not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: folder {path.parent} does not exist")
    try:
        private_files.replace(path, [f"{pretty(data)}\n".encode()])
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path) -> Written:
    """Read a conversation from a file.

    Raises:
        UsageError: The file cannot be read or is invalid.
    """
    try:
        data = json.loads(read_file(path, LARGEST).decode("utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, found {data['format']!r}")
        return Written(
            persona=str(data["persona"]),
            system=str(data.get("system") or ""),
            id=str(data["id"]),
            model=None if data.get("model") is None else str(data["model"]),
            variables=dict(data.get("variables") or {}),
            parameters=dict(data.get("parameters") or {}),
            messages=tuple(map(_message, data["messages"])),
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        fault = f"key {error} is missing"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        fault = str(error)[:200] or "nested too deep"
    raise UsageError(
        f"{path}: not a saved conversation: {fault}; /save and Conversation.save write one"
    )


def _message(data: Mapping[str, Any]) -> Message:
    """Return a message, checked as far as a turn needs it.

    Raises:
        KeyError, TypeError, ValueError: The message is invalid.
    """
    role = data["role"]
    if role not in ROLES:
        raise ValueError(
            f"a message has the role {str(role)[:40]!r}; expected one of {', '.join(ROLES)}"
        )
    message = read_message(data)
    if not isinstance(message.content, str | tuple | None):
        raise TypeError(f"a message has the invalid content {str(message.content)[:40]!r}")
    return message
