"""A personakit plugin: checks what goes in and what comes out, and fails closed."""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from personakit import (
    BackendError,
    Blocked,
    PluginError,
    Request,
    Response,
    RunError,
    Send,
    Usage,
    hookimpl,
)
from personakit_guard.rules import Rules

__all__ = ["Guard", "Input", "Output"]

_ALLOW = re.compile(r"\s*allow[.,:;!]?(?:\s|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Input:
    """What is checked on one side.

    Attributes:
        deny: Words and phrases, in any case; only whole words count.
        patterns: Regular expressions, in RE2's syntax.
        max_length: The most characters; None for no limit.
        judge: The persona that is asked; "" for none.
        message: The words of the refusal; "" for words that name the rule.
    """

    # An option that is mistyped must not leave a side unchecked.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    deny: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    max_length: int | None = None
    judge: str = ""
    message: str = ""


@dataclass(frozen=True)
class Output(Input):
    """What is checked of the answer, and what follows.

    Attributes:
        action: Refuse, or ask the model again.
        attempts: How often it is asked again at most.
    """

    action: Literal["refuse", "reask"] = "refuse"
    attempts: int = 1


@dataclass(eq=False)
class Guard:
    """Checks what goes in and what comes out, and fails closed.

    Attributes:
        input: What is checked of the messages of the user and the results of tools.
        output: What is checked of the answer and of the tool calls in it.

    Raises:
        ValueError: Nothing is checked, or a rule is wrong.
    """

    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        one, two = self.input, self.output
        self._input = Rules("input", one.deny, one.patterns, one.max_length)
        self._output = Rules("output", two.deny, two.patterns, two.max_length)
        if two.attempts < 1:
            raise ValueError(f"output.attempts is {two.attempts}; give 1 or more")
        if not (self._input or self._output or one.judge or two.judge):
            raise ValueError(
                "it checks nothing; give input or output a rule: deny, patterns, max_length, judge"
            )

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Request | Response:
        """Check the request; wait for the whole answer and check it."""
        texts = [m.text for m in request.messages if m.role in {"user", "tool"}]
        broken = await _broken(self._input, self.input.judge, texts, send)
        if broken:
            raise _refusal("the request", broken, self.input.message)
        if not (self._output or self.output.judge):
            return request
        asked, took = request, list[Response]()
        for _ in range(1 + self.output.attempts * (self.output.action == "reask")):
            response = await _answer(asked, send)
            took.append(response)
            broken = await _broken(self._output, self.output.judge, _said(request, response), send)
            if not broken:
                return _summed(took)
            asked = request.with_system(
                f"Your last answer was refused by the rule {broken}. Answer in another way."
            )
        raise _refusal("the answer", broken, self.output.message)


async def _answer(request: Request, send: Send) -> Response:
    """Return the whole answer; what an error carries of it was not checked, so it is dropped."""
    try:
        return await send(request)
    except BackendError as error:
        error.partial = ""
        raise
    except PluginError as error:
        error.response = None
        raise


def _summed(took: list[Response]) -> Response:
    """Return the last answer with the usage and cost of those that were refused before it."""
    # Asking for the cost looks up prices, which is not worth its time for a single answer.
    if len(took) == 1:
        return took[0]
    counted = [one.usage for one in took if one.usage is not None]
    costs = [one.cost for one in took if one.cost is not None]
    return took[-1].replace(
        usage=sum(counted, Usage()) if counted else None,
        cost=sum(costs) if len(costs) == len(took) else None,
    )


def _said(request: Request, response: Response) -> list[str]:
    """Return what is to be checked of an answer: its text after that of earlier rounds, its calls.

    A run with tools gives the caller the texts of all rounds as one, where a phrase may be whole.
    """
    users = [n for n, message in enumerate(request.messages) if message.role == "user"]
    turn = request.messages[users[-1] + 1 if users else 0 :]
    rounds = [message.text for message in turn if message.tool_calls and message.text]
    text = "\n\n".join([*rounds, response.text])
    return [text, *(part for call in response.tool_calls for part in (call.name, call.arguments))]


async def _broken(rules: Rules, judge: str, texts: list[str], send: Send) -> str:
    """Return the name of the rule that one of `texts` breaks, or "". The judge is asked last.

    Raises:
        Blocked: The judge could not be asked.
    """
    broken = next(filter(None, map(rules.broken, texts)), "")
    asked = "\n\n".join(text for text in texts if text.strip())
    if broken or not judge or not asked:
        return broken
    try:
        verdict = await send.run(judge, asked)
    except RunError as error:
        raise Blocked(f"refused: the judge {judge!r} gave no verdict") from error
    return "" if _ALLOW.match(verdict.text) else f"judge {judge}"


def _refusal(what: str, rule: str, message: str) -> Blocked:
    refusal = Blocked(message or f"{what} is refused by the rule {rule}")
    refusal.add_note(f"rule: {rule}")
    return refusal
