"""Tools: functions that a model may call, each with the JSON Schema of its arguments."""

from __future__ import annotations

import contextvars
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personakit.base import TOOL, arguments, deadline, in_sync, is_type, plain
from personakit.errors import Blocked, ConfigError
from personakit.frozen import freeze, thaw

if TYPE_CHECKING:
    import concurrent.futures

TIMEOUT = 60.0
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


class ToolFailed(Exception):
    """A tool call that failed; the message is for the model."""


class _Late(Exception):
    """A call took too long; a TimeoutError would be one of the function's own, too."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: What the model calls it: letters, digits, ``_`` and ``-``, at most 64.
        function: Called with the arguments by name; `def`, or `async def`. What it returns is the
            result: a text, or anything that JSON can hold or pydantic can make JSON of.
        description: What it does, for the model.
        parameters: The JSON Schema of its arguments, an object.
        timeout: Seconds that a call may take; None for as long as it likes.
        check: Called with the arguments that the model gave; returns them converted, or raises
            ValueError with what is wrong.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NO_ARGUMENTS)
    timeout: float | None = TIMEOUT
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not TOOL.match(self.name):
            raise ConfigError(
                f"{self.name!r} is no name of a tool: use at most 64 letters, digits, '_' and '-'"
            )
        if self.timeout is not None and not (is_type(self.timeout, "number") and self.timeout > 0):
            raise ConfigError(
                f"tool {self.name!r}: timeout is {self.timeout!r}; give a number of seconds "
                f"greater than 0, or None for as long as it likes"
            )
        object.__setattr__(self, "parameters", freeze(self.parameters))

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str = "",
        description: str = "",
        timeout: float | None = TIMEOUT,
    ) -> Tool:
        """Return the tool of a function, described by its signature and its docstring.

        Args:
            function: With type hints. Parameters are described in the docstring's ``Args:``.
            name: None of the function's own.
            description: Instead of the docstring's first part.
            timeout: Seconds that a call may take.

        Raises:
            ConfigError: It is no function, a parameter cannot be given by name, or its type has no
                JSON Schema.
        """
        if not hasattr(function, "__name__"):
            raise ConfigError(
                f"{function!r:.60} cannot be described: write a function with type hints around it"
            )
        named = name or function.__name__
        schema, check = arguments(function, f"tool {named!r}")
        said = inspect.getdoc(function) or ""
        said = description or said.partition("\nArgs:")[0].strip()
        return cls(named, function, said, schema, timeout, check)

    def to_api(self) -> dict[str, Any]:
        """Return the tool as chat.completions.create() takes it."""
        function = {"name": self.name, "parameters": thaw(self.parameters)}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}

    async def call(self, arguments: str) -> str:
        """Call the function with arguments as the model wrote them, and return the result's text.

        Raises:
            ToolFailed: The arguments are wrong, the function raised, or it took too long.
            Blocked: The function refuses.
        """
        given = _object(arguments)
        try:
            checked = given if self.check is None else self.check(given)
        except ValueError as error:
            raise ToolFailed(f"the arguments are wrong: {error}") from error
        seconds, begun = deadline.shorter(self.timeout), time.monotonic()
        try:
            result = await _within(seconds, self.function, checked)
            if isinstance(result, str):
                return result
            return json.dumps(result, ensure_ascii=False, default=plain)
        except _Late as late:
            raise ToolFailed(f"it did not end within {round(late.seconds, 3):g} s") from late
        except Blocked:
            raise
        except (Exception, SystemExit) as error:
            # One that keeps the same time itself may be a moment earlier.
            own = isinstance(error, TimeoutError)
            if own and seconds is not None and time.monotonic() - begun > 0.99 * seconds:
                raise ToolFailed(f"it did not end within {round(seconds, 3):g} s") from error
            raise ToolFailed(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    def __reduce__(self) -> tuple[Any, ...]:
        # A function is of its process; what is stored or sent elsewhere is the description.
        return _described, (self.name, self.description, dict(self.parameters), self.timeout)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tool:
        return self


def tools_of(given: Iterable[Tool | Callable[..., Any]]) -> list[Tool]:
    """Return the tools of functions.

    Raises:
        ConfigError: One is no function, or cannot be described.
    """
    if callable(given) or isinstance(given, str | Tool):
        raise ConfigError("tools is a list of functions: write tools=[…]")
    found: dict[str, Tool] = {}
    for one in given:
        if not isinstance(one, Tool) and not callable(one):
            raise ConfigError(f"tools takes functions, found {one!r:.60}")
        tool = one if isinstance(one, Tool) else Tool.of(one)
        known = found.setdefault(tool.name, tool)
        if known.function != tool.function:
            raise ConfigError(
                f"tools has two that are called {tool.name!r}; give one another name: "
                f"Tool.of(function, name=…)"
            )
    return list(found.values())


def _described(name: str, description: str, parameters: Any, timeout: float | None) -> Tool:
    def function(**_: Any) -> str:
        raise RuntimeError(f"tool {name!r} belongs to another process")

    return Tool(name, function, description, parameters, timeout)


def _object(arguments: str) -> dict[str, Any]:
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise ToolFailed(f"the arguments are no JSON: {error}") from error
    if not isinstance(given, dict):
        raise ToolFailed("the arguments are no JSON object")
    return given


async def _within(
    seconds: float | None, function: Callable[..., Any], arguments: dict[str, Any]
) -> Any:
    """Call a function, sync or async, in any mode; a late result is dropped."""
    if in_sync():
        run = contextvars.copy_context().run
        if seconds is None and not inspect.iscoroutinefunction(function):
            return function(**arguments)
        future = _in_thread(lambda: run(_complete, function, arguments))
        try:
            return future.result(seconds)
        except TimeoutError:
            if seconds is None or future.done():
                raise
            raise _Late(seconds) from None
    import asyncio  # noqa: PLC0415

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            if inspect.iscoroutinefunction(function):
                return await function(**arguments)
            run = contextvars.copy_context().run
            result = await asyncio.wrap_future(_in_thread(lambda: run(function, **arguments)))
            return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        if seconds is None or not limit.expired():
            raise
        raise _Late(seconds) from None


def _complete(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call a function and wait for what it returns, in a thread without an event loop."""
    result = function(**arguments)
    import asyncio  # noqa: PLC0415

    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _in_thread(function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Run a function in a thread of its own, which does not keep the process from ending."""
    import concurrent.futures  # noqa: PLC0415

    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="personakit-tool", daemon=True).start()
    return future
