"""Every error that personakit raises on purpose.

::

    PersonakitError
    ├── UsageError               what the caller asked for cannot be done as asked      exit code 2
    │   ├── ConfigError          the config file, the environment, a provider, a key
    │   ├── PersonaError         a persona file is wrong: `.problems`, each with its place
    │   │   └── TemplateError    one of its templates cannot be rendered
    │   ├── PersonaNotFound      no persona of that name or path
    │   └── VariableError        the values given for a persona's variables are wrong
    └── RunError                 the run was started and failed                          exit code 1
        ├── Blocked              a plugin refused on purpose: `.reason`
        ├── PluginError          a plugin broke: `.plugin`, `.response` (what was paid for)
        ├── StreamStarted        a plugin sent again after text had gone out
        ├── TooManyRounds        the model called tools without end: `.response`
        └── BackendError         the other side: `.partial` (the text that had arrived)
            ├── AuthenticationFailed
            ├── BadRequest
            ├── InvalidAnswer    it answered, but not with a chat completion
            ├── IncompleteAnswer the answer broke off
            ├── ModelNotFound
            ├── QuotaExhausted
            ├── RateLimited
            ├── Timeout
            └── UpstreamUnavailable
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

MAX_MESSAGE = 1000


class ResponseLike(Protocol):
    """The `Response` that an error keeps; the module of that class imports this one."""

    @property
    def text(self) -> str:
        """As of a `Response`."""

    @property
    def usage(self) -> Any:
        """As of a `Response`."""

    @property
    def cost(self) -> float | None:
        """As of a `Response`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, and where.

    Attributes:
        message: What was found and what would be right.
        path: The file, as the user would name it.
        line: The line, counted from 1; 0 when no line is to blame.
        column: The column, counted from 1; 0 when no column is to blame.
        code: The kind of problem, such as ``PK010``; `personakit lint` documents them.
        subject: The word on the line that is to blame, where only the line is known.
    """

    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    code: str = field(default="", compare=False)
    subject: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        # What was found, a key or a name, can be as long as the file.
        if len(self.message) > MAX_MESSAGE:
            object.__setattr__(self, "message", f"{self.message[:MAX_MESSAGE]}…")

    def __str__(self) -> str:
        place = ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.message}" if place else self.message


class PersonakitError(Exception):
    """The root of the tree: catch it to catch everything that personakit raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UsageError(PersonakitError):
    """What was asked for cannot be done as it was asked; nothing was sent."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file, the environment, a provider, a model or a key is wrong or missing."""


class PersonaNotFound(UsageError):
    """No persona has that name, or no file has that path."""


class VariableError(UsageError):
    """The values given for a persona's variables do not fit what it declares."""


class PersonaError(UsageError):
    """A persona file is wrong.

    Attributes:
        problems: Everything that is wrong, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[PersonaError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class TemplateError(PersonaError):
    """A template of a persona has a mistake, or asks for more than a render may use."""


class RunError(PersonakitError):
    """A run was started and did not end in an answer."""


class Blocked(RunError):
    """A plugin refuses to go on. Raise it from a hook; it is never wrapped nor retried.

    Attributes:
        reason: Why, in words for the person who asked.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PluginError(RunError):
    """A plugin broke, or broke a rule of its hook.

    Attributes:
        plugin: The plugin's name.
        response: The last answer that the plugin had received, so that nothing paid for is lost.
    """

    def __init__(
        self, message: str, *, plugin: str = "", response: ResponseLike | None = None
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.response = response

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), {"plugin": self.plugin, "response": self.response}


class StreamStarted(RunError):
    """A plugin called `send` again although text of a first answer had already gone out."""


class TooManyRounds(RunError):
    """The model called tools again and again, and never answered.

    Attributes:
        response: What it had said so far.
    """

    def __init__(self, message: str, *, response: ResponseLike | None = None) -> None:
        super().__init__(message)
        self.response = response

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), {"response": self.response}


class BackendError(RunError):
    """The model's side failed.

    Attributes:
        partial: The text that had arrived before it did.
        status: The HTTP status, where there was one.
        request_id: The upstream's name for the request, where it gave one.
        retry_after: Seconds that the upstream asks to wait, where it does.
        attempts: How often the request was sent.
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
    ) -> None:
        super().__init__(message)
        self.partial = partial
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts

    def __reduce__(self) -> tuple[object, ...]:
        names = ("partial", "status", "request_id", "retry_after", "attempts")
        return type(self), (self.message,), {name: getattr(self, name) for name in names}


class AuthenticationFailed(BackendError):
    """The key is missing, wrong, or not allowed to do this."""


class BadRequest(BackendError):
    """The upstream refuses the request as it is; sending it again will not help."""


class InvalidAnswer(BackendError):
    """The upstream answered with something that is not a chat completion."""


class IncompleteAnswer(BackendError):
    """The answer broke off: no finish reason ever came."""


class ModelNotFound(BackendError):
    """The upstream has no such model, or no such address."""


class QuotaExhausted(BackendError):
    """The account has no credit left; waiting will not help."""


class RateLimited(BackendError):
    """Too many requests; waiting will help."""


class Timeout(BackendError):
    """The upstream did not answer in time."""


class UpstreamUnavailable(BackendError):
    """The upstream cannot be reached or is out of order."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or ``""``."""
    # Comparing takes a while: what is longer or further down the list is no slip of a finger.
    names = list(itertools.islice(known, 1000))
    close = difflib.get_close_matches(word[:100], names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
