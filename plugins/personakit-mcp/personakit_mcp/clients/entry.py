"""What a client's config file says about the server, and where the file is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PASSED_ON = (
    "PERSONAKIT_MODEL", "PERSONAKIT_PLUGINS", "PERSONAKIT_LOG", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "XDG_STATE_HOME", "XDG_CACHE_HOME",
)  # fmt: skip
"""Variables that decide what personakit uses, and hold no secret."""


@dataclass(frozen=True, slots=True)
class Client:
    """A program with a config file that lists MCP servers.

    Attributes:
        title: Its name for people.
        section: The member of the file that holds the servers.
        file: Returns the user's own file.
        fixed: What every entry says.
        next: What the user does once the entry is there.
    """

    title: str
    section: str
    file: Callable[[], Path]
    fixed: Mapping[str, str]
    next: str


def _desktop() -> Path:
    from platformdirs import user_config_path  # noqa: PLC0415

    # Installed from the Microsoft Store, it reads the file in the folder of its package.
    local = os.environ.get("LOCALAPPDATA", "")
    if sys.platform == "win32" and local:
        packages = sorted(Path(local, "Packages").glob("Claude_*/LocalCache/Roaming/Claude"))
        if packages:
            return packages[0] / "claude_desktop_config.json"
    return user_config_path("Claude", appauthor=False, roaming=True) / "claude_desktop_config.json"


def _code() -> Path:
    from platformdirs import user_config_path  # noqa: PLC0415

    return user_config_path("Code", appauthor=False, roaming=True) / "User" / "mcp.json"


# https://modelcontextprotocol.io/docs/develop/connect-local-servers and
# https://code.visualstudio.com/docs/agents/reference/mcp-configuration
CLIENTS = {
    "claude-desktop": Client(
        "Claude Desktop",
        "mcpServers",
        _desktop,
        {},
        "Quit Claude Desktop and start it again; the personas are below + in a conversation.",
    ),
    "vscode": Client(
        "VS Code",
        "servers",
        _code,
        {"type": "stdio"},
        "In VS Code, run `MCP: List Servers` to start it; in the chat, type / to see the personas.",
    ),
}


def entry(client: Client, arguments: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry that starts the server of this environment from any folder.

    Args:
        client: Whose file it is for.
        arguments: The options of `personakit mcp`.
        environ: The environment of the current command.
    """
    # -P: the folder in which a client starts it may hold other people's modules.
    command = {"command": sys.executable, "args": ["-P", "-m", "personakit", "mcp", *arguments]}
    env = {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    if named := environ.get("PERSONAKIT_CONFIG"):
        env["PERSONAKIT_CONFIG"] = str(Path(named).expanduser().absolute())
    listed = environ.get("PERSONAKIT_PATH", "").split(os.pathsep)
    folders = [Path(folder).expanduser().absolute() for folder in listed if folder]
    if Path("personas").is_dir():
        folders.insert(0, Path("personas").absolute())
    if folders:
        env["PERSONAKIT_PATH"] = os.pathsep.join(str(folder) for folder in folders)
    return {**client.fixed, **command, **({"env": env} if env else {})}
