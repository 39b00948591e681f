"""The suite, which runs the tests of personas for the command line and for pytest."""

from __future__ import annotations

import dataclasses
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.config import Config
from personakit.errors import PersonakitError, TemplateError, UsageError, VariableError
from personakit.frozen import thaw
from personakit.persona import Persona, PersonaTest
from personakit.pipeline import Backend
from personakit.runner import Runner
from personakit.suite import collect
from personakit.suite.assertions import Failure, check, excerpt
from personakit.suite.cassettes import (
    Cassette,
    Mode,
    Recording,
    Recordings,
    ReplayBackend,
    Unrecorded,
)
from personakit.suite.collect import Broken, Case, Outcome

if TYPE_CHECKING:
    from personakit.backend import OpenAIBackend

JUDGE = "judge"
UNRECORDED = "recording"
_VERDICT = re.compile(r"[\W_]*(pass|fail)\b[\W_]*(.*)", re.IGNORECASE | re.DOTALL)


def default_mode(environ: Mapping[str, str]) -> Mode:
    """Return the default record mode: ``none`` in CI, where `CI` is set, else ``new``."""
    return "none" if environ.get("CI", "").lower() not in ("", "0", "false", "no") else "new"


class Suite:
    """A runner of persona tests. Leaving its `with` block closes the connections.

    The `parameters` of the user's config are ignored, so that a test sends the same request
    everywhere.

    Args:
        config: The user's configuration; None reads the config file and the environment.
        record: The answers to ask the model for: ``new`` for those without a recording, ``all``,
            or ``none``.
        model: The model to ask, before the models of tests, personas and recordings.
        backend: The backend that sends the requests; None for the openai client.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        record: Mode = "new",
        model: str | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.record = record
        self.model = model
        self._backend = backend
        self._own: OpenAIBackend | None = None
        self.recorder = ReplayBackend(self._sender)
        config = dataclasses.replace(config or Config.read(), parameters={})
        self.runner = Runner(config, backend=self.recorder, log=False, on_suspend="refuse")

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the plugins and the connections."""
        self.runner.close()
        if self._own is not None:
            self._own.close()

    def _sender(self) -> Backend:
        if self._backend is None:
            from personakit.backend import Clients, OpenAIBackend  # noqa: PLC0415

            self._backend = self._own = OpenAIBackend(self.runner.router, Clients())
        return self._backend

    def collect(self, references: Iterable[str]) -> list[Case | Broken]:
        """Return the tests of files, folders and personas by name; see `collect.collect`."""
        return collect.collect(references, self.runner.load)

    def announce(self, cases: Iterable[Case]) -> None:
        """Notify the user that tests use the embedded model, before the first one does."""
        if self.model or self.runner.config.model:
            return
        for case in cases:
            if case.test.expect and not (case.test.model or case.persona.model):
                # An error is a failure of the test.
                with suppress(PersonakitError):
                    recording = Recordings.of(case.path).read().get(case.test.name, Recording())
                    if recording.exchanges or self.record != "none":
                        self._model(case, recording)

    def run(self, case: Case) -> Outcome:
        """Run a test. An error of the persona or the run is a failure of the test.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; earlier recordings are kept.
        """
        started = time.perf_counter()
        cassette = self.recorder.cassette = Cassette()
        note = ""
        failures = _failing("render", self._render, case) if case.test.render else []
        if not failures and case.test.expect:
            failures = _failing("expect", self._expect, case)
            if cassette.used and not cassette.new and _is_about_the_answer(failures):
                command = self._command(case, "all")
                note = f"the answer was recorded earlier; to ask the model again:\n  {command}"
        return Outcome(
            case=case,
            failures=tuple(failures),
            seconds=time.perf_counter() - started,
            recorded=cassette.new,
            replayed=len(cassette.used) - cassette.new,
            note=note,
        )

    def _render(self, case: Case) -> list[Failure]:
        test = case.test
        request = self.runner.render(
            case.persona,
            test.prompt,
            variables=thaw(test.variables),
            model=self.model or test.model,
        )
        text = "\n\n".join(message.text.strip("\n") for message in request.messages)
        return check(text, test.render, request.model)

    def _expect(self, case: Case) -> list[Failure]:
        if not Path(case.path).is_file():
            raise UsageError(
                f"recordings are stored beside the persona file, and {case.path!r} is not a file; "
                f"save the persona first"
            )
        recordings = Recordings.of(case.path)
        recording = recordings.read().get(case.test.name, Recording())
        cassette = self.recorder.cassette
        cassette.may_ask = self.record != "none"
        cassette.left = [] if self.record == "all" else list(recording.exchanges)
        if not cassette.left and not cassette.may_ask:
            return [self._unrecorded(case, Unrecorded("there is no recording"))]
        model = self._model(case, recording)
        try:
            return self._answer(case, model)
        except Unrecorded as error:
            return [self._unrecorded(case, error)]
        finally:
            kept = cassette.finished()
            if cassette.new and kept:
                tests = [test.name for test in case.persona.tests]
                recordings.write(case.test.name, Recording(model, tuple(kept)), tests)

    def _model(self, case: Case, known: Recording) -> str:
        """Return the model to ask; the recording's if neither test nor persona names one."""
        named = self.model
        if not named and case.test.model:
            named = self.runner.catalog.named(
                "model", case.test.model, case.test.document, (*case.test.at, "model")
            )
        if not named and case.persona.model:
            named = self.runner.catalog.own_model(case.persona)
        if not named and self.record != "all":
            named = known.model
        named = named or self.runner.config.model or self.runner.router.default_model()
        return self.runner.config.resolve(named)

    def _answer(self, case: Case, model: str) -> list[Failure]:
        test = case.test
        judged = test.expect.get(JUDGE)
        # Loaded before the model is asked, since its name may be wrong.
        judge = self._judge_of(test, judged) if judged else None
        response = self.runner.run(
            case.persona, test.prompt, variables=thaw(test.variables), model=model
        )
        failures = check(response.text, test.expect, model)
        if failures or judge is None:
            return failures
        return self._judge(judge, test, response.text, model)

    def _judge_of(self, test: PersonaTest, judged: Mapping[str, Any]) -> Persona:
        """Return the persona that judges."""
        catalog = self.runner.catalog
        at = (*test.at, "expect", JUDGE)
        if judged.get("model"):
            catalog.named("model", judged["model"], test.document, (*at, "model"))
        name = judged.get("persona", JUDGE)
        return catalog.load(catalog.named("persona", name, test.document, (*at, "persona")))

    def _judge(self, judge: Persona, test: PersonaTest, answer: str, model: str) -> list[Failure]:
        """Ask the judge whether an answer satisfies the rubric."""
        wanted = test.expect[JUDGE]
        values = {"rubric": wanted["rubric"]}
        if "question" in judge.variables:
            values["question"] = test.prompt or ""
        own = self.runner.catalog.own_model
        chosen = wanted.get("model") or self.model or own(judge) or model
        reply = self.runner.run(judge, answer, variables=values, model=chosen).text
        verdict = _VERDICT.match(reply)
        if verdict is None:
            message = f"the judge's first word is neither PASS nor FAIL; {judge.name} said:"
            return [Failure(JUDGE, message, excerpt(reply))]
        if verdict[1].lower() == "pass":
            return []
        reason = " ".join(verdict[2].split()) or "no reason given"
        return [Failure(JUDGE, f"{judge.name} says: {reason}", excerpt(answer))]

    def _unrecorded(self, case: Case, error: Unrecorded) -> Failure:
        mode: Mode = "all" if error.detail else "new"
        message = f"{error.message}; to record it:\n  {self._command(case, mode)}"
        return Failure(UNRECORDED, message, error.detail)

    def _command(self, case: Case, mode: Mode) -> str:
        """Return the command that records a test again, with the same model."""
        words = ["personakit", "test", case.path, "-k", case.test.name, "--record", mode]
        model = self.model
        if not model and not case.test.model and not case.persona.model:
            model = Recordings.of(case.path).read().get(case.test.name, Recording()).model
        return shlex.join([*words, *(["-m", model] if model else [])])


def _failing(section: str, run: Callable[[Case], list[Failure]], case: Case) -> list[Failure]:
    """Return the failures of a section of a test; an error is a failure, too."""
    try:
        return [
            dataclasses.replace(failure, check=f"{section} {failure.check}")
            for failure in run(case)
        ]
    except PersonakitError as error:
        message = str(error) or type(error).__name__
        return [Failure(section, f"{message}{_hint(case, error)}")]


def _is_about_the_answer(failures: list[Failure]) -> bool:
    """Check whether a check of the answer failed, not the run or its replay."""
    return bool(failures) and failures[0].check not in ("expect", f"expect {UNRECORDED}")


def _hint(case: Case, error: PersonakitError) -> str:
    """Return where a test sets the value that is missing."""
    if isinstance(error, VariableError):
        return "\nset the variables of a test under `variables:`"
    if isinstance(error, TemplateError) and case.persona.prompt and case.test.prompt is None:
        return "\nset the user's message of a test under `prompt:`"
    return ""
