"""What a run keeps on the server between two requests of a client.

A round can have calls of the persona's own tools beside those of the client's. The client sees its
own; the others, with their results, are kept and put back when the client answers. A run that waits
for a person is kept as well. What is kept belongs to one key, and the ids of calls name it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personakit.base import read_json
from personakit.codec import read_message, write_message
from personakit.errors import JournalError
from personakit.journal import JournalStorage, Question, Resumption, Suspended
from personakit.ledger import Ledger
from personakit.messages import Message, Response
from personakit.server.completions.answer import call_id
from personakit.server.completions.tools import APPROVE, wrong
from personakit.server.http import Refusal

KEPT = 7 * 86_400.0
"""Seconds for which a round is kept."""
_ID = re.compile(r"(pkr|pks)_([0-9a-f]{32})_([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the questions of a suspended run.

    Attributes:
        run: The id of the run.
        texts: The answers by the ids of their questions.
    """

    run: str
    texts: Mapping[str, str]

    def to(self, suspended: Suspended) -> Resumption:
        """Return what the run goes on with.

        Answers that the run has already are given again: so a client can repeat a request whose
        answer it did not get.

        Raises:
            UsageError: An answer is none of the choices.
        """
        waiting = {each.id for each in suspended.questions}
        new = {at: text for at, text in self.texts.items() if at in waiting}
        return Resumption(self.run, {**self.texts, **suspended.resume_with(new).answers})


class Held:
    """Keeps rounds and suspended runs for a key.

    Args:
        ledger: Where they are kept.
        journals: The journals of suspended runs.
        owner: The name of the key; empty for the open server.
    """

    def __init__(self, ledger: Ledger, journals: JournalStorage, owner: str) -> None:
        self._ledger, self._journals, self._owner = ledger, journals, owner

    async def keep(self, run: str, response: Response[Any], calls: Sequence[str]) -> None:
        """Keep the messages of a round that ended with calls of the client's tools.

        Args:
            run: The id of the run.
            response: The answer.
            calls: The ids of the calls, by their numbers for the client.
        """
        messages = [write_message(message) for message in response.messages]
        await self._hold(run, {"messages": messages, "calls": list(calls)})

    async def keep_questions(self, run: str, suspended: Suspended) -> list[dict[str, Any]]:
        """Keep the questions of a suspended run, and return them as calls of the client's tool.

        A run can ask several times. A question keeps its number, and no other one gets it: a client
        that sends an answer again must not answer the next question with it.
        """
        kept = await self._find(run, needed=False) or {}
        known: list[str] = kept.get("questions", [])
        known += [each.id for each in suspended.questions if each.id not in known]
        await self._hold(run, {"suspended": suspended.id, "questions": known})
        return [_asked(run, known.index(each.id), each) for each in suspended.questions]

    async def restored(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the client's messages with what was kept of their rounds.

        Raises:
            Refusal: The last round is unknown, or that of another key (404).
        """
        if not any(message.tool_calls for message in messages):
            return tuple(messages)
        last = _last_round(messages)
        result: list[Message] = []
        ids: dict[str, str] = {}
        for at, sent in enumerate(messages):
            if sent.role == "tool":
                known = sent.tool_call_id or ""
                if not known.startswith("pks_"):
                    result.append(sent.replace(tool_call_id=ids.get(known, known)))
                continue
            message = _without_questions(sent)
            calls = message.tool_calls
            found = _run_of(calls[0].id) if calls else None
            kept = None if found is None else await self._find(found, needed=at == last)
            if kept is None or "messages" not in kept:
                if message.text or message.tool_calls or message.parts:
                    result.append(message)
                continue
            result += map(read_message, kept["messages"])
            ids |= {call_id(str(found), n): real for n, real in enumerate(kept["calls"])}
        return tuple(result)

    async def answers(self, messages: Sequence[Message]) -> Answers | None:
        """Return the answers with which the client continues a suspended run; None if it does not.

        Raises:
            Refusal: The run is unknown, or that of another key (404), or an answer is missing.
        """
        given: dict[int, str] = {}
        runs = set()
        for message in reversed(messages):
            if message.role != "tool":
                break
            match = _ID.fullmatch(message.tool_call_id or "")
            if match is not None and match[1] == "pks":
                runs.add(match[2])
                given.setdefault(int(match[3]), _answer(message.text))
        if not runs:
            return None
        if len(runs) > 1:
            raise wrong("messages", "the last tool messages answer questions of different runs")
        kept = await self._find(runs.pop(), needed=True)
        if kept is None or "suspended" not in kept:
            raise unknown_run()
        questions = kept["questions"]
        if not set(given) <= set(range(len(questions))):
            raise unknown_run()
        texts = {questions[number]: text for number, text in given.items()}
        return Answers(kept["suspended"], texts)

    async def forget(self, run: str) -> None:
        """Forget a run."""
        await self._ledger.soon(self._ledger.forget, run)

    async def _hold(self, run: str, value: Mapping[str, Any]) -> None:
        hold = self._ledger.hold
        expired = await self._ledger.soon(hold, self._owner, run, json.dumps(value), KEPT)
        waiting = [one["suspended"] for one in map(json.loads, expired) if "suspended" in one]
        if waiting:
            await asyncio.to_thread(self._remove, waiting)

    def _remove(self, runs: Sequence[str]) -> None:
        """Remove the journals of runs that nobody has answered, so that they do not pile up."""
        for run in runs:
            with contextlib.suppress(JournalError):
                self._journals.remove(run)

    async def _find(self, run: str, *, needed: bool) -> dict[str, Any] | None:
        text = await self._ledger.soon(self._ledger.held, self._owner, run)
        if text is None and needed:
            raise unknown_run()
        value: dict[str, Any] | None = None if text is None else json.loads(text)
        return value


def _asked(run: str, number: int, question: Question) -> dict[str, Any]:
    """Return a question as a call of the client's tool."""
    asked = {
        "question": question.text,
        "choices": list(question.choices),
        "details": question.details,
    }
    function = {"name": APPROVE, "arguments": json.dumps(asked)}
    return {"id": call_id(run, number, "pks"), "type": "function", "function": function}


def _without_questions(message: Message) -> Message:
    """Return a message without the calls that were questions of the server."""
    calls = tuple(call for call in message.tool_calls if call.name != APPROVE)
    if len(calls) == len(message.tool_calls):
        return message
    return message.replace(tool_calls=calls, content=message.content or "")


def _answer(text: str) -> str:
    """Return an answer, which may be JSON: a string, or an object with `answer`."""
    try:
        value = read_json(text)
    except ValueError:
        return text.strip()
    if isinstance(value, dict):
        value = value.get("answer", text)
    return value.strip() if isinstance(value, str) else text.strip()


def _last_round(messages: Sequence[Message]) -> int:
    """Return the index of the assistant message that the last messages answer; -1 if none."""
    at = len(messages) - 1
    while at >= 0 and messages[at].role == "tool":
        at -= 1
    return at if at >= 0 and messages[at].tool_calls and at < len(messages) - 1 else -1


def _run_of(identity: str) -> str | None:
    match = _ID.fullmatch(identity)
    return match[2] if match is not None and match[1] == "pkr" else None


def unknown_run() -> Refusal:
    """Return the refusal of results or answers to a run that is not known."""
    return Refusal(
        404,
        "the run that these tool results continue is not known: it ended, it is older than a "
        "week, or it belongs to another key; send the conversation without them",
        code="run_not_found",
        param="messages",
    )
