"""Responses: the answer to a request, and what a run adds to it."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from personakit.base import Written, brief_repr
from personakit.errors import UsageError
from personakit.frozen import FrozenDict, freeze, list_only, quick_init
from personakit.messages.message import Message, ToolCall, ToolResult, messages_in
from personakit.messages.request import Request
from personakit.usage import Charge, Spent, Timings, Usage, total

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    Parsed_co = DefaultTypeVar("Parsed_co", covariant=True, default=Any)
else:
    Parsed_co = TypeVar("Parsed_co", covariant=True)


@quick_init
@dataclass(frozen=True, slots=True)
class Response(Generic[Parsed_co]):
    """The answer to a request; ``Response[Dinner]`` has a ``Dinner`` as `parsed`.

    Attributes:
        text: The text of the answer.
        tool_calls: The tool calls that the model requests, with or without text.
        finish_reason: Why the model stopped: stop, tool_calls, length (the answer is cut off at the
            token limit) or content_filter (the provider held back the rest of the answer).
        model: The model that answered, as the upstream names it.
        id: The upstream's id of the answer.
        usage: The tokens of the answer, in all rounds of a run with tools; None if the upstream did
            not report them. What plugins paid besides is in `spent`.
        cost: US dollars for `usage`; None if unknown. Unless a plugin sets it, it is calculated
            on first access, which takes a quarter of a second once per process.
        request: The request as it was sent.
        raw: The upstream's JSON; a stream is assembled into the shape of a whole answer.
        parsed: The value of a structured answer; None in a copy with another text.
        timings: The times of the run.
        metadata: Data from plugins for the caller. That of several rounds is merged: mappings by
            their keys, lists without repetition; of other values the last one counts.
        messages: The messages that the run added to the conversation: tool calls, their results
            and the answer.
        attempts: How often the last request was sent: more than once if the HTTP client retried.
        reasoning: The model's thoughts before the answer, as far as the provider shows them.
        items: See `Message`.
        annotations: What the provider says about parts of the text, such as citations, in its own
            form.
        tool_results: The results of the run's own tools in a round in which the model also called
            tools of the caller. `tool_calls` then has the calls that are left to the caller; those
            of the whole round are in `messages`.
        history: The messages that replace the earlier ones of the conversation, if a plugin sets
            it; None to keep them.
        persona: The name of the persona that was asked.
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
    parsed: Parsed_co = None  # type: ignore[assignment]  # without a value it is that of None
    timings: Timings | None = None
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    messages: tuple[Message, ...] = ()
    attempts: int = 1
    reasoning: str = ""
    items: tuple[Mapping[str, Any], ...] = ()
    annotations: tuple[Mapping[str, Any], ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    history: tuple[Message, ...] | None = None
    _rounds: tuple[Charge, ...] = field(default=(), repr=False, compare=False)
    _paid: tuple[Charge, ...] | None = field(default=None, repr=False, compare=False)
    _lost: int = field(default=0, repr=False, compare=False)  # attempts without an answer
    _asked: Request | None = field(default=None, repr=False, compare=False)
    _foreign: bool = field(default=False, repr=False, compare=False)  # of a run inside
    _bare: bool = field(default=False, repr=False, compare=False)  # no pieces but text
    persona: str = field(init=False, compare=False)  # an empty slot: see `__getattr__`

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield "text", self.text
        for name in WRITTEN[1:]:
            # Calculating the cost would import the prices.
            value = self._given_cost() if name == "cost" else getattr(self, name)
            if value not in (None, "", ()):
                yield name, value

    def __post_init__(self) -> None:
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        if type(self.raw) is not FrozenDict:
            object.__setattr__(self, "raw", freeze(self.raw, "Response.raw"))
        if type(self.metadata) is not FrozenDict:
            if not isinstance(self.metadata, Mapping):
                kind = type(self.metadata).__name__
                raise TypeError(f"Response.metadata must be a mapping of names, found {kind}")
            object.__setattr__(self, "metadata", freeze(self.metadata, "Response.metadata"))
        if self.items != ():
            object.__setattr__(self, "items", freeze(self.items, "Response.items"))
        if self.annotations != ():
            annotations = freeze(self.annotations, "Response.annotations")
            object.__setattr__(self, "annotations", annotations)
        if self.history is not None:
            object.__setattr__(self, "history", messages_in(self.history, "Response.history"))
        if self.cost is None:
            # `__getattr__` fills the empty slot: importing the prices takes 240 ms.
            object.__delattr__(self, "cost")

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: Any) -> Any:
            # pydantic would take the alias of a generic dataclass apart by itself.
            return Annotated[cls, Written(WRITTEN, item)]

        def __getattr__(self, name: str) -> Any:
            if name == "persona":
                return self.request.persona if self.request is not None else ""
            if name != "cost":
                raise AttributeError(f"'Response' object has no attribute {name!r}")
            cost = total(self._rounds or self._charges())
            object.__setattr__(self, "cost", cost)
            return cost

    def _given_cost(self) -> float | None:
        """Return the cost if it is set or already calculated, else None."""
        try:
            return _cost(self)
        except AttributeError:
            return None

    def _charges(self) -> list[Charge]:
        """Return what this answer cost, after the attempts before it that got none."""
        asked = self.request.model if self.request is not None else ""
        try:  # not `_given_cost`: every call of a model gets here
            cost = _cost(self)
        except AttributeError:
            cost = None
        answered = Charge(asked, self.model, self.usage, cost)
        return [*[Charge(asked)] * self._lost, answered] if self._lost else [answered]

    @property
    def spent(self) -> Spent:
        """Everything that the run paid: all model calls, also of plugins and of runs inside it."""
        return Spent(tuple(self._charges()) if self._paid is None else self._paid)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from personakit.display import response_bundle  # noqa: PLC0415

        return response_bundle(self)

    @property
    def message(self) -> Message:
        """The answer as an assistant message."""
        return Message("assistant", self.text or None, self.tool_calls, items=self.items)

    def continue_with(self, results: Iterable[ToolResult] | Mapping[str, str]) -> Request:
        """Return the request that continues a run which ended with calls of the caller's tools.

        It has the messages of the run, the results of its own calls and these; run it with the same
        persona and options: ``runner.run(persona, response.continue_with(results))``.

        Args:
            results: One for each of `tool_calls`: results, or a mapping of their ids to texts.

        Raises:
            UsageError: There is nothing to continue, or an id is missing, unknown or there twice.
        """
        from personakit.tools import results_of  # noqa: PLC0415

        if self._asked is None or not self.tool_calls:
            raise UsageError("there is nothing to continue: the run did not end with tool calls")
        texts = results_of({call.id: call.name for call in self.tool_calls}, results)
        answers = (Message("tool", text, tool_call_id=key) for key, text in texts.items())
        return self._asked.with_messages(*self.messages, *answers)

    def replace(self, **changes: Any) -> Response[Any]:
        """Return a copy with some fields changed.

        A new text resets `parsed` unless `changes` contains it.
        """
        changes.setdefault("cost", self._given_cost())
        if "text" in changes and changes["text"] != self.text:
            changes.setdefault("parsed", None)
        return Response(**{**dict(zip(_KEPT, _kept(self), strict=True)), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON types, without the request.

        ``personakit run --json`` prints the same, and `metadata` and `spent`.

        The keys are `text`, `reasoning`, `parsed`, `tool_calls`, `model`, `finish_reason`, `usage`,
        `cost`, `persona` and `id`, with the values of the attributes. Web frameworks write a
        response in the same form, through pydantic or `dataclasses.asdict`. NaN and infinity in
        `parsed`, which JSON does not have, are null, as pydantic writes them.

        Raises:
            TypeError: JSON cannot represent `parsed`.
        """
        from personakit.base import plain  # noqa: PLC0415

        written = {name: getattr(self, name) for name in WRITTEN}
        text = json.dumps(self.parsed, default=plain)
        parsed = json.loads(text, parse_constant=lambda _: None)
        calls = [dataclasses.asdict(call) for call in self.tool_calls]
        usage = None if self.usage is None else dataclasses.asdict(self.usage)
        return {**written, "parsed": parsed, "tool_calls": calls, "usage": usage}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return Written(WRITTEN, Any).__get_pydantic_core_schema__(cls, handler)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {**dict(zip(_KEPT, _kept(self), strict=True)), "cost": self._given_cost()}
        return _unpickled, (values,)


def _unpickled(values: dict[str, Any]) -> Response:
    return Response(**values)


WRITTEN = tuple(
    "text reasoning parsed tool_calls model finish_reason usage cost persona id".split()
)
"""The keys of `Response.to_dict`. What has the system prompt in it must not be among them."""
# Like `frozen.replaced`, without the cost: reading it would calculate it.
_KEPT = tuple(it.name for it in dataclasses.fields(Response) if it.init and it.name != "cost")
_kept = operator.attrgetter(*_KEPT)
# Unlike `Response.cost`, it does not calculate the cost if the slot is empty.
_cost: Callable[[Response], float | None] = Response.__dict__["cost"].__get__
list_only(Response, WRITTEN)
