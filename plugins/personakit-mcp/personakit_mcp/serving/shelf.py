"""The personas of a server as they are now, each read again only if its file has changed."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase

from personakit import Persona, PersonaError, PersonaNotFound, Runner
from personakit_mcp.serving import rows
from personakit_mcp.serving.rows import Row

_LEFT_OUT = "a persona is left out: %s"
# Other references, such as paths, are not offered.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
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

    def offers(self, name: str) -> bool:
        """Return whether a persona of a name is offered, if there is one."""
        return bool(_NAME.match(name)) and self._matches(name)

    async def read(self) -> Mapping[str, Row]:
        """Return the rows of the personas by name, sorted; see `personakit_mcp.serving.rows`."""
        return await asyncio.to_thread(self._read)

    def find(self, name: str) -> Persona | None:
        """Return a persona, without reading others; None if it is not offered or invalid."""
        if not self.offers(name):
            return None
        try:
            persona = self._runner.load(name)
        except (PersonaNotFound, PersonaError):
            return None
        return None if self._invalid.get(name) is persona else persona

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

    def _matches(self, name: str) -> bool:
        every = self._patterns == ("*",)
        return every or any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def _read(self) -> Mapping[str, Row]:
        # Two threads would read each file twice.
        with self._lock:
            return self._read_alone()

    def _read_alone(self) -> Mapping[str, Row]:
        listed: dict[str, Row] = {}
        broken: set[str] = set()
        for each in self._runner.library.listings(rows.KIND, rows.stamp(), rows.row):
            if isinstance(each, PersonaError):
                broken.add(str(each))
            elif self._matches(each.name):
                listed[each.name] = Row(each.text, each.version)
        for message in sorted(broken - self._broken):
            _log.warning(_LEFT_OUT, message)
        self._broken = broken
        for name in list(self._compiled.keys() - listed.keys()):
            self._compiled.pop(name, None)
        for name in list(self._invalid):
            if name in listed and self._is_same(name):
                del listed[name]
            else:
                del self._invalid[name]
        return listed

    def _is_same(self, name: str) -> bool:
        """Return whether an invalid persona has not changed."""
        try:
            return self._runner.load(name) is self._invalid[name]
        except (PersonaNotFound, PersonaError):
            return False
