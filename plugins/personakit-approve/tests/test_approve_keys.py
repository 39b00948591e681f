"""Questions to the client of a server, who answers for its own run alone."""

from typing import Any

from personakit_approve import Approve

from personakit import Key, Question, Response, ToolCall
from personakit.ledger import calling
from personakit.testing import persona, runner


def test_a_client_cannot_approve_for_good() -> None:
    asked: list[Question] = []

    def answers(question: Question) -> str:
        asked.append(question)
        return "yes"

    def lookup(word: str) -> str:
        return word

    made = Response("", (ToolCall("c1", "lookup", '{"word": "tea"}'),), "tool_calls")
    options: Any = {"plugins": [Approve()], "ask": answers}
    for key in (None, Key("anna")):
        running, _ = runner([made, "Done."], **options)
        token = calling.set(key)
        try:
            assert running.run(persona(), "Hi", tools=[lookup]).text == "Done."
        finally:
            calling.reset(token)
    local, remote = (set(question.choices) for question in asked)
    assert local - remote == {"yes for good"}
