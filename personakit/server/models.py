"""The personas that are served, as the models of OpenAI's API."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from personakit.base import NAME
from personakit.errors import PersonaError, PersonakitError, PersonaNotFound, did_you_mean
from personakit.persona import Persona, object_schema
from personakit.server.callers.access import Access, Caller
from personakit.server.http import Exchange, Refusal
from personakit.server.settings import Settings
from personakit.server.wording import told

if TYPE_CHECKING:
    from personakit.runner import Runner

# A version or a hash, not the end of a file's name.
_PIN = re.compile(r"(?!.*\.(?:ya?ml|json)\Z)[^/\\\n]{1,100}")


class Models:
    """Finds the personas that a caller may use, and lists them.

    A name never becomes the path of a file. A persona that a plugin loads (``scheme:rest``) is
    served only if a pattern of the settings has its scheme.
    """

    def __init__(self, runner: Runner, settings: Settings, access: Access) -> None:
        self._runner, self._access = runner, access
        self._patterns = settings.personas

    async def find(self, model: str, caller: Caller) -> Persona:
        """Return the persona of a `model`, loaded again if its file has changed.

        Args:
            model: Its name, which may end in ``@`` and a version or hash.
            caller: Who asks.

        Raises:
            Refusal: There is none that the caller may use (404), or its file is invalid (400).
        """
        # As the catalog does: what is checked must be what is loaded.
        name, at, pin = model.rpartition("@") if "@" in model else (model, "", "")
        is_pin = not at or _PIN.fullmatch(pin)
        if not is_pin or not self._serves(name) or not caller.allows(name):
            raise await asyncio.to_thread(self._missing, model, caller)
        catalog = self._runner.catalog
        try:
            if not catalog.is_ready(model):
                await self._runner.warm(model)
            return self._runner.load(model)
        except PersonaNotFound:
            raise await asyncio.to_thread(self._missing, model, caller) from None
        except PersonakitError as error:
            raise broken(name, error) from error

    async def listed(self, exchange: Exchange) -> None:
        """Answer ``GET /v1/models``."""
        caller = self._access.caller(exchange)
        models = await asyncio.to_thread(self._list, caller)
        await exchange.reply(200, {"object": "list", "data": models})

    async def shown(self, exchange: Exchange) -> None:
        """Answer ``GET /v1/models/{model}``."""
        caller = self._access.caller(exchange)
        persona = await self.find(exchange.rest, caller)
        describe = functools.partial(self._described, persona, persona.name)
        await exchange.reply(200, await asyncio.to_thread(describe))

    async def fault(self) -> str:
        """Return why no request can be answered; empty if they can."""
        try:
            await asyncio.to_thread(self._access.ledger.version)
        except PersonakitError:
            return "the ledger cannot be read"
        return ""

    def names(self, caller: Caller) -> list[str]:
        """Return the names of the personas that a caller may use, broken ones included."""
        return [name for name in self._names() if caller.allows(name)]

    def _names(self) -> Iterator[str]:
        yield from (name for name in self._runner.library.names() if self._serves(name))
        for scheme in sorted({p.partition(":")[0] for p in self._patterns if ":" in p}):
            for found in self._runner.library.listed(scheme):
                if not isinstance(found, PersonaError) and self._serves(found.name):
                    yield found.name

    def _serves(self, name: str) -> bool:
        if NAME.match(name):
            return any(fnmatchcase(name, pattern) for pattern in self._patterns)
        scheme, colon, _ = name.partition(":")
        return bool(colon) and any(
            pattern.startswith(f"{scheme}:") and fnmatchcase(name, pattern)
            for pattern in self._patterns
        )

    def _list(self, caller: Caller) -> list[dict[str, Any]]:
        models = []
        for name in self.names(caller):
            try:
                persona = self._runner.load(name)
            except PersonakitError:
                continue  # a request for it has the error
            models.append(self._described(persona, name))
        return models

    def _described(self, persona: Persona, name: str) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": _changed(persona),
            "owned_by": "personakit",
            "name": name,
            "description": persona.description,
        }
        own: dict[str, Any] = {
            "version": persona.version,
            "tags": list(persona.tags),
            "variables": object_schema(persona.variables),
        }
        try:
            own["hash"] = self._runner.hash(persona)
        except PersonakitError as error:
            own["error"] = told(error)[:1000]
        return {**described, "personakit": own}

    def _missing(self, model: str, caller: Caller) -> Refusal:
        names = self.names(caller)
        name, at, _ = model.rpartition("@")
        hint = did_you_mean(model, names)
        if at and name in names:
            hint = f"; {name!r} is there with another version: leave out the part from '@' on"
        return Refusal(
            404,
            f"the model {model[:80]!r} does not exist, or your key may not use it"
            f"{hint or '; GET /v1/models lists those that you can use'}",
            code="model_not_found",
            param="model",
        )


def broken(name: str, error: PersonakitError) -> Refusal:
    """Return the refusal of a request for a persona whose file is invalid."""
    return Refusal(
        400,
        f"the persona {name!r} cannot be used: {told(error)}",
        code="invalid_persona",
        param="model",
    )


def _changed(persona: Persona) -> int:
    """Return when the file of a persona was changed, as Unix time; 0 if it has no file."""
    try:
        return int(os.stat(persona.path).st_mtime)  # noqa: PTH116 - a name need not be a path
    except (OSError, ValueError):
        return 0
