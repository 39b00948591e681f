"""The approvals that are kept for good: an SQLite file of the user, shared by all processes."""

import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from personakit import ConfigError, Persona, check_file, create_file, data_folder

_WAIT = 10.0
"""Seconds to wait while another process writes."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (
    persona TEXT NOT NULL, tool TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (persona, tool)
)
"""


class Approval(NamedTuple):
    """A tool that a persona may call without a question.

    Attributes:
        persona: The absolute path of the persona's file, or the name of a persona without one.
        tool: The tool's name.
        time: When the user approved it, as Unix time in seconds.
    """

    persona: str
    tool: str
    time: float


def key_of(persona: Persona) -> str:
    """Return the absolute path of a persona's file, or the name of a persona without one."""
    document = persona.document
    if document.folder is None or document.loaded:
        return persona.name
    return str(Path(document.folder, Path(document.path).name))


def path() -> Path:
    """Return the path of the file, which need not exist.

    Raises:
        ConfigError: The user has no home folder.
    """
    return data_folder("approve", create=False) / "approvals.sqlite3"


def is_approved(persona: str, tool: str) -> bool:
    """Return whether the user approved a tool of a persona for good.

    Args:
        persona: The persona's key; see `key_of`.
        tool: The tool's name.

    Raises:
        ConfigError: The file cannot be used; the message says why, and what to do.
    """
    try:
        if not os.path.lexists(path()):
            return False
    except ConfigError:  # a user without a home folder, such as in a container
        return False
    with _opened() as connection:
        found = connection.execute(
            "SELECT 1 FROM approvals WHERE persona = ? AND tool = ?", (persona, tool)
        )
        return found.fetchone() is not None


def approve(persona: str, tool: str) -> str:
    """Keep an approval for good, and return an empty text; else return why it cannot be kept."""
    try:
        with _opened(create=True) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO approvals VALUES (?, ?, ?)", (persona, tool, time.time())
            )
    except ConfigError as error:
        return str(error)
    return ""


def approvals() -> list[Approval]:
    """Return all approvals, by persona and tool.

    Raises:
        ConfigError: See `is_approved`.
    """
    if not os.path.lexists(path()):
        return []
    with _opened() as connection:
        rows = connection.execute("SELECT persona, tool, time FROM approvals ORDER BY 1, 2")
        return [Approval(*row) for row in rows]


def revoke(given: Sequence[Approval]) -> None:
    """Remove approvals.

    Raises:
        ConfigError: See `is_approved`.
    """
    with _opened() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "DELETE FROM approvals WHERE persona = ? AND tool = ?",
            [(each.persona, each.tool) for each in given],
        )
        connection.execute("COMMIT")


@contextmanager
def _opened(*, create: bool = False) -> Iterator[sqlite3.Connection]:
    file = path()
    with _explained(file):
        if create:
            data_folder("approve")
            check_file(file)
            create_file(file)
        check_file(file, must_exist=True)
        mode = stat.S_IMODE(file.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            raise ConfigError(
                f"{file}: other users can read or change it (its mode is {mode:03o}), so the "
                f"approvals in it are not used; run: chmod 600 {shlex.quote(str(file))}"
            )
        target = f"{file.as_uri()}?mode=rw"
        opened = sqlite3.connect(target, uri=True, timeout=_WAIT, isolation_level=None)
        with closing(opened) as connection:
            connection.execute(_SCHEMA)
            yield connection


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{file}: the approvals in it cannot be used: {reason}; make sure that it can be read "
            f"and written and is not locked, or move it away to be asked for each tool again"
        ) from error
