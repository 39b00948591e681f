"""The user's file of MCP servers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

VARIABLE = "PERSONAKIT_MCP"
_FORM = '{"mcpServers": {"files": {"command": "…", "args": ["…"]}, "web": {"url": "https://…"}}}'


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the file. Two that are equal share one session.

    Attributes:
        name: Its key below ``mcpServers``.
        file: Where it stands.
        command: The program to start; empty for one that is reached at `url`.
        args: The program's arguments.
        env: Environment variables of the program, beside PATH, HOME and their like.
        url: The address of a server that speaks streamable HTTP.
        headers: HTTP headers to send there.
    """

    name: str
    file: Path
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def where(self) -> str:
        """The file and the key, for messages."""
        return f"{self.file}: mcpServers.{self.name}"

    @property
    def log(self) -> Path:
        """The file that takes what the program writes to stderr."""
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name)
        return platformdirs.user_log_path("personakit", appauthor=False) / f"mcp-{plain}.log"


def path() -> Path:
    """Return where the file is: $PERSONAKIT_MCP, or mcp.json in the user's config folder."""
    if chosen := os.environ.get(VARIABLE, "").strip():
        return Path(chosen).expanduser()
    return platformdirs.user_config_path("personakit", appauthor=False) / "mcp.json"


def read(names: list[str] | None = None) -> list[Server]:
    """Return the servers of the user's file.

    Args:
        names: Which of them; None for all.

    Raises:
        ValueError: The file is missing or wrong, or has no server of that name.
    """
    file = path()
    try:
        data = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(
            f"there is no file {file}; name your MCP servers there as {_FORM}, or set {VARIABLE} "
            f"to the path of a file that does"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: cannot be read as JSON: {error}") from error
    found = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: has no object 'mcpServers'; it should look like {_FORM}")
    if missing := [name for name in names or () if name not in found]:
        said = ", ".join(map(repr, missing))
        raise ValueError(f"{file}: has no server {said}; it has {', '.join(found) or 'none'}")
    return [_server(name, found[name], file) for name in (found if names is None else names)]


def _server(name: str, entry: Any, file: Path) -> Server:
    """Check one entry. Further keys belong to other programs that read the same form."""
    where = f"{file}: mcpServers.{name}"
    if not isinstance(entry, dict) or ("command" in entry) == ("url" in entry):
        raise ValueError(
            f"{where} must be an object with either 'command' (a program) or 'url' (an address)"
        )
    if entry.get("type") == "sse":
        raise ValueError(f"{where}.type: 'sse' is not spoken; give the streamable HTTP address")
    if "url" in entry:
        url = _text(entry["url"], f"{where}.url")
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{where}.url: {url!r} should begin with https:// or http://")
        return Server(name, file, url=url, headers=_pairs(entry, "headers", where))
    args = entry.get("args", [])
    if not isinstance(args, list):
        raise ValueError(f"{where}.args: found {args!r}, should be a list of texts")
    texts = tuple(_text(arg, f"{where}.args[{at}]") for at, arg in enumerate(args))
    command = _text(entry["command"], f"{where}.command")
    return Server(name, file, command, texts, _pairs(entry, "env", where))


def _pairs(entry: Mapping[str, Any], key: str, where: str) -> tuple[tuple[str, str], ...]:
    pairs = entry.get(key, {})
    if not isinstance(pairs, dict):
        raise ValueError(f"{where}.{key}: should be an object of texts")
    return tuple((name, _text(value, f"{where}.{key}.{name}")) for name, value in pairs.items())


def _text(value: Any, where: str) -> str:
    # The value is not shown: what stands under `env` and `headers` may be a key.
    if not isinstance(value, str):
        raise ValueError(f"{where}: should be a text in quotes, is {type(value).__name__}")
    if where.endswith((".command", ".url")) and not value.strip():
        raise ValueError(f"{where}: is empty")
    return value
