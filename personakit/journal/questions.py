"""Questions to a person, and runs that wait for the answer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from personakit.base import brief_repr
from personakit.errors import RunError, UsageError
from personakit.messages import Message, ToolCall

OnSuspend = Literal["raise", "return", "refuse", "tell"]
"""What happens to a run that asks where nobody answers."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a plugin or a tool to a person; see `personakit.ask`.

    Attributes:
        text: The question, on one line.
        choices: The possible answers; empty if any text is one.
        details: What the question is about, at full length; only a display cuts it.
        plugin: The name of the plugin that asks; empty if a tool asks.
        id: The place of the question in its run.
    """

    text: str
    choices: tuple[str, ...] = ()
    details: str = ""
    plugin: str = ""
    id: str = ""

    __repr__ = brief_repr

    def check(self, answer: str) -> str:
        """Return the choice that an answer stands for; any text if there are no choices.

        It is the choice with the same text, whatever the case, or the one that begins with the
        answer: of several the shortest, if the others begin with that.

        Raises:
            UsageError: It stands for no choice, or for several.
        """
        if not isinstance(answer, str):
            raise UsageError(f"an answer must be a string, found {type(answer).__name__}")
        if not self.choices:
            return answer
        word = answer.strip().casefold()
        matching = [each for each in self.choices if word and each.casefold().startswith(word)]
        exact = [each for each in matching if each.casefold() == word]
        shortest = min(matching, key=len, default="").casefold()
        if exact or (matching and all(each.casefold().startswith(shortest) for each in matching)):
            return min(exact or matching, key=len)
        fault = "stands for several answers" if matching else "is not an answer"
        expected = ", ".join(map(repr, matching or self.choices))
        raise UsageError(f"{answer[:80]!r} {fault} to {self.text!r}; answer one of {expected}")


Asker = Callable[[Question], str | Awaitable[str | None] | None]
"""Asks a person: returns one of the choices, or None if nobody answers.

The async API calls one that is not a coroutine function in a thread.
"""


@dataclass(frozen=True, slots=True)
class Resumption:
    """The answers that a suspended run goes on with; made by `Suspended.resume_with`.

    Pass it in place of the prompt to `run`, `arun`, `stream` or `astream`.

    Attributes:
        id: The id of the suspended run.
        answers: The answers by the ids of their questions. Those to other questions are open.
    """

    id: str
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    __repr__ = brief_repr


class Suspended(RunError):
    """A run that waits for the answer of a person; it goes on in this or another process.

    Attributes:
        id: The id of the run, also in the run log.
        questions: The open questions, in the order of their places in the run; of tool calls in
            one round there can be several.
        calls: The tool calls of the round that have no result yet.
        messages: The messages of the run so far: tool calls and their results.
        text: What the run wrote so far.
        persona: The persona's name.
        spent: What the run has paid so far.
    """

    exit_code = 3

    def __init__(
        self,
        id: str,  # noqa: A002
        questions: tuple[Question, ...] = (),
        *,
        persona: str = "",
        calls: tuple[ToolCall, ...] = (),
        messages: tuple[Message, ...] = (),
        text: str = "",
    ) -> None:
        # A process and the journal that it wrote have them in different orders.
        questions = tuple(sorted(questions, key=_place))
        asked = "; ".join(question.text for question in questions)
        waits = f"waits for an answer: {asked}" if questions else "was interrupted"
        super().__init__(f"the run {waits} (suspended run {id})")
        self.id = id
        self.questions = questions
        self.persona = persona
        self.calls = calls
        self.messages = messages
        self.text = text

    @property
    def question(self) -> Question:
        """The first of the open questions.

        Raises:
            UsageError: There is none: the run was interrupted.
        """
        if not self.questions:
            raise UsageError(
                f"run {self.id} was interrupted and has no open question; resume it without answer"
            )
        return self.questions[0]

    def resume_with(self, answer: str | Mapping[str, str]) -> Resumption:
        """Return what continues the run: pass it in place of the prompt, with the same persona.

        ``runner.run(persona, suspended.resume_with("yes"))``. Other options, such as `tools`, are
        those of the first call; the deadline is a new one.

        Args:
            answer: The answer to the first question, or answers by the ids of the questions. A
                question without an answer is asked again.

        Raises:
            UsageError: An answer is none of the choices, or no question has the id.
        """
        given = answer if isinstance(answer, Mapping) else {self.question.id: answer}
        asked = {question.id: question for question in self.questions}
        if unknown := [repr(key) for key in given if key not in asked]:
            known = ", ".join(map(repr, asked))
            raise UsageError(
                f"no open question of run {self.id} has the id {', '.join(unknown)[:200]}; "
                f"{f'use {known}' if asked else 'it has none: they were answered'}"
            )
        return Resumption(self.id, {key: asked[key].check(text) for key, text in given.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the suspended run as JSON types, without the request.

        The keys are `id`, `persona`, `questions`, `calls`, `messages`, `text` and `spent`.
        """
        questions = [
            {**dataclasses.asdict(each), "choices": list(each.choices)} for each in self.questions
        ]
        return {
            "id": self.id,
            "persona": self.persona,
            "questions": questions,
            "calls": [dataclasses.asdict(call) for call in self.calls],
            "messages": [message.to_api() for message in self.messages],
            "text": self.text,
            "spent": None if self.spent is None else self.spent.to_dict(),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.id, self.questions, dict(vars(self)))


def _place(question: Question) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", question.id)]


def _unpickled(identity: str, questions: tuple[Question, ...], state: dict[str, Any]) -> Suspended:
    suspended = Suspended(identity, questions)
    vars(suspended).update(state)
    return suspended
