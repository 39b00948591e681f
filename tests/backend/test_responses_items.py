"""What goes back in the Responses API: thoughts before what they led to, and nothing foreign."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.backend import in_modes
from helpers.responses import call, says, serving, thought
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import Message, Request, Response, Runner, ToolCall, hookimpl
from personakit.codec import read_message, read_response, write_message, write_response
from personakit.testing import in_mode, persona
from personakit.testing.responses import message

WHO = persona()


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}!"


def kinds(body: dict[str, Any]) -> list[str]:
    """Return what each item of an input is, with what identifies it."""
    names = {
        "message": ("role", "content"),
        "function_call": ("call_id",),
        "function_call_output": ("call_id",),
        "reasoning": ("encrypted_content",),
    }
    return [
        " ".join([item["type"], *(str(item[key]) for key in names.get(item["type"], ()))])
        for item in body["input"]
    ]


START = ["message system You are a test.", "message user Hi"]


@in_modes
def test_a_tool_loop_of_three_rounds_with_encrypted_thoughts(mode: str) -> None:
    answers = [
        says(thought(1, "Hm."), message("Let me see.", phase="commentary"),
             call("look_up", {"word": "a"}, "call_a")),
        says(thought(2), call("look_up", {"word": "b"}, "call_b"),
             call("look_up", {"word": "c"}, "call_c")),
        says(call("look_up", {"word": "d"}, "call_d"), thought(3),
             call("look_up", {"word": "e"}, "call_e")),
        says(thought(4, "So.", "Yes."), message("Done.", phase="final_answer")),
    ]  # fmt: skip
    with serving(*answers, "Bye.") as (running, server):
        answer = in_mode(mode, running, WHO, "Hi", tools=[look_up])
        request = running.render(WHO).with_messages(
            Message("user", "Hi"), *answer.messages, Message("user", "And?")
        )
        in_mode(mode, running, WHO, request)
    bodies = [request.body for request in server.requests]
    first = [
        "reasoning gAAA1",
        "message assistant Let me see.",
        "function_call call_a",
        "function_call_output call_a",
    ]
    second = [
        "reasoning gAAA2",
        "function_call call_b",
        "function_call call_c",
        "function_call_output call_b",
        "function_call_output call_c",
    ]
    third = [
        "function_call call_d",
        "reasoning gAAA3",
        "function_call call_e",
        "function_call_output call_d",
        "function_call_output call_e",
    ]
    last = ["reasoning gAAA4", "message assistant Done.", "message user And?"]
    rounds = [START, first, second, third, last]
    for number, body in enumerate(bodies):
        assert kinds(body) == [kind for one in rounds[: number + 1] for kind in one]
    sent = bodies[-1]["input"]
    assert [item["phase"] for item in sent if "phase" in item] == ["commentary", "final_answer"]
    assert sent[2] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA1",
    }
    # Ids of messages and calls name items that are not stored.
    assert not any("id" in item for item in sent if item["type"] != "reasoning")
    assert answer.text == "Let me see.\n\nDone."
    assert answer.reasoning.endswith("So.\n\nYes.")


@in_modes
def test_parallel_calls(mode: str) -> None:
    calls = [call("look_up", {"word": word}, f"call_{word}") for word in "ab"]
    with serving(says(*calls), "a! b!") as (running, server):
        answer = in_mode(mode, running, WHO, "Hi", tools=[look_up])
    assert kinds(server.requests[1].body)[2:] == [
        "function_call call_a",
        "function_call call_b",
        "function_call_output call_a",
        "function_call_output call_b",
    ]
    assert server.requests[1].body["input"][4]["output"] == "a!"
    assert answer.text == "a! b!"
    assert not any(one.items for one in answer.messages)


def again(running: Runner, *messages: Message, **options: Any) -> Response:
    """Run with messages in the history."""
    request = running.render(WHO).with_messages(*messages, Message("user", "And?"))
    return running.run(WHO, request, **options)


def test_several_messages_of_one_answer_stay_several() -> None:
    output = [
        thought(1),
        message("One.", phase="commentary"),
        message("", phase="commentary"),
        thought(2),
        message("Two.", phase="final_answer"),
    ]
    with serving(says(*output), "Bye.") as (running, server):
        answer = running.run(WHO, "Hi")
        again(running, answer.message)
        changed = answer.message.replace(content=answer.text.upper())
        again(running, changed)
        shorter = answer.message.replace(content="Other.")
        again(running, shorter)
    assert answer.text == "One.\n\nTwo."
    kept, same_size, other = (request.body["input"][1:-1] for request in server.requests[1:])
    assert [(item.get("content"), item.get("phase")) for item in kept] == [
        (None, None),
        ("One.", "commentary"),
        (None, None),
        ("Two.", "final_answer"),
    ]
    assert [item.get("content") for item in same_size] == [None, "ONE.", None, "TWO."]
    # Thoughts without what they led to are refused.
    assert [item.get("content") for item in other] == [None, "Other."]
    assert "phase" not in other[1]


def test_thoughts_without_what_they_led_to_stay_behind() -> None:
    output = [thought(1), call("look_up", {"word": "a"}, "call_a"), thought(2), message("Hello")]
    with serving(says(*output), "Bye.") as (running, server):
        answer = running.run(WHO, "Hi")
        for kept in (
            answer.message.replace(tool_calls=()),
            answer.message.replace(content=None),
            answer.message.replace(tool_calls=(ToolCall("call_x", "look_up", "{"),)),
        ):
            again(running, kept)
    inputs = [kinds(request.body)[1:-1] for request in server.requests[1:]]
    assert inputs == [
        ["reasoning gAAA2", "message assistant Hello"],
        ["reasoning gAAA1", "function_call call_a"],
        ["reasoning gAAA2", "message assistant Hello", "function_call call_x"],
    ]
    # Arguments that are not an object would make servers refuse the history.
    (item,) = [i for i in server.requests[3].body["input"] if i["type"] == "function_call"]
    assert json.loads(item["arguments"]) == {"arguments": "{"}


@in_modes
def test_unknown_items_are_kept_and_sent_back_in_their_place(mode: str) -> None:
    search = {"type": "odd_search", "id": "os_1", "status": "completed", "result": None}
    picture = {"type": "odd_picture", "id": "op_1", "levels": [[{"a": 1}]]}
    output = [thought(1), search, message("Hello"), picture]
    with serving(says(*output), "Bye.", check=False) as (running, server):
        answer = in_mode(mode, running, WHO, "Hi")
        again(running, answer.message)
    assert answer.text == "Hello"
    _, first, second, said, third, _ = server.requests[1].body["input"]
    assert (first["id"], second, said["content"], third) == ("rs_1", search, "Hello", picture)


@pytest.mark.parametrize(
    ("item", "back"),
    [
        # Without its content, OpenAI would look for the stored one.
        ({"id": "rs_1", "summary": []}, None),
        ({"id": "rs_1", "summary": [], "encrypted_content": None, "content": []}, None),
        (
            {"id": "rs_1", "encrypted_content": "g", "content": None, "status": None},
            {"id": "rs_1", "summary": [], "encrypted_content": "g"},
        ),
        (
            {"id": "rs_1", "summary": [], "encrypted_content": "g", "status": "completed",
             "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"id": "rs_1", "summary": [], "encrypted_content": "g"},
        ),
        (
            {"id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        ),
    ],
)  # fmt: skip
def test_thoughts_go_back_only_with_their_content(item: Any, back: Any) -> None:
    with serving(says({"type": "reasoning", **item}, "Hello"), "Bye.") as (running, server):
        again(running, running.run(WHO, "Hi").message)
    sent = [i for i in server.requests[1].body["input"] if i["type"] == "reasoning"]
    assert sent == ([{"type": "reasoning", **back}] if back else [])


# --- other APIs, providers and models -----------------------------------------------------------

DEEP = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Look.",
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "look_up", "arguments": '{"word": "a"}'},
                        "extra_content": {"google": {"thought_signature": "sig"}},
                    }
                ],
            },
        }
    ]
}


@in_modes
def test_a_history_of_chat_goes_in_without_its_items(mode: str) -> None:
    with serving(DEEP, "Done.", api="chat") as (running, server):
        answer = in_mode(mode, running, WHO, "Hi", tools=[look_up])
        assert "thought_signature" in json.dumps(server.requests[1].body)
    with serving("Bye.") as (running, server):
        assert again(running, Message("user", "Hi"), *answer.messages).text == "Bye."
    body = server.requests[0].body
    assert kinds(body)[2:-1] == [
        "message assistant Look.",
        "function_call call_a",
        "function_call_output call_a",
        "message assistant Done.",
    ]
    assert "signature" not in json.dumps(body)
    assert "Hm." not in json.dumps(body)


@in_modes
def test_a_history_of_responses_goes_into_chat_without_its_items(mode: str) -> None:
    answers = says(thought(1), call("look_up", {"word": "a"})), says(thought(2), "Done.")
    with serving(*answers) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi", tools=[look_up])
    assert all(one.items for one in answer.messages if one.role == "assistant")
    with serving("Bye.", api="chat") as (running, server):
        assert again(running, Message("user", "Hi"), *answer.messages).text == "Bye."
    body = server.requests[0].body
    assert [one["role"] for one in body["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert body["messages"][2].keys() == {"role", "content", "tool_calls"}
    assert "gAAA" not in json.dumps(body)


def test_another_model_never_gets_the_thoughts_of_one() -> None:
    with serving(says(thought(1), "Hello")) as (running, _):
        kept = running.run(WHO, "Hi").message
    with serving("Bye.", "Bye.", model="o3") as (running, server):
        again(running, kept)
        again(running, kept, model="openai/gpt-5.4")
    other, same = (kinds(request.body)[1:-1] for request in server.requests)
    assert other == ["message assistant Hello"]
    assert same == ["message assistant Hello"], "a request keeps its own model"


def test_a_call_that_nobody_ran_stays_behind_with_its_thoughts() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "x", "input": "do"}
    shell = [
        {"type": "shell_call", "call_id": "c2", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "c2", "output": []},
    ]
    answers = says(thought(1), custom, thought(2), *shell, thought(3), "Hello")
    with serving(answers, "Bye.", check=False) as (running, server):
        again(running, running.run(WHO, "Hi").message)
    assert kinds(server.requests[1].body)[1:-1] == [
        "reasoning gAAA2", "shell_call", "shell_call_output", "reasoning gAAA3",
        "message assistant Hello",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "items",
    [
        [7], ["x"], [None], [{}], [{"items": 7}], [{"items": [7, None, "x", {}]}],
        [{"items": [{"place": 7}, {"place": "text", "size": "x"}]}],
        [{"items": [{"place": "call", "id": []}, {"place": "text", "size": -5}]}],
        [{"items": [{"type": "reasoning", "encrypted_content": "g"}]}],
    ],
)  # fmt: skip
def test_a_file_may_contain_any_items(items: list[Any]) -> None:
    origin = {"provider": "openai", "wire": "responses", "model": "openai/gpt-5.4"}
    kept = [{**origin, **item} if isinstance(item, dict) else item for item in items]
    said = read_message({"role": "assistant", "content": "Hello", "items": kept})
    with serving("Bye.", check=False) as (running, server):
        again(running, said)
    sent = [item for item in server.requests[0].body["input"][1:-1] if item]
    assert sent == [{"type": "message", "role": "assistant", "content": "Hello"}]


def test_items_are_stored_and_read_back() -> None:
    cited = message("Hello")
    cited["content"][0]["annotations"] = [{"type": "url_citation", "title": "a\nb"}]
    with serving(says(thought(1, "a\ud83d"), cited), "Bye.") as (running, server):
        answer = running.run(WHO, "Hi")
        stored = json.loads(json.dumps(write_message(answer.message)).encode("utf-8"))
        assert read_message(stored) == answer.message
        recorded = read_response(json.loads(json.dumps(write_response(answer))))
        assert recorded.items == answer.items
        assert recorded.annotations == answer.annotations != ()
        again(running, recorded.message)
    assert kinds(server.requests[1].body)[1] == "reasoning gAAA1"
    assert answer.reasoning == "a\N{REPLACEMENT CHARACTER}"


def test_items_nested_too_deep_do_not_make_the_answer_invalid() -> None:
    deep: Any = []
    for _ in range(600):
        deep = [deep]
    item = message("Hello")
    item["content"][0]["annotations"] = [{"type": "odd", "deep": deep}]
    with serving(says({"type": "odd", "deep": deep}, item), "Bye.") as (running, _):
        answer = running.run(WHO, "Hi")
        again(running, answer.message)
    assert (answer.text, answer.items, answer.annotations) == ("Hello", (), ())


def said(*content: Any) -> Message:
    return read_message({"role": "assistant", "content": content})


def test_an_answer_in_parts_is_one_text_and_other_parts_are_an_error() -> None:
    parts = said({"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"})
    with serving() as (running, server):
        again(running, parts, said({"type": "refusal", "refusal": "No."}))
    assert kinds(server.requests[0].body)[1:-1] == [
        "message assistant Hello",
        "message assistant No.",
    ]


def test_a_plugin_may_change_what_is_kept() -> None:
    class Forgets:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.replace(
                messages=tuple(message.replace(items=()) for message in request.messages)
            )

    answers = says(thought(1), call("look_up", {"word": "a"})), "Done."
    with serving(*answers, plugins=[Forgets()]) as (running, server):
        running.run(WHO, "Hi", tools=[look_up])
    assert "gAAA" not in json.dumps(server.requests[1].body)


ITEMS = st.lists(
    st.one_of(
        st.builds(message, st.sampled_from(["", "One.", "Two\n\nthree", "é😀"])),
        st.builds(lambda text: message(text, phase="commentary"), st.sampled_from(["", "Hm."])),
        st.builds(lambda n: call("look_up", {"word": "a"}, f"call_{n}"), st.integers(0, 3)),
        st.builds(thought, st.integers(1, 9)),
        st.just({"type": "odd", "id": "odd_1"}),
    ),
    max_size=6,
)


def test_any_answer_goes_back_in_its_order() -> None:
    """What is left out is empty texts, and thoughts without what they led to."""
    with serving(check=False) as (running, server):

        @settings(max_examples=60, deadline=None)
        @given(ITEMS)
        def check(output: list[Any]) -> None:
            if not any(item["type"] in ("message", "function_call") for item in output):
                output = [*output, message("End.")]
            server.requests.clear()
            server.answers = [says(*output), "Bye."]
            again(running, running.run(WHO, "Hi").message)
            items = server.requests[1].body["input"][1:-1]
            sent = [item for item in items if item["type"] != "reasoning"]
            wanted = [item for item in output if spoken(item) not in ("", "thought")]
            back = [item["content"] for item in sent if item["type"] == "message"]
            assert "\n\n".join(back) == "\n\n".join(filter(None, map(spoken, texts(output))))
            # Without anything to keep, text comes before the calls, as in chat completions.
            if any(item["type"] in ("odd", "reasoning") or "phase" in item for item in output):
                assert [item["type"] for item in sent] == [item["type"] for item in wanted]

        check()


def texts(output: list[Any]) -> list[Any]:
    return [item for item in output if item["type"] == "message"]


def spoken(item: Any) -> str:
    """Return the text of a message; another text for anything else."""
    if item["type"] == "message":
        return str(item["content"][0]["text"])
    return "thought" if item["type"] == "reasoning" else "other"
