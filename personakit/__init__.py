"""personakit: personas as YAML files, plugins around every call, one runner for any model.

::

    import personakit

    response = personakit.run("chef", "A quick vegan dinner for two", variables={"guests": 2})
    print(response.text)

The functions use one shared `Runner`, which reads the user's config. Every name is imported on
first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import TypeVar, Unpack

    from typing_extensions import TypeForm

    # fmt: off
    # isort: off
    from personakit.attachments import Attachment as Attachment
    from personakit.backend import Answer as Answer, Wire as Wire
    from personakit.base import (
        Secret as Secret, Texts, check_file as check_file, create_file as create_file,
        install_command as install_command, read_file as read_file, time_left as time_left,
    )
    from personakit.config import Config as Config
    from personakit.conversation import Conversation as Conversation
    from personakit.embeddings import Embeddings as Embeddings
    from personakit.errors import (
        AuthenticationFailed as AuthenticationFailed, BackendError as BackendError,
        BadRequest as BadRequest, Blocked as Blocked, ConfigError as ConfigError,
        IncompleteAnswer as IncompleteAnswer, InvalidAnswer as InvalidAnswer,
        JournalError as JournalError, ModelNotFound as ModelNotFound, PersonaError as PersonaError,
        PersonakitError as PersonakitError, PersonaNotFound as PersonaNotFound,
        PluginError as PluginError, Problem as Problem, QuotaExhausted as QuotaExhausted,
        RateLimited as RateLimited, ReplayMismatch as ReplayMismatch, RunError as RunError,
        StreamStarted as StreamStarted,
        TemplateError as TemplateError, Timeout as Timeout, TooManyRounds as TooManyRounds,
        UpstreamUnavailable as UpstreamUnavailable, UsageError as UsageError,
        VariableError as VariableError, did_you_mean as did_you_mean,
        front as front,
    )
    from personakit.hookspecs import (
        Event as Event, Filter as Filter, Piece as Piece, Send as Send, SendTool as SendTool,
        hookimpl as hookimpl,
    )
    from personakit.journal import (
        JournalFolder as JournalFolder, JournalStorage as JournalStorage, Question as Question,
        Resumption as Resumption, Suspended as Suspended, ask as ask, io as io, now as now,
        rng as rng, sleep as sleep,
    )
    from personakit.ledger import (
        Account as Account, Amount as Amount, BudgetExceeded as BudgetExceeded, Key as Key,
        Ledger as Ledger, LedgerError as LedgerError, Reservation as Reservation,
        TooMany as TooMany, Total as Total, current_key as current_key, metered as metered,
    )
    from personakit.linting import Finding as Finding
    from personakit.log import Row as Row, RunLog as RunLog
    from personakit.looking import Look as Look
    from personakit.messages import (
        Message as Message, Request as Request, Response as Response, ToolCall as ToolCall,
        ToolResult as ToolResult,
    )
    from personakit.notebook import (
        form as form, load_ipython_extension as load_ipython_extension,
        unload_ipython_extension as unload_ipython_extension,
    )
    from personakit.permissions import UserOption as UserOption
    from personakit.persona import Persona as Persona, Variable as Variable
    from personakit.pipeline import (
        AllOptions, AsyncStream as AsyncStream, Options as Options, Step as Step, Stream as Stream,
        Trace as Trace, gather as gather,
    )
    from personakit.plugins import data_folder as data_folder
    from personakit.providers import Endpoint as Endpoint, Provider as Provider
    from personakit.registry import Registry as Registry
    from personakit.runner import Runner as Runner
    from personakit.schemas import (
        Pattern as Pattern, SchemaSubset as SchemaSubset, schema_validator as schema_validator,
    )
    from personakit.server import told as told
    from personakit.tools import Tool as Tool
    from personakit.usage import (
        Charge as Charge, Spent as Spent, Timings as Timings, Usage as Usage, price as price,
    )
    # isort: on
    # fmt: on

    F = TypeVar("F", bound=Callable[..., Any])
    T = TypeVar("T")

_ROOMS = {
    "attachments": "Attachment",
    "backend": "Answer Wire",
    "base": "Secret check_file create_file install_command read_file time_left",
    "config": "Config",
    "conversation": "Conversation",
    "embeddings": "Embeddings",
    "errors": (
        "AuthenticationFailed BackendError BadRequest Blocked ConfigError IncompleteAnswer "
        "InvalidAnswer JournalError ModelNotFound PersonaError PersonaNotFound PersonakitError "
        "PluginError Problem QuotaExhausted RateLimited ReplayMismatch RunError StreamStarted "
        "TemplateError Timeout TooManyRounds UpstreamUnavailable UsageError VariableError "
        "did_you_mean front"
    ),
    "hookspecs": "Event Filter Piece Send SendTool hookimpl",
    "journal": "JournalFolder JournalStorage Question Resumption Suspended ask io now rng sleep",
    "ledger": (
        "Account Amount BudgetExceeded Key Ledger LedgerError Reservation TooMany Total "
        "current_key metered"
    ),
    "linting": "Finding",
    "log": "Row RunLog",
    "looking": "Look",
    "messages": "Message Request Response ToolCall ToolResult",
    "notebook": "form load_ipython_extension unload_ipython_extension",
    "permissions": "UserOption",
    "persona": "Persona Variable",
    "pipeline": "AsyncStream Options Step Stream Trace gather",
    "plugins": "data_folder",
    "providers": "Endpoint Provider",
    "registry": "Registry",
    "runner": "Runner",
    "schemas": "Pattern SchemaSubset schema_validator",
    "server": "told",
    "tools": "Tool",
    "usage": "Charge Spent Timings Usage price",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}
_RUNNER = "arun astream load look prepare render run stream warm".split()

__version__ = "0.1.0"
"""The version of the installed package."""
__all__ = sorted((*_HOME, *_RUNNER, "__version__"))  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'personakit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"personakit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _default() -> Runner:
    from personakit.shared import default  # noqa: PLC0415

    return default()


class _Behind:
    """What `inspect` finds behind a function of this module: the method of the shared runner."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __wrapped__(self) -> Any:
        from personakit.runner import Runner  # noqa: PLC0415

        return getattr(Runner, self._name)

    @property
    def __signature__(self) -> Any:
        import inspect  # noqa: PLC0415

        whole = inspect.signature(self.__wrapped__)
        return whole.replace(parameters=[*whole.parameters.values()][1:])


def _as_runner(function: F) -> F:
    """Show the options of a function one by one, as the method of the runner does."""
    function.__wrapped__ = _Behind(function.__name__)  # type: ignore[attr-defined]
    return function


def load(persona: str | Path | Persona) -> Persona:
    """Return a persona by name or path; return a `Persona` unchanged.

        chef = personakit.load("chef")

    Args:
        persona: A name or a path. It may end in ``@`` and a version or hash: ``chef@1.0``.

    Raises:
        PersonaNotFound: No persona has that name, or it does not have that version or hash.
        PersonaError: The file is invalid.
    """
    return _default().load(persona)


def render(
    persona: str | Path | Persona,
    prompt: str | None = None,
    *,
    variables: Mapping[str, Any] | None = None,
    model: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    output: Any = None,
    attachments: Iterable[Attachment | str | Path | bytes] = (),
) -> Request:
    """Return the request as rendered, before any plugin; nothing is sent.

        request = personakit.render("chef", "Dinner for two?", variables={"guests": 2})

    Args:
        persona: A name, the path of a file, or a persona.
        prompt: The user's message; None for a request without one.
        variables: Values for the persona's variables.
        model: ``provider/model`` or an alias; None for the persona's or the config's.
        parameters: Parameters of chat.completions.create(); None removes one of the persona.
        output: The type of the answer; see `personakit.run`.
        attachments: See `Options`.

    Raises:
        UsageError: The persona or an argument is invalid.
    """
    return _default().render(
        persona, prompt, variables=variables, model=model, parameters=parameters, output=output,
        attachments=attachments,
    )  # fmt: skip


def look(
    path: str | Path,
    text: str | bytes,
    *,
    runner: Runner | None = None,
    variables: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    model: str | None = None,
    texts: Texts | None = None,
) -> Look:
    """Lint and render the text of a persona file as if it were saved; nothing is run or sent.

    Whatever the text is, no exception is raised for it: each of its errors is in the result. No
    plugin changes the request.

    Args:
        path: The path at which the text would be saved; no file needs to be there.
        text: The YAML text. Bytes must be UTF-8.
        runner: Provides the library, the plugins and the config; None for the shared one.
        variables: Values for the persona's variables. A required variable without one gets a
            sample; see `Look.samples`.
        prompt: The user's message; None for a request without one, with a sample if the persona
            needs one; see `Look.prompt`.
        model: ``provider/model`` or an alias; None for the persona's or the config's.
        texts: Further texts that are not saved, by path, which the persona can extend or include.

    Raises:
        UsageError: An argument has the wrong type, or the path contains a NUL character.
    """
    from personakit.looking import look  # noqa: PLC0415

    runner = _default() if runner is None else runner
    return look(
        runner, path, text, variables=variables, prompt=prompt, model=model, texts=texts
    )  # fmt: skip


@_as_runner
def prepare(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> Request:
    """Return the request as `run` would send it, after the plugins; nothing is sent.

        request = personakit.prepare("chef", "Dinner for two?", variables={"guests": 2})

    If a plugin answers by itself, it is the rendered request. Arguments and errors: see `run`.
    """
    return _default().prepare(persona, prompt, **options)


# fmt: off
@overload
def run(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Response[object]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
@_as_runner
def run(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions]) -> Response[Any]:
    """Run a persona and return the whole answer.

        response = personakit.run("chef", "Dinner for two?", variables={"guests": 2})
        print(response.text)

    Args:
        persona: A name, the path of a file, or a persona.
        prompt: The user's message, a whole request, such as a changed result of `render`, or the
            answer that a suspended run goes on with: `Suspended.resume_with`.
        output: The type of the answer, instead of the persona's `output:`: a pydantic model, a
            dataclass, a TypedDict, another type that pydantic supports, or a JSON Schema as a
            mapping. `Response.parsed` is a value of it.
        options: The other keyword arguments; see `personakit.Options`.

    Raises:
        UsageError: The persona or an argument is invalid.
        RunError: The run started and failed.
    """
    return _default().run(persona, prompt, **options)


@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Response[object]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
@_as_runner
async def arun(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions]) -> Response[Any]:
    """Run a persona as `run` does, in the running event loop.

        response = await personakit.arun("chef", "Dinner for two?", variables={"guests": 2})

    The first run loads what it needs in a thread. Arguments and errors: see `run`.
    """
    from personakit import shared  # noqa: PLC0415

    response: Response[Any] = await (await shared.loaded()).arun(persona, prompt, **options)
    return response


@overload
def stream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Stream[Response[object]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Stream[Response[Any]]: ...
@_as_runner
def stream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions]) -> Stream[Response[Any]]:
    """Run a persona as `run` does and return an iterator of the answer's text.

        for text in personakit.stream("chef", "Dinner for two?", variables={"guests": 2}):
            print(text, end="", flush=True)

    Arguments and errors: see `run`.
    """
    return _default().stream(persona, prompt, **options)


@overload
def astream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: None = None, **options: Unpack[Options]) -> AsyncStream[Response[object]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: type[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> AsyncStream[Response[Any]]: ...
@_as_runner
def astream(persona: str | Path | Persona, prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions]) -> AsyncStream[Response[Any]]:
    """Run a persona as `run` does and return an async iterator of the answer's text.

        async for text in personakit.astream("chef", "Dinner for two?", variables={"guests": 2}):
            print(text, end="", flush=True)

    The first time, see `warm`, the templates and plugins of a persona are loaded in a thread when
    the iteration starts; errors in them are raised then. Arguments and errors: see `run`.
    """
    from personakit import shared  # noqa: PLC0415

    if shared.is_loaded():
        return _default().astream(persona, prompt, **options)
    from personakit.pipeline import AsyncStream, Run, deferred  # noqa: PLC0415

    return AsyncStream(Run(deferred(lambda: _default()._first(persona, prompt, options))))
# fmt: on


async def warm(*personas: str | Path | Persona) -> None:
    """Load in a thread what the first runs would load, such as when a service starts.

        await personakit.warm("chef")

    That is the openai client with its certificates, the template engine, the plugins and the
    prices, about a second of imports, and the given personas.

    Args:
        personas: Names, paths of files, or personas.

    Raises:
        UsageError: A persona is invalid, or cannot be used.
    """
    from personakit import shared  # noqa: PLC0415

    await (await shared.loaded()).warm(*personas)
