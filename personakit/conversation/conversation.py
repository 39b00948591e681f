"""Conversation: a persona and its message history.

A turn is a run like any other: its request is the rendered persona, with the history inserted
before the user's message.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from personakit.base import Emit, TextTap, brief_repr
from personakit.conversation import transcript
from personakit.conversation.length import closed, newest, open_calls, too_long, with_remedies
from personakit.conversation.turns import Said, Turn, Turns
from personakit.errors import BackendError, UsageError
from personakit.messages import Message, Request, Response
from personakit.persona import QUESTION_PATH, Persona, Reference, question_persona
from personakit.pipeline import AllOptions, Setup, attached, check_names, keywords, loading

if TYPE_CHECKING:
    from personakit.config import Config
    from personakit.journal import Resumption
    from personakit.log import Recorder

Start = Callable[[Reference, Any, Any], Turn]

_log = logging.getLogger("personakit")


class PersonaCatalog(Protocol):
    """The part of `Catalog` that a conversation uses."""

    def is_ready(self, persona: Reference) -> bool:
        """See `Catalog.is_ready`."""
        ...


class PersonaRunner(Protocol):
    """The part of `Runner` that a conversation uses; the module of `Runner` imports this one."""

    config: Config
    _recorder: Recorder | None

    @property
    def catalog(self) -> PersonaCatalog:
        """See `Runner.catalog`."""
        ...

    def load(self, persona: Reference) -> Persona:
        """See `Runner.load`."""
        ...

    def render(
        self,
        persona: Reference,
        prompt: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> Request:
        """See `Runner.render`."""
        ...

    def prepare(
        self, persona: Reference, prompt: str | Request | None = None, **options: Unpack[AllOptions]
    ) -> Request:
        """See `Runner.prepare`."""
        ...

    def request_of(self, id: str) -> Request:  # noqa: A002
        """See `Runner.request_of`."""
        ...

    def conversation(self, persona: Reference, **setup: Unpack[Setup]) -> Conversation:
        """See `Runner.conversation`."""
        ...


class Conversation(Turns):
    """A persona and its message history; created by `Runner.conversation`.

    A conversation runs one turn at a time. When a turn ends, its rendered user message and
    `Response.messages` are appended to the history. A turn that fails leaves the history unchanged.
    If a turn is stopped (Ctrl-C, a closed stream, a cancelled task), the text received so far is
    kept and the next turn continues from it; a turn stopped before any text counts as failed.
    `undo` returns the user's message, so ``conversation.run(conversation.undo())`` repeats a turn.

    Attributes:
        model: The chosen model; None leaves the choice to the persona and the config.
        variables: Values for the persona's variables.
        parameters: Parameters that override the persona's.
        id: The ID of the conversation in the run log.
        notify: Called with a one-line notice whenever messages are left out.
        left_out: The number of the oldest messages that are no longer sent.
    """

    def __init__(
        self, runner: PersonaRunner, start: Start, persona: Reference, **setup: Unpack[Setup]
    ) -> None:
        self._reference, self._persona = persona, runner.load(persona)
        check_names(setup, Setup, self._persona.variables)
        for name in ("variables", "parameters"):
            if not isinstance(given := setup.get(name) or {}, Mapping):
                found = type(given).__name__
                raise UsageError(f"{name} must be a mapping of names to values, found {found}")
        self._runner, self._start = runner, start
        self.variables = dict(setup.get("variables") or {})
        self.parameters = dict(setup.get("parameters") or {})
        self.model, self.id = setup.get("model"), setup.get("id") or new_id()
        self.notify, self.left_out = setup.get("notify") or _log.warning, 0
        self._messages = tuple(setup.get("messages") or ())
        self._unanswered: list[str | Message] = []
        self._open: tuple[Message, ...] = ()  # the last answer, if it has calls without a result
        self._asked = ""
        self._busy = threading.Lock()

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield from (("persona", self._persona.name), ("id", self.id))
        names = "model messages variables parameters".split()
        yield from ((name, value) for name in names if (value := getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        setup = {
            "model": self.model,
            "variables": self.variables,
            "parameters": self.parameters,
            "id": self.id,
            "messages": self._messages,
        }
        return _unpickled, (self._runner, self._reference, setup)

    @property
    def persona(self) -> Persona:
        """The persona that answers; set it to a name, a path or a persona."""
        return self._persona

    @persona.setter
    def persona(self, persona: Reference) -> None:
        self._persona = self._runner.load(persona)
        self._reference, self.left_out = persona, 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history, without the persona's own messages."""
        return self._messages

    # --- a turn; `Turns` has the four ways to run it ---------------------------------------------

    @keywords
    def prepare(
        self, prompt: str | Message | Request | None = None, **options: Unpack[AllOptions]
    ) -> Request:
        """Return the request of a turn after the plugins changed it; nothing is sent."""
        head, said = self._rendered(prompt, options)
        policy, history = self._persona.history, self._past(prompt)[self.left_out :]
        results = isinstance(prompt, Request)
        if policy is not None:
            history = newest(history, policy.keep, before_results=results)
        messages = (*head.messages, *history, *said.messages)
        at = len(head.messages)
        request = head.replace(messages=messages, history=history, _history_at=at)
        options["attachments"] = ()  # they are in the request
        return self._runner.prepare(self._persona, request, **options)

    def _turn(self, prompt: Said, options: AllOptions) -> Turn:
        async def turn(emit: Emit | None) -> Any:
            with self._alone():
                if not isinstance(prompt, str | Message | Request | None):
                    return await self._resumed(prompt, options, emit)
                if prompt is not None and not isinstance(prompt, Request):
                    self._unanswered = [prompt]
                past = self._past(prompt)
                head, said = await self._loaded(prompt, options)
                if not isinstance(prompt, Request):
                    self._unanswered = list(said.messages)
                before = (*past, *said.messages)
                tap = TextTap()
                try:
                    emit = tap.through(emit)
                    response = await self._send(head, past, said, options, tap, emit)
                except BaseException as error:
                    if tap.text and not isinstance(error, Exception):
                        self._grow(before, [Message("assistant", tap.text)])
                    raise
                if not isinstance(response, Response):
                    return response  # suspended: the turn is not over
                if response.history is not None:
                    # What was left out was not sent, so no plugin can have replaced it.
                    kept = past[: self.left_out]
                    before = (*kept, *response.history, *said.messages)
                self._grow(before, response.messages)
                return response

        return turn

    async def _resumed(self, given: Resumption, options: AllOptions, emit: Emit | None) -> Any:
        """Continue a turn that waits for a person.

        Raises:
            UsageError: The conversation has gone on since.
        """
        request: Request = await loading(lambda: self._runner.request_of(given.id))
        size = len(request.history)
        said = request.messages[request._history_at + size :]
        past = self._messages
        if self._open and said and said[0].role == "tool":
            past = (*past[: -len(self._open)], *self._open)
        start = len(past) - size
        # Only a persona with `history:` leaves out old messages.
        fits = not start or (start > 0 and self._persona.history is not None)
        if not fits or past[start:] != request.history:
            raise UsageError(
                f"run {given.id} is a turn of this conversation as it was before other turns; "
                f"continue it by itself: runner.resume({given.id!r}, answer)"
            )
        logged: Any = {**options, "conversation": self.id}
        response = await self._start(self._persona, given, logged)(emit)
        if isinstance(response, Response):
            if response.history is not None:
                past = (*past[:start], *response.history)
            self._grow((*past, *said), response.messages)
        return response

    async def _loaded(self, prompt: Said, options: AllOptions) -> tuple[Request, Request]:
        """Return what `_rendered` does; it compiles the templates of the first turn."""
        if isinstance(prompt, str) and self._runner.catalog.is_ready(self._persona):
            return self._rendered(prompt, options)
        return await loading(functools.partial(self._rendered, prompt, options))

    def _past(self, prompt: Said) -> tuple[Message, ...]:
        """Return the history before a prompt; before the results of calls, with these calls."""
        if not isinstance(prompt, Request):
            return self._messages
        missing = open_calls(self._open)
        if not missing or {m.tool_call_id for m in prompt.messages[-len(missing) :]} != missing:
            raise UsageError(
                "the request does not continue the last turn of this conversation: pass a text, a "
                "message, or `response.continue_with(results)` of its last response"
            )
        return (*self._messages[: -len(self._open)], *self._open)

    def _rendered(self, prompt: Said, options: AllOptions) -> tuple[Request, Request]:
        """Return the request without the user's message, and the request with only that message."""
        persona, text = self._persona, None if isinstance(prompt, Request) else prompt
        if isinstance(prompt, Message | Request):
            persona = dataclasses.replace(persona, prompt=None)
        if isinstance(prompt, Message):
            text = prompt.text
        request = self._runner.render(
            persona,
            text if isinstance(text, str) else None,
            variables={**self.variables, **(options.get("variables") or {})},
            model=options.get("model") or self.model,
            parameters={**self.parameters, **(options.get("parameters") or {})},
            output=options.get("output"),
        )
        end = len(request.messages) - (text is not None or persona.prompt is not None)
        head, said = request.messages[:end], request.messages[end:]
        if isinstance(prompt, Message):
            said = (prompt,)
        if isinstance(prompt, Request):
            said = prompt.messages[-len(open_calls(self._open)) :]
            request = request.with_tools(*prompt.tools)
        spoken = attached(request.replace(messages=said), options.get("attachments", ()))
        if not spoken.messages and self._messages:
            raise UsageError("the prompt is missing: a turn of a conversation needs one")
        return request.replace(messages=head), spoken

    async def _send(
        self,
        head: Request,
        history: tuple[Message, ...],
        said: Request,
        options: AllOptions,
        tap: TextTap,
        emit: Emit | None,
    ) -> Response:
        """Return the response; send less of the history if the persona or upstream requires it."""
        persona = self._persona
        results = bool(said.messages) and said.messages[0].role == "tool"
        if head.model != self._asked:  # more may fit this one
            self._asked, self.left_out = head.model, 0
        if persona.history is not None:
            keep = persona.history.keep
            kept = newest(history, keep, before_results=results)
            self._leave_out(kept, f"history: {{keep: {keep}}}")
        while True:
            sent = history[self.left_out :]
            messages = (*head.messages, *sent, *said.messages)
            at = len(head.messages)
            request = head.replace(messages=messages, history=sent, _history_at=at)
            try:
                logged = {**options, "attachments": (), "conversation": self.id}
                response: Response = await self._start(persona, request, logged)(emit)
                return response
            except BackendError as error:
                if tap.text or not too_long(error):
                    raise
                less = newest(sent, len(sent) // 2, before_results=results)
                if persona.history is None or len(less) == len(sent):
                    raise with_remedies(error, len(sent)) from error
                why = f"the history no longer fits {request.model or 'the model'}"
                self._leave_out(less, why)

    def _leave_out(self, kept: tuple[Message, ...], why: str) -> None:
        count = len(self._messages) - len(kept)
        if count > self.left_out:
            self.left_out = count
            oldest, verb = ("oldest", "is") if count == 1 else (f"{count} oldest", "are")
            total = len(self._messages)
            self.notify(f"the {oldest} of {total} messages {verb} no longer sent ({why})")

    def _grow(self, before: Iterable[Message], answer: Sequence[Message]) -> None:
        self._messages = (*before, *closed(answer))
        self._unanswered = []
        self._open = tuple(answer) if open_calls(answer) else ()

    # --- going back ------------------------------------------------------------------------------

    def undo(self) -> str | Message | None:
        """Remove the last turn, answered or not, and return its user message.

        Raises:
            UsageError: There is no turn, or a turn is running.
        """
        with self._alone():
            if self._unanswered:
                return self._unanswered.pop()
            if not self._messages:
                raise UsageError("cannot undo: the conversation has no turns yet")
            at = len(self._messages) - 1
            while at > 0 and self._messages[at].role != "user":
                at -= 1
            removed, self._messages = self._messages[at], self._messages[:at]
            self._open = ()
            self.left_out = 0  # more may fit now
            return removed if removed.role == "user" else None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from personakit.display import conversation_bundle  # noqa: PLC0415

        return conversation_bundle(self)

    def reset(self) -> None:
        """Clear the history and start a new conversation, with a new ID in the run log.

        Raises:
            UsageError: A turn is running.
        """
        with self._alone():
            self._messages, self._unanswered, self.left_out = (), [], 0
            self._open = ()
            self.id = new_id()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "another turn of this conversation is running; let it end or close its stream"
            )
        try:
            yield
        finally:
            self._busy.release()

    def save(self, path: str | Path) -> None:
        """Write the conversation to a JSON file that only its owner can read; `load` reads it.

        Raises:
            UsageError: The file cannot be written.
        """
        mine, reference = self._persona, self._reference
        if isinstance(reference, Persona):
            reference = QUESTION_PATH if mine.path == QUESTION_PATH else mine.name
        question = mine.system if reference == QUESTION_PATH else None
        written = transcript.Written(
            persona=str(reference),
            system=question.source if question else "",
            id=self.id,
            model=self.model and self._runner.config.resolve(self.model),
            variables=self.variables,
            parameters=self.parameters,
            messages=self._messages,
        )
        transcript.write(Path(path), written)

    @classmethod
    def load(cls, path: str | Path, runner: PersonaRunner) -> Conversation:
        """Return the conversation that `save` wrote.

        Raises:
            UsageError: The file cannot be read or is invalid, or its persona is not found.
        """
        written = transcript.read(Path(path))
        is_question = written.persona == QUESTION_PATH
        return runner.conversation(
            question_persona(written.system) if is_question else written.persona,
            id=written.id,
            model=written.model,
            variables=written.variables,
            parameters=written.parameters,
            messages=written.messages,
        )


def _unpickled(runner: PersonaRunner, persona: Reference, setup: Setup) -> Conversation:
    return runner.conversation(persona, **setup)


def new_id() -> str:
    """Return a random ID for a new conversation."""
    return os.urandom(8).hex()
