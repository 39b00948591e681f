"""Who may call: keys, their limits, and the origins of browsers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from personakit.ledger import KeyBudget, Ledger, LedgerError, TooMany, calling
from personakit.server.http import Exchange, Refusal, unavailable
from personakit.server.protocol import is_loopback_host
from personakit.server.settings import Settings

if TYPE_CHECKING:
    from personakit.ledger import Key

_log = logging.getLogger("personakit.server")

FRESH = 1.0
"""Seconds after which a key is looked up again: a revoked one is refused as soon."""
LIMITS = ("max_completion_tokens", "max_tokens")
"""The parameters that limit the length of an answer."""
_MOST = 10_000  # keys that are remembered


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        key: The key; None if the server is open.
    """

    key: Key | None = None

    @property
    def name(self) -> str:
        """The name of the key; empty if the server is open."""
        return "" if self.key is None else self.key.name

    def allows(self, persona: str) -> bool:
        """Return whether the caller may use a persona."""
        return self.key is None or self.key.allows(persona)

    def allows_model(self, model: str) -> bool:
        """Return whether the caller may choose an upstream model."""
        return self.key is None or self.key.allows_model(model)

    def limited(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parameters of a request within the `max_tokens` of the key."""
        most = None if self.key is None else self.key.max_tokens
        if most is None:
            return parameters
        names = [name for name in LIMITS if name in parameters] or ["max_tokens"]
        return {**parameters, **{name: min(parameters.get(name, most), most) for name in names}}


class Access:
    """Finds the callers of requests, and keeps the limits of their keys.

    Args:
        settings: The settings of the server.

    Attributes:
        ledger: The keys, and what they have spent.
        budget: The plugin that keeps the budgets of keys.
        has_budgets: Whether the runner has such a plugin; without it, keys with a budget are
            refused.
    """

    def __init__(self, settings: Settings) -> None:
        self.ledger = Ledger(settings.ledger)
        self.budget = KeyBudget(self.ledger)
        self.has_budgets = True
        self._settings = settings
        self._known: dict[bytes, tuple[float, Key]] = {}
        self._open: tuple[float, bool] = (-math.inf, settings.open)

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: none has been made, and only this machine is served.

        A server that has seen a key stays closed, also if its ledger is lost.
        """
        checked, is_open = self._open
        if is_open and (now := time.monotonic()) - checked > FRESH:
            is_open = not self._keys()
            self._open = now, is_open
        return is_open

    def caller(self, exchange: Exchange) -> Caller:
        """Return who sent a request.

        Raises:
            Refusal: The key is missing, unknown, expired or revoked (401), or the ledger cannot be
                read (503).
        """
        scheme, _, token = exchange.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if self.is_open:
            return Caller()
        if not token:
            raise _unauthorized(
                "no key was sent; send the header `Authorization: Bearer KEY`, with a key that the "
                "operator of the server made with "
                "`personakit serve keys new NAME`",
                "missing_api_key",
            )
        key = self._key(token)
        if key is None:
            raise _unauthorized(
                "the key is unknown, expired or revoked; ask the operator of the server for one",
                "invalid_api_key",
            )
        return Caller(key)

    @contextlib.asynccontextmanager
    async def admitted(self, caller: Caller, *, runs: bool = True) -> AsyncIterator[None]:
        """Keep the requests a minute and the concurrent requests of a key within its limits.

        Args:
            caller: Who asks.
            runs: Whether it is a run, which counts as one of the concurrent requests.

        Raises:
            Refusal: There are too many (429), or its limits or its budget cannot be kept (503).
        """
        key = caller.key
        if key is not None and not runs:
            key = replace(key, concurrent=None)
        if runs and key is not None and key.has_budget and not self.has_budgets:
            raise _unkept()
        token = calling.set(key)
        limited = key is not None and (key.rpm is not None or key.concurrent is not None)
        # Not the id of the request, which the client can choose: with the id of another one, a
        # request that is refused would give back the place of that.
        identity = secrets.token_hex(16) if limited else ""
        try:
            if key is not None and limited:
                await self._admit(key, identity)
            yield
        finally:
            with contextlib.suppress(ValueError):  # closed in another context
                calling.reset(token)
            if key is not None and key.concurrent is not None:
                await asyncio.shield(self._leave(identity))

    def allows_origin(self, exchange: Exchange) -> bool:
        """Return whether a request is not one of a page in a browser, or one of an allowed page.

        Allowed are the origins of the settings, this machine, and the server's own.
        """
        origin = exchange.headers.get("origin")
        if origin is None or origin in self._settings.cors or "*" in self._settings.cors:
            return True
        authority = origin.partition("://")[2]
        return is_loopback_host(authority) or authority == exchange.headers.get("host")

    def crossed(self, exchange: Exchange) -> bool:
        """Add the headers for a browser of an allowed origin; return whether it only asks first.

        See https://fetch.spec.whatwg.org/#http-cors-protocol.
        """
        origin = exchange.headers.get("origin", "")
        allowed = self._settings.cors
        if not origin or not (origin in allowed or "*" in allowed):
            return False
        shown = b"x-request-id, x-personakit-run, x-personakit-cost-usd, x-personakit-ignored, "
        shown += b"retry-after, x-should-retry"
        exchange.extra += [
            (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
            (b"vary", b"origin"),
            (b"access-control-expose-headers", shown),
        ]
        asked = exchange.headers.get("access-control-request-method", "")
        if exchange.method != "OPTIONS" or not asked:
            return False
        headers = exchange.headers.get("access-control-request-headers", "")
        exchange.extra += [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", headers.encode("latin-1", "replace")[:2000]),
            (b"access-control-max-age", b"600"),
        ]
        return True

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def _keys(self) -> list[Key]:
        try:
            return self.ledger.keys()
        except LedgerError as error:
            raise unusable() from error

    def _key(self, token: str) -> Key | None:
        """Return the valid key of a token."""
        now = time.monotonic()
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known is not None and now - known[0] < FRESH:
            key: Key | None = known[1]
        else:
            try:
                key = self.ledger.key(token)
            except LedgerError as error:
                raise unusable() from error
            self._known.pop(digest, None)
            if key is not None:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[digest] = now, key
        if key is None or key.revoked is not None or key.expired(time.time()):
            return None
        return key

    async def _admit(self, key: Key, identity: str) -> None:
        try:
            await self.ledger.soon(self.ledger.admit, key, identity)
        except LedgerError as error:
            raise unusable() from error
        except TooMany as error:
            raise too_many(key, error) from None

    async def _leave(self, identity: str) -> None:
        with contextlib.suppress(LedgerError):  # its place expires
            await self.ledger.soon(self.ledger.leave, identity)


def too_many(key: Key, error: TooMany) -> Refusal:
    """Return the refusal of a request beyond the limits of a key."""
    limit = (
        f"{key.rpm} requests a minute"
        if error.reason == "rate"
        else f"{key.concurrent} requests at the same time"
    )
    return Refusal(
        429,
        f"the key {key.name!r} is limited to {limit}; try again in {error.retry_after:.3g} s",
        type="requests",
        code="rate_limit_exceeded",
        headers={"retry-after": str(max(1, math.ceil(error.retry_after)))},
        reason="rate_limited" if error.reason == "rate" else "concurrent",
    )


def unusable() -> Refusal:
    """Return the refusal of a request while the ledger cannot be used."""
    message = "the server cannot check keys and budgets at the moment; try again"
    return unavailable(message, code="ledger_unavailable", seconds=5, reason="ledger")


def _unkept() -> Refusal:
    _log.error(
        "personakit: a key has a budget, but nothing keeps it: give the runner the plugin "
        "personakit.ledger.KeyBudget"
    )
    return Refusal(
        503,
        "this server cannot keep the budget of the key; its operator has to correct that",
        type="server_error",
        code="budgets_not_kept",
        headers={"x-should-retry": "false", "retry-after": "60"},
        reason="ledger",
    )


def _unauthorized(message: str, code: str) -> Refusal:
    return Refusal(
        401,
        message,
        type="authentication_error",
        code=code,
        headers={"www-authenticate": "Bearer"},
        reason="missing_key" if code == "missing_api_key" else "unknown_key",
    )
