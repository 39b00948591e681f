"""The entries of a journal: what a run asked for, and what it got."""

from __future__ import annotations

import builtins
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personakit import errors
from personakit.codec import SECRET
from personakit.errors import JournalError, PersonakitError, RunError, UsageError
from personakit.frozen import thaw
from personakit.journal.questions import Question
from personakit.journal.values import NotStorable, decode, digest, encode
from personakit.messages import Request, Response
from personakit.tools import Tool
from personakit.usage import Book, Charge, charges_in

VERSION = 1
KINDS = {
    "model": "a model call",
    "tool": "a tool call",
    "embed": "embeddings",
    "run": "a run of another persona",
    "render": "the request of another persona",
    "io": "a call through personakit.io",
    "sleep": "personakit.sleep()",
    "now": "personakit.now()",
    "rng": "personakit.rng()",
    "ask": "a question",
    "send": "send()",
}
PAID = ("model", "tool", "embed", "run")
_REQUESTS = ("request", "_asked")
_STATES = {"result": "done", "error": "failed", "paused": "paused", "again": "again"}
_FIELDS = ("partial", "status", "request_id", "retry_after", "attempts", "lost", "plugin")


@dataclass(slots=True)
class Entry:
    """One thing that a run asked for, in this process or an earlier one.

    Attributes:
        at: Its place in the run.
        kind: One of `KINDS`.
        subject: What was asked for; None if the entry comes from a journal.
        state: ``started``, ``paused`` (it asked a question), ``done``, ``failed``, or ``again`` (it
            failed, and starts again when the run is resumed).
        result: The result, or the error.
        data: The result or the error as JSON, if it comes from a journal.
        charges: What it cost before the run was resumed.
        book: What it costs now.
        starts: How often it was started.
        key: The hashes of what was asked for; None until it is needed.
        model: The model that is asked; empty if none is.
        given: The fields of a response that are `subject`, and are not in the journal.
        hashes: Those of messages that earlier calls had, too, by the identity of the message.
    """

    at: str
    kind: str
    subject: Any = None
    state: str = "started"
    result: Any = None
    data: Any = None
    charges: tuple[Charge, ...] = ()
    book: Book = field(default_factory=dict)
    starts: int = 1
    key: Mapping[str, str] | None = None
    model: str = ""
    given: Sequence[str] = ()
    hashes: dict[int, tuple[Any, str]] | None = None

    @property
    def digest(self) -> Mapping[str, str]:
        """What was asked for, as hashes of its parts."""
        if self.key is None:
            self.key = digest(self.subject, self.hashes)
        return self.key

    def began(self) -> dict[str, Any]:
        """Return the line of its start."""
        line = {"at": self.at, "kind": self.kind, "key": dict(self.digest)}
        return {**line, "model": self.model} if self.model else line

    def ended(self) -> dict[str, Any] | None:
        """Return the line of its end; None while it runs, or if a journal cannot hold the result.

        A call whose result is not in the journal is made again. Of I/O the line says why.
        """
        charges = [encode(each) for each in self._paid()]
        paid: dict[str, Any] = {"charges": charges} if charges else {}
        try:
            if self.state == "done":
                data, result = self.data, self.result
                if isinstance(result, Response) and self.data is None:
                    # They contain the whole conversation, which a resumed run has.
                    names = [n for n in _REQUESTS if getattr(result, n) is self.subject]
                    result = result.replace(**dict.fromkeys(names)) if names else result
                    paid |= {"given": names} if names else {}
                data = encode(result) if data is None else data
                return {"at": self.at, "result": data, **paid}
            if self.state == "failed":
                return {"at": self.at, "error": write_error(self.result), **paid}
        except NotStorable as fault:
            if self.kind != "io":
                return None
            return {"at": self.at, "unrecorded": f"{self.subject['name']}: {fault}"}
        return {"at": self.at, "paused": True} if self.state == "paused" else None

    def _paid(self) -> tuple[Charge, ...]:
        """Return what a call that has ended in this process cost."""
        # What a run inside pays is recorded with its own calls; its result has the sum.
        spent = getattr(self.result, "spent", None) if self.kind == "run" else None
        return spent.charges if spent is not None else charges_in(self.book)

    def lost(self) -> tuple[Charge, ...]:
        """Return what earlier starts cost; of one that was interrupted that is not known."""
        unknown = (Charge(self.model),) if self.model and self.state == "started" else ()
        return (*self.charges, *unknown)

    def value(self) -> Any:
        """Return the result of a call that is done.

        Raises:
            Exception: The error with which it failed.
        """
        if self.state == "failed":
            if self.data is not None:
                self.result, self.data = read_error(self.data), None
            raise self.result
        return self.result if self.data is None else decode(self.data)


@dataclass(slots=True)
class Journal:
    """What the lines of a journal say.

    Attributes:
        header: The start of the run: its persona, request and options.
        entries: What the run asked for, by place.
        questions: The questions, by place.
        answers: The answers, by place.
        shown: How much of the answer the caller has received.
        left: What the last `Suspended` had besides the questions.
        size: The number of lines.
        by: The host and the process that went on with the run last; empty once it has stopped.
    """

    header: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    left: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    by: tuple[Any, ...] = ()

    @classmethod
    def read(cls, identity: str, lines: Any) -> Journal:
        """Return the journal of a run.

        Raises:
            JournalError: The lines are not those of a journal, or of a newer version.
        """
        try:
            parsed = [json.loads(line) for line in lines]
            journal = cls(parsed[0], size=len(parsed))
            if journal.header["journal"] > VERSION:
                raise JournalError(
                    f"the journal of run {identity} was written by a newer personakit; update it"
                )
            for line in parsed[1:]:
                journal._add(line)
            journal._pause()
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise JournalError(
                f"the journal of run {identity} is damaged ({type(error).__name__}: {error}); its "
                f"run cannot go on; remove it with `personakit suspended remove {identity}`"
            ) from error
        return journal

    def _add(self, line: dict[str, Any]) -> None:
        at = line.get("at", "")
        if "kind" in line:
            entry = Entry(at, line["kind"], key=line["key"], model=line.get("model", ""))
            if (old := self.entries.get(at)) is not None:
                entry.starts, entry.charges = old.starts + 1, old.lost()
            self.entries[at] = entry
        elif "question" in line:
            given = line["question"]
            self.questions[at] = Question(**{**given, "choices": tuple(given["choices"])}, id=at)
        elif "answer" in line:
            self.answers[at] = line["answer"]
        elif at:
            self._end(self.entries[at], line)
        if "resumed" in line or "left" in line or "failed" in line:
            self.by = tuple(line.get("by", ()))
        self.shown = line.get("shown", self.shown)
        self.left = line.get("left", self.left)

    @staticmethod
    def _end(entry: Entry, line: dict[str, Any]) -> None:
        entry.charges += tuple(decode(each) for each in line.get("charges", ()))
        entry.given = line.get("given", ())
        for name, state in _STATES.items():
            if name in line:
                entry.state, entry.data = state, line[name]

    def _pause(self) -> None:
        """Mark the tool calls that wait at a question, also if their process was killed there.

        By the rule of replay, such a tool has had no effect yet.
        """
        for question in self.open:
            for at, entry in self.entries.items():
                if entry.state == "started" and question.id.startswith(f"{at}."):
                    entry.state = "paused"

    def check_free(self, identity: str) -> None:
        """Check that no other call goes on with the run, as far as this machine can know.

        Raises:
            JournalError: A process of this machine does: what it has sent would be paid twice.
        """
        if len(self.by) == 2 and self.by[0] == platform.node() and _is_alive(self.by[1]):
            raise JournalError(
                f"run {identity} goes on in process {self.by[1]}, and can be continued when that "
                f"has stopped; `personakit suspended show {identity}` shows its questions"
            )

    @property
    def request(self) -> Request:
        """The request of the run, as it was rendered; its tools have no functions."""
        request: Request = decode(self.header["request"])
        return request

    def remains(self) -> dict[str, Any]:
        """Return the tool calls without a result, the messages and the text of the last stop."""
        left = {name: decode(value) for name, value in self.left.items()}
        return {"calls": (), "messages": (), "text": "", **left}

    def checked(self, answers: Mapping[str, str], identity: str) -> dict[str, str]:
        """Return new answers, each to an open question.

        Raises:
            UsageError: An answer is none of the choices, or no open question has the id.
        """
        waiting = {question.id: question for question in self.open}
        # A run that failed can be resumed with the same answer.
        new = {at: text for at, text in answers.items() if self.answers.get(at) != text}
        for at in new:
            if at not in waiting:
                known = ", ".join(map(repr, waiting)) or "none"
                raise UsageError(
                    f"run {identity} has no open question with the id {at!r:.80} (open: {known}); "
                    f"it may have been answered already"
                )
        return {at: waiting[at].check(text) for at, text in new.items()}

    @property
    def open(self) -> tuple[Question, ...]:
        """The questions without an answer."""
        return tuple(q for at, q in self.questions.items() if at not in self.answers)


def header(persona: Any, request: Request, options: dict[str, Any]) -> dict[str, Any]:
    """Return the first line of a journal."""
    return {"persona": persona, "request": encode(request), "options": encode(thaw(options))}


def restored(
    journal: Journal, identity: str, tools: Iterable[Tool], parameters: Mapping[str, Any]
) -> Request:
    """Return the request of a run, with the functions and keys of this process.

    Args:
        journal: The journal of the run.
        identity: The id of the run.
        tools: The tools of the persona and of the caller.
        parameters: The parameters that the caller gives; only keys and addresses are used.

    Raises:
        UsageError: A tool or a key of the run is missing.
    """
    own = list(tools)
    request = journal.request.with_functions(own)
    names = {tool.name for tool in own}
    if missing := [t.name for t in request.tools if t.function and t.name not in names]:
        raise UsageError(
            f"run {identity} cannot go on: its tools {', '.join(missing)} are missing; pass the "
            f"same `tools` (on the command line -T or --functions) as before it was suspended"
        )
    needed = journal.header["options"].get("secret", ())
    if lacking := [name for name in needed if name not in parameters]:
        raise UsageError(
            f"run {identity} cannot go on: its parameters {', '.join(lacking)} are not in the "
            f"journal, because they can contain keys; pass them again in `parameters`"
        )
    given = {name: value for name, value in parameters.items() if name in SECRET}
    return request.replace(parameters={**request.parameters, **given}) if given else request


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def write_error(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON types.

    Raises:
        NotStorable: It is not one of personakit or of Python itself.
    """
    name = type(error).__name__
    if isinstance(error, PersonakitError) and getattr(errors, name, None) is type(error):
        more = {key: getattr(error, key, None) for key in _FIELDS}
        written = {"type": name, "message": error.message, **{k: v for k, v in more.items() if v}}
        response = getattr(error, "response", None)
        if isinstance(response, Response):
            written["response"] = encode(response)
        return written
    if getattr(builtins, name, None) is type(error) and isinstance(error, Exception):
        given: Any = error.__reduce__()
        return {"builtin": name, "args": encode(list(given[1]))}  # with the file of an OSError
    raise NotStorable(f"a journal cannot hold {name}")


def read_error(written: Mapping[str, Any]) -> BaseException:
    """Return the error that `write_error` wrote."""
    if "builtin" in written:
        kind: Any = getattr(builtins, written["builtin"], Exception)
        result: BaseException = kind(*decode(written["args"]))
        return result
    kind = getattr(errors, written["type"], RunError)
    error = kind.__new__(kind)
    Exception.__init__(error, written["message"])
    values = {"message": written["message"], **{key: written.get(key) for key in _FIELDS}}
    defaults = {"partial": "", "request_id": "", "attempts": 0, "plugin": ""}
    for key, value in values.items():
        setattr(error, key, defaults.get(key) if value is None else value)
    error.response = decode(written.get("response"))
    error.reason, error.advice = written["message"], ""
    return error  # type: ignore[no-any-return]
