"""Tools: functions that a model may call, with a JSON Schema of their arguments."""

from __future__ import annotations

import contextvars
import functools
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from personakit.base import (
    TOOL,
    arguments,
    brief_repr,
    deadline,
    in_sync,
    is_type,
    plain,
    read_json,
)
from personakit.errors import Blocked, ConfigError, UsageError
from personakit.frozen import check_plain, freeze, thaw

if TYPE_CHECKING:
    import concurrent.futures

TIMEOUT = 60.0
_LOOK = 0.05
"""Seconds after which a call looks whether the person has answered whom it asked."""
TOUCHES = ("files", "network", "processes", "money")
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


class ToolFailed(Exception):
    """A tool call failed; the message is for the model."""


class _Late(Exception):
    """A call timed out. Not a TimeoutError: the function itself may raise that."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Tools are equal if they are described alike, whatever their functions are: these stay in their
    process when a request, or a response with its request, is pickled.

    Attributes:
        name: The name for the model: at most 64 letters, digits, ``_`` and ``-``.
        function: Called with the arguments by name; `def` or `async def`. It returns the result: a
            string, or a value that JSON or pydantic can serialize. None for a tool that the caller
            of the run runs: see `Response.continue_with`.
        description: What the tool does, for the model.
        parameters: The JSON Schema of the arguments, of type object.
        timeout: Seconds that a call may take; None for no limit.
        check: Called with the model's arguments; returns them converted, or raises ValueError if
            they are invalid.
        touches: What a call reads or changes outside of the run: ``files``, ``network``,
            ``processes``, ``money``. A persona gets such a tool only if the user allows it.
        strict: Whether the provider shall keep the model to the schema, which has to be one that
            OpenAI's structured outputs support then.
    """

    name: str
    function: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NO_ARGUMENTS)
    timeout: float | None = TIMEOUT
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = field(
        default=None, repr=False, compare=False
    )
    touches: Collection[str] = ()
    strict: bool = False

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if not TOOL.match(self.name):
            raise ConfigError(
                f"invalid tool name {self.name!r}: use 1 to 64 letters of ASCII, digits, "
                f"'_' and '-'"
            )
        if self.timeout is not None and not (is_type(self.timeout, "number") and self.timeout > 0):
            raise ConfigError(
                f"tool {self.name!r}: timeout must be a number of seconds above 0 or None, found "
                f"{self.timeout!r}"
            )
        object.__setattr__(self, "touches", touched(self.name, self.touches))
        object.__setattr__(
            self, "parameters", freeze(self.parameters, f"tool {self.name!r}: parameters")
        )

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str = "",
        description: str = "",
        timeout: float | None = TIMEOUT,
        touches: Collection[str] = (),
    ) -> Tool:
        """Return a tool for a function, described by its signature and its docstring.

        Args:
            function: A function with type hints; ``Args:`` of its docstring describes parameters.
            name: The name for the model; default: the function's name.
            description: Default: the docstring up to ``Args:``.
            timeout: Seconds that a call may take; None for no limit.
            touches: See the attribute.

        Raises:
            ConfigError: The function has no name, a parameter cannot be passed by name, or a type
                has no JSON Schema.
        """
        if not hasattr(function, "__name__"):
            raise ConfigError(
                f"{function!r:.60} cannot be a tool: wrap it in a function with type hints"
            )
        named = name or function.__name__
        schema, check = arguments(function, f"tool {named!r}")
        docstring = inspect.getdoc(function) or ""
        description = description or docstring.partition("\nArgs:")[0].strip()
        return cls(named, function, description, schema, timeout, check, touches)

    def with_function(self, tool: Tool | None) -> Tool:
        """Return the tool as it is described, with the function of another one."""
        if self.function is None or tool is None or tool.function is None:
            return self
        return replace(self, function=tool.function, check=tool.check, timeout=tool.timeout)

    def to_api(self) -> dict[str, Any]:
        """Return the tool as chat.completions.create() accepts it."""
        function = {"name": self.name, "parameters": thaw(self.parameters)}
        if self.description:
            function["description"] = self.description
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}

    async def call(self, arguments: str) -> str:
        """Call the function with the model's JSON arguments and return the result as text.

        Raises:
            ToolFailed: The arguments are invalid, or the function raised or timed out.
            Blocked: The function raised it.
        """
        if self.function is None:
            raise ToolFailed(f"tool {self.name!r} has no function; the caller of the run runs it")
        values = _object(arguments)
        try:
            checked = values if self.check is None else self.check(values)
        except ValueError as error:
            raise ToolFailed(f"the arguments are wrong: {error}") from error
        seconds, begun = deadline.shorter(self.timeout), time.monotonic()
        try:
            result = await _within(seconds, self.function, checked)
            if isinstance(result, str):
                return result
            check_plain(result, "its result")
            return json.dumps(result, ensure_ascii=False, default=plain)
        except _Late as late:
            raise ToolFailed(f"it did not end within {round(late.seconds, 3):g} s") from late
        except Blocked:
            raise
        except (Exception, SystemExit) as error:
            # A function with its own timeout of the same length may raise slightly earlier.
            own = isinstance(error, TimeoutError)
            if own and seconds is not None and time.monotonic() - begun > 0.99 * seconds:
                raise ToolFailed(f"it did not end within {round(seconds, 3):g} s") from error
            raise ToolFailed(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    def __reduce__(self) -> tuple[Any, ...]:
        # A function cannot leave its process: only the description is pickled.
        function = None if self.function is None else functools.partial(_elsewhere, self.name)
        values = self.name, function, self.description, dict(self.parameters), self.timeout
        return Tool, (*values, None, self.touches, self.strict)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tool:
        return self


def touched(name: str, touches: Collection[str]) -> tuple[str, ...]:
    """Return what a tool touches, in the order of `TOUCHES`.

    Raises:
        ConfigError: It is something else.
    """
    touches = [touches] if isinstance(touches, str) else touches
    if unknown := [repr(one) for one in touches if one not in TOUCHES]:
        raise ConfigError(
            f"tool {name!r}: touches must be some of {', '.join(TOUCHES)}; found "
            f"{', '.join(unknown)}"
        )
    return tuple(one for one in TOUCHES if one in touches)


def tools_of(given: Iterable[Tool | Callable[..., Any]]) -> list[Tool]:
    """Return the tools that a caller adds, who thereby allows what they touch.

    Raises:
        ConfigError: An item is not a function, or two tools have the same name.
    """
    if callable(given) or isinstance(given, str | Tool):
        raise ConfigError("tools must be a list of functions: write tools=[…]")
    tools: dict[str, Tool] = {}
    for item in given:
        if not isinstance(item, Tool) and not callable(item):
            raise ConfigError(f"tools must contain functions or Tool values, found {item!r:.60}")
        tool = item if isinstance(item, Tool) else Tool.of(item)
        first = tools.setdefault(tool.name, tool)
        if first.function != tool.function or (tool.function is None and first != tool):
            raise ConfigError(
                f"tools contains two functions named {tool.name!r}; rename one: "
                f"Tool.of(function, name=…)"
            )
    return [replace(tool, touches=()) if tool.touches else tool for tool in tools.values()]


def results_of(calls: Mapping[str, str], results: Any) -> dict[str, str]:
    """Return the texts of a caller's results, in the order of the calls.

    Args:
        calls: The names of the tools by the ids of their calls.
        results: `ToolResult` values, or a mapping of ids to texts.

    Raises:
        UsageError: An id is missing, unknown or there twice, or a result is something else.
    """
    if isinstance(results, str) or not isinstance(results, Iterable):
        raise UsageError(f"results: expected a list of ToolResult, found {results!r:.80}")
    pairs: Iterable[tuple[Any, Any]] = (
        results.items()
        if isinstance(results, Mapping)
        else [(getattr(one, "call_id", one), getattr(one, "content", None)) for one in results]
    )
    texts: dict[str, str] = {}
    faults = []
    for identity, text in pairs:
        if not isinstance(identity, str) or not isinstance(text, str):
            raise UsageError(
                f"results: expected ToolResult(call_id, text) or {{call_id: text}}, found "
                f"{identity if text is None else {identity: text}!r:.80}"
            )
        if identity not in calls:
            faults.append(f"no call has the id {identity[:80]!r}")
        if identity in texts:
            faults.append(f"{identity[:80]!r} has two results")
        texts[identity] = text
    faults += [f"{key[:80]!r} ({calls[key]}) has no result" for key in calls if key not in texts]
    if faults:
        raise UsageError(
            f"the results do not fit the tool calls: {'; '.join(faults)}; give one for each call "
            f"of `response.tool_calls`"
        )
    return {identity: texts[identity] for identity in calls}


def _elsewhere(name: str, /, **_: Any) -> str:
    raise RuntimeError(f"tool {name!r} belongs to another process")


def _object(arguments: str) -> dict[str, Any]:
    try:
        values = read_json(arguments or "{}")
        check_plain(values, "the JSON")
    except (ValueError, UsageError) as error:
        raise ToolFailed(f"the arguments are not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ToolFailed("the arguments are not a JSON object")
    return values


async def _within(
    seconds: float | None, function: Callable[..., Any], arguments: dict[str, Any]
) -> Any:
    """Call a sync or async function in any mode; a late result is discarded."""
    if in_sync():
        if seconds is None and not inspect.iscoroutinefunction(function):
            return contextvars.copy_context().run(function, **arguments)
        return _in_time(seconds, lambda: _complete(function, arguments))
    import asyncio  # noqa: PLC0415

    limit, loop = asyncio.timeout(seconds), asyncio.get_running_loop()

    def changed(left: float | None) -> None:
        if not limit.expired():
            limit.reschedule(None if left is None else loop.time() + left)

    patience = None if seconds is None else deadline.Patience(seconds, changed)
    try:
        async with limit:
            with deadline.limited(patience):
                if inspect.iscoroutinefunction(function):
                    return await function(**arguments)
                run = contextvars.copy_context().run
                result = await asyncio.wrap_future(_in_thread(lambda: run(function, **arguments)))
                return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        if seconds is None or not limit.expired():
            raise
        raise _Late(seconds) from None


def _in_time(seconds: float | None, call: Callable[[], Any]) -> Any:
    """Call a function in a thread; a late result is discarded."""
    patience = None if seconds is None else deadline.Patience(seconds)
    with deadline.limited(patience):
        run = contextvars.copy_context().run
    future = _in_thread(lambda: run(call))
    while True:
        left = None if patience is None else patience.left
        try:
            return future.result(_LOOK if patience is not None and left is None else left)
        except TimeoutError:
            if seconds is None or future.done():
                raise
            if left == 0:
                raise _Late(seconds) from None


def _complete(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call a function in a thread without an event loop; await an awaitable result."""
    result = function(**arguments)
    import asyncio  # noqa: PLC0415

    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _in_thread(function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Run a function in a new daemon thread, which does not block the end of the process."""
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
