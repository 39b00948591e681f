"""A key of a service: who may use which personas, and how much."""

from __future__ import annotations

import hashlib
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase

from personakit.base import brief_repr

PREFIX = "pk-"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a service and its limits. The token itself is stored nowhere.

    Attributes:
        name: Its name.
        personas: Patterns of the personas that it may use, such as ``code-*``.
        models: Patterns of the models that it may choose instead of the persona's.
        usd_day: US dollars that it may spend in a day of UTC; None for no limit, as below.
        usd_month: US dollars that it may spend in a month of UTC.
        tokens_day: Tokens that it may use in a day of UTC.
        tokens_month: Tokens that it may use in a month of UTC.
        rpm: Requests a minute: as many at once, then one whenever a minute's share has passed.
        concurrent: Requests that may run at the same time.
        max_tokens: The most tokens that an answer may have.
        until: The Unix time in seconds from which on it is refused; None for never.
        created: The Unix time in seconds at which it was created.
        revoked: The Unix time in seconds at which it was revoked; None if it was not.
    """

    name: str
    personas: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ()
    usd_day: float | None = None
    usd_month: float | None = None
    tokens_day: int | None = None
    tokens_month: int | None = None
    rpm: int | None = None
    concurrent: int | None = None
    max_tokens: int | None = None
    until: float | None = None
    created: float = 0.0
    revoked: float | None = None

    __repr__ = brief_repr

    def allows(self, persona: str) -> bool:
        """Return whether it may use a persona."""
        return any(fnmatchcase(persona, pattern) for pattern in self.personas)

    def allows_model(self, model: str) -> bool:
        """Return whether it may choose a model, as ``provider/model``."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def expired(self, now: float) -> bool:
        """Return whether it has expired at a Unix time."""
        return self.until is not None and now >= self.until

    @property
    def has_budget(self) -> bool:
        """Whether its dollars or tokens are limited."""
        limits = (self.usd_day, self.usd_month, self.tokens_day, self.tokens_month)
        return any(limit is not None for limit in limits)


calling: ContextVar[Key | None] = ContextVar("personakit_key", default=None)
"""The key of the client for which the running code works; None for a local user."""


def current_key() -> Key | None:
    """Return the key of the client for which a hook or a tool runs, under `personakit serve`.

    None if the server needs no key, or outside of it: then the user of the machine runs it.
    """
    return calling.get()


def new_token() -> str:
    """Return a new token: ``pk-`` and 32 random bytes as 43 URL-safe characters."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(token: str) -> bytes:
    """Return the hash by which a token is found: a fast one, as the token is random."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
