"""The exceptions that personakit raises.

::

    PersonakitError
    ├── UsageError               the call or its input is wrong; nothing was sent      exit code 2
    │   ├── ConfigError          the config file, the environment, a provider, a key
    │   ├── JournalError         the journal of a suspended run cannot be used
    │   ├── PersonaError         a persona file is invalid: `.problems`, each with its place
    │   │   └── TemplateError    one of its templates cannot be rendered
    │   ├── PersonaNotFound      no persona has that name or path
    │   └── VariableError        the values for a persona's variables are invalid
    └── RunError                 the run started and failed                              exit code 1
        ├── Blocked              a plugin refused the run: `.reason`
        ├── PluginError          a plugin failed: `.plugin`, `.response` (already paid for)
        │   └── ReplayMismatch   a resumed run differs from the suspended one
        ├── StreamStarted        a plugin sent again after text had been streamed
        ├── TooManyRounds        the model kept calling tools: `.response`
        └── BackendError         the upstream failed: `.partial` (the text received so far)
            ├── AuthenticationFailed
            ├── BadRequest
            ├── InvalidAnswer    the answer is not a chat completion
            ├── IncompleteAnswer the answer ended early
            ├── ModelNotFound
            ├── QuotaExhausted
            ├── RateLimited
            ├── Timeout
            └── UpstreamUnavailable
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Protocol

MAX_MESSAGE = 1000
TRACEBACK = "PERSONAKIT_TRACEBACK"
# Whose frames say nothing if personakit called them. A plugin may call them, too.
_LIBRARIES = frozenset(
    "aiohttp anyio asyncio concurrent contextlib functools httpcore httpcore2 httpx httpx2 jinja2 "
    "openai pydantic threading yaml".split()
)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# As repr() writes a control character: after an even number of backslashes. From \x80 on, the same
# escape stands for a byte that is not UTF-8.
_CONTROL = re.compile(r"(?<!\\)((?:\\\\)*)\\x([01][0-9a-f]|7f)")


_front: ContextVar[str] = ContextVar("personakit_front", default="python")


@contextmanager
def front(name: str) -> Iterator[None]:
    """Let the hints of errors name what a user of this front writes.

    Args:
        name: ``terminal``, ``magic`` for a notebook, or ``service`` for clients of a server, who
            write neither options nor Python. Without this, the front is ``python``.
    """
    token = _front.set(name)
    try:
        yield
    finally:
        _front.reset(token)


def spelled(
    *, python: str, terminal: str, magic: str | None = None, service: str | None = None
) -> str:
    """Return the spelling of a hint for the front through which the user called.

    Args:
        python: What to write in Python.
        terminal: What to write in a terminal.
        magic: What to write with the magics of a notebook; None for that of the terminal.
        service: What the client of a server, or its operator, can do; None for what the operator
            writes in a terminal.
    """
    chosen = {"python": python, "magic": magic, "service": service}.get(_front.get())
    return terminal if chosen is None else chosen


class ResponseLike(Protocol):
    """The part of `Response` that errors need; its module imports this one."""

    @property
    def text(self) -> str:
        """See `Response`."""

    @property
    def usage(self) -> Any:
        """See `Response`."""

    @property
    def cost(self) -> float | None:
        """See `Response`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file and its place.

    Attributes:
        message: What was found and what is expected.
        path: The file, as the user names it.
        line: The line, counted from 1; 0 if unknown.
        column: The column, counted from 1; 0 if unknown.
        code: The kind of problem, such as ``PK010``; `personakit lint` documents them.
        subject: The wrong word on the line; set when only the line is known.
        end_line: The line on which it ends; 0 if unknown.
        end_column: The column after its last character; 0 if unknown.
    """

    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    code: str = field(default="", compare=False)
    subject: str = field(default="", compare=False, repr=False)
    end_line: int = field(default=0, compare=False, repr=False)
    end_column: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        # A quoted key or name can be as long as the file.
        if len(self.message) > MAX_MESSAGE:
            object.__setattr__(self, "message", f"{self.message[:MAX_MESSAGE]}…")
        if "\\x" in self.message:
            object.__setattr__(self, "message", _as_in_json(self.message))

    def __str__(self) -> str:
        place = ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.message}" if place else self.message


class PersonakitError(Exception):
    """The base class of all errors that personakit raises.

    Attributes:
        message: What is wrong, where, and what to do.
        exit_code: The exit code of a command that ends with the error: 2 if the call or its input
            is wrong and nothing was sent, else 1.
        spent: What the run had paid when it failed, as `Response.spent`; None outside of a run.
    """

    exit_code: ClassVar[int] = 1
    spent: Any = None

    def __init__(self, message: str) -> None:
        message = _as_in_json(message) if "\\x" in message else message
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback: the message, as a rule.

        For a failed plugin, the places in its code follow.
        """
        import traceback  # noqa: PLC0415

        if os.environ.get(TRACEBACK) == "full":
            return traceback.format_exception(self)
        kinds = (kind for kind in type(self).__mro__ if kind.__module__.startswith("personakit."))
        text = _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", self.message)
        lines = f"{next(kinds).__name__}: {text}".split("\n")
        cause = self.__cause__
        if cause is not None and not isinstance(cause, PersonakitError):
            lines += [
                f"  in {frame.name}, {frame.filename}, line {frame.lineno}"
                for frame in traceback.extract_tb(_without_own(cause.__traceback__))[-3:]
            ]
        return lines

    def __repr__(self) -> str:
        cut = f"{self.message[:MAX_MESSAGE]}…" if len(self.message) > MAX_MESSAGE else self.message
        return f"{type(self).__name__}({cut!r})"


class UsageError(PersonakitError):
    """The call or its input is wrong; nothing was sent."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file, the environment, a provider, a model or a key is invalid or missing."""

    _lacks_key = False  # whether no place has the key of a provider that requires one


class JournalError(UsageError):
    """A journal cannot be read or written, or another process goes on with its run."""


class PersonaNotFound(UsageError):
    """No persona has that name, or no file has that path."""


class VariableError(UsageError):
    """The values for a persona's variables do not match their declarations."""


class PersonaError(UsageError):
    """A persona file is invalid.

    Attributes:
        problems: Every mistake, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[PersonaError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class TemplateError(PersonaError):
    """A template of a persona is invalid, or exceeds the budget of a render."""


class RunError(PersonakitError):
    """A run started and failed."""


class Blocked(RunError):
    """A plugin refused the run. Raise it from a hook; it is never wrapped or retried.

    Attributes:
        reason: The reason, for the user to read.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PluginError(RunError):
    """A plugin failed, or broke the contract of its hook.

    Attributes:
        plugin: The plugin's name.
        response: The last answer that the plugin received, so that nothing paid for is lost.
    """

    def __init__(
        self, message: str, *, plugin: str = "", response: ResponseLike | None = None
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.response = response

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), {"plugin": self.plugin, "response": self.response}


class ReplayMismatch(PluginError):
    """A resumed run asks for something else than before it was suspended."""


class StreamStarted(RunError):
    """A plugin called `send` again after text of an earlier answer had been streamed."""


class TooManyRounds(RunError):
    """The model kept calling tools and did not answer.

    Attributes:
        response: The answer so far.
    """

    def __init__(self, message: str, *, response: ResponseLike | None = None) -> None:
        super().__init__(message)
        self.response = response

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), {"response": self.response}


class BackendError(RunError):
    """The upstream failed.

    Attributes:
        partial: The text received before the failure.
        status: The HTTP status; None if there was no response.
        request_id: The upstream's id of the request; empty if it sent none.
        retry_after: Seconds that the upstream asks to wait; None if it does not.
        attempts: The number of times the request was sent.
        lost: How many of these may have been paid although no whole answer arrived; None if that
            is not known.
        response: The answer, if one arrived that cannot be used as it is; otherwise None.
        advice: What to do; empty for the usual advice of the type. The message ends with it.
    """

    def __init__(
        self,
        message: str,
        *,
        partial: str = "",
        status: int | None = None,
        request_id: str = "",
        retry_after: float | None = None,
        attempts: int = 0,
        response: ResponseLike | None = None,
    ) -> None:
        super().__init__(message)
        self.partial = partial
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.lost: int | None = None
        self.response = response
        self.advice = ""

    @property
    def is_paid(self) -> bool:
        """Whether tokens of an answer were paid that `response` does not have."""
        late = isinstance(self, Timeout | InvalidAnswer | IncompleteAnswer)
        return self.response is None and (bool(self.partial) or late)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), dict(vars(self))


class AuthenticationFailed(BackendError):
    """The key is missing or invalid, or lacks a permission."""


class BadRequest(BackendError):
    """The upstream rejected the request; sending it again does not help."""


class InvalidAnswer(BackendError):
    """The upstream's answer is not a chat completion."""


class IncompleteAnswer(BackendError):
    """The answer ended early: its end is missing, or there is nothing in it."""


class ModelNotFound(BackendError):
    """The upstream does not know the model or the address."""


class QuotaExhausted(BackendError):
    """The account has no credit left; waiting does not help."""


class RateLimited(BackendError):
    """Too many requests were sent; waiting helps."""


class Timeout(BackendError):
    """The upstream did not answer in time."""


class UpstreamUnavailable(BackendError):
    """The upstream cannot be reached or is failing."""


def _as_in_json(message: str) -> str:
    r"""Return a message in which reprs show control characters as terminals do: ``\u001b``."""
    return _CONTROL.sub(r"\1\\u00\2", message)


def shorten(error: BaseException) -> None:
    """Leave the inner frames of personakit out of the traceback of an error and of its causes.

    With them go those of the libraries that personakit calls; the frames of plugins and of the
    user's code stay. Call it in the `except` clause of a function that users call, whose own frame
    stays, too. Errors of other packages stay as they are, and so does everything if the environment
    variable PERSONAKIT_TRACEBACK is ``full``.
    """
    if not isinstance(error, PersonakitError) or os.environ.get(TRACEBACK) == "full":
        return
    first = error.__traceback__
    if first is not None:
        first.tb_next = _without_own(first.tb_next)
    waiting, seen = [error.__cause__, error.__context__], {id(None), id(error)}
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        cause.__traceback__ = _without_own(cause.__traceback__)
        waiting += [cause.__cause__, cause.__context__]


def _without_own(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of personakit and of the libraries that it calls."""
    kept: TracebackType | None = None
    last: TracebackType | None = None
    hidden = True
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        hidden = package == "personakit" or (hidden and package in _LIBRARIES)
        if not hidden:
            same = TracebackType(None, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
            if last is None:
                kept = same
            else:
                last.tb_next = same
            last = same
        trace = trace.tb_next
    return kept


def did_you_mean(word: str, known: Iterable[str], write: Callable[[str], str] = str) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or ``""``.

    Args:
        word: The unknown word.
        known: The known words, of which the first 1,000 are compared.
        write: Returns a known word as the user has to write it, such as with its folder.
    """
    # Comparing is slow, and a typo is neither this long nor needs more candidates.
    names = list(itertools.islice(known, 1000))
    close = difflib.get_close_matches(word[:100], names, n=1, cutoff=0.65)
    return f"; did you mean {write(close[0])!r}?" if close else ""
