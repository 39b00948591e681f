"""The check that a run with a plugin can wait for a person and go on in another process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from personakit.errors import PersonakitError, ReplayMismatch, UsageError
from personakit.hookspecs import hookimpl
from personakit.journal import Question, Suspended, ask
from personakit.messages import Request, Response
from personakit.persona import Persona
from personakit.testing.checks import MODES
from personakit.testing.direct_calls import DirectCalls
from personakit.testing.fake_backend import Answer, runner
from personakit.testing.fake_backend import persona as test_persona
from personakit.testing.memory_journals import MemoryJournals
from personakit.tools import Tool, tools_of

_MOST = 100
_FIELDS = ("text", "reasoning", "tool_calls", "finish_reason", "parsed", "messages", "metadata")
_RULE = (
    "a hook runs again from its start when its run is resumed, with a new instance of the plugin, "
    "and must do the same: get time from personakit.now(), chance from personakit.rng(), and files "
    "and other I/O through personakit.io(…), and keep nothing on `self` that changes what it does"
)


def _first_choice(question: Question) -> str:
    """Return the first choice of a question."""
    return question.choices[0] if question.choices else "yes"


def check_replay(
    make: Callable[[], Any],
    request: str | Request | None = "Hi!",
    answers: Sequence[Answer] = ("Hello!",),
    *,
    persona: Persona | None = None,
    tools: Iterable[Tool | Callable[..., Any]] = (),
    answer: Callable[[Question], str] | None = None,
) -> Response:
    """Suspend a run in every mode, and resume it in every mode with a new instance of its plugin.

    The run waits at each question of the plugin, and once more when everything has happened. The
    resumed run must have the same outcome, and send, embed and call no tool again. What its first
    instance has done before must not matter. A hook must not get time, chance or a file by itself,
    and a journal must be able to hold what it gets through `personakit.io`.

    Args:
        make: Returns a new instance of the plugin: its class, or a function.
        request: The user's message, or a whole request; None for a run without a prompt.
        answers: The answers of the model; see `Upstream`.
        persona: The persona to run; None for ``testing.persona()``.
        tools: Functions that the model can call.
        answer: Answers a question of the plugin; None for its first choice, or "yes".

    Returns:
        The response.

    Raises:
        AssertionError: The plugin breaks the rule of replay.
        Exception: Every run raised this error, so ``pytest.raises`` can expect it.
    """
    _check_functions(make, answer)
    who, answered = persona or test_persona(), answer or _first_choice
    check = _Check(make, request, answers, who, tools_of(tools), answered)
    with _seeded():
        for mode in MODES:
            stop = check.stopped(mode, is_used=False)
            for then in MODES:
                check.resumed(stop, then)
            check.resumed(check.stopped(mode, is_used=True), mode)
    if isinstance(stop.ended, Exception):
        raise stop.ended
    return stop.ended


def _check_functions(make: Any, answer: Any) -> None:
    if answer is not None and not callable(answer):
        raise TypeError(
            f"check_replay(answer=): expected a function that is called with a Question, found "
            f"{type(answer).__name__}; write `answer=lambda question: {answer!r}`"
        )
    if not callable(make):
        raise TypeError(
            f"check_replay(make): `make` must return a new instance of the plugin, found "
            f"{type(make).__name__}; pass its class, or `lambda: Plugin(…)`"
        )


@dataclass(slots=True)
class _Stop:
    """A run of which everything has happened, and that waits."""

    mode: str
    waits: Suspended
    ended: Response | Exception
    shown: str
    journals: MemoryJournals


@dataclass(slots=True)
class _Check:
    make: Callable[[], Any]
    request: str | Request | None
    answers: Sequence[Answer]
    persona: Persona
    tools: list[Tool]
    answer: Callable[[Question], str]
    called: Counter[str] = field(default_factory=Counter)
    sent: list[Request] = field(default_factory=list)
    embedded: list[Request] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return what a resumed run must not do again."""
        counts = {"requests": len(self.sent), "requests for embeddings": len(self.embedded)}
        return {**counts, **{f"calls of {name}": count for name, count in self.called.items()}}

    def counting(self) -> list[Tool]:
        """Return the tools, each of which counts its calls."""
        return [
            dataclasses.replace(tool, function=_counted(tool.function, tool.name, self.called))
            for tool in self.tools
        ]

    def stopped(self, mode: str, *, is_used: bool) -> _Stop:
        """Run the persona, also through the questions of the plugin, until the end."""
        plugin = self.make()
        self._forget()
        if is_used:
            with contextlib.suppress(PersonakitError), self._running([plugin], ask=True) as running:
                running.run(self.persona, self.request, tools=self.counting())
            self._forget()
        journals, shown = MemoryJournals(), list[str]()
        here = f"{mode} with an instance that had served another run" if is_used else mode
        given: Any = self.request
        question = ""
        for _ in range(_MOST):
            end = _End()
            with DirectCalls() as direct:
                result = self._run(mode, [end, plugin], journals, given, shown)
            assert not direct.found, f"{'; '.join(direct.found.values())} ({_RULE})"
            if given is self.request and isinstance(result, UsageError):
                raise result  # such as a persona that lists an unknown plugin
            if not isinstance(result, Suspended):
                raise AssertionError(f"resumed by {here}: {_text(result)}; {_RULE}")
            if end.ended is not None:
                open_ = [each.text for each in result.questions[:-1]]
                assert not open_, (
                    f"a hook went on after {open_[0]!r}, which nobody has answered; it must let "
                    f"the run end there: catch Exception, never BaseException"
                )
                _check_io(journals, result.id)
                return _Stop(here, result, end.ended, "".join(shown), journals)
            given = result.resume_with({each.id: self.answer(each) for each in result.questions})
            plugin, question = self.make(), result.question.text
        raise AssertionError(
            f"the plugin asked {_MOST} questions, the last one {question!r}; pass "
            f"`answer=`, a function that answers them"
        )

    def resumed(self, stop: _Stop, mode: str) -> None:
        """Check that the run ends in a mode as it has ended before."""
        before, shown = self.counts(), list[str]()
        journals = MemoryJournals()
        journals.append(stop.waits.id, 0, stop.journals.read(stop.waits.id))
        given = stop.waits.resume_with("go on")
        end = _End()
        result = self._run(mode, [end, self.make()], journals, given, shown)
        here = f"resumed by {mode} after {stop.mode}"
        if isinstance(result, ReplayMismatch):
            raise AssertionError(f"{here}: {result}; {_RULE}") from result
        changed = [name for name, count in self.counts().items() if count != before.get(name, 0)]
        assert not changed, f"{here}: there were more {', '.join(changed)}; {_RULE}"
        # Both as the hooks left them: the run itself then puts a changed text into the messages.
        outcome = result if isinstance(result, Exception) else end.ended or result
        if different := _different(outcome, stop.ended):
            raise AssertionError(f"{here}: {different}; {_RULE}")
        if "stream" in mode and isinstance(result, Response):
            text = stop.shown + "".join(shown)
            assert text == result.text, f"{here}: streamed {text!r}, expected {result.text!r}"

    def _forget(self) -> None:
        self.sent, self.embedded, self.called = [], [], Counter()

    def _running(self, plugins: list[Any], **more: Any) -> Any:
        asker = self.answer if more.pop("ask", False) else None
        running, upstream = runner(self.answers, plugins=plugins, ask=asker, **more)
        upstream.requests, upstream.embedded = self.sent, self.embedded
        return running

    def _run(
        self, mode: str, plugins: list[Any], journals: MemoryJournals, given: Any, shown: list[str]
    ) -> Response | Exception:
        options = {"tools": self.counting()}
        with self._running(plugins, journals=journals) as running:
            try:
                return _in_mode(mode, running, self.persona, given, shown, options)
            except Exception as error:
                return error


class _End:
    """A plugin around the others that waits when everything of them has happened."""

    def __init__(self) -> None:
        self.ended: Response | Exception | None = None
        self._begun = False

    @hookimpl
    async def run(self, request: Request, send: Any) -> Response | None:
        if self._begun:
            return None  # it is around the runs inside, too
        self._begun = True
        try:
            self.ended = await send.live(request)
        except Exception as error:
            self.ended = error
        await ask("Go on?")
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended


def _in_mode(
    mode: str, running: Any, who: Persona, given: Any, shown: list[str], options: dict[str, Any]
) -> Response:
    response: Response
    if mode == "run":
        response = running.run(who, given, **options)
        return response
    if mode == "stream":
        stream = running.stream(who, given, **options)
        shown.extend(stream)
        response = stream.response
        return response

    async def read() -> Any:
        if mode == "arun":
            return await running.arun(who, given, **options)
        stream = running.astream(who, given, **options)
        async for text in stream:
            shown.append(text)
        return stream.response

    response = asyncio.run(read())
    return response


def _counted(
    function: Callable[..., Any] | None, name: str, called: Counter[str]
) -> Callable[..., Any] | None:
    """Return a function that counts its calls; None for a tool that the caller runs."""
    if function is None:
        return None
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waiting(**values: Any) -> Any:
            called[name] += 1
            return await function(**values)

        return waiting

    @functools.wraps(function)
    def calling(**values: Any) -> Any:
        called[name] += 1
        return function(**values)

    return calling


def _check_io(journals: MemoryJournals, identity: str) -> None:
    """Check that the journal of a run has the results of all its I/O."""
    lines = map(json.loads, journals.read(identity))
    faults = sorted({line["unrecorded"] for line in lines if "unrecorded" in line})
    assert not faults, (
        f"personakit.io of {'; '.join(faults)}, so a resumed run calls the function again; return "
        f"plain data from it: texts, numbers, bytes, dates, or lists and dicts of them"
    )


def _different(result: Response | Exception, expected: Response | Exception) -> str:
    """Return how two outcomes differ; empty if they do not."""
    if isinstance(result, Exception) or isinstance(expected, Exception):
        same = type(result) is type(expected) and str(result) == str(expected)
        return "" if same else f"{_text(result)}, expected that {_text(expected)}"
    for name in _FIELDS:
        found, wanted = getattr(result, name), getattr(expected, name)
        if found != wanted:
            return f"its {name} is {found!r:.200}, expected {wanted!r:.200}"
    return ""


def _text(result: Response | Exception) -> str:
    if isinstance(result, Exception):
        return f"it raised {type(result).__name__}: {result}"
    return f"it answered {result.text!r:.200}"


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Let chance be the same in each check, but another in each run of it."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
