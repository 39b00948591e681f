"""Messages of a conversation, tool calls and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from personakit.base import brief_repr, read_arguments
from personakit.errors import UsageError
from personakit.frozen import FrozenDict, freeze, quick_init, replaced, thaw

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model requests.

    Attributes:
        id: The upstream's id of the call; the result refers to it.
        name: The tool's name.
        arguments: The arguments as the model wrote them: JSON text, not validated.
    """

    id: str
    name: str
    arguments: str = "{}"

    __repr__ = brief_repr

    @property
    def parsed(self) -> dict[str, Any]:
        """The arguments as an object; ``{"arguments": …}`` with the text if they are not one."""
        return read_arguments(self.arguments)

    def replace(self, **changes: Any) -> ToolCall:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call.

    Attributes:
        call_id: The `id` of the call.
        content: The text for the model.
        is_error: True if the tool failed; `content` then describes the error.
    """

    call_id: str
    content: str
    is_error: bool = False

    __repr__ = brief_repr

    def replace(self, **changes: Any) -> ToolResult:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


@quick_init
@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: The role of the author.
        content: The text, or the content parts as the API accepts them; None with tool calls only.
        tool_calls: The tool calls of an assistant message.
        tool_call_id: The id of the call that a tool message answers.
        items: What the provider of an answer wants back with it, such as signed thoughts. Only the
            backend reads these, and it sends them only to the provider that they came from.
        cache: Whether the provider is asked to keep the prompt up to the end of this message for
            the next requests. OpenAI's APIs do so by themselves and ignore it.
    """

    role: Role
    content: str | tuple[FrozenDict, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    items: tuple[Mapping[str, Any], ...] = ()
    cache: bool = False

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if type(self.content) is not str and isinstance(self.content, list | tuple):
            object.__setattr__(self, "content", freeze(self.content, "Message.content"))
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        if self.items != ():
            object.__setattr__(self, "items", freeze(self.items, "Message.items"))

    @property
    def text(self) -> str:
        """The text of the message: the content, or the text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.get("text", "") for part in self.content or ())

    def replace(self, **changes: Any) -> Message:
        """Return a copy with some fields changed."""
        return replaced(self, changes)

    @property
    def parts(self) -> tuple[FrozenDict, ...]:
        """The content parts other than text: images, files, audio."""
        parts = self.content if isinstance(self.content, tuple) else ()
        return tuple(part for part in parts if part.get("type") != "text")

    def map_text(self, change: Callable[[str], str]) -> Message:
        """Return a copy with `change` applied to every text."""
        if isinstance(self.content, str):
            return self.replace(content=change(self.content))
        if self.content is None:
            return self
        parts = [{**p, "text": change(p["text"])} if "text" in p else p for p in self.content]
        return self.replace(content=parts)

    def to_api(self) -> dict[str, Any]:
        """Return the message as chat.completions.create() accepts it, without `items`, `cache`."""
        body: dict[str, Any] = {"role": self.role, "content": thaw(self.content)}
        if self.tool_calls:
            calls = [{"name": it.name, "arguments": it.arguments} for it in self.tool_calls]
            body["tool_calls"] = [
                {"id": call.id, "type": "function", "function": function}
                for call, function in zip(self.tool_calls, calls, strict=True)
            ]
        if self.tool_call_id is not None:
            body["tool_call_id"] = self.tool_call_id
        return body


def messages_in(values: Any, what: str) -> tuple[Message, ...]:
    """Return the messages of a history.

    Raises:
        UsageError: A value is not a message.
    """
    messages = tuple(values) if isinstance(values, Iterable) else (values,)
    wrong = next((value for value in messages if not isinstance(value, Message)), None)
    if wrong is not None or isinstance(values, str):
        found = type(values if isinstance(values, str) else wrong).__name__
        raise UsageError(f"{what} takes messages, found {found}; write Message(role, text)")
    return messages
