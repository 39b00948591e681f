"""Conversations: turns in all four ways, going back, what is kept, and files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers.conversation import CHEF, keeping, past, say, shown, talk

from personakit import (
    Message,
    Persona,
    PersonaNotFound,
    Request,
    Response,
    Runner,
    ToolCall,
    UpstreamUnavailable,
    UsageError,
    VariableError,
    hookimpl,
)
from personakit.testing import MODES, Upstream, runner

HEAD = [
    ("system", "Act as Florent."),
    ("user", "What is in season?"),
    ("assistant", "Kale."),
]


@pytest.mark.parametrize("mode", MODES)
def test_a_turn_goes_on_from_the_turns_before(mode: str) -> None:
    conversation, upstream = talk(["Soup.", "With bread."])
    assert say(conversation, mode, "Dinner?").text == "Soup."
    assert say(conversation, mode, "And with it?").text == "With bread."
    assert shown(upstream.requests[0].messages) == [*HEAD, ("user", "Guest: Dinner?")]
    assert shown(upstream.requests[1].messages) == [
        *HEAD,
        ("user", "Guest: Dinner?"),
        ("assistant", "Soup."),
        ("user", "Guest: And with it?"),
    ]
    assert shown(conversation.messages)[-1] == ("assistant", "With bread.")
    assert len(conversation.messages) == 4


@pytest.mark.parametrize("mode", MODES)
def test_a_turn_that_fails_leaves_the_history_and_can_be_sent_again(mode: str) -> None:
    conversation, upstream = talk(["One.", UpstreamUnavailable("down"), "Two."])
    say(conversation, mode, "a")
    with pytest.raises(UpstreamUnavailable):
        say(conversation, mode, "b")
    assert len(conversation.messages) == 2
    again = conversation.undo()
    assert say(conversation, mode, again).text == "Two."
    assert upstream.requests[1].messages == upstream.requests[2].messages
    assert shown(conversation.messages)[2:] == [("user", "Guest: b"), ("assistant", "Two.")]


def test_a_prompt_that_cannot_be_rendered_is_not_lost() -> None:
    who = Persona.parse("system: In {{ town }}.\nvariables: {town: {type: string}}\n")
    conversation, upstream = talk(["Hello."], who)
    with pytest.raises(VariableError, match="town"):
        conversation.run("a long text")
    conversation.variables["town"] = "Lyon"
    conversation.run(conversation.undo())
    assert shown(upstream.requests[0].messages) == [("system", "In Lyon."), ("user", "a long text")]


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_what_a_stopped_answer_had_said_is_kept(mode: str) -> None:
    conversation, upstream = talk(["A long answer.", "Done."])
    if mode == "stream":
        with conversation.stream("a") as pieces:
            assert next(pieces) == "A l"
    else:

        async def stop() -> None:
            async with conversation.astream("a") as pieces:
                assert await anext(pieces) == "A l"

        asyncio.run(stop())
    assert shown(conversation.messages) == [("user", "Guest: a"), ("assistant", "A l")]
    conversation.run("Go on.")
    assert shown(upstream.requests[1].messages)[3:] == [
        ("user", "Guest: a"),
        ("assistant", "A l"),
        ("user", "Guest: Go on."),
    ]


@pytest.mark.parametrize("mode", ["run", "stream"])
def test_ctrl_c_before_any_text_leaves_the_history_and_the_prompt(mode: str) -> None:
    class Interrupted(Upstream):
        async def send(self, request: Request, emit: Any = None) -> Response:
            raise KeyboardInterrupt

    made, _ = runner()
    conversation = Runner(made.config, backend=Interrupted()).conversation(CHEF)
    with pytest.raises(KeyboardInterrupt):
        say(conversation, mode, "a")
    assert conversation.messages == ()
    assert conversation.undo() == Message("user", "Guest: a")
    with pytest.raises(UsageError, match="cannot undo"):
        conversation.undo()


def test_a_cancelled_task_is_a_stopped_turn() -> None:
    conversation, _ = talk(["A long answer."])

    async def main() -> None:
        started = asyncio.Event()

        async def read() -> None:
            async for _ in conversation.astream("a"):
                started.set()
                await asyncio.sleep(3600)

        task = asyncio.create_task(read())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert shown(conversation.messages) == [("user", "Guest: a"), ("assistant", "A l")]


def test_one_turn_at_a_time() -> None:
    conversation, _ = talk(["A long answer."])
    with conversation.stream("a") as pieces:
        next(pieces)
        for other in (lambda: conversation.run("b"), conversation.undo, conversation.reset):
            with pytest.raises(UsageError, match="another turn of this conversation is running"):
                other()
    assert conversation.run("c").text == "A long answer."
    conversation.stream("never read")
    assert conversation.run("d").text == "A long answer."


def test_undo_and_reset() -> None:
    conversation, upstream = talk(["One.", "Two.", "Three."])
    conversation.run("a")
    conversation.run("b")
    assert conversation.undo() == Message("user", "Guest: b")
    assert shown(conversation.messages) == [("user", "Guest: a"), ("assistant", "One.")]
    before = conversation.id
    conversation.reset()
    assert (conversation.messages, conversation.id == before) == ((), False)
    conversation.run("c")
    assert shown(upstream.requests[-1].messages) == [*HEAD, ("user", "Guest: c")]


def test_the_persona_the_model_and_the_variables_can_change_between_turns() -> None:
    conversation, upstream = talk(["One."], model="test/a", parameters={"seed": 1})
    conversation.run("a")
    conversation.model, conversation.variables["cook"] = "test/b", "Zoë"
    conversation.parameters["seed"] = 2
    conversation.run("b", variables={"cook": "Ana"}, parameters={"top_p": 1})
    first, then = upstream.requests
    assert (first.model, then.model) == ("test/a", "test/b")
    assert then.system == "Act as Ana."
    assert then.parameters == {"seed": 2, "top_p": 1}
    conversation.persona = Persona.parse("system: You are a poet.\nname: poet\n")
    conversation.variables.clear()
    conversation.run("c", model="test/c")
    last = upstream.requests[-1]
    assert (last.persona, last.model, len(last.messages)) == ("poet", "test/c", 6)
    assert shown(last.messages)[-1] == ("user", "c")
    with pytest.raises(PersonaNotFound):
        conversation.persona = "nobody-here"
    assert conversation.persona.name == "poet"


def test_the_persona_may_begin_and_then_it_is_the_users_turn() -> None:
    conversation, upstream = talk(["Hello, I am Florent.", "Soup."], Persona.parse("system: x"))
    conversation.run()
    assert shown(conversation.messages) == [("assistant", "Hello, I am Florent.")]
    with pytest.raises(UsageError, match="the prompt is missing"):
        conversation.run()
    conversation.run("Dinner?")
    assert [m.role for m in upstream.requests[1].messages] == ["system", "assistant", "user"]
    conversation.undo()
    assert conversation.undo() is None
    assert conversation.messages == ()


def test_a_message_is_sent_as_it_is() -> None:
    conversation, upstream = talk(["A cat."])
    parts = ({"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}})
    conversation.run(Message("user", parts))  # type: ignore[arg-type]
    assert upstream.requests[0].messages[-1].content == parts
    assert conversation.undo() == Message("user", parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_calls_of_tools_stay_in_the_history(mode: str) -> None:
    def clock() -> str:
        """Tell the time."""
        return "noon"

    class Clock:
        @hookimpl
        def setup(self, registry: Any) -> None:
            registry.tool(clock)

    call = Response("", tool_calls=(ToolCall("1", "clock"),), finish_reason="tool_calls")
    running, upstream = runner([call, "It is noon.", "Still noon."], plugins=[Clock()])
    who = Persona.parse("system: x\ntools: [clock]\n")
    conversation = running.conversation(who)
    say(conversation, mode, "What time is it?")
    say(conversation, mode, "And now?")
    roles = [message.role for message in upstream.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    conversation.undo()
    conversation.undo()
    assert conversation.messages == ()


def test_what_the_next_turn_would_be_refused_for_is_not_kept() -> None:
    call = Response("", tool_calls=(ToolCall("1", "nobody"),), finish_reason="tool_calls")
    conversation, _ = talk([call, ""])
    conversation.run("a")
    conversation.run("b")
    answers = [m for m in conversation.messages if m.role == "assistant"]
    assert answers == [Message("assistant", ""), Message("assistant", "")]


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_persona_says_how_much_is_kept_and_it_is_told(mode: str) -> None:
    notices: list[str] = []
    conversation, upstream = talk(["x"], keeping(3), messages=past(1), notify=notices.append)
    say(conversation, mode, "a")
    assert (len(upstream.requests[-1].messages), notices) == (4, [])
    say(conversation, mode, "b")
    assert shown(upstream.requests[-1].messages) == [
        ("system", "x"),
        ("user", "a"),
        ("assistant", "x"),
        ("user", "b"),
    ]
    assert notices == ["the 2 oldest of 4 messages are no longer sent (history: {keep: 3})"]
    assert (conversation.left_out, len(conversation.messages)) == (2, 6)


def test_nothing_but_the_prompt_is_kept_with_0() -> None:
    conversation, upstream = talk(["x"], keeping(0), messages=past(2), notify=lambda _: None)
    conversation.run("a")
    assert shown(upstream.requests[0].messages) == [("system", "x"), ("user", "a")]
