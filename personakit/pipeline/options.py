"""The arguments of a run: prompt, options and backend."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, TypeVar

from personakit.base import Emit, brief, is_type, shown
from personakit.errors import UsageError, did_you_mean
from personakit.frozen import quick_init, replaced
from personakit.messages import Message, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

    from personakit.attachments import Attachment, Source
    from personakit.config import Config
    from personakit.journal import OnSuspend, Resumption
    from personakit.pipeline.trace import Trace
    from personakit.tools import Tool

MAX_ROUNDS = 10
"""The default limit of model calls per run."""

Prompt: TypeAlias = "str | Request | Resumption | None"
"""The user's message, a whole request, such as a changed result of `render`, or the answer that a
suspended run goes on with."""


_RUN_ID = re.compile("[0-9a-f]{32}")

F = TypeVar("F", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The keyword arguments of every function that runs a persona, besides `output`.

    To pass them on with their types, write ``**options: Unpack[personakit.Options]``.

    Attributes:
        variables: Values for the persona's variables.
        model: ``provider/model`` or an alias; default: the persona's or the config's.
        parameters: Parameters of chat.completions.create(); None removes one of the persona.
        trace: A new `Trace`, to be filled with what each layer does.
        max_rounds: The most model calls of a run that uses tools; default 10.
        timeout: Seconds that the upstream may stay silent; default: the config's, or 600.
        deadline: Seconds that the whole run may take, tools, retries and waits included; default:
            the config's, or 1800.
        attachments: Images, PDFs and audio for the user's message: paths, http(s) URLs of images,
            bytes, or `Attachment` values.
        tools: Tools in addition to the persona's: functions or `Tool` values.
        conversation: The id of the conversation, for the run log.
        run_id: The id of the run, in the run log and if it waits for a person: 32 hex digits.
            Default: a new one.
        on_suspend: What happens if a plugin or tool asks a person and nobody answers: ``raise``
            raises `Suspended`, ``return`` returns it instead of a response, of which type checkers
            do not know, ``refuse`` raises `Blocked`, ``tell`` makes it the result of the tool call
            that asked, for the model, and raises `Blocked` elsewhere. Default: that of the runner.
    """

    variables: Mapping[str, Any] | None
    model: str | None
    parameters: Mapping[str, Any] | None
    trace: Trace | None
    max_rounds: int | None
    timeout: float | None
    deadline: float | None
    attachments: Iterable[Attachment | str | Path | bytes]
    tools: Iterable[Tool | Callable[..., Any]]
    conversation: str | None
    run_id: str | None
    on_suspend: OnSuspend | None


class AllOptions(Options, total=False):
    """`Options` with the one that decides the type of the response.

    Attributes:
        output: The type of the answer, instead of the persona's `output:`: a pydantic model, a
            dataclass, a TypedDict, another type that pydantic supports, or a JSON Schema as a
            mapping. `Response.parsed` is the value.
    """

    output: Any


class Setup(TypedDict, total=False):
    """The keyword arguments of a conversation.

    Attributes:
        model: ``provider/model``; None for the model that `Runner.render` would choose.
        variables: Values for the persona's variables.
        parameters: Parameters of chat.completions.create(); they override the persona's.
        id: The ID of the conversation in the run log; None for a new one.
        messages: The earlier messages.
        notify: Called with a one-line notice whenever messages are left out; None logs the notice.
    """

    model: str | None
    variables: Mapping[str, Any] | None
    parameters: Mapping[str, Any] | None
    id: str | None
    messages: Iterable[Message]
    notify: Callable[[str], None] | None


@quick_init
@dataclass(frozen=True, slots=True)
class RunOptions:
    """`AllOptions` after validation, with defaults."""

    variables: Mapping[str, Any] | None = None
    model: str | None = None
    parameters: Mapping[str, Any] | None = None
    trace: Trace | None = None
    max_rounds: int = MAX_ROUNDS
    timeout: float | None = None
    deadline: float | None = None
    output: Any = None
    attachments: Iterable[Attachment | str | Path | bytes] = ()
    tools: Iterable[Tool | Callable[..., Any]] = ()
    conversation: str | None = None
    run_id: str | None = None
    on_suspend: OnSuspend | None = None

    @classmethod
    def of(cls, given: AllOptions, config: Config, variables: Iterable[str] = ()) -> RunOptions:
        """Return the options of a run.

        Args:
            given: The keyword arguments.
            config: The user's settings.
            variables: The names of the persona's variables, for a hint; empty if not known.

        Raises:
            UsageError: An option is unknown or its value is invalid.
        """
        if not given.keys() <= _UNCHECKED:
            _check(given, variables)
        settled: dict[str, Any] = {"deadline": config.deadline, "max_rounds": MAX_ROUNDS, **given}
        if None in given.values():
            # None means the default.
            for name in [name for name, value in given.items() if value is None]:
                del settled[name]
            settled.setdefault("deadline", config.deadline)
        return cls(**settled)

    def replace(self, **changes: Any) -> RunOptions:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


_UNCHECKED = frozenset(AllOptions.__annotations__) - {
    *("max_rounds", "timeout", "deadline", "trace", "conversation", "run_id", "on_suspend")
}


# By the annotation of `**`; in the order in which help() shows them.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Unpack[AllOptions]": {each.name: each.default for each in dataclasses.fields(RunOptions)},
    "Unpack[Setup]": {**dict.fromkeys(Setup.__annotations__), "messages": ()},
}
_HINTS = {**AllOptions.__annotations__, **Setup.__annotations__}


class _Shown:
    """What `inspect` finds behind a function with `**options`: its whole signature.

    It is calculated when something asks for it; imports need not wait for it.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        # A copy, for `inspect.getsource`: the function itself leads here.
        self.__wrapped__ = types.FunctionType(function.__code__, function.__globals__)

    @property
    def __signature__(self) -> inspect.Signature:
        own = inspect.signature(self._function, follow_wrapped=False)
        *positional, options = own.parameters.values()
        parameters = [
            each
            if each.annotation is each.empty
            else each.replace(annotation=_Written(each.annotation))
            for each in positional
        ]
        parameters += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=_Written(_HINTS[name].__forward_arg__),
            )
            for name, default in _DEFAULTS[options.annotation].items()
        ]
        return _Listed(parameters, return_annotation=_Written(own.return_annotation))


class _Listed(inspect.Signature):
    """A signature with a line for each parameter, as help() writes it from Python 3.13 on."""

    __slots__ = ()

    def __str__(self) -> str:
        each = [*self.parameters.values()]
        lines = [str(one) for one in each if one.kind is not one.KEYWORD_ONLY]
        lines += ["*", *(str(one) for one in each if one.kind is one.KEYWORD_ONLY)]
        return "".join(
            ["(\n", *(f"    {line},\n" for line in lines), f") -> {self.return_annotation}"]
        )


class _Written(str):
    """An annotation that help() shows as it is written, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def keywords(function: F) -> F:
    """Show the `**options` of a function as keyword arguments, with types and defaults.

    That is what `inspect.signature`, help() and editors in notebooks show then, as type checkers
    do. The function itself stays as it is.
    """
    function.__wrapped__ = _Shown(function)  # type: ignore[attr-defined]
    return function


class Backend(Protocol):
    """Sends the requests of a runner; `personakit.testing` has one that needs no network.

    One with embeddings also has ``async def embed(texts, request)``, which returns `Embeddings`.
    """

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Send a request and return the answer; with `emit`, emit its text as it arrives.

        The `emit` of a runner also has `emit.note(piece)`, awaited with a `Piece` of reasoning, of
        a tool call or of an annotation as it arrives. What is not emitted is taken from the
        response at the end, so both are only about time. `emit.wanted` is False if the caller
        reads text alone: `note` then does nothing.
        """
        ...


def check_setup(
    path: Any,
    plugins: Any,
    backend: Any,
    ask: Any = None,
    on_suspend: Any = None,
    journals: Any = None,
) -> None:
    """Check arguments of a runner.

    Raises:
        UsageError: `path` or `plugins` is not a list, `backend` has no `send` method, or another
            argument is wrong.
    """
    check_suspending(on_suspend)
    if ask is not None and not callable(ask):
        raise UsageError(
            f"ask must be a function that is called with a Question, found {type(ask).__name__}"
        )
    methods = ("append", "read", "remove", "ids")
    if journals is not None and not all(callable(getattr(journals, m, None)) for m in methods):
        raise UsageError(
            f"journals must be an object with the methods {', '.join(methods)}, found "
            f"{type(journals).__name__}; personakit.JournalFolder(path) is one"
        )
    for name, value in (("path", path), ("plugins", plugins)):
        if isinstance(value, str | os.PathLike):
            raise UsageError(f"{name} must be a list, found {str(value)!r}; write {name}=[…]")
    if backend is not None and not callable(getattr(backend, "send", None)):
        raise UsageError(
            f"a backend must define `async def send(request, emit)`, found "
            f"{type(backend).__name__}; omit it to use the openai client"
        )


def not_a_prompt(value: Any) -> UsageError:
    """Return the error for a prompt of a rendered request that is neither a string nor None."""
    kind = type(value).__name__
    advice = "for earlier messages use a conversation (`Runner.conversation`) or a Request"
    if kind == "Suspended":
        advice = "to continue a suspended run, pass `suspended.resume_with(answer)`"
    return UsageError(f"the prompt must be a string, found {kind}; {advice}")


def check_names(given: Mapping[str, Any], known: type, variables: Iterable[str] = ()) -> None:
    """Check that a TypedDict declares all options.

    Args:
        given: The options.
        known: The TypedDict.
        variables: The names of the persona's variables, which are no options.

    Raises:
        UsageError: An option is unknown.
    """
    names = known.__annotations__
    for name in given:
        if name in names:
            continue
        if name in variables:
            declared = [each for each in given if each in variables and each not in names]
            values = ", ".join(f'"{each}": {brief(shown(given[each]), 40)}' for each in declared)
            raise UsageError(
                f"unknown option {name!r}: it is a variable of the persona; write "
                f"variables={{{values}}}"
            )
        hint = did_you_mean(name, names) or f" (known: {', '.join(names)})"
        raise UsageError(
            f"unknown option {name!r}{hint}; model parameters, such as temperature, belong in "
            f"parameters={{…}}"
        )


def _check(options: AllOptions, variables: Iterable[str]) -> None:
    """Check the options of a run.

    Raises:
        UsageError: An option is unknown, its number is invalid, or it has the wrong type.
    """
    from personakit.pipeline.trace import Trace  # noqa: PLC0415

    check_names(options, AllOptions, variables)
    for name, kind, wanted in (("trace", Trace, "a Trace"), ("conversation", str, "a string")):
        given: Any = options.get(name)
        if given is not None and not isinstance(given, kind):
            raise UsageError(f"{name} must be {wanted}, found {type(given).__name__}")
    identity: Any = options.get("run_id")
    if identity is not None and not (isinstance(identity, str) and _RUN_ID.fullmatch(identity)):
        raise UsageError(f"run_id must be 32 hex digits, found {identity!r:.80}")
    check_suspending(options.get("on_suspend"))
    rounds: Any = options.get("max_rounds")
    if rounds is not None and not (isinstance(rounds, int) and rounds > 0):
        raise UsageError(f"max_rounds must be an integer above 0, found {rounds!r}")
    for name in ("timeout", "deadline"):
        value: Any = options.get(name)
        if value is not None and not (is_type(value, "number") and 0 < value < math.inf):
            raise UsageError(f"{name} must be a number of seconds above 0, found {value!r}")


def check_suspending(value: Any) -> None:
    """Check an `on_suspend`.

    Raises:
        UsageError: It is another value.
    """
    if value not in (None, "raise", "return", "refuse", "tell"):
        known = "'raise', 'return', 'refuse' or 'tell'"
        raise UsageError(f"on_suspend must be {known}, found {value!r:.80}")


def attached(request: Request, sources: Iterable[Source]) -> Request:
    """Return a request with attachments."""
    if not sources:
        return request
    from personakit.attachments import attach  # noqa: PLC0415

    return attach(request, sources)
