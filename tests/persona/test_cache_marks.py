"""The mark `cache: true` of a message, from the file to the request, the log and the wires."""

from __future__ import annotations

import pytest

from personakit import Config, Message, Persona, PersonaError, Runner
from personakit.codec import read_message, write_message
from personakit.testing import Server

MARKED = """\
variables: {what: rules}
system: {text: "The {{ what }}.", cache: true}
messages:
  - user: A question
  - assistant: "About {{ what }}"
    cache: true
  - {cache: false, user: Another}
"""


def test_marks_reach_the_messages_of_the_request() -> None:
    request = Runner(config=Config(model="test/model", path=())).render(
        Persona.parse(MARKED), "Hi!"
    )
    marks = [(message.role, message.text, message.cache) for message in request.messages]
    assert marks == [
        ("system", "The rules.", True),
        ("user", "A question", False),
        ("assistant", "About rules", True),
        ("user", "Another", False),
        ("user", "Hi!", False),
    ]
    assert [message.cache for message in request.with_system("More.").messages][:2] == [True, False]


def test_a_child_inherits_the_mark_with_the_text() -> None:
    parent = Persona.parse(MARKED)
    child = Persona.parse("extends: base", parents=lambda _: parent)
    assert child.system is not None
    assert child.system.cache


def test_openai_is_not_sent_the_mark() -> None:
    with Server() as server, Runner(config=server.config()) as runner:
        runner.run(Persona.parse(MARKED), "Hi!")
    assert all(
        message.keys() == {"role", "content"} for message in server.requests[0].body["messages"]
    )


def test_the_log_keeps_the_mark() -> None:
    message = Message("user", "a", cache=True)
    assert read_message(write_message(message)) == message
    assert "cache" not in write_message(Message("user", "a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("messages: [{user: a, cache: yes please}]", "1:29: cache: expected true or false, found"),
        ("messages: [{user: a, cash: true}]", "expected a role and its content"),
        ("messages: [{cache: true}]", "expected a role and its content"),
        (
            "system: {cache: true}",
            "system: the text is empty; write the system message under `text:`",
        ),
        ("system: {text: a, cash: true}", "unknown key 'cash'; did you mean 'cache'?"),
        ("system: {text: [a]}", "text: expected a string, found"),
    ],
)
def test_a_mark_that_is_wrong_is_reported(text: str, message: str) -> None:
    with pytest.raises(PersonaError) as caught:
        Persona.parse(text, "a.yaml")
    assert message in str(caught.value)


def test_the_hash_of_a_persona_without_marks_is_that_of_its_short_form() -> None:
    def hashed(source: str) -> str:
        runner = Runner(config=Config(model="test/model", path=()))
        return runner.catalog.compiled(Persona.parse(source)).hash

    assert (
        hashed("system: a")
        == hashed("system: {text: a}")
        != hashed("system: {text: a, cache: true}")
    )
