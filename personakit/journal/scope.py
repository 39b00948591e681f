"""Calls of a run that are recorded: a result from before it was resumed is returned again."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from personakit.base import Suspending, Unanswered, deadline
from personakit.base import io as waiting
from personakit.base import scope as current
from personakit.errors import Blocked, JournalError
from personakit.journal.entries import Entry
from personakit.journal.questions import Question
from personakit.journal.record import Record
from personakit.journal.values import NotStorable, encode
from personakit.messages import Response, ToolCall, ToolResult
from personakit.usage import Book, charged

T = TypeVar("T")
_log = logging.getLogger("personakit")
_IMMUTABLE = (str, int, float, bool, bytes, type(None))


class Scope:
    """A part of a run in which one thing happens after the other, so that each has a number.

    Attributes:
        record: The record of the run.
        path: Its place in the run.
        layer: The plugin whose hook runs in it; None if it is the run itself.
    """

    __slots__ = ("_number", "layer", "path", "record")

    def __init__(self, record: Record, path: str = "", layer: Any = None) -> None:
        self.record, self.path, self.layer = record, path, layer
        self._number = 0

    def next(self) -> str:
        """Return the next place."""
        number = self._number
        self._number = number + 1
        return f"{self.path}.{number}" if self.path else str(number)

    def child(self) -> Scope:
        """Return the scope of something that happens at the next place."""
        at = self.next()
        record = self.record
        if record.is_again:
            old = Entry(at, "ask") if at in record.before else record.old.get(at)
            if old is not None and old.kind != "run":
                record.mismatch(self, old, "send")
        return Scope(record, at, self.layer)

    def beside(self) -> Scope | None:
        """Return the scope of a run that a hook or a tool starts by itself.

        Several can go on at the same time, so each has its own. None after the end of this run.
        """
        return self.child() if self.record.is_open else None

    def had(self, kind: str = "") -> bool:
        """Return whether something in it was done before the run was resumed."""
        inside = f"{self.path}."
        return any(
            at.startswith(inside) and (not kind or (old.kind == kind and old.state == "done"))
            for at, old in self.record.old.items()
        )

    async def recorded(
        self,
        kind: str,
        subject: Any,
        perform: Callable[[], Awaitable[T]],
        books: Iterable[Book] = (),
        model: str = "",
    ) -> tuple[T, bool]:
        """Return the result of a call, and whether it is from before the run was resumed.

        Args:
            kind: One of `entries.KINDS`.
            subject: What the call asks for.
            perform: Makes the call.
            books: What the run has paid, and the runs around it.
            model: The model that is asked; empty if none is.

        Raises:
            ReplayMismatch: Something else was called before the run was resumed.
            Exception: The call failed, now or then.
        """
        record = self.record
        if not record.is_open:
            return await perform(), False  # in the background, after the end of the run
        at = self.next()
        old = record.find(self, kind, at, subject)
        if old is not None:
            has_ended = old.state in ("done", "failed")
            # What a run inside paid before it asked or failed is paid by its own calls.
            earlier = old.charges if has_ended else () if kind == "run" else old.lost()
            for book in books:
                book[object()] = list(earlier)
            if has_ended:
                return _bound(old, subject), True
        # What a tool asks and calls is recorded, too; what happens in a model call is part of it.
        layer = self.layer if kind == "run" else None
        inner = Scope(record, at, layer) if kind in ("tool", "run") else None
        entry = Entry(at, kind, subject, model=model, hashes=record.hashes)
        return await _performed(record, entry, inner, perform), False

    async def tool(
        self, call: ToolCall, perform: Callable[[], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Call a tool; one that was interrupted only if a person allows it.

        Args:
            call: The call.
            perform: Calls the tool.
        """
        old = self.record.old.get(f"{self.path}.{self._number}" if self.path else f"{self._number}")
        if old is not None and old.kind == "tool" and old.state == "started":
            question = Question(
                f"{call.name} was interrupted, and its result is not known. Run it again?",
                ("yes", "no"),
                call.arguments,
                id=f"{old.at}?{old.starts}",
            )
            if await answered(self.record, question) == "no":
                perform = functools.partial(_not_again, call)
        result, _ = await self.recorded("tool", call, perform)
        return result


def _bound(old: Entry, subject: Any) -> Any:
    """Return a result in which the tools of the request have their functions."""
    result = old.value()
    if isinstance(result, Response) and old.given:
        result = result.replace(**dict.fromkeys(old.given, subject))
    if isinstance(result, Response) and result.request is not None:
        tools = getattr(subject, "tools", ())
        return result.replace(request=result.request.with_functions(tools))
    return result


async def _not_again(call: ToolCall) -> ToolResult:
    text = "error: the call was interrupted; whether it had an effect is not known"
    return ToolResult(call.id, text, is_error=True)


def scope_now() -> Scope | None:
    """Return the scope of the code that runs; None if nothing of it is recorded."""
    scope: Scope | None = current.get()
    return scope if scope is not None and scope.record.is_open else None


@contextmanager
def within(scope: Scope | None) -> Iterator[None]:
    """Let the block run in a scope; None to record nothing of it."""
    token = current.set(scope)
    try:
        yield
    finally:
        current.reset(token)


async def _performed(
    record: Record, entry: Entry, inner: Scope | None, perform: Callable[[], Awaitable[T]]
) -> T:
    record.start(entry)
    if record.unwritten and entry.kind not in ("io", "sleep"):
        await waiting(record.flush)()
    book: Book = {}
    state = "started"
    token, place = charged.set(book), current.set(inner)
    try:
        entry.result = result = await perform()
        state = "done"
        if entry.kind == "io" and type(result) not in _IMMUTABLE:
            entry.data = _stored(result)  # the hook may change it
    except Suspending:
        state = "paused"
        raise
    except Exception as error:
        entry.result, state = error, "failed"
        raise
    finally:
        current.reset(place)
        charged.reset(token)
        entry.book = book
        record.end(entry, state)
    if record.unwritten:
        await waiting(record.flush)()
    return result


def _stored(result: Any) -> Any:
    try:
        return encode(result)
    except NotStorable:
        return None


async def answered(record: Record, question: Question) -> str:
    """Return the answer to a question.

    Raises:
        Blocked: Nobody answers, and the run shall be refused then.
        Unanswered: Nobody answers, and the model shall be told then.
        Suspending: Nobody answers.
        JournalError: The answer cannot be recorded.
    """
    record.question(question)
    if (known := record.answers.get(question.id)) is not None:
        return question.check(known)
    answer = await _asked(record, question) if record.is_attended else None
    if answer is not None:
        record.answer(question, answer)
        if record.unwritten:
            await waiting(record.flush)()
        return answer
    if record.desk.on_suspend == "refuse":
        raise Blocked(f"nobody is there to answer: {question.text}")
    if record.desk.on_suspend == "tell":
        raise Unanswered(f"nobody is there to answer: {question.text}")
    record.waiting.append(question)
    raise Suspending


async def _asked(record: Record, question: Question) -> str | None:
    asker: Any = record.desk.asker
    try:
        await waiting(record.keep)()
        await waiting(record.flush)()
    except JournalError as error:
        if record.is_kept:
            raise
        _log.warning("personakit: the run can be lost while a question is open: %s", error)

    def ask() -> str | None:
        with record.asking:
            answer: str | None = asker(question) if record.is_attended else None
            record.is_attended = answer is not None
            return answer

    # What the asker runs does not belong to the run.
    with deadline.paused(), within(None):
        answer = await (asker(question) if inspect.iscoroutinefunction(asker) else waiting(ask)())
    # Who leaves one question open is not asked the next one.
    record.is_attended = record.is_attended and answer is not None
    return None if answer is None else question.check(answer)


def placed(scope: Scope, question: Question) -> Question:
    """Return a question with its place in the run, and the plugin that asks.

    Raises:
        ReplayMismatch: Something else happened there before the run was resumed.
    """
    record, at = scope.record, scope.next()
    old = record.old.get(at)
    if old is not None:
        record.mismatch(scope, old, "ask")
    if at in record.inner:
        record.mismatch(scope, Entry(at, "send"), "ask")
    plugin = getattr(scope.layer, "plugin", "")
    placed = dataclasses.replace(question, id=at, plugin=plugin)
    # An answer must not become that to another question.
    if at in record.before and record.asked[at] != placed:
        record.mismatch(scope, Entry(at, "ask"), "ask", f": {placed.text!r:.200}")
    return placed
