"""What travels through a run: values that cannot be changed, only replaced."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from personakit.frozen import FrozenDict, freeze, replaced, thaw
from personakit.usage import Spent, Usage

if TYPE_CHECKING:
    from personakit.tools import Tool

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model asks for.

    Attributes:
        id: The upstream's name for the call; the result carries it back.
        name: The tool's name.
        arguments: The arguments as the model wrote them: JSON text, not yet checked.
    """

    id: str
    name: str
    arguments: str = "{}"

    def replace(self, **changes: Any) -> ToolCall:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool call gave.

    Attributes:
        call_id: The `id` of the call it answers.
        content: The text that the model gets to read.
        is_error: True when the tool failed and `content` says how.
    """

    call_id: str
    content: str
    is_error: bool = False

    def replace(self, **changes: Any) -> ToolResult:
        """Return a copy with some fields changed."""
        return replaced(self, changes)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        content: The text, or the content parts as the API takes them, or None beside tool calls.
        tool_calls: What an assistant's message asks for.
        tool_call_id: Which call a tool's message answers.
    """

    role: Role
    content: str | tuple[FrozenDict, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if type(self.content) is not str and isinstance(self.content, list | tuple):
            object.__setattr__(self, "content", freeze(self.content))
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))

    @property
    def text(self) -> str:
        """The text of the message; of content parts, that of the text parts."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.get("text", "") for part in self.content or ())

    def replace(self, **changes: Any) -> Message:
        """Return a copy with some fields changed."""
        return replaced(self, changes)

    @property
    def parts(self) -> tuple[FrozenDict, ...]:
        """The content parts that are no text: images, files, sound."""
        parts = self.content if isinstance(self.content, tuple) else ()
        return tuple(part for part in parts if part.get("type") != "text")

    def map_text(self, change: Callable[[str], str]) -> Message:
        """Return a copy in which every text went through `change`."""
        if isinstance(self.content, str):
            return self.replace(content=change(self.content))
        if self.content is None:
            return self
        parts = [{**p, "text": change(p["text"])} if "text" in p else p for p in self.content]
        return self.replace(content=parts)

    def to_api(self) -> dict[str, Any]:
        """Return the message as chat.completions.create() takes it."""
        body: dict[str, Any] = {"role": self.role, "content": thaw(self.content)}
        if self.tool_calls:
            body["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            body["tool_call_id"] = self.tool_call_id
        return body


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be sent.

    Attributes:
        model: ``provider/model``.
        messages: The conversation, in order.
        parameters: Keyword arguments of chat.completions.create(), such as temperature.
        persona: The name of the persona it was made from.
        variables: The values that its templates were rendered with.
        max_retries: How often the HTTP client may try again; None leaves it its own default (2).
        timeout: Seconds that the upstream may stay silent; None leaves the client's default (600).
        tools: What the model may call.
    """

    model: str
    messages: tuple[Message, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=FrozenDict)
    persona: str = ""
    variables: Mapping[str, Any] = field(default_factory=FrozenDict)
    max_retries: int | None = None
    timeout: float | None = None
    tools: tuple[Tool, ...] = ()

    def __post_init__(self) -> None:
        if type(self.messages) is not tuple:
            object.__setattr__(self, "messages", tuple(self.messages))
        if type(self.tools) is not tuple:
            object.__setattr__(self, "tools", tuple(self.tools))
        if type(self.parameters) is not FrozenDict:
            object.__setattr__(self, "parameters", freeze(self.parameters))
        if type(self.variables) is not FrozenDict:
            object.__setattr__(self, "variables", freeze(self.variables))

    def replace(self, **changes: Any) -> Request:
        """Return a copy with some fields changed."""
        return replaced(self, changes)

    def map_text(self, change: Callable[[str], str]) -> Request:
        """Return a copy in which the text of every message went through `change`.

        Arguments of tool calls in earlier messages are JSON, not text, and stay as they are.
        """
        return self.replace(messages=tuple(m.map_text(change) for m in self.messages))

    @property
    def system(self) -> str:
        """The system text: that of the first message, if it is a system message."""
        first = self.messages[0] if self.messages else None
        return first.text if first is not None and first.role == "system" else ""

    def with_system(self, text: str) -> Request:
        """Return a copy whose system message ends with `text`, as a paragraph of its own."""
        first = self.messages[0] if self.messages else None
        if first is None or first.role != "system":
            return self.replace(messages=(Message("system", text), *self.messages))
        if not isinstance(first.content, str):
            changed = first.replace(
                content=(*(first.content or ()), {"type": "text", "text": text})
            )
        else:
            changed = first.replace(content=f"{first.content.rstrip()}\n\n{text}")
        return self.replace(messages=(changed, *self.messages[1:]))

    def with_messages(self, *messages: Message) -> Request:
        """Return a copy with `messages` appended."""
        return self.replace(messages=(*self.messages, *messages))

    def with_tools(self, *tools: Tool) -> Request:
        """Return a copy with `tools` added; one of the same name as another takes its place."""
        if not tools:
            return self
        named = {tool.name: tool for tool in (*self.tools, *tools)}
        return self.replace(tools=tuple(named.values()))


@dataclass(frozen=True, slots=True)
class Timings:
    """When and how long, in seconds.

    Attributes:
        started: The start of the run, as Unix time.
        total: From the start to the whole answer.
        first_text: From the start to the first text that went out; None when it did not stream.
    """

    started: float
    total: float
    first_text: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        text: What the model said.
        tool_calls: What the model asks for, beside or instead of text.
        finish_reason: Why it stopped: stop, length, tool_calls, content_filter or another.
        model: The model that answered, as the upstream names it.
        id: The upstream's name for the answer.
        usage: The tokens it took; None when the upstream did not say.
        cost: US dollars; None when unknown. What a plugin did not set is worked out from `usage`
            when it is first asked for, which takes a quarter of a second once.
        request: The request as it was sent.
        raw: The upstream's JSON; of a stream, put together in the shape of a whole answer.
        parsed: The value of a structured answer; a copy with another text has none.
        timings: When and how long.
        metadata: What plugins wish to hand to the caller.
        messages: What the run added to the conversation: the answer, and before it the calls of
            tools and their results.
        attempts: How often the last request was sent: more than once when the HTTP client had to.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    model: str = ""
    id: str = ""
    usage: Usage | None = None
    cost: float | None = None
    request: Request | None = None
    raw: Mapping[str, Any] = field(default_factory=FrozenDict, repr=False)
    parsed: Any = None
    timings: Timings | None = None
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    messages: tuple[Message, ...] = ()
    attempts: int = 1
    _rounds: tuple[Spent, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        if type(self.raw) is not FrozenDict:
            object.__setattr__(self, "raw", freeze(self.raw))
        if type(self.metadata) is not FrozenDict:
            object.__setattr__(self, "metadata", freeze(self.metadata))
        if self.cost is None:
            # An empty slot is filled by `__getattr__`: looking up prices takes 240 ms to import.
            object.__delattr__(self, "cost")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name != "cost":
                raise AttributeError(f"'Response' object has no attribute {name!r}")
            costs = [spent.cost() for spent in self._rounds or (self._spent(),)]
            known = [cost for cost in costs if cost is not None]
            # What is known of one round alone is not what the run cost.
            cost = sum(known) if len(known) == len(costs) else None
            object.__setattr__(self, "cost", cost)
            return cost

    def _given_cost(self) -> float | None:
        """The cost, if it was set or has been worked out."""
        try:
            cost: float | None = object.__getattribute__(self, "cost")
        except AttributeError:
            return None
        return cost

    def _spent(self) -> Spent:
        """What this answer took, for the sum of several rounds."""
        asked = self.request.model if self.request is not None else ""
        return Spent(asked, self.model, self.usage, self._given_cost())

    @property
    def message(self) -> Message:
        """The answer as a message that a conversation can go on from."""
        return Message("assistant", self.text or None, self.tool_calls)

    def replace(self, **changes: Any) -> Response:
        """Return a copy with some fields changed.

        A new text takes `parsed` with it, unless that is given too.
        """
        if "cost" not in changes:
            changes["cost"] = self._given_cost()
        if "text" in changes and changes["text"] != self.text:
            changes.setdefault("parsed", None)
        return Response(**{**dict(zip(_KEPT, _kept(self), strict=True)), **changes})


# As in `frozen.replaced`, but for the cost, which is worked out when it is read.
_KEPT = tuple(field.name for field in dataclasses.fields(Response) if field.name != "cost")
_kept = operator.attrgetter(*_KEPT)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for the `observe` hook.

    Attributes:
        name: started (the request as rendered), sent (the request as it left), answered (what the
            upstream said), tool (a tool call ended), skipped (a plugin failed and was passed over),
            finished (the response as the caller gets it) or failed.
        run: One value for all the events of a run.
        persona: The persona's name.
        request: The request, where the event has one.
        response: The response, where the event has one.
        error: What was raised, for skipped and failed.
        plugin: The plugin's name, for skipped.
        call: The tool call, for tool.
        result: The tool's result, for tool.
        time: Unix time in seconds.
    """

    name: Literal["started", "sent", "answered", "tool", "skipped", "finished", "failed"]
    run: str
    persona: str = ""
    request: Request | None = None
    response: Response | None = None
    error: BaseException | None = None
    plugin: str = ""
    call: ToolCall | None = None
    result: ToolResult | None = None
    time: float = 0.0
