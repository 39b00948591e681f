"""What a hook awaits and calls, so that a run can be resumed: questions, I/O, time and chance."""

from __future__ import annotations

import random as _random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

from personakit.base import io as waiting_io
from personakit.base import sleep as waiting_sleep
from personakit.errors import UsageError
from personakit.journal.entries import Entry
from personakit.journal.questions import Question
from personakit.journal.scope import Scope, answered, placed, scope_now

P = ParamSpec("P")
T = TypeVar("T")


async def ask(text: str, *, choices: Iterable[str] = (), details: str = "") -> str:
    """Ask the person who waits for the answer, from a hook or an async tool; return the answer.

    The command line asks on the terminal, a notebook in the page. Where nobody is, such as in a
    service, the run is suspended: it goes on when the answer is there, perhaps in another process,
    see `Suspended`. Or it is refused; the option `on_suspend` says which.

        if await personakit.ask("Send the mail?", choices=["yes", "no"]) == "yes":

    Args:
        text: The question, on one line.
        choices: The possible answers; none to accept any text.
        details: What the question is about, such as the whole mail.

    Raises:
        Blocked: Nobody answers, and the run shall be refused then.
        UsageError: An argument is wrong, or the call is not in a hook that can be suspended: it is
            outside of a run, or in a `chat` hook of a plugin with ``every_call = True``.
    """
    question = _question(text, choices, details)
    scope = scope_now()
    if scope is None:
        raise UsageError(
            f"personakit.ask({text[:80]!r}) is outside of the hooks and tools that can wait for a "
            f"person; call it in a `run`, `chat` or `tool` hook of a plugin without `every_call`"
        )
    return await answered(scope.record, placed(scope, question))


def _question(text: Any, choices: Any, details: Any) -> Question:
    given = (choices,) if isinstance(choices, str) else tuple(choices)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"personakit.ask(): the question must be a text, found {text!r:.80}")
    if isinstance(choices, str) or not all(isinstance(one, str) and one.strip() for one in given):
        raise UsageError(
            f"personakit.ask(): choices must be a list of texts, found {choices!r:.80}"
        )
    if len({one.casefold() for one in given}) < len(given):
        raise UsageError(f"personakit.ask(): two choices are equal: {', '.join(map(repr, given))}")
    if not isinstance(details, str):
        raise UsageError(f"personakit.ask(): details must be a text, found {details!r:.80}")
    return Question(text, given, details)


def now() -> float:
    """Return the Unix time in seconds; in a hook of a resumed run, what it was the first time."""
    scope = scope_now()
    return time.time() if scope is None else _noted(scope, "now", time.time)


def rng() -> _random.Random:
    """Return random numbers; in a hook of a resumed run, the same as the first time.

    They are for choices, such as between two models, and for ids. They are not secret.
    """
    scope = scope_now()
    if scope is None:
        return _random.Random()  # noqa: S311 - not for secrets
    at = scope.path or "0"
    return scope.record.seed(f"{at}:{_noted(scope, 'rng', int)}:{scope._number}")


def _noted(scope: Scope, kind: str, value: Callable[[], T]) -> T:
    record, at = scope.record, scope.next()
    old = record.find(scope, kind, at, None)
    if old is not None and old.state == "done":
        result: T = old.value()
        return result
    entry = Entry(at, kind, state="done", result=value())
    record.note(entry)
    made: T = entry.result
    return made


def io(
    sync: Callable[P, T], async_: Callable[P, Awaitable[T]] | None = None
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Combine a blocking and an async function into one awaitable function.

    In a hook its result is recorded, if it is plain data: when the run is resumed, the function is
    not called again.

    Args:
        sync: Called under the sync API; there `gather` calls it in a thread.
        async_: Awaited under the async API; without it, `sync` runs in a thread there.
    """
    call = waiting_io(sync, async_)
    name = getattr(sync, "__qualname__", type(sync).__name__)

    async def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        scope = scope_now()
        if scope is None:
            return await call(*args, **kwargs)
        result, _ = await scope.recorded("io", {"name": name}, lambda: call(*args, **kwargs))
        return result

    return waiting


async def sleep(seconds: float) -> None:
    """Wait for a number of seconds, under the sync or the async API; a resumed run does not again.

    Raises:
        Timeout: The wait would exceed the run's deadline; raised before waiting.
    """
    scope = scope_now()
    if scope is None:
        await waiting_sleep(seconds)
    else:
        await scope.recorded("sleep", None, lambda: waiting_sleep(seconds))
