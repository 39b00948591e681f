"""Conversation: a persona, and what was said so far.

A turn is a run like any other: its request is what the persona renders, with the history put in
before what the user says.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from personakit.base import Emit, TextTap
from personakit.conversation import transcript
from personakit.conversation.length import closed, newest, too_long, with_remedies
from personakit.errors import BackendError, UsageError
from personakit.messages import Message, Request, Response
from personakit.persona import Persona, Reference
from personakit.pipeline import Options, Run, Stream, attached, check_names, run_async, run_sync

if TYPE_CHECKING:
    from personakit.config import Config
    from personakit.pipeline import Prompt

Said = str | Message | None
"""What the user says: a text, which goes through the persona's `prompt:`, or a message as it is."""

Turn = Callable[[Emit | None], Coroutine[Any, Any, Response]]
Start = Callable[[Reference, Request, Any], Turn]

_log = logging.getLogger("personakit")


class PersonaRunner(Protocol):
    """What a conversation needs of a `Runner`, whose module imports this one."""

    config: Config

    def load(self, persona: Reference) -> Persona:
        """As `Runner.load`."""
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
        """As `Runner.render`."""
        ...

    def prepare(
        self, persona: Reference, prompt: Prompt = None, **options: Unpack[Options]
    ) -> Request:
        """As `Runner.prepare`."""
        ...

    def conversation(self, persona: Reference, **setup: Unpack[Setup]) -> Conversation:
        """As `Runner.conversation`."""
        ...


class Setup(TypedDict, total=False):
    """What a conversation is made with, by name.

    Attributes:
        model: ``provider/model``; None for what `Runner.render` would choose.
        variables: Values for the persona's variables.
        parameters: Parameters of chat.completions.create() over those of the persona.
        id: What the log calls the conversation; None for a new one.
        messages: What was said before.
        notify: Told in one line whenever messages are left out; None writes it to the log.
    """

    model: str | None
    variables: Mapping[str, Any] | None
    parameters: Mapping[str, Any] | None
    id: str | None
    messages: Iterable[Message]
    notify: Callable[[str], None] | None


class Conversation:
    """A persona and what was said so far; made by `Runner.conversation`.

    It takes one turn at a time. When a turn ends, the history grows by what the user said, as it
    was rendered, and by `Response.messages`. A turn that fails leaves the history as it was. Of a
    turn that is stopped (Ctrl-C, a closed stream, a cancelled task), what had been said is kept, so
    that the next turn can go on from it; without any text it counts as failed. `undo` returns what
    the user said, so ``conversation.run(conversation.undo())`` tries a turn again.

    Attributes:
        model: The model that was chosen; None leaves it to the persona and the config.
        variables: Values for the persona's variables.
        parameters: Parameters over those of the persona.
        id: What the log calls the conversation.
        notify: Told in one line whenever messages are left out.
        left_out: How many of the oldest messages are no longer sent.
    """

    def __init__(
        self, runner: PersonaRunner, start: Start, persona: Reference, **setup: Unpack[Setup]
    ) -> None:
        check_names(setup, Setup)
        self._runner, self._start = runner, start
        self._reference, self._persona = persona, runner.load(persona)
        self.variables = dict(setup.get("variables") or {})
        self.parameters = dict(setup.get("parameters") or {})
        self.model, self.id = setup.get("model"), setup.get("id") or new_id()
        self.notify, self.left_out = setup.get("notify") or _log.warning, 0
        self._messages = tuple(setup.get("messages") or ())
        self._unanswered: list[str | Message] = []
        self._asked = ""
        self._busy = threading.Lock()

    @property
    def persona(self) -> Persona:
        """Who answers; set it to a name, a path or a persona."""
        return self._persona

    @persona.setter
    def persona(self, persona: Reference) -> None:
        self._persona = self._runner.load(persona)
        self._reference, self.left_out = persona, 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said: the history, without the persona's own messages."""
        return self._messages

    # --- a turn, in four ways --------------------------------------------------------------------

    def run(self, prompt: Said = None, **options: Unpack[Options]) -> Response:
        """Say something and return the whole answer.

        Args:
            prompt: What the user says: a text, or a message that is sent as it is. None lets the
                persona begin, or say its `prompt:` if that takes no input.
            options: Those of `Runner.run`; variables and parameters go over the conversation's.

        Raises:
            UsageError: A turn is under way, there is nothing to say, or as in `Runner.render`.
            RunError: The turn failed. An upstream's refusal for length says what to do.
        """
        return run_sync(self._turn(prompt, options))

    async def arun(self, prompt: Said = None, **options: Unpack[Options]) -> Response:
        """As `run`, awaited."""
        return await run_async(self._turn(prompt, options))

    def stream(self, prompt: Said = None, **options: Unpack[Options]) -> Stream[Response]:
        """As `run`, but return an iterator of the answer's text; the turn begins with its first."""
        return Stream(Run(self._turn(prompt, options)), is_async=False)

    def astream(self, prompt: Said = None, **options: Unpack[Options]) -> Stream[Response]:
        """As `stream`, for `async for`."""
        return Stream(Run(self._turn(prompt, options)), is_async=True)

    def prepare(self, prompt: Said = None, **options: Unpack[Options]) -> Request:
        """Return the request of a turn as it would leave, after the plugins; nothing is sent."""
        head, said = self._rendered(prompt, options)
        policy, history = self._persona.history, self._messages[self.left_out :]
        history = newest(history, policy.keep) if policy is not None else history
        request = head.replace(messages=(*head.messages, *history, *said.messages))
        options["attachments"] = ()  # they are in the request
        return self._runner.prepare(self._persona, request, **options)

    def _turn(self, prompt: Said, options: Options) -> Turn:
        async def turn(emit: Emit | None) -> Response:
            with self._alone():
                if prompt is not None:
                    self._unanswered = [prompt]
                head, said = self._rendered(prompt, options)
                self._unanswered = list(said.messages)
                tap = TextTap()
                try:
                    response = await self._send(head, said, options, tap, tap.through(emit))
                except BaseException as error:
                    if tap.text and not isinstance(error, Exception):
                        self._grow(said.messages, [Message("assistant", tap.text)])
                    raise
                self._grow(said.messages, response.messages)
                return response

        return turn

    def _rendered(self, prompt: Said, options: Options) -> tuple[Request, Request]:
        """Return the request without what the user says, and with nothing but that."""
        persona, text = self._persona, prompt
        if isinstance(prompt, Message):
            persona, text = dataclasses.replace(persona, prompt=None), prompt.text
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
        spoken = attached(request.replace(messages=said), options.get("attachments", ()))
        if not spoken.messages and self._messages:
            raise UsageError("there is nothing to say: a turn of a conversation needs a prompt")
        return request.replace(messages=head), spoken

    async def _send(
        self, head: Request, said: Request, options: Options, tap: TextTap, emit: Emit | None
    ) -> Response:
        """Return the answer, sending less of the history when the persona or the upstream asks."""
        persona, history = self._persona, self._messages
        if head.model != self._asked:  # more may fit this one
            self._asked, self.left_out = head.model, 0
        if persona.history is not None:
            keep = persona.history.keep
            self._leave_out(newest(history, keep), f"history: {{keep: {keep}}}")
        while True:
            sent = history[self.left_out :]
            request = head.replace(messages=(*head.messages, *sent, *said.messages))
            try:
                logged = {**options, "attachments": (), "conversation": self.id}
                return await self._start(persona, request, logged)(emit)
            except BackendError as error:
                if tap.text or not too_long(error):
                    raise
                if persona.history is None or not sent:
                    raise with_remedies(error, len(sent)) from error
                why = f"the whole no longer fits {request.model or 'the model'}"
                self._leave_out(newest(sent, len(sent) // 2), why)

    def _leave_out(self, kept: tuple[Message, ...], why: str) -> None:
        count = len(self._messages) - len(kept)
        if count > self.left_out:
            self.left_out = count
            oldest = "oldest message is" if count == 1 else f"{count} oldest messages are"
            self.notify(f"the {oldest} no longer sent, of {len(self._messages)} ({why})")

    def _grow(self, said: Iterable[Message], answer: Iterable[Message]) -> None:
        self._messages = (*self._messages, *said, *closed(answer))
        self._unanswered = []

    # --- going back ------------------------------------------------------------------------------

    def undo(self) -> Said:
        """Take back the last turn, answered or not, and return what the user said in it.

        Raises:
            UsageError: There is none, or a turn is under way.
        """
        with self._alone():
            if self._unanswered:
                return self._unanswered.pop()
            if not self._messages:
                raise UsageError("there is nothing to take back: nothing was said yet")
            at = len(self._messages) - 1
            while at > 0 and self._messages[at].role != "user":
                at -= 1
            taken, self._messages = self._messages[at], self._messages[:at]
            self.left_out = 0  # more may fit now
            return taken if taken.role == "user" else None

    def reset(self) -> None:
        """Forget what was said and begin a new conversation, which the log calls by another id.

        Raises:
            UsageError: A turn is under way.
        """
        with self._alone():
            self._messages, self._unanswered, self.left_out = (), [], 0
            self.id = new_id()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "a turn of this conversation is under way; let it end, or close its stream, first"
            )
        try:
            yield
        finally:
            self._busy.release()

    def save(self, path: str | Path) -> None:
        """Write the conversation to a JSON file that only its owner can read; `load` reads it.

        Raises:
            UsageError: It cannot be written.
        """
        reference = self._persona.name if isinstance(self._reference, Persona) else self._reference
        written = transcript.Written(
            persona=str(reference),
            id=self.id,
            model=self.model,
            variables=self.variables,
            parameters=self.parameters,
            messages=self._messages,
        )
        transcript.write(Path(path), written)

    @classmethod
    def load(cls, path: str | Path, runner: PersonaRunner) -> Conversation:
        """Return the conversation that `save` wrote.

        Raises:
            UsageError: The file cannot be read or is none, or its persona is not found.
        """
        written = transcript.read(Path(path))
        return runner.conversation(
            written.persona,
            id=written.id,
            model=written.model,
            variables=written.variables,
            parameters=written.parameters,
            messages=written.messages,
        )


def new_id() -> str:
    """Return a name for a new conversation."""
    return os.urandom(8).hex()
