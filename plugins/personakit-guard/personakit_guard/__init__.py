"""A personakit plugin that checks requests and answers, and fails closed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal

from personakit import (
    BackendError,
    Blocked,
    PluginError,
    Request,
    Response,
    RunError,
    Send,
    Usage,
    UserOption,
    gather,
    hookimpl,
)
from personakit_guard.hold import Hold
from personakit_guard.rules import Rules

__all__ = ["Guard", "Input", "Output"]

_ALLOW = re.compile(r"\s*allow[.,:;!]?(?:\s|$)", re.IGNORECASE)

MOST_ATTEMPTS = 100
"""The most attempts that a persona can ask for; each is paid."""


@dataclass(frozen=True)
class Side:
    """The rules for one side: the input or the output.

    Attributes:
        deny: Words and phrases; case is ignored, and only whole words match.
        patterns: Regular expressions in the syntax of `personakit.Pattern`.
        max_length: The most characters of a text; None for no limit.
        judge: The persona that judges the texts; "" for none.
        message: The text of the refusal; "" for a text that names the rule.
    """

    # A mistyped option must not leave a side unchecked.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    deny: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    max_length: int | None = None
    judge: Annotated[str, UserOption("persona", in_persona=True)] = ""
    message: str = ""


@dataclass(frozen=True)
class Input(Side):
    """The rules for the input.

    Attributes:
        parallel: Whether the judge runs beside the call. The answer is held until it has judged.
    """

    parallel: bool = False


@dataclass(frozen=True)
class Output(Side):
    """The rules for the answer, and the action when a rule is broken.

    Attributes:
        action: Refuse the answer, or ask the model again.
        attempts: How often the model is asked again at most.
    """

    action: Literal["refuse", "reask"] = "refuse"
    attempts: int = 1


@dataclass(eq=False)
class Guard:
    """Checks of requests and answers that fail closed.

    Attributes:
        input: The rules for the user's messages and the results of tools.
        output: The rules for the answer and its tool calls.

    Raises:
        ValueError: No rule is set, or a rule is invalid.
    """

    # A stored answer is checked, too, and a refused one is not asked for again.
    outside_of = ("cache", "retry")

    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        one, two = self.input, self.output
        self._input = Rules("input", one.deny, one.patterns, one.max_length)
        self._output = Rules("output", two.deny, two.patterns, two.max_length)
        if not 1 <= two.attempts <= MOST_ATTEMPTS:
            raise ValueError(f"output.attempts is {two.attempts}; use 1 to {MOST_ATTEMPTS}")
        if not (self._input or self._output or one.judge or two.judge):
            raise ValueError(
                "no rule is set; set deny, patterns, max_length or judge under input or output"
            )
        if one.parallel and not one.judge:
            raise ValueError("input.parallel runs a judge beside the call; set input.judge")

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Request | Response:
        """Check the request, then hold the answer until it is complete and check it."""
        texts = [m.text for m in request.messages if m.role in {"user", "tool"}]
        parallel = self.input.parallel
        broken = await _broken(self._input, "" if parallel else self.input.judge, texts, send)
        if broken:
            raise _refusal("the request", broken, self.input.message)
        checked = bool(self._output or self.output.judge)
        if not checked:
            return await self._beside(request, texts, send) if parallel else request
        asked, responses = request, list[Response]()
        for number in range(1 + self.output.attempts * (self.output.action == "reask")):
            if parallel and number == 0:
                _, response = await gather(self._judged(texts, send), _answer(asked, send))
            else:
                response = await _answer(asked, send)
            responses.append(response)
            broken = await _broken(self._output, self.output.judge, _said(request, response), send)
            if not broken:
                return _summed(responses)
            asked = request.with_system(
                f"Your last answer was refused by the rule {broken}. Answer in another way."
            )
        raise _refusal("the answer", broken, self.output.message)

    async def _judged(self, texts: list[str], send: Send) -> None:
        """Raise Blocked if the judge refuses the request."""
        if broken := await _judgement(self.input.judge, texts, send):
            raise _refusal("the request", broken, self.input.message)

    async def _beside(self, request: Request, texts: list[str], send: Send) -> Response:
        """Return the answer, of which nothing is shown before the judge has allowed the request."""
        hold = Hold()

        async def judged() -> None:
            await self._judged(texts, send)
            hold.release()

        try:
            _, response = await gather(judged(), send.live(request, hold))
        except (BackendError, PluginError) as error:
            if not hold.released:
                _drop(error)
            raise
        return response.replace(text=hold.text, reasoning=hold.reasoning)


async def _answer(request: Request, send: Send) -> Response:
    """Return the complete answer; drop the unchecked text that an error carries."""
    try:
        # The output rules read all that may be shown.
        return await send(request, reasoning=True)
    except (BackendError, PluginError) as error:
        _drop(error)
        raise


def _drop(error: BackendError | PluginError) -> None:
    """Remove the text of an answer from an error."""
    error.response = None
    if isinstance(error, BackendError):
        error.partial = ""


def _summed(responses: list[Response]) -> Response:
    """Return the last answer with the total usage and cost of all answers."""
    # Reading `cost` looks up prices, which is needless work for a single answer.
    if len(responses) == 1:
        return responses[0]
    costs = [one.cost for one in responses if one.cost is not None]
    return responses[-1].replace(
        usage=Usage.sum(one.usage for one in responses),
        cost=sum(costs) if len(costs) == len(responses) else None,
    )


def _said(request: Request, response: Response) -> list[str]:
    """Return the texts to check: the answer with the text of earlier rounds, and the rest of it.

    A run with tools joins the texts of all rounds, and a phrase may span two rounds. The caller can
    read the reasoning and the annotations, too.
    """
    users = [n for n, message in enumerate(request.messages) if message.role == "user"]
    turn = request.messages[users[-1] + 1 if users else 0 :]
    rounds = [message.text for message in turn if message.tool_calls and message.text]
    text = "\n\n".join([*rounds, response.text])
    calls = (part for call in response.tool_calls for part in (call.name, call.arguments))
    return [text, response.reasoning, *calls, *_texts(response.annotations)]


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item)


async def _broken(rules: Rules, judge: str, texts: list[str], send: Send) -> str:
    """Return the name of the rule that one of `texts` breaks, or "". The judge runs last.

    Raises:
        Blocked: The run of the judge failed.
    """
    broken = next(filter(None, map(rules.broken, texts)), "")
    return broken if broken or not judge else await _judgement(judge, texts, send)


async def _judgement(judge: str, texts: list[str], send: Send) -> str:
    """Return the name of the judge if it refuses the texts, or "".

    Raises:
        Blocked: The run of the judge failed.
    """
    asked = "\n\n".join(text for text in texts if text.strip())
    if not asked:
        return ""
    try:
        verdict = await send.run(judge, asked)
    except RunError as error:
        raise Blocked(f"refused: the judge {judge!r} did not return a verdict") from error
    # The model is told the rule when it is asked again, so not the path.
    return "" if _ALLOW.match(verdict.text) else f"judge {PurePath(judge).stem}"


def _refusal(what: str, rule: str, message: str) -> Blocked:
    refusal = Blocked(message or f"{what} is refused by the rule {rule}")
    refusal.add_note(f"rule: {rule}")
    return refusal
