"""The length of a conversation: what is left out, and what a refusal for length says."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from helpers.conversation import keeping, past, say, shown, talk
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    BadRequest,
    Conversation,
    Message,
    Persona,
    RateLimited,
    Request,
    ToolCall,
    UsageError,
)
from personakit.conversation.length import newest
from personakit.testing import MODES, runner

PNG = b"\x89PNG\r\n\x1a\n..."


TOO_LONG = BadRequest("This model's maximum context length is 10 tokens", status=400)


def test_without_someone_to_notify_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    conversation, _ = talk(["x"], keeping(1), messages=past(2))
    with caplog.at_level(logging.WARNING, "personakit"):
        conversation.run("a")
    assert "the 4 oldest of 4 messages are no longer sent" in caplog.text


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
        "the 14 oldest of 16 messages are no longer sent (the history no longer fits test/model)"
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
        ("{", "not a saved conversation"),
        ("[]", "not a saved conversation"),
        ('{"format": 2}', "expected format 1, found 2"),
        ('{"format": 1}', "key 'persona' is missing"),
        ('{"format": 1, "persona": "x", "id": "a", "messages": [{"role": "system"}]}', "the role"),
        ('{"format": 1, "persona": "x", "id": "a", "messages": 5}', "not a saved conversation"),
        ("[" * 100_000, "not a saved conversation"),
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
    with pytest.raises(UsageError, match="the prompt is missing"):
        conversation.run(attachments=iter([]))
    with pytest.raises(UsageError, match="attachments must be a list"):
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
