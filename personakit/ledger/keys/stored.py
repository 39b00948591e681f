"""The table of keys: the statements, each part of a transaction of the caller."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from personakit.errors import UsageError, did_you_mean
from personakit.ledger.keys.key import Key

if TYPE_CHECKING:
    from personakit.database import Connection

_COLUMNS = ("name", "created", "revoked")
_SELECT = "SELECT name, fields, created, revoked FROM keys"


def find(connection: Connection, hash: bytes) -> Key | None:  # noqa: A002
    """Return the key with a hash; None if there is none."""
    row = connection.execute(f"{_SELECT} WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else _key(*row)


def every(connection: Connection) -> list[Key]:
    """Return all keys, sorted by name, revoked ones after the others."""
    rows = connection.execute(f"{_SELECT} ORDER BY name, revoked IS NOT NULL, created")
    return [_key(*row) for row in rows]


def insert(connection: Connection, key: Key, hash: bytes) -> None:  # noqa: A002
    """Insert a key.

    Raises:
        UsageError: A key that is not revoked has its name, or a key has its hash.
    """
    if find(connection, hash) is not None:
        raise UsageError("a key with the same token exists; create another token")
    if key.name in names(connection):
        raise UsageError(
            f"a key named {key.name!r} exists; choose another name, or revoke it first with "
            f"`personakit serve keys revoke {key.name}`"
        )
    connection.execute(
        "INSERT INTO keys VALUES (?, ?, ?, ?, NULL)", (hash, key.name, _fields(key), key.created)
    )
    changed(connection)


def replace(connection: Connection, key: Key, hash: bytes) -> None:  # noqa: A002
    """Replace the limits of the key with a hash."""
    connection.execute("UPDATE keys SET fields = ? WHERE hash = ?", (_fields(key), hash))
    changed(connection)


def revoke(connection: Connection, name: str, now: float) -> None:
    """Revoke a key.

    Raises:
        UsageError: No key that is not revoked has this name.
    """
    done = connection.execute(
        "UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL", (now, name)
    )
    if not done.rowcount:
        hint = did_you_mean(name, names(connection))
        raise UsageError(
            f"no key named {name!r} can be revoked{hint}; `personakit serve keys list` shows them"
        )
    changed(connection)


def names(connection: Connection) -> list[str]:
    """Return the names of the keys that are not revoked."""
    rows = connection.execute("SELECT name FROM keys WHERE revoked IS NULL ORDER BY name")
    return [name for (name,) in rows]


def version(connection: Connection) -> int:
    """Return a number that grows with every change of a key."""
    row = connection.execute("SELECT number FROM versions WHERE of = 'keys'").fetchone()
    return int(row[0])


def changed(connection: Connection) -> None:
    """Note that keys have changed."""
    connection.execute("UPDATE versions SET number = number + 1 WHERE of = 'keys'")


def _fields(key: Key) -> str:
    default = Key("")
    values = {
        field.name: getattr(key, field.name)
        for field in dataclasses.fields(Key)
        if field.name not in _COLUMNS
    }
    return json.dumps(
        {name: value for name, value in values.items() if value != getattr(default, name)}
    )


def _key(name: str, fields: str, created: float, revoked: float | None) -> Key:
    values: dict[str, Any] = json.loads(fields)
    for listed in ("personas", "models"):
        if listed in values:
            values[listed] = tuple(values[listed])
    return Key(name, created=created, revoked=revoked, **values)
