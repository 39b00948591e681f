"""What a notebook holds between its cells: the runner, the conversations and the new personas."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from personakit.config import Config
from personakit.errors import PersonaNotFound, UsageError, did_you_mean
from personakit.messages import Response
from personakit.runner import Runner

if TYPE_CHECKING:
    from personakit.conversation import Conversation


class Talk(NamedTuple):
    """A conversation of a notebook, and the runner that it was created with."""

    conversation: Conversation
    runner: Runner


class Session:
    """The state of the magics in one shell of IPython.

    Attributes:
        shell: The shell.
        texts: The files of the personas that cells have defined, which other cells may extend, by
            path.
        saved: What cells have written to files, by their absolute paths.
        talks: The conversations, by the names that their responses are assigned to.
        last: The name of the last run.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.texts: dict[Path, str | bytes] = {}
        self.saved: dict[Path, str] = {}
        self.talks: dict[str, Talk] = {}
        self.last = ""
        self._lost: dict[str, str] = {}
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

    def close(self) -> None:
        """Close the plugins and connections of the runners; later runs open new ones."""
        for runner in self._runners.values():
            runner.close()

    def is_persona(self, runner: Runner, word: str) -> bool:
        """Return whether a word names a persona."""
        try:
            runner.load(word)
        except PersonaNotFound:
            return False
        return True

    def keep(self, name: str, talk: Talk) -> None:
        """Keep a conversation under a name, as the last one."""
        self.talks[name], self.last = talk, name
        self._lost.pop(name, None)

    def lose(self, name: str, ended: str) -> None:
        """Remember that the last run under a name began a conversation and left none.

        Args:
            name: The name.
            ended: How it ended, after "the last run".
        """
        self._lost[name], self.last = ended, name

    def forget(self, name: str) -> None:
        """Remove a response from the variables of the notebook."""
        if isinstance(self.shell.user_ns.get(name), Response):
            del self.shell.user_ns[name]

    def find(self, identity: str) -> Talk | None:
        """Return the conversation with an ID, if the notebook has it."""
        return next((it for it in self.talks.values() if it.conversation.id == identity), None)

    def talk(self, name: str | None) -> Talk:
        """Return the conversation of a name, or the last one.

        Raises:
            UsageError: There is none.
        """
        names = list(dict.fromkeys([*self.talks, *self._lost]))
        if name is not None and name not in names:
            known = f"; the conversations here are {', '.join(names)}" if names else ""
            raise UsageError(
                f"-c --as {name}: this notebook has no conversation {name!r}"
                f"{did_you_mean(name, names) or known}"
            )
        name = name or self.last
        if not name:
            raise UsageError(
                "-c: this notebook has no conversation yet; begin one with %%persona NAME, or "
                "write --conversation ID for one of `personakit log`"
            )
        if name not in self._lost:
            return self.talks[name]
        earlier = self.talks.get(name)
        remedy = (
            f"or write --conversation {earlier.conversation.id} instead of -c for the one before it"
            if earlier is not None
            else "or write -c --as NAME for another conversation"
        )
        raise UsageError(
            f"-c: the last run as {name!r} {self._lost[name]}, so it cannot go on; run its cell "
            f"again, {remedy}"
        )
