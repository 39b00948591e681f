"""Conversations: turns in all four ways, going back, what is kept, and files."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    BadRequest,
    Conversation,
    Message,
    Persona,
    PersonaNotFound,
    RateLimited,
    Request,
    Response,
    Runner,
    ToolCall,
    UpstreamUnavailable,
    UsageError,
    VariableError,
    hookimpl,
)
from personakit.conversation.length import newest
from personakit.testing import MODES, Answer, Upstream, runner

CHEF = Persona.parse(
    """
name: chef
system: Act as {{ cook }}.
variables: {cook: Florent}
messages:
  - user: What is in season?
  - assistant: Kale.
prompt: "Guest: {{ input }}"
"""
)
HEAD = [
    ("system", "Act as Florent."),
    ("user", "What is in season?"),
    ("assistant", "Kale."),
]
PNG = b"\x89PNG\r\n\x1a\n..."
TOO_LONG = BadRequest("This model's maximum context length is 10 tokens", status=400)


def say(conversation: Conversation, mode: str, prompt: Any = None, **options: Any) -> Response:
    """Take a turn in one of the four ways."""
    if mode == "run":
        return conversation.run(prompt, **options)
    if mode == "arun":
        return asyncio.run(conversation.arun(prompt, **options))
    if mode == "stream":
        stream = conversation.stream(prompt, **options)
        text = "".join(stream)
    else:
        stream = conversation.astream(prompt, **options)

        async def read() -> str:
            return "".join([piece async for piece in stream])

        text = asyncio.run(read())
    assert text == stream.response.text
    return stream.response


def talk(
    answers: list[Answer], persona: Persona = CHEF, **setup: Any
) -> tuple[Conversation, Upstream]:
    running, upstream = runner(answers)
    return running.conversation(persona, **setup), upstream


def shown(messages: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def keeping(keep: int) -> Persona:
    return Persona.parse(f"system: x\nhistory: {{keep: {keep}}}\n")


def past(turns: int) -> list[Message]:
    return [Message(r, f"{r} {n}") for n in range(turns) for r in ("user", "assistant")]


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
    with pytest.raises(UsageError, match="nothing to take back"):
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
            with pytest.raises(UsageError, match="under way"):
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
    with pytest.raises(UsageError, match="nothing to say"):
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
    assert notices == ["the 2 oldest messages are no longer sent, of 4 (history: {keep: 3})"]
    assert (conversation.left_out, len(conversation.messages)) == (2, 6)


def test_nothing_but_the_prompt_is_kept_with_0() -> None:
    conversation, upstream = talk(["x"], keeping(0), messages=past(2), notify=lambda _: None)
    conversation.run("a")
    assert shown(upstream.requests[0].messages) == [("system", "x"), ("user", "a")]


def test_without_someone_to_notify_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    conversation, _ = talk(["x"], keeping(1), messages=past(2))
    with caplog.at_level(logging.WARNING, "personakit"):
        conversation.run("a")
    assert "the 4 oldest messages are no longer sent" in caplog.text


ROLES = st.sampled_from(["user", "assistant", "tool"])


@given(st.lists(ROLES, max_size=12), st.integers(0, 14))
def test_a_cut_is_the_longest_that_begins_with_a_user(roles: list[Any], keep: int) -> None:
    messages = tuple(Message(role, str(n)) for n, role in enumerate(roles))
    kept = newest(messages, keep)
    assert len(kept) <= keep
    assert kept == messages[len(messages) - len(kept) :]
    assert kept == messages or not kept or kept[0].role == "user"
    if len(kept) < min(keep, len(messages)):
        starts = range(len(messages) - min(keep, len(messages)), len(messages) - len(kept))
        assert all(messages[n].role != "user" for n in starts)


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_for_length_sends_half_until_it_fits(mode: str) -> None:
    notices: list[str] = []
    fits = 4

    def model(request: Request) -> str:
        if len(request.messages) > fits:
            raise TOO_LONG
        return "Fits."

    conversation, upstream = talk([model], keeping(100), messages=past(8), notify=notices.append)
    assert say(conversation, mode, "a").text == "Fits."
    assert [len(r.messages) for r in upstream.requests] == [18, 10, 6, 4]
    assert notices[-1] == (
        "the 14 oldest messages are no longer sent, of 16 (the whole no longer fits test/model)"
    )
    # What did not fit is not sent again the next time, unless another model is asked.
    fits = 6
    say(conversation, mode, "b")
    assert [len(r.messages) for r in upstream.requests[4:]] == [6]
    fits = 100
    say(conversation, mode, "c", model="test/larger")
    assert [len(r.messages) for r in upstream.requests[5:]] == [22]


def test_undo_sends_again_what_had_been_left_out_and_fits_now() -> None:
    conversation, upstream = talk(["x"], keeping(2), messages=past(2), notify=lambda _: None)
    conversation.run("a")
    conversation.undo()
    conversation.undo()
    conversation.run("b")
    assert shown(upstream.requests[-1].messages)[1:3] == shown(past(1))


def test_without_a_policy_a_refusal_for_length_says_what_to_do() -> None:
    conversation, upstream = talk([TOO_LONG], messages=past(3))
    with pytest.raises(BadRequest) as caught:
        conversation.run("a")
    text = str(caught.value)
    assert "conversation of 6 messages no longer fits" in text
    for remedy in ("undo", "reset", "history: {keep: 20}", "maximum context length is 10"):
        assert remedy in text
    assert (caught.value.status, len(upstream.requests)) == (400, 1)


def test_a_prompt_that_is_too_long_by_itself_is_an_error_after_a_bounded_number_of_tries() -> None:
    conversation, upstream = talk(
        [TOO_LONG], keeping(10_000), messages=past(500), notify=lambda _: None
    )
    with pytest.raises(BadRequest, match="too long for the model on its own"):
        conversation.run("a" * 100)
    assert len(upstream.requests) <= 12


@pytest.mark.parametrize(
    ("said", "long"),
    [
        ("This model's maximum context length is 8192 tokens. However, …", True),
        ("Your input exceeds the context window of this model.", True),
        ("request (9412 tokens) exceeds the available context size (8192 tokens)", True),
        ("type exceed_context_size_error", True),
        ("prompt is too long: 213462 tokens > 200000 maximum", True),
        ("The input token count (1196265) exceeds the maximum number of tokens allowed", True),
        ("This model's maximum prompt length is 131072 but the request contains 537812", True),
        ("Please reduce the length of the messages or completion.", True),
        ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", True),
        ("`inputs` tokens + `max_new_tokens` must be <= 4097", True),
        ("Input is too long for requested model.", True),
        ("temperature is too large", False),
        ("unknown parameter 'context'", False),
    ],
)
def test_refusals_for_length_are_known_by_their_words(said: str, long: bool) -> None:
    conversation, _ = talk([BadRequest(said, status=400)], messages=past(1))
    with pytest.raises(BadRequest) as caught:
        conversation.run("a")
    assert ("no longer fits" in str(caught.value)) is long


def test_a_limit_of_tokens_a_minute_is_not_the_length() -> None:
    error = RateLimited("Request too large, reduce the length of the messages", status=413)
    conversation, _ = talk([error], keeping(9), messages=past(1))
    with pytest.raises(RateLimited) as caught:
        conversation.run("a")
    assert caught.value is error


def test_a_request_that_is_too_large_is_one_that_is_too_long() -> None:
    conversation, _ = talk([BadRequest("Payload Too Large", status=413)], messages=past(1))
    with pytest.raises(BadRequest, match="no longer fits"):
        conversation.run("a")


# --- files ---------------------------------------------------------------------------------------


def test_a_conversation_is_saved_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "cook.yaml").write_text("system: In {{ town }}.\nvariables: {town: Lyon}\n")
    running, upstream = runner(["One \U0001f372 \ud800.", "Two \x1b[2J \u2028."])
    conversation = running.conversation(
        str(tmp_path / "cook.yaml"), model="test/a", variables={"town": "Nice"},
        parameters={"seed": 1},
    )  # fmt: skip
    conversation.run("a\nb")
    calls = (ToolCall("1", "clock", "{}"),)
    parts: Any = [{"type": "text", "text": "x"}]
    extra = [Message("assistant", None, calls), Message("tool", "noon", tool_call_id="1")]
    whole = running.conversation(
        str(tmp_path / "cook.yaml"), id="abc", variables={"town": "Nice"}, model="test/a",
        messages=[*conversation.messages, Message("user", parts), *extra],
    )  # fmt: skip
    file = tmp_path / "dinner.json"
    whole.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    loaded = Conversation.load(file, running)
    assert loaded.messages == whole.messages
    assert (loaded.id, loaded.model, loaded.variables) == ("abc", "test/a", {"town": "Nice"})
    loaded.run("c")
    assert upstream.requests[-1].system == "In Nice."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "no saved conversation"),
        ("[]", "no saved conversation"),
        ('{"format": 2}', "its format is 2, not 1"),
        ('{"format": 1}', "it has no 'persona'"),
        ('{"format": 1, "persona": "x", "id": "a", "messages": [{"role": "system"}]}', "the role"),
        ('{"format": 1, "persona": "x", "id": "a", "messages": 5}', "no saved conversation"),
        ("[" * 100_000, "no saved conversation"),
    ],
)
def test_a_file_that_holds_no_conversation(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "x.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=said):
        Conversation.load(file, runner()[0])


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    conversation, _ = talk([])
    with pytest.raises(UsageError, match="cannot be written"):
        conversation.save(tmp_path / "no" / "x.json")


MESSAGES = st.one_of(
    st.builds(Message, st.sampled_from(["user", "assistant"]), st.text()),
    st.builds(Message, st.just("tool"), st.text(), tool_call_id=st.text()),
    st.builds(
        Message,
        st.just("assistant"),
        st.none(),
        st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), min_size=1),
    ),
)


@given(st.lists(MESSAGES, max_size=6))
def test_every_message_survives_a_file(tmp_path_factory: Any, messages: list[Message]) -> None:
    file = tmp_path_factory.mktemp("saved") / "x.json"
    conversation, _ = talk([], Persona.parse("name: chef\nsystem: x"), messages=messages)
    conversation.save(file)
    assert json.loads(file.read_text("utf-8"))["persona"] == "chef"
    from personakit.conversation import transcript

    assert transcript.read(file).messages == tuple(messages)


# --- attachments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prompt", ["Look!", Message("user", "Look!"), None])
def test_an_attachment_goes_along_once_and_is_kept(mode: str, prompt: Any) -> None:
    bare = Persona.parse("name: bare\nsystem: Act.")
    conversation, upstream = talk(["I see.", "Yes."], persona=bare)
    prepared = conversation.prepare(prompt, attachments=[PNG])
    say(conversation, mode, prompt, attachments=[PNG])
    assert upstream.requests[0].messages == prepared.messages
    assert [len(message.parts) for message in prepared.messages] == [0, 1]
    assert [len(message.parts) for message in conversation.messages] == [1, 0]
    say(conversation, mode, "Still?", attachments=[])
    assert [len(message.parts) for message in upstream.requests[1].messages] == [0, 1, 0, 0]


def test_an_empty_list_of_attachments_says_nothing() -> None:
    conversation, upstream = talk(["Hello.", "Again."], persona=Persona.parse("system: You begin."))
    conversation.run(attachments=[])
    assert [m.role for m in conversation.messages] == ["assistant"]
    with pytest.raises(UsageError, match="nothing to say"):
        conversation.run(attachments=iter([]))
    with pytest.raises(UsageError, match="attachments is a list"):
        conversation.run("Look!", attachments="cat.png")
    conversation.run(attachments=iter([PNG]))
    assert [m.role for m in upstream.requests[-1].messages] == ["system", "assistant", "user"]


def test_an_attachment_without_a_text_is_not_put_into_the_personas_own_messages() -> None:
    begins = Persona.parse("system: x\nmessages: [{user: Ask me something.}]")
    conversation, _ = talk(["A question."], persona=begins)
    conversation.run(attachments=[PNG])
    assert [(m.role, m.text, len(m.parts)) for m in conversation.messages] == [
        ("user", "", 1),
        ("assistant", "A question.", 0),
    ]
