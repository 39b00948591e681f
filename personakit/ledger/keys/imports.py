"""Importing keys from a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from personakit.base import describe, read_file
from personakit.errors import PersonaError, UsageError
from personakit.ledger.keys import fields, stored
from personakit.ledger.keys.key import PREFIX, Key, hashed
from personakit.persona import Checker, yaml

if TYPE_CHECKING:
    from personakit.database import Connection

_HASH = re.compile(r"sha256:([0-9a-f]{64})\Z")
_LEAST = 32  # characters of a token that is brought along
_SETTINGS = ("limits", "cors", "client_system", "host", "port", "workers")


class Listed(NamedTuple):
    """A key of a file, its hash and its place."""

    key: Key
    hash: bytes
    at: tuple[str | int, ...]
    document: yaml.Document


def read(path: Path, environ: Mapping[str, str], now: float) -> list[Listed]:
    """Return the keys of a file.

    Raises:
        UsageError: The file is wrong; the message has a line for each mistake, with its place.
    """
    try:
        reader = _Reader(path, environ, now)
        return reader.read()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except PersonaError as error:
        # The file is no persona, and its text may have secrets.
        raise UsageError(str(error)) from None


def store(connection: Connection, listed: list[Listed], now: float) -> list[Key]:
    """Store keys; a key of the same name is replaced, and revoked if its token is another one.

    Raises:
        UsageError: A token is that of another key.
    """
    active = set(stored.names(connection))
    faults = []
    for key, hash, at, document in listed:  # noqa: A001
        found = stored.find(connection, hash)
        if found is not None and found.revoked is not None:
            text = f"the token of key {key.name!r} was revoked; create another token"
            faults.append(document.problem(text, at))
        elif found is not None and found.name != key.name:
            text = f"the token of key {key.name!r} is that of key {found.name!r}; create another"
            faults.append(document.problem(text, at))
        elif found is not None:
            stored.replace(connection, key, hash)
        else:
            if key.name in active:
                stored.revoke(connection, key.name, now)
            stored.insert(connection, key, hash)
    if faults:
        raise UsageError("\n".join(map(str, faults)))
    return [it for one in listed if (it := stored.find(connection, one.hash))]


class _Reader(Checker):
    """Checks a file of keys."""

    def __init__(self, file: Path, environ: Mapping[str, str], now: float) -> None:
        super().__init__(yaml.parse(read_file(file, yaml.MAX_BYTES), str(file), file=file))
        self.environ = environ
        self.now = now

    def read(self) -> list[Listed]:
        data = self.document.data
        found: list[Listed] = []
        if not isinstance(data, dict):
            self.fail(f"a file of keys must be a mapping with `keys:`, found {describe(data)}")
        else:
            self.unknown(data, ("keys",), hint_for=_elsewhere)
            if "keys" not in data:
                self.fail("a file of keys must have a list `keys:`")
            entries = self.list(data.get("keys", []), "keys")
            found = [one for i, it in enumerate(entries) if (one := self.entry(i, it))]
            self.twice(found)
        if self.problems:
            self.problems.sort(key=lambda problem: (problem.line, problem.column))
            raise UsageError("\n".join(map(str, self.problems)))
        return found

    def entry(self, index: int, value: Any) -> Listed | None:
        at = ("keys", index)
        data = self.mapping(value, *at)
        if not isinstance(value, dict):
            return None
        before = len(self.problems)
        self.unknown(data, ("name", "hash", "token_env", *fields.NAMES), *at)
        if "name" not in data:
            self.fail("a key must have a `name:`", *at)
        elif fault := fields.name_fault(data["name"]):
            self.fail(fault, *at, "name")
        values = {}
        for field in fields.NAMES:
            if data.get(field) is not None:
                values[field], fault = fields.read(field, data[field])
                if fault:
                    self.fail(fault, *at, field)
        hash = self.hash(data, at)  # noqa: A001
        if len(self.problems) > before or hash is None:
            return None
        where = (*at, "hash" if "hash" in data else "token_env")
        key = Key(data["name"], created=self.now, **values)
        return Listed(key, hash, where, self.document)

    def hash(self, data: dict[str, Any], at: tuple[str | int, ...]) -> bytes | None:
        """Return the hash of a token. A message never has what is in the file: it may be a key."""
        given = [name for name in ("hash", "token_env") if data.get(name) is not None]
        if len(given) != 1:
            both = "both: remove one" if given else "neither"
            self.fail(f"a key must have either `hash:` or `token_env:`, found {both}", *at)
            return None
        value = data[given[0]]
        if given == ["hash"]:
            match = _HASH.match(value) if isinstance(value, str) else None
            if match is None:
                wanted = "sha256: and 64 hexadecimal digits, the SHA-256 of the token"
                self.fail(f"hash: expected {wanted}", *at, "hash")
            return None if match is None else bytes.fromhex(match[1])
        if not isinstance(value, str) or not value or value.startswith(PREFIX):
            self.fail("token_env: expected the name of an environment variable", *at, "token_env")
            return None
        token = self.environ.get(value, "")
        if len(token) < _LEAST or not token.isascii() or not token.isprintable() or " " in token:
            state = "is shorter or has other characters" if token else "is not set"
            self.fail(
                f"token_env: the environment variable {value!r} {state}; set it to a token of at "
                f"least {_LEAST} ASCII characters without spaces",
                *at, "token_env",
            )  # fmt: skip
            return None
        return hashed(token)

    def twice(self, found: list[Listed]) -> None:
        names: set[str] = set()
        hashes: set[bytes] = set()
        for key, hash, at, _ in found:  # noqa: A001
            if key.name in names:
                self.fail(f"two keys have the name {key.name!r}", *at[:-1], "name")
            if hash in hashes:
                self.fail(f"key {key.name!r} has the token of an earlier key", *at)
            names.add(key.name)
            hashes.add(hash)


def _elsewhere(key: str, value: Any) -> str:
    if key in _SETTINGS:
        return "; it is a setting of the server: write it below `serve:` in the config file"
    return ""
