"""The settings of the server: `serve:` of the config file, and the options over it.

::

    serve:
      host: 0.0.0.0                     # default 127.0.0.1
      port: 8080                        # default 8111; 0 for a free one
      workers: 4                        # processes; default 1
      personas: [chef, "code-*"]        # default: all
      log: false                        # no rows in the run log
      grace: 60                         # seconds that running requests have when the server stops
      cors: [https://chat.example.com]  # origins of pages in browsers
      client_system: append             # the client's system message: append, user or refuse
      strict: true                      # refuse parameters that would be ignored
      mcp: true                         # the personas over MCP at /mcp; default false
      mcp_tools: [chef]                 # those that are tools there, or all; default: none
      mcp_one_tool: true                # one tool for all of them
      ledger: keys.db                   # relative to the folder of the config file
      limits: {body: 20MB, header: 32KB, connections: 10000, concurrent: 1000, queue: 200,
               variables: 200KB, idle: 60}
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from personakit.base import LOADED, describe, is_type
from personakit.config import Config, expanded, parse_age, parse_size
from personakit.errors import ConfigError, PersonaError, did_you_mean, spelled
from personakit.persona import Checker, PlacedOptions, yaml

ClientSystem = Literal["append", "user", "refuse"]
MOST_WORKERS = 256
MOST_GRACE = 86_400.0
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?\Z", re.ASCII)
_PATTERN = re.compile(r"[\w.*?\[\]!-]{1,200}\Z")
_ORIGIN = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]{1,5})?\Z", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\Z", re.ASCII)  # of an option
_NUMBER = re.compile(r"-?[0-9]{1,9}\Z", re.ASCII)
_SIZES = ("body", "header", "variables")
_SMALLEST = 1000  # bytes: no request of a client fits into less


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a worker accepts.

    Attributes:
        body: Bytes of the body of a request; 413 beyond.
        header: Bytes of the request line and all headers; 431 beyond.
        connections: Open connections of a worker; 503 beyond.
        concurrent: Requests that run at the same time in a worker.
        queue: Requests that wait for one of these; 503 beyond.
        variables: Bytes of all variables of a request as JSON; 400 beyond.
        idle: Seconds in which a client must read or write something.
    """

    body: int = 20_000_000
    header: int = 32_768
    connections: int = 10_000
    concurrent: int = 1000
    queue: int = 200
    variables: int = 200_000
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server serves, where, and how.

    Attributes:
        host: The address or name to listen on.
        port: The port; 0 for a free one.
        workers: The number of processes.
        personas: Patterns of the names of the personas that are served; ``*`` for any characters.
        log: Whether runs are written to the run log, unless the config sets ``log: off``.
        grace: Seconds that running requests have when the server stops.
        cors: The origins whose pages may call the server from a browser; ``*`` for any.
        client_system: What happens to the system message of a client: it follows that of the
            persona (``append``), becomes the first message of the user (``user``), or is an error
            (``refuse``).
        strict: Whether parameters that would be ignored are an error.
        mcp: Whether the personas are also served over MCP, at ``/mcp``; it needs personakit-mcp.
        mcp_tools: Names and patterns of the personas that are tools there; the others are prompts
            alone. `of` also takes ``all``, and switches `mcp` on with them.
        mcp_one_tool: Whether one tool runs all of them.
        ledger: The file of keys and budgets; None for the one in the user's state folder.
        secret: What workers share to seal what clients keep for them; `serve` makes one.
        open: Whether requests need no key as long as the ledger has none. `serve` sets it on
            loopback alone.
        limits: How much a worker accepts.
    """

    host: str = "127.0.0.1"
    port: int = 8111
    workers: int = 1
    personas: tuple[str, ...] = ("*",)
    log: bool = True
    grace: float = 30.0
    cors: tuple[str, ...] = ()
    client_system: ClientSystem = "append"
    strict: bool = False
    mcp: bool = False
    mcp_tools: tuple[str, ...] = ()
    mcp_one_tool: bool = False
    ledger: Path | None = None
    secret: bytes = field(default=b"", repr=False)
    open: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, config: Config, **options: Any) -> Settings:
        """Return the settings of a config, and options over them.

        Args:
            config: Its `serve:` is used.
            options: Settings by name, as a user wrote them; None for one that is not given.

        Raises:
            ConfigError: A setting is invalid; the message has the place of each in the file.
        """
        values = _Reader(config).read()
        for name, given in options.items():
            if name not in _READERS:
                raise ConfigError(f"unknown setting {name!r}{_hint(name, _READERS)}")
            if given is None:
                continue
            try:
                values[name] = _READERS[name](given)
            except ValueError as error:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{spelled(python=name, terminal=option)}: {error}") from None
        if values.get("mcp_tools"):
            values["mcp"] = True
        elif values.get("mcp_one_tool"):
            one = spelled(python="mcp_one_tool", terminal="--mcp-one-tool")
            tools = spelled(python="mcp_tools", terminal="--mcp-tools")
            raise ConfigError(f"{one} needs {tools}: write `all`, or the names of personas")
        return cls(**values)


class _Reader(Checker):
    """Checks `serve:` of a config key by key."""

    def __init__(self, config: Config) -> None:
        given = config.serve
        super().__init__(given.document if isinstance(given, PlacedOptions) else yaml.parse("", ""))
        self._given, self._folder = given, Path(config.folder or "")

    def read(self) -> dict[str, Any]:
        try:
            self.unknown(self._given, _READERS, "serve")
            values = self._values(self._given, _READERS, "serve")
        except PersonaError as error:  # too many
            raise ConfigError(str(error)) from None
        if self.problems:
            self.problems.sort(key=lambda problem: (problem.line, problem.column))
            raise ConfigError("\n".join(map(str, self.problems)))
        if "ledger" in values:
            values["ledger"] = self._folder / values["ledger"]
        return values

    def _values(
        self, given: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]], *at: str
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in (name for name in readers if given.get(name) is not None):
            if name == "limits":
                limits = self.mapping(given[name], *at, name)
                self.unknown(limits, _LIMITS, *at, name)
                values[name] = Limits(**self._values(limits, _LIMITS, *at, name))
                continue
            try:
                values[name] = readers[name](given[name])
            except ValueError as error:
                self.fail(f"{name}: {error}", *at, name)
        return values


def _host(value: Any) -> str:
    wanted = "an address such as 127.0.0.1 or 0.0.0.0"
    if not isinstance(value, str):
        raise ValueError(f"expected {wanted}, found {describe(value)}")
    text = value.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if "://" in text or "/" in text:
        raise ValueError(f"expected {wanted} without a scheme and a path, found {describe(value)}")
    if text.count(":") == 1:
        name, _, port = text.partition(":")
        port = spelled(python=f"port={port}", terminal=f"--port {port}")
        raise ValueError(f"expected {wanted}; write the port as {port}, and the host as {name!r}")
    is_number = all(part.isdigit() for part in text.rstrip(".").split("."))
    if is_number or not _HOST.match(text):
        raise ValueError(f"expected {wanted}, found {describe(value)}")
    return text


def _integer(least: int, most: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and _NUMBER.match(value):  # of an option
            value = int(value)
        if not is_type(value, "integer") or not least <= value <= most:
            raise ValueError(f"expected {what} from {least} to {most:,}, found {describe(value)}")
        result: int = value
        return result

    return read


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        wanted = f"seconds from {least:g} to {most:,.0f}, or a time such as 30s or 5m"
        if is_type(value, "number") or (isinstance(value, str) and _SECONDS.match(value)):
            seconds = float(value)
        else:
            try:
                seconds = parse_age(value)
            except ValueError:
                raise ValueError(f"expected {wanted}, found {describe(value)}") from None
        if not least <= seconds <= most:
            raise ValueError(f"expected {wanted}, found {describe(value)}")
        return seconds

    return read


def _size(value: Any) -> int:
    size = value if is_type(value, "integer") else parse_size(value)
    if size < _SMALLEST:
        raise ValueError(f"expected at least 1KB, found {describe(value)}")
    return int(size)


def _flag(value: Any) -> bool:
    # In YAML 1.2, `off` is a string.
    known = {True: True, "on": True, False: False, "off": False}
    if not isinstance(value, bool | str) or value not in known:
        raise ValueError(f"expected true or false, found {describe(value)}")
    return known[value]


def _texts(value: Any, what: str) -> tuple[str, ...]:
    """Return strings from a list, or from one text with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"expected {what}, found {describe(value)}")
    result = tuple(dict.fromkeys(item.strip() for item in items))
    if not result or "" in result:
        raise ValueError(f"expected {what}, found {describe(value)}")
    return result


def _personas(value: Any) -> tuple[str, ...]:
    patterns = _texts(value, "names or patterns such as chef or code-*")
    for pattern in patterns:
        if not _PATTERN.match(pattern) and not LOADED.match(pattern):
            raise ValueError(
                f"invalid pattern {pattern[:80]!r}: personas are served by name, as in "
                f"`personakit list`; a file is found in a folder of `path:`"
            )
    return patterns


def _origins(value: Any) -> tuple[str, ...]:
    origins = _texts(value, "origins such as https://chat.example.com")
    for origin in origins:
        if origin != "*" and not _ORIGIN.match(origin):
            raise ValueError(
                f"invalid origin {origin[:80]!r}: write the scheme, the host and the port alone, "
                f"as in https://chat.example.com or http://localhost:3000"
            )
    return origins


def _client_system(value: Any) -> ClientSystem:
    choices = get_args(ClientSystem)
    if value not in choices:
        listed = ", ".join(choices)
        raise ValueError(
            f"expected one of {listed}, found {describe(value)}{_near(value, choices)}"
        )
    result: ClientSystem = value
    return result


def _file(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"expected the path of a file, found {describe(value)}")
    try:
        return expanded(str(value))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _limits(value: Any) -> Limits:
    if not isinstance(value, Limits):
        raise ValueError(f"expected Limits(…), found {describe(value)}")
    return value


def _near(value: Any, known: Any) -> str:
    return did_you_mean(value, known) if isinstance(value, str) else ""


def _hint(name: str, known: Mapping[str, Any]) -> str:
    return did_you_mean(name, known) or f" (known: {', '.join(known)})"


_READERS: dict[str, Callable[[Any], Any]] = {
    "host": _host,
    "port": _integer(0, 65_535, "a port"),
    "workers": _integer(1, MOST_WORKERS, "a number"),
    "personas": _personas,
    "log": _flag,
    "grace": _seconds(0, MOST_GRACE),
    "cors": _origins,
    "client_system": _client_system,
    "strict": _flag,
    "mcp": _flag,
    "mcp_tools": lambda value: tuple("*" if n == "all" else n for n in _personas(value)),
    "mcp_one_tool": _flag,
    "ledger": _file,
    "limits": _limits,
}
_LIMITS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_SIZES, _size),
    "connections": _integer(1, 1_000_000, "a number"),
    "concurrent": _integer(1, 1_000_000, "a number"),
    "queue": _integer(0, 1_000_000, "a number"),
    "idle": _seconds(1, 86_400),
}
