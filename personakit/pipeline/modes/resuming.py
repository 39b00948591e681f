"""What a runner does for runs that wait for a person: their journals, and how they go on."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from personakit.base import counted, scope
from personakit.config import Config, data_folder
from personakit.errors import UsageError, spelled
from personakit.persona import QUESTION_PATH, Persona, question_persona
from personakit.pipeline.dry_run import DryRun
from personakit.pipeline.modes.drivers import run_sync
from personakit.pipeline.modes.runs import Runs
from personakit.pipeline.options import AllOptions, RunOptions, keywords, not_a_prompt
from personakit.usage import Spent

if TYPE_CHECKING:
    from personakit.journal import (
        Asker,
        Desk,
        Journal,
        JournalStorage,
        OnSuspend,
        Record,
        Resumption,
        Suspended,
    )
    from personakit.messages import Request, Response
    from personakit.pipeline.inside import Inside
    from personakit.pipeline.layers import RunLayer


class Resuming(Runs):
    """Suspends runs that wait for a person, and resumes them."""

    config: Config
    catalog: Any
    _asker: Asker | None
    _on_suspend: OnSuspend
    _journals: JournalStorage | None
    _usual: Desk | None = None

    @property
    def journals(self) -> JournalStorage:
        """Where the journals of suspended runs are: by default files of the user's data folder."""
        from personakit.journal import JournalFolder  # noqa: PLC0415

        if self._journals is None:
            environ = self.config.environ
            self._journals = JournalFolder(lambda: data_folder(environ) / "journals")
        return self._journals

    def suspended(self, id: str) -> Suspended:  # noqa: A002
        """Return a run that waits for a person, or that was interrupted after a question.

        Args:
            id: Its id.

        Raises:
            UsageError: No journal has the id, or it cannot be read.
        """
        from personakit.journal import Suspended  # noqa: PLC0415

        identity, journal = self._journal(id)
        left = journal.remains()
        suspended = Suspended(
            identity, journal.open, persona=journal.header["persona"]["name"], **left
        )
        charges = [entry.lost() for entry in journal.entries.values() if entry.kind != "run"]
        suspended.spent = Spent(tuple(charge for each in charges for charge in each))
        return suspended

    @keywords
    def resume(
        self,
        suspended: Suspended | str,
        answer: Any = None,
        **options: Unpack[AllOptions],
    ) -> Response[Any]:
        """Continue a run that waits for a person, and return the whole answer.

        It is the short form of ``run(persona, suspended.resume_with(answer))``; for the other ways
        to run, call `arun`, `stream` or `astream` like that.

        Args:
            suspended: The suspended run, or its id.
            answer: The answer to the first question, or answers by the ids of the questions. None
                if it is asked again, or if the run was interrupted.
            options: As those of the run: its functions, types and keys are not in the journal.

        Raises:
            UsageError: The run is not found, or its persona has changed.
            RunError: The run failed. What was paid before is not paid again.
            Suspended: It waits for another answer.
        """
        from personakit.journal import Resumption, Suspended  # noqa: PLC0415

        waits = self.suspended(suspended) if isinstance(suspended, str) else suspended
        if not isinstance(waits, Suspended):
            raise UsageError(
                f"expected a suspended run or its id, found {type(waits).__name__}; a Resumption "
                f"goes in place of the prompt: `runner.run(persona, resumption)`"
            )
        given = Resumption(waits.id) if answer is None else waits.resume_with(answer)
        return run_sync(self._start(self.persona_of(waits.id), given, options))

    def persona_of(self, id: str) -> Persona:  # noqa: A002
        """Return the persona of a suspended run, as it is now.

        Raises:
            UsageError: The run or its persona is not found.
        """
        known = self._journal(id)[1].header["persona"]
        if known["path"] == QUESTION_PATH:
            return question_persona(known["system"])
        if "data" in known:
            parents = self.catalog.library.parents
            return Persona.parse(json.dumps(known["data"]), known["path"], parents=parents)
        loaded: Persona = self.catalog.load(known["reference"])
        return loaded

    def request_of(self, id: str) -> Request:  # noqa: A002
        """Return the request of a suspended run, as it was rendered; its tools have no functions.

        Raises:
            UsageError: The run is not found.
        """
        return self._journal(id)[1].request

    def _journal(self, identity: str) -> tuple[str, Journal]:
        from personakit.journal import Journal  # noqa: PLC0415

        # The whole id: in a service, to know it is what allows an answer.
        if identity in set(self.journals.ids()) and (lines := self.journals.read(identity)):
            return identity, Journal.read(identity, lines)
        # Not their ids: a service may show this to whoever sent the id.
        waiting = sum(1 for _ in self.journals.ids())
        listed = f"{counted(waiting, 'run')} waiting" if waiting else "none is waiting"
        more = spelled(
            python="`Runner.journals.ids()` lists them",
            terminal="`personakit suspended list` lists them",
            service="begin the run again",
        )
        raise UsageError(f"no suspended run has the id {identity[:80]!r}; {listed}; {more}")

    # --- for a run -------------------------------------------------------------------------------

    def _waiting(
        self,
        run: RunLayer,
        persona: Persona,
        request: Request,
        options: RunOptions,
        inside: Inside,
        record: Any,
    ) -> tuple[RunLayer, Record | None]:
        """Return a run that can wait for a person, and its record; one inside another has none."""
        outer = scope.get()
        if outer is not None and outer.record.is_open and record is None:
            return run, None
        if isinstance(inside.backend, DryRun):
            return self._asking(run, dry=True), None
        from personakit.journal import Record, suspendable  # noqa: PLC0415

        if record is None:
            first = functools.partial(self._first_line, persona, request, options)
            record = Record(self._desk(options.on_suspend), first)
            record.id = options.run_id or ""
        return suspendable(run, record), record

    def _asking(self, function: Callable[..., Any], *, dry: bool = False) -> Any:
        """Return a function outside of a run, such as a dry run, whose questions cannot wait."""
        from personakit.journal import Record, recorded  # noqa: PLC0415

        desk = self._desk("raise", asks=False) if dry else self._desk("refuse")
        return recorded(function, Record(desk, dict, is_brief=True))

    def _desk(self, on_suspend: OnSuspend | None, *, asks: bool = True) -> Desk:
        if on_suspend is None and asks and self._usual is not None:
            return self._usual
        from personakit.journal import Desk  # noqa: PLC0415

        asker = self._there() if asks else None
        desk = Desk(lambda: self.journals, asker, on_suspend or self._on_suspend)
        # In a notebook it depends on the moment whether somebody is there.
        if on_suspend is None and asks and "IPython" not in sys.modules:
            self._usual = desk
        return desk

    def _first_line(self, persona: Persona, request: Request, options: RunOptions) -> Any:
        """Return the first line of the journal of a run."""
        from personakit.codec import SECRET  # noqa: PLC0415
        from personakit.journal import header  # noqa: PLC0415

        output = None if options.output is None else options.output.schema
        kept = {
            "max_rounds": options.max_rounds,
            "conversation": options.conversation,
            "secret": sorted(SECRET & request.parameters.keys()),
        }
        return header(self._described(persona), request, {**kept, "output": output})

    def _there(self) -> Asker | None:
        """Return who asks the person, if one is there."""
        if self._asker is not None or "IPython" not in sys.modules:
            return self._asker
        # That room stands above this one, and is there only in a notebook.
        asker: Asker | None = importlib.import_module("personakit.notebook").notebook_asker()
        return asker

    def _described(self, persona: Persona) -> dict[str, Any]:
        """Return what identifies a persona in another process."""
        known = {"name": persona.name, "path": persona.path, "hash": self.catalog.hash(persona)}
        if persona.path == QUESTION_PATH:
            system = persona.system
            return {**known, "system": system.source if system is not None else None}
        for reference in (persona.path, persona.name):
            try:
                if self.catalog.load(reference) == persona:
                    return {**known, "reference": _absolute(reference)}
            except UsageError:
                continue
        return {**known, "data": persona.document.data}

    def _resumed(
        self, persona: Persona, given: Resumption, options: RunOptions, own: Iterable[Any]
    ) -> tuple[Request, RunOptions, Record]:
        """Return the request, the options and the record of a run that goes on.

        Args:
            persona: The persona.
            given: The answers.
            options: The options of the call.
            own: The tools that the persona's plugins contribute.

        Raises:
            UsageError: The persona has changed, or a tool or key of the run is missing.
        """
        from personakit.journal import Record, Resumption, restored  # noqa: PLC0415
        from personakit.tools import tools_of  # noqa: PLC0415

        if not isinstance(given, Resumption):
            raise not_a_prompt(given)
        identity, journal = self._journal(given.id)
        first, known = journal.header, journal.header["persona"]
        if known["hash"] != (now := self.catalog.hash(persona)):
            raise UsageError(
                f"run {identity} cannot go on: persona {known['name']!r} ({persona.path}) has "
                f"changed since it was suspended: its hash was {known['hash'][:15]}, now "
                f"{now[:15]}. Restore the file as it was, or run it anew"
            )
        tools = (*own, *tools_of(options.tools))
        request = restored(journal, identity, tools, options.parameters or {})
        answers = journal.checked(given.answers, identity)
        journal.check_free(identity)
        kept = first["options"]
        changes: dict[str, Any] = {"max_rounds": kept["max_rounds"]}
        if options.conversation is None:
            changes["conversation"] = kept["conversation"]
        if options.output is None and kept["output"] is not None:
            from personakit.output import Output  # noqa: PLC0415

            changes["output"] = Output.of(kept["output"], persona.name)
        desk = self._desk(options.on_suspend)
        record = Record(desk, dict, identity=identity, journal=journal, answers=answers)
        record.resume(answers)
        return request, options.replace(**changes), record


def _absolute(reference: str) -> str:
    import os  # noqa: PLC0415

    return os.path.abspath(reference) if os.path.isfile(reference) else reference  # noqa: PTH100, PTH113
