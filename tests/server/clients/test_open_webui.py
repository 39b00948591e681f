"""What Open WebUI sends, and what it reads of an answer.

The facts are from open-webui/open-webui, tag v0.12.4: `backend/open_webui/routers/openai.py` (the
list of models, what is removed from a body), `routers/tasks.py` (titles, tags, follow-ups),
`utils/headers.py`, `utils/misc.py` (tool calls in the history) and `utils/middleware.py` (streams).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.served import Answer, Served, failing, streamed_call

# With ENABLE_FORWARD_USER_INFO_HEADERS; the name is percent-encoded.
WHO = {
    "X-OpenWebUI-User-Name": "Zo%C3%AB Martin",
    "X-OpenWebUI-User-Id": "1f0b6c5e-9f5e-4a54-9f43-0d8f5f5a1c11",
    "X-OpenWebUI-User-Email": "zoe@example.com",
    "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Auth-Type": "jwt",
    "X-OpenWebUI-Chat-Id": "5b0c2d52-6b1e-4d0c-8d5c-1f5a2f1f7a10",
}
SYSTEM = {"role": "system", "content": "User Context: Zoë likes short answers."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    },
}


def chat(*messages: dict[str, Any], model: str = "plain", **more: Any) -> dict[str, Any]:
    """Return the body of a turn, whose `metadata` Open WebUI keeps for itself."""
    usage = {"stream_options": {"include_usage": True}}
    return {"stream": True, "model": model, "messages": [SYSTEM, *messages], **usage, **more}


def task(name: str, question: str, *, model: str = "plain", **more: Any) -> dict[str, Any]:
    """Return the body of a request after a turn: a title, tags or follow-ups."""
    text = (
        f"### Task:\nWrite {name} for the chat.\n### Output:\nJSON\n### Chat History:\n{question}"
    )
    return {"model": model, "messages": [user(text)], "stream": False, **more}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def calls(answer: Answer) -> dict[int, dict[str, Any]]:
    """Return the tool calls of a stream as Open WebUI joins them: by their index."""
    found: dict[int, dict[str, Any]] = {}
    for event in answer.events()[:-1]:
        for choice in event["choices"]:
            for piece in choice["delta"].get("tool_calls") or ():
                if piece["index"] in found:
                    found[piece["index"]]["arguments"] += piece["function"]["arguments"]
                else:
                    found[piece["index"]] = {"id": piece["id"], **piece["function"]}
    return found


def test_the_list_of_models(site: Served) -> None:
    answer = site.get("/v1/models", **WHO)
    assert answer.status == 200
    models = {model["id"]: model for model in answer.json()["data"]}
    assert {"plain", "greeter", "judge", "cook"} <= set(models)
    # It shows the name, and takes a missing one for the id.
    assert all(isinstance(model.get("name", name), str) for name, model in models.items())
    assert models["greeter"]["description"] == "Greets a person."


def test_a_turn(site: Served) -> None:
    answer = site.post(chat(user("Zoë"), model="greeter", temperature=0.9, top_p=0.5), **WHO)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text() == "Hello!"
    assert answer.events()[-1] == "[DONE]"
    assert [
        event["usage"]["total_tokens"] for event in answer.events()[:-1] if event.get("usage")
    ] == [11]
    assert site.texts() == [
        ("system", "You greet people in English."),
        ("system", SYSTEM["content"]),
        ("user", "Greet this person: Zoë"),
    ]
    (sent,) = site.sent
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.9, 0.5, 100)
    (received,) = site.upstream.requests
    assert not [name for name in received.headers if "openwebui" in name.lower()]


def test_the_history_of_a_chat(site: Served) -> None:
    said = [user("Zoë"), {"role": "assistant", "content": "Hello!"}, user("And Bo")]
    assert site.post(chat(*said, model="greeter")).text() == "Hello!"
    # Only the new message goes through the persona's prompt.
    assert site.texts()[2:] == [
        ("user", "Zoë"), ("assistant", "Hello!"), ("user", "Greet this person: And Bo"),
    ]  # fmt: skip


def test_parameters_of_a_chat(site: Served) -> None:
    """Open WebUI sends those of its settings, and whatever its user adds."""
    advanced: dict[str, Any] = {
        "max_tokens": 50, "frequency_penalty": 0.1, "presence_penalty": 0.2, "seed": 7,
        "stop": ["\n\n"], "reasoning_effort": "low", "logit_bias": {"50256": -100},
    }  # fmt: skip
    unknown: dict[str, Any] = {
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "chat_template_kwargs": {"thinking": False},
    }
    answer = site.post(chat(user("Hi"), **advanced, **unknown))
    assert answer.text() == "Hello!"
    ignored = {name.strip() for name in answer.headers["x-personakit-ignored"].split(",")}
    assert ignored == set(unknown)
    (sent,) = site.sent
    assert {name: sent[name] for name in advanced} == advanced
    assert not set(unknown) & set(sent)


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [
        ("a title", {"max_tokens": 1000}, '{"title": "Greetings"}'),
        ("tags", {}, '{"tags": ["General"]}'),
        ("follow-ups", {}, '{"follow_ups": ["And in French?"]}'),
    ],
)
def test_the_requests_after_a_turn(site: Served, name: str, more: Any, text: str) -> None:
    """They use the model of the chat, are not streamed and have no system message."""
    site.answers(text)
    body = task(name, "USER: Hi\nASSISTANT: Hello!", **more)
    answer = site.post(body, **WHO)
    assert answer.headers["content-type"].startswith("application/json")
    assert json.loads(answer.text()) == json.loads(text)
    assert site.texts() == [
        ("system", "Answer in one sentence."), ("user", body["messages"][0]["content"]),
    ]  # fmt: skip
    assert not site.sent[0].get("stream")


def test_native_function_calling(site: Served) -> None:
    site.answers(streamed_call("weather", {"city": "Lyon"}))
    answer = site.post(chat(user("Lyon?"), tools=[WEATHER]))
    (found,) = calls(answer).values()
    assert (found["name"], json.loads(found["arguments"])) == ("weather", {"city": "Lyon"})
    reasons = [c["finish_reason"] for e in answer.events()[:-1] for c in e["choices"]]
    assert [reason for reason in reasons if reason] == ["tool_calls"]
    site.answers("Sun.")
    function = {"name": "weather", "arguments": found["arguments"]}
    said = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": found["id"], "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": found["id"], "content": "sun"}
    again = site.post(chat(user("Lyon?"), said, result, tools=[WEATHER]))
    assert again.text() == "Sun."
    call_message, result_message = site.sent[0]["messages"][-2:]
    assert result_message["content"] == "sun"
    assert call_message["tool_calls"][0]["function"] == function
    # The upstream gets the id that it chose itself.
    assert result_message["tool_call_id"] == call_message["tool_calls"][0]["id"] == "call_1"


def test_reasoning_in_the_history(site: Served) -> None:
    """It comes back beside the content, with a provider that is set up for it."""
    said = {"role": "assistant", "content": "Hello!", "reasoning_content": "A greeting."}
    assert site.post(chat(user("Hi"), said, user("Again"))).text() == "Hello!"


def test_an_image(site: Served) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": "What is it?"}, image]
    assert site.post(chat(user(content))).text() == "Hello!"
    assert site.texts()[-1] == ("user", content)


def test_an_error(site: Served) -> None:
    """It passes status, body and `retry-after` on, and shows `error.message` if there is one."""
    site.answers(failing(429, "Slow down.", retry_after="1"))
    answer = site.post(chat(user("Hi")))
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["error"]["message"]
