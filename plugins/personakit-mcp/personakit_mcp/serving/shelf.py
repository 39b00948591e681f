"""The personas of a server as they are now, each read again only if its file has changed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase

from personakit import Persona, PersonaError, Runner

_LEFT_OUT = "a persona is left out: %s"
_log = logging.getLogger("personakit.mcp")


class Shelf:
    """The personas that are offered. Broken ones are left out, and named once in the log.

    Args:
        runner: Its library has the personas.
        patterns: Names and patterns of those that are offered.
    """

    def __init__(self, runner: Runner, patterns: tuple[str, ...]) -> None:
        self._runner, self._patterns = runner, patterns
        self._lock = threading.Lock()
        self._broken: set[str] = set()
        self._compiled: dict[str, Persona] = {}
        # Seen when it is first used: compiling the templates of a library takes long.
        self._invalid: dict[str, Persona] = {}
        self._known: Mapping[str, Persona] = {}

    def has(self, name: str) -> bool:
        """Return whether there was a persona of a name when the personas were last read."""
        return name in self._known

    async def read(self) -> Mapping[str, Persona]:
        """Return the personas by name, sorted. One that has not changed is the same object."""
        return await asyncio.to_thread(self._read)

    async def ready(self, name: str) -> Persona:
        """Return a persona whose templates are compiled.

        Raises:
            PersonaNotFound: It does not exist any more.
            PersonaError: Its file is invalid.
        """
        persona = self._runner.load(name)
        if self._compiled.get(name) is not persona:
            try:
                await asyncio.to_thread(self._runner.catalog.compiled, persona)
            except PersonaError as error:
                self._leave_out(persona, str(error))
                raise
            self._compiled[name] = persona
        return persona

    def _leave_out(self, persona: Persona, message: str) -> None:
        """Leave a persona whose templates are invalid out of the lists until it changes."""
        with self._lock:
            if self._invalid.get(persona.name) is not persona:
                self._invalid[persona.name] = persona
                _log.warning(_LEFT_OUT, message)

    def _read(self) -> Mapping[str, Persona]:
        # Two threads would read each file twice.
        with self._lock:
            return self._read_alone()

    def _read_alone(self) -> Mapping[str, Persona]:
        every = self._patterns == ("*",)
        personas: dict[str, Persona] = {}
        broken: set[str] = set()
        for each in self._runner.library.personas():
            if isinstance(each, PersonaError):
                broken.add(str(each))
            elif self._invalid.get(each.name) is each:
                continue
            elif every or any(fnmatchcase(each.name, pattern) for pattern in self._patterns):
                personas[each.name] = each
        for message in sorted(broken - self._broken):
            _log.warning(_LEFT_OUT, message)
        self._broken, self._known = broken, personas
        return personas
