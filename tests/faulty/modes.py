"""What a mode is: a way to misbehave, and how a run has to end under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faulty.replies import TEXT
from faulty.server import Exchange
from personakit import BackendError


@dataclass(frozen=True, slots=True)
class Gives:
    """The run ends in an answer.

    Attributes:
        text: Its text.
        finish_reason: Its finish reason.
    """

    text: str = TEXT
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Fails:
    """The run ends in an error.

    Attributes:
        kinds: The types that are right.
        partial: The text on it; None for whatever had arrived.
        status: Its HTTP status; None where that is not looked at.
        identified: Whether it has the request's id: False where no headers arrive whole, None where
            that may be either.
        caused: Whether it comes from the client, whose own error is the cause.
        retry_after: The seconds on it that the upstream asked for.
        says: What the upstream said, which the message repeats.
        at_once: Whether it comes well before the deadline.
    """

    kinds: tuple[type[BackendError], ...]
    partial: str | None = ""
    status: int | None = None
    identified: bool | None = True
    caused: bool = False
    retry_after: float | None = None
    says: str = ""
    at_once: bool = False

    @classmethod
    def any(cls) -> Fails:
        """Any error of the family."""
        return cls((BackendError,), partial=None, identified=None)


Ends = Gives | Fails


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to misbehave.

    Attributes:
        name: Its name.
        serve: What the server does with a request.
        ends: How a run ends under it.
        whole: How one that does not stream ends; None for alike.
        requests: How many requests arrive when one retry is allowed; None where that may vary.
        retried: Whether it may be tried again, and so works if the server misbehaves only once.
        timeout: Seconds that the upstream may stay silent.
        deadline: Seconds that the run may take.
        again: Whether a second request over the same connections gets an answer of its own.
        deaf: Seconds in which the server refuses connections when it works in the end.
        api: The API that is asked.
    """

    name: str
    serve: Callable[[Exchange], None]
    ends: Ends | tuple[Ends, ...]
    whole: Ends | tuple[Ends, ...] | None = None
    requests: int | None = 1
    retried: bool = False
    timeout: float = 2.0
    deadline: float = 5.0
    again: bool = False
    deaf: float = 0.0
    api: str = "chat"
