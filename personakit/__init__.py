"""personakit: personas as YAML files, plugins around every call, one runner for any model.

::

    import personakit

    response = personakit.run("chef", "A quick vegan dinner for two", variables={"guests": 2})
    print(response.text)

Every name is imported on first use.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import TypeVar, Unpack

    from typing_extensions import TypeForm

    from personakit.attachments import Attachment as Attachment
    from personakit.attachments import Source
    from personakit.backend import Answer as Answer
    from personakit.backend import Wire as Wire
    from personakit.base import Secret as Secret
    from personakit.base import Texts
    from personakit.base import check_file as check_file
    from personakit.base import install_command as install_command
    from personakit.base import io as io
    from personakit.base import read_file as read_file
    from personakit.base import sleep as sleep
    from personakit.base import time_left as time_left
    from personakit.config import Config as Config
    from personakit.conversation import Conversation as Conversation
    from personakit.embeddings import Embeddings as Embeddings
    from personakit.errors import AuthenticationFailed as AuthenticationFailed
    from personakit.errors import BackendError as BackendError
    from personakit.errors import BadRequest as BadRequest
    from personakit.errors import Blocked as Blocked
    from personakit.errors import ConfigError as ConfigError
    from personakit.errors import IncompleteAnswer as IncompleteAnswer
    from personakit.errors import InvalidAnswer as InvalidAnswer
    from personakit.errors import ModelNotFound as ModelNotFound
    from personakit.errors import PersonaError as PersonaError
    from personakit.errors import PersonakitError as PersonakitError
    from personakit.errors import PersonaNotFound as PersonaNotFound
    from personakit.errors import PluginError as PluginError
    from personakit.errors import Problem as Problem
    from personakit.errors import QuotaExhausted as QuotaExhausted
    from personakit.errors import RateLimited as RateLimited
    from personakit.errors import RunError as RunError
    from personakit.errors import StreamStarted as StreamStarted
    from personakit.errors import TemplateError as TemplateError
    from personakit.errors import Timeout as Timeout
    from personakit.errors import TooManyRounds as TooManyRounds
    from personakit.errors import UpstreamUnavailable as UpstreamUnavailable
    from personakit.errors import UsageError as UsageError
    from personakit.errors import VariableError as VariableError
    from personakit.hookspecs import Event as Event
    from personakit.hookspecs import Filter as Filter
    from personakit.hookspecs import Piece as Piece
    from personakit.hookspecs import Send as Send
    from personakit.hookspecs import SendTool as SendTool
    from personakit.hookspecs import hookimpl as hookimpl
    from personakit.linting import Finding as Finding
    from personakit.log import Row as Row
    from personakit.log import RunLog as RunLog
    from personakit.looking import Look as Look
    from personakit.messages import Message as Message
    from personakit.messages import Request as Request
    from personakit.messages import Response as Response
    from personakit.messages import ToolCall as ToolCall
    from personakit.messages import ToolResult as ToolResult
    from personakit.notebook import load_ipython_extension as load_ipython_extension
    from personakit.notebook import unload_ipython_extension as unload_ipython_extension
    from personakit.permissions import UserOption as UserOption
    from personakit.persona import Persona as Persona
    from personakit.persona import Variable as Variable
    from personakit.pipeline import AllOptions
    from personakit.pipeline import AsyncStream as AsyncStream
    from personakit.pipeline import Options as Options
    from personakit.pipeline import Step as Step
    from personakit.pipeline import Stream as Stream
    from personakit.pipeline import Trace as Trace
    from personakit.providers import Endpoint as Endpoint
    from personakit.providers import Provider as Provider
    from personakit.registry import Registry as Registry
    from personakit.runner import Runner as Runner
    from personakit.schemas import Pattern as Pattern
    from personakit.schemas import SchemaSubset as SchemaSubset
    from personakit.schemas import schema_validator as schema_validator
    from personakit.tools import Tool as Tool
    from personakit.usage import Timings as Timings
    from personakit.usage import Usage as Usage
    from personakit.usage import price as price

    F = TypeVar("F", bound=Callable[..., Any])
    T = TypeVar("T")

_ERRORS = (
    "AuthenticationFailed BackendError BadRequest Blocked ConfigError IncompleteAnswer "
    "InvalidAnswer ModelNotFound PersonaError PersonaNotFound PersonakitError PluginError Problem "
    "QuotaExhausted RateLimited RunError StreamStarted TemplateError Timeout TooManyRounds "
    "UpstreamUnavailable UsageError VariableError"
).split()
_BASE = "Secret check_file install_command io read_file sleep time_left".split()
_MESSAGES = "Message Request Response ToolCall ToolResult".split()
_HOME = {
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(_MESSAGES, "messages"),
    **dict.fromkeys(("Event", "Filter", "Piece", "Send", "SendTool", "hookimpl"), "hookspecs"),
    **dict.fromkeys(_BASE, "base"),
    **dict.fromkeys(("load_ipython_extension", "unload_ipython_extension"), "notebook"),
    **dict.fromkeys(("AsyncStream", "Options", "Step", "Stream", "Trace"), "pipeline"),
    **dict.fromkeys(("Answer", "Wire"), "backend"),
    **dict.fromkeys(("Endpoint", "Provider"), "providers"),
    **dict.fromkeys(("Persona", "Variable"), "persona"),
    **dict.fromkeys(("Pattern", "SchemaSubset", "schema_validator"), "schemas"),
    **dict.fromkeys(("Row", "RunLog"), "log"),
    **dict.fromkeys(("Timings", "Usage", "price"), "usage"),
    "Attachment": "attachments",
    "Config": "config",
    "Conversation": "conversation",
    "Embeddings": "embeddings",
    "Finding": "linting",
    "Look": "looking",
    "Registry": "registry",
    "Runner": "runner",
    "Tool": "tools",
    "UserOption": "permissions",
}
_RUNNER = "arun astream form load look prepare render run stream warm".split()

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
    from personakit.runner import Runner, default_runner  # noqa: PLC0415

    # A cache does not keep two threads from creating a runner each.
    with Runner._sharing:
        return default_runner()


def _is_loaded() -> bool:
    """Return whether the shared runner is there; its imports take a while."""
    # A thread may be importing the module, which then has only some of its names.
    made = getattr(sys.modules.get("personakit.runner"), "default_runner", None)
    return made is not None and made.cache_info().currsize > 0


async def _loaded() -> Runner:
    """Return the shared runner, which is created in a thread."""
    if _is_loaded():
        return _default()
    import asyncio  # noqa: PLC0415

    return await asyncio.to_thread(_default)


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


def load(persona: str | Path) -> Persona:
    """Return a persona by name or path, with the shared runner; see `Runner.load`."""
    return _default().load(persona)


def render(
    persona: str | Path | Persona,
    prompt: str | None = None,
    *,
    variables: Mapping[str, Any] | None = None,
    model: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    output: Any = None,
    attachments: Iterable[Source] = (),
) -> Request:
    """Return the request as rendered, with the shared runner; see `Runner.render`."""
    return _default().render(
        persona,
        prompt,
        variables=variables,
        model=model,
        parameters=parameters,
        output=output,
        attachments=attachments,
    )


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
        prompt: The user's message; None for a request without one.
        model: ``provider/model`` or an alias; None for the persona's or the config's.
        texts: Further texts that are not saved, by path, which the persona can extend or include.

    Raises:
        UsageError: An argument has the wrong type, or the path contains a NUL character.
    """
    from personakit.looking import look  # noqa: PLC0415

    return look(
        _default() if runner is None else runner,
        path,
        text,
        variables=variables,
        prompt=prompt,
        model=model,
        texts=texts,
    )


@_as_runner
def prepare(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> Request:
    """Return the request as it would be sent, with the shared runner; see `Runner.prepare`."""
    return _default().prepare(persona, prompt, **options)


# fmt: off
@overload
def run(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Response[object]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
def run(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
# fmt: on
@_as_runner
def run(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> Response[Any]:
    """Run a persona and return the whole answer, with the shared runner; see `Runner.run`.

    Args:
        persona: A name, the path of a file, or a persona.
        prompt: The user's message, or a whole request, such as a changed result of `render`.
        output: The type of the answer, instead of the persona's `output:`: a pydantic model, a
            dataclass, a TypedDict, another type that pydantic supports, or a JSON Schema as a
            mapping. `Response.parsed` is a value of it.
        options: The other keyword arguments; see `personakit.Options`.

    Raises:
        UsageError: The persona or an argument is invalid.
        RunError: The run started and failed.
    """
    return _default().run(persona, prompt, **options)


# fmt: off
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Response[object]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
@overload
async def arun(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
# fmt: on
@_as_runner
async def arun(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> Response[Any]:
    """Run a persona with the shared runner, in the event loop; see `Runner.arun`."""
    response: Response[Any] = await (await _loaded()).arun(persona, prompt, **options)
    return response


# fmt: off
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: None = None, **options: Unpack[Options]) -> Stream[Response[object]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: type[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
@overload
def stream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> Stream[Response[Any]]: ...
# fmt: on
@_as_runner
def stream(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> Stream[Response[Any]]:
    """Stream a persona's answer with the shared runner; see `Runner.stream`."""
    return _default().stream(persona, prompt, **options)


# fmt: off
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: None = None, **options: Unpack[Options]) -> AsyncStream[Response[object]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: type[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: TypeForm[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
@overload
def astream(persona: str | Path | Persona, prompt: str | Request | None = None, *,
    output: Mapping[str, Any], **options: Unpack[Options]) -> AsyncStream[Response[Any]]: ...
# fmt: on
@_as_runner
def astream(
    persona: str | Path | Persona,
    prompt: str | Request | None = None,
    **options: Unpack[AllOptions],
) -> AsyncStream[Response[Any]]:
    """Stream a persona's answer with the shared runner, asynchronously; see `Runner.astream`."""
    if _is_loaded():
        return _default().astream(persona, prompt, **options)
    from personakit.pipeline import AsyncStream, Run, deferred  # noqa: PLC0415

    return AsyncStream(Run(deferred(lambda: _default()._first(persona, prompt, options))))


async def warm(*personas: str | Path | Persona) -> None:
    """Load in a thread what the first runs of the shared runner would load; see `Runner.warm`."""
    await (await _loaded()).warm(*personas)


def form(persona: str | Path | Persona, *, model: str | None = None) -> Any:
    """Return a form of widgets for a persona in a notebook; see `notebook.form`."""
    from personakit.notebook import form  # noqa: PLC0415

    return form(_default(), persona, model=model)
