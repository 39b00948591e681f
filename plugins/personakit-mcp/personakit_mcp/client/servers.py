"""Read the user's file of MCP servers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from personakit import ConfigError, read_file

VARIABLE = "PERSONAKIT_MCP"
LARGEST = 1 << 20
"""The largest size of the file, in bytes."""
_FORM = '{"mcpServers": {"files": {"command": "…", "args": ["…"]}, "web": {"url": "https://…"}}}'


@dataclass(frozen=True, slots=True)
class Server:
    """A server in the file. Equal servers share one session.

    Attributes:
        name: Its key below ``mcpServers``.
        file: The file that defines it.
        command: The program to start; empty if the server has a `url`.
        args: The program's arguments.
        env: Environment variables of the program, in addition to PATH, HOME and similar ones.
        url: The address of a streamable HTTP server.
        headers: HTTP headers of requests to `url`.
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
        """The file and key of the server, for messages."""
        return f"{self.file}: mcpServers.{self.name}"

    @property
    def log(self) -> Path:
        """The log file with the program's stderr."""
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name)
        return platformdirs.user_log_path("personakit", appauthor=False) / f"mcp-{plain}.log"


def path() -> Path:
    """Return the path of the file: $PERSONAKIT_MCP, or mcp.json in the user's config folder.

    Raises:
        ConfigError: The path names the home folder of an unknown user.
    """
    if chosen := os.environ.get(VARIABLE, "").strip():
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise ConfigError(f"{VARIABLE} is {chosen}: there is no such user") from None
    return platformdirs.user_config_path("personakit", appauthor=False) / "mcp.json"


def read(names: list[str] | None = None) -> list[Server]:
    """Return the servers of the user's file.

    Args:
        names: The names of the servers to return; None for all.

    Raises:
        ConfigError: The file is missing or invalid, or does not define a server in `names`.
    """
    file = path()
    try:
        data = json.loads(read_file(file, LARGEST))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file} does not exist; list your MCP servers there as {_FORM}, or set {VARIABLE} "
            f"to the path of such a file"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        fault = "nested too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{file}: cannot be read as JSON: {fault}") from error
    entries = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        raise ConfigError(f"{file}: the object 'mcpServers' is missing; expected {_FORM}")
    if missing := [name for name in names or () if name not in entries]:
        unknown = ", ".join(map(repr, missing))
        defined = ", ".join(entries) or "none"
        raise ConfigError(f"{file}: unknown server {unknown}; defined servers: {defined}")
    return [_server(name, entries[name], file) for name in (entries if names is None else names)]


def _server(name: str, entry: Any, file: Path) -> Server:
    """Check an entry; ignore unknown keys, which other programs may use in the same file."""
    where = f"{file}: mcpServers.{name}"
    if not isinstance(entry, dict) or ("command" in entry) == ("url" in entry):
        keys = ", ".join(map(repr, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise ConfigError(
            f"{where} must be an object with either 'command' (a program) or 'url' (an address), "
            f"found {keys[:200] or 'an empty one'}"
        )
    if entry.get("type") == "sse":
        raise ConfigError(f"{where}.type: 'sse' is not supported; use the streamable HTTP address")
    if "url" in entry:
        url = _text(entry["url"], f"{where}.url")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{where}.url: {url!r} must start with https:// or http://")
        return Server(name, file, url=url, headers=_pairs(entry, "headers", where))
    args = entry.get("args", [])
    if not isinstance(args, list):
        raise ConfigError(f"{where}.args: expected a list of strings, found {args!r}")
    texts = tuple(_text(arg, f"{where}.args[{at}]") for at, arg in enumerate(args))
    command = _text(entry["command"], f"{where}.command")
    return Server(name, file, command, texts, _pairs(entry, "env", where))


def _pairs(entry: Mapping[str, Any], key: str, where: str) -> tuple[tuple[str, str], ...]:
    pairs = entry.get(key, {})
    if not isinstance(pairs, dict):
        raise ConfigError(f"{where}.{key}: expected an object with string values")
    return tuple((name, _text(value, f"{where}.{key}.{name}")) for name, value in pairs.items())


def _text(value: Any, where: str) -> str:
    # Do not show the value: `env` and `headers` may contain keys.
    if not isinstance(value, str):
        raise ConfigError(f"{where}: expected a string, found {type(value).__name__}")
    if where.endswith((".command", ".url")) and not value.strip():
        raise ConfigError(f"{where}: must not be empty")
    return value
