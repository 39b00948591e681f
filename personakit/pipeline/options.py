"""What a run is given: a prompt, options, and what sends its requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from personakit.base import Emit, is_type
from personakit.errors import UsageError, did_you_mean
from personakit.frozen import replaced
from personakit.messages import Request, Response

if TYPE_CHECKING:
    from personakit.attachments import Source
    from personakit.config import Config
    from personakit.pipeline.trace import Trace
    from personakit.tools import Tool

MAX_ROUNDS = 10
"""How often a run may call the model, when the caller does not say."""

Prompt = str | Request | None
"""What the user says; or a whole request, made by `render` and changed, to run as it is."""


class Options(TypedDict, total=False):
    """What every way of running a persona takes by name.

    Attributes:
        variables: As in `Runner.render`.
        model: As in `Runner.render`.
        parameters: As in `Runner.render`.
        trace: A new `Trace`, which is filled with what each layer does.
        max_rounds: How often the model may be called when it calls tools; default 10.
        timeout: Seconds that the upstream may stay silent; default: the config's, or 600.
        deadline: Seconds that the whole run may take, tools, retries and waits included; default:
            the config's, or 1800.
        output: What the answer must be, before the persona's `output:`: a pydantic model, a
            dataclass, a TypedDict, another type that pydantic takes, or a JSON Schema as a
            mapping. `Response.parsed` is the value.
        attachments: What goes along with what the user says: paths and http(s) addresses of
            images, PDFs and sound, bytes, or `Attachment` values.
        tools: What the model may call, beside the persona's: functions or `Tool` values.
        conversation: The conversation that the run is part of, for the run log.
    """

    variables: Mapping[str, Any] | None
    model: str | None
    parameters: Mapping[str, Any] | None
    trace: Trace | None
    max_rounds: int | None
    timeout: float | None
    deadline: float | None
    output: Any
    attachments: Iterable[Source]
    tools: Iterable[Tool | Callable[..., Any]]
    conversation: str | None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`Options`, checked once, with the defaults where the caller gives none."""

    variables: Mapping[str, Any] | None = None
    model: str | None = None
    parameters: Mapping[str, Any] | None = None
    trace: Trace | None = None
    max_rounds: int = MAX_ROUNDS
    timeout: float | None = None
    deadline: float | None = None
    output: Any = None
    attachments: Iterable[Source] = ()
    tools: Iterable[Tool | Callable[..., Any]] = ()
    conversation: str | None = None

    @classmethod
    def of(cls, given: Options, config: Config) -> RunOptions:
        """Return the options of a run.

        Raises:
            UsageError: One is unknown, or has a value that cannot be.
        """
        if not given.keys() <= _UNCHECKED:
            _check(given)
        settled: dict[str, Any] = {"deadline": config.deadline, "max_rounds": MAX_ROUNDS, **given}
        if None in given.values():
            # None stands for the default.
            for name in [name for name, value in given.items() if value is None]:
                del settled[name]
            settled.setdefault("deadline", config.deadline)
        return cls(**settled)

    def replace(self, **changes: Any) -> RunOptions:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


_UNCHECKED = frozenset(Options.__annotations__) - {"max_rounds", "timeout", "deadline"}


class Backend(Protocol):
    """What a runner sends requests through: `personakit.testing` has one that needs no network."""

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Return the answer; with `emit`, let its text out on the way."""
        ...


def check_names(given: Iterable[str], known: type) -> None:
    """Check that options are among those that a TypedDict declares.

    Raises:
        UsageError: One is not.
    """
    names = known.__annotations__
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are: {', '.join(names)}"
            raise UsageError(
                f"no option {name!r}{hint} (those of the model, such as temperature, go into "
                f"parameters={{…}})"
            )


def _check(options: Options) -> None:
    """Check the options of a run.

    Raises:
        UsageError: One is unknown, or is no number that can be.
    """
    check_names(options, Options)
    rounds: Any = options.get("max_rounds")
    if rounds is not None and not (isinstance(rounds, int) and rounds > 0):
        raise UsageError(f"max_rounds is {rounds!r}; give a whole number greater than 0")
    for name in ("timeout", "deadline"):
        value: Any = options.get(name)
        if value is not None and not (is_type(value, "number") and 0 < value < math.inf):
            raise UsageError(f"{name} is {value!r}; give a number of seconds greater than 0")


def attached(request: Request, sources: Iterable[Source]) -> Request:
    """Return a request with attachments."""
    if not sources:
        return request
    from personakit.attachments import attach  # noqa: PLC0415

    return attach(request, sources)
