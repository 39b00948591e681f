"""Requests: what is sent to a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personakit.base import brief_repr
from personakit.errors import UsageError
from personakit.frozen import FrozenDict, freeze, quick_init, replaced
from personakit.messages.message import Message, messages_in

if TYPE_CHECKING:
    from personakit.tools import Tool


@quick_init
@dataclass(frozen=True, slots=True)
class Request:
    """A chat completion request.

    Attributes:
        model: ``provider/model``.
        messages: The conversation, in order.
        parameters: Keyword arguments of chat.completions.create(), such as temperature.
        persona: The name of the persona.
        variables: The values that the templates were rendered with.
        max_retries: The number of retries of the HTTP client; None for its default (2).
        timeout: Seconds that the upstream may stay silent; None for the client's default (600).
        tools: The tools that the model may call.
        defaults: The names of the parameters that the persona or the config sets, and not the
            caller. The backend leaves out those that the model does not accept.
        api: The API that the persona wishes: ``auto``, ``chat`` or ``responses``.
        history: The earlier messages of the conversation, which are among `messages`; see
            `with_history`.
    """

    model: str
    messages: tuple[Message, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=FrozenDict)
    persona: str = ""
    variables: Mapping[str, Any] = field(default_factory=FrozenDict)
    max_retries: int | None = None
    timeout: float | None = None
    tools: tuple[Tool, ...] = ()
    defaults: frozenset[str] = frozenset()
    api: str = "auto"
    history: tuple[Message, ...] = field(default=(), compare=False)
    _history_at: int = field(default=0, repr=False, compare=False)

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if type(self.messages) is not tuple:
            object.__setattr__(self, "messages", tuple(self.messages))
        if type(self.tools) is not tuple:
            object.__setattr__(self, "tools", tuple(self.tools))
        if type(self.parameters) is not FrozenDict:
            object.__setattr__(self, "parameters", freeze(self.parameters, "Request.parameters"))
        if type(self.variables) is not FrozenDict:
            object.__setattr__(self, "variables", freeze(self.variables, "Request.variables"))

    def replace(self, **changes: Any) -> Request:
        """Return a copy with some fields changed."""
        return replaced(self, changes)

    def map_text(self, change: Callable[[str], str]) -> Request:
        """Return a copy with `change` applied to the text of every message.

        The arguments of tool calls in earlier messages are JSON, not text, and stay unchanged.
        """
        return self.replace(messages=tuple(m.map_text(change) for m in self.messages))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from personakit.display import request_bundle  # noqa: PLC0415

        return request_bundle(self)

    @property
    def system(self) -> str:
        """The text of the first message if it is a system message, else an empty string."""
        first = self.messages[0] if self.messages else None
        return first.text if first is not None and first.role == "system" else ""

    def with_system(self, text: str) -> Request:
        """Return a copy with `text` appended to the system message as a separate paragraph."""
        first = self.messages[0] if self.messages else None
        if first is None or first.role != "system":
            return self.replace(messages=(Message("system", text), *self.messages))
        if isinstance(first.content, str):
            content: Any = f"{first.content.rstrip()}\n\n{text}"
        else:
            content = (*(first.content or ()), {"type": "text", "text": text})
        return self.replace(messages=(first.replace(content=content), *self.messages[1:]))

    def with_messages(self, *messages: Message) -> Request:
        """Return a copy with `messages` appended."""
        return self.replace(messages=(*self.messages, *messages))

    def with_history(self, messages: Iterable[Message]) -> Request:
        """Return a copy with other messages in place of `history`.

        Raises:
            UsageError: The messages of the history are no longer in the request as they were.
        """
        new = messages_in(messages, "with_history()")
        before, after = self._around_history()
        return self.replace(messages=(*before, *new, *after), history=new)

    @property
    def after_history(self) -> tuple[Message, ...]:
        """The messages after `history`: the user's message, or the results of tool calls."""
        return self._around_history()[1]

    def _around_history(self) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Return the messages before and after the history."""
        every, size = self.messages, len(self.history)
        starts = range(len(every) - size + 1) if size else ()
        equal = [n for n in starts if every[n : n + size] == self.history]
        # A question can be equal to the history, and messages can have been put before it.
        at = min(equal, key=lambda n: abs(n - self._history_at), default=None)
        if at is None:
            why = "no longer contains it" if size else "has none: it is not one of a conversation"
            raise UsageError(f"cannot replace the history of the request: the request {why}")
        return every[:at], every[at + size :]

    def with_functions(self, tools: Iterable[Tool]) -> Request:
        """Return a copy in which the tools have the functions of tools of the same names."""
        named = {tool.name: tool for tool in tools}
        bound = tuple(tool.with_function(named.get(tool.name)) for tool in self.tools)
        return self.replace(tools=bound) if self.tools else self

    def with_tools(self, *tools: Tool) -> Request:
        """Return a copy with `tools` added; a tool replaces an earlier one of the same name."""
        if not tools:
            return self
        named = {tool.name: tool for tool in (*self.tools, *tools)}
        return self.replace(tools=tuple(named.values()))
