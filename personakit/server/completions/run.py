"""A run of a persona for a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personakit.frozen import quick_init
from personakit.journal import Resumption, Suspended
from personakit.messages import Request
from personakit.persona import Persona
from personakit.pipeline import BETWEEN
from personakit.server.callers.access import Caller
from personakit.server.completions import answer
from personakit.server.completions.body import Asked
from personakit.server.completions.held import Held


@quick_init
@dataclass(frozen=True, slots=True)
class Run:
    """A run of a persona for a client.

    Attributes:
        id: Its id, also in the run log.
        persona: The persona.
        prompt: The request, or the answers with which a suspended run goes on.
        options: The options of the run.
        asked: What the client asks for.
        caller: Who asks.
        held: What is kept between the requests of the caller.
        before: The text that the client has from before the run was suspended.
    """

    id: str
    persona: Persona
    prompt: Request | Resumption
    options: Any
    asked: Asked
    caller: Caller
    held: Held
    before: str = ""

    async def keep(self, response: Any, calls: Sequence[str]) -> list[dict[str, Any]]:
        """Keep what the run needs if the client answers its calls or questions.

        Args:
            response: A response, or a suspended run.
            calls: The ids of the calls for the client, by their numbers.

        Returns:
            The questions of a suspended run, as calls of the client's tool.
        """
        if isinstance(response, Suspended):
            return await self.held.keep_questions(self.id, response)
        if calls:
            await self.held.keep(self.id, response, calls)
        elif isinstance(self.prompt, Resumption):
            await self.held.forget(self.id)
        return []

    def usage(self, response: Any) -> dict[str, Any] | None:
        """Return the tokens of the run, and their cost."""
        spent = response.spent
        return None if spent is None else answer.usage_of(spent.usage, spent.cost)

    def completion(self, response: Any, questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the whole chat completion of a response, or of a suspended run's questions."""
        text, model = self.new_text(response.text), self.asked.model
        if isinstance(response, Suspended):
            return answer.whole(self.id, model, text, questions, None, self.usage(response))
        calls = [
            self.asked.tools.as_call(answer.call_id(self.id, number), call.name, call.arguments)
            for number, call in enumerate(response.tool_calls)
        ]
        usage = self.usage(response)
        return answer.whole(self.id, model, text, calls, response, usage)

    def new_text(self, text: str) -> str:
        """Return the part of a text that the client does not have yet."""
        if self.before and text.startswith(self.before):
            return text[len(self.before) :].removeprefix(BETWEEN)
        return text
