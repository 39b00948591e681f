"""What a notebook holds between its cells: the runner, the conversations and the new personas."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from personakit.config import Config
from personakit.errors import PersonaNotFound
from personakit.runner import Runner

if TYPE_CHECKING:
    from personakit.conversation import Conversation
    from personakit.persona import Persona


class Talk(NamedTuple):
    """A conversation of a notebook, and the runner that it was created with."""

    conversation: Conversation
    runner: Runner


class Session:
    """The state of the magics in one shell of IPython.

    Attributes:
        shell: The shell.
        personas: The personas that cells have defined, by name.
        texts: Their files, which other cells may extend, by path.
        talks: The conversations, by the names that their responses are assigned to.
        last: The name of the last one.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.personas: dict[str, Persona] = {}
        self.texts: dict[Path, str | bytes] = {}
        self.talks: dict[str, Talk] = {}
        self.last = ""
        self._runners: dict[tuple[bool, tuple[str, ...]], Runner] = {}

    def runner(self, *, log: bool = True, allowed: tuple[str, ...] = ()) -> Runner:
        """Return the runner of the notebook; a new one if the config has changed.

        Args:
            log: Whether to log its runs, unless the config forbids it.
            allowed: Patterns of further tools that the user allows.
        """
        config = Config.read()
        if allowed:
            patterns = config.allow_tools | frozenset(allowed)
            config = dataclasses.replace(config, allow_tools=patterns)
        kept = self._runners.get((log, allowed))
        if kept is None or kept.config != config:
            kept = self._runners[log, allowed] = Runner(config, log=log)
        return kept

    def load(self, runner: Runner, name: str) -> Persona:
        """Return a persona that a cell has defined, or that the runner finds.

        Raises:
            UsageError: There is none, or it is invalid.
        """
        return self.personas.get(name) or runner.load(name)

    def is_persona(self, runner: Runner, word: str) -> bool:
        """Return whether a word names a persona."""
        try:
            self.load(runner, word)
        except PersonaNotFound:
            return False
        return True
