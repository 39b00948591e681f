"""What LibreChat sends for a custom endpoint.

The facts are from danny-avila/LibreChat, commit f31d896770494965500bc3c3659b8f75a1f67e00,
`packages/api/src/endpoints/openai/llm.ts` (parameters), and from running its package
`@librechat/agents` 3.2.21 against a fake upstream: a turn with a tool, and both kinds of titles.
"""

from __future__ import annotations

import json
from typing import Any

from helpers.served import Served, streamed_call

SYSTEM = {"role": "system", "content": "You are a helpful agent."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather_mcp_home",
        "description": "The weather.",
        "parameters": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SAMPLING = {
    "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": 0.2,
}  # fmt: skip
USER = {"user": "64b1f0c2a9e4b1a2c3d4e5f6"}


def turn(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    beside = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 200}
    return {"model": "plain", **SAMPLING, **USER, **beside, "messages": [SYSTEM, *messages], **more}


def title(question: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Write a title.\n\nConversation:\n{question}"}]
    return {"model": "plain", **SAMPLING, **USER, "stream": False, "messages": messages, **more}


def test_a_turn(site: Served) -> None:
    answer = site.post(turn({"role": "user", "content": "Hi"}))
    assert answer.text() == "Hello!"
    # The user's id changes no answer: there is nothing to tell.
    assert "x-personakit-ignored" not in answer.headers
    (sent,) = site.sent
    assert {name: sent[name] for name in SAMPLING} == SAMPLING
    assert (sent["max_tokens"], "user" in sent) == (200, False)
    assert site.texts() == [
        ("system", "Answer in one sentence."),
        ("system", SYSTEM["content"]),
        ("user", "Hi"),
    ]


def test_a_tool(site: Served) -> None:
    """It ends a turn without running the call if the stream has another shape than OpenAI's."""
    site.answers(streamed_call("weather_mcp_home", {"city": "Lyon"}))
    asked = {"role": "user", "content": "Lyon?"}
    answer = site.post(turn(asked, tools=[WEATHER]))
    choices = [event["choices"][0] for event in answer.events()[:-1] if event["choices"]]
    pieces = [piece for one in choices for piece in one["delta"].get("tool_calls") or ()]
    assert {piece["index"] for piece in pieces} == {0}
    assert [piece["id"] for piece in pieces if piece.get("id")] == [pieces[0]["id"]]
    assert pieces[0]["type"] == "function"
    assert pieces[0]["function"]["name"] == "weather_mcp_home"
    arguments = "".join(piece["function"].get("arguments") or "" for piece in pieces)
    assert json.loads(arguments) == {"city": "Lyon"}
    # The finish reason is in an event of its own, after all calls.
    assert [one["finish_reason"] for one in choices][-1] == "tool_calls"
    assert [reason for one in choices[:-1] if (reason := one["finish_reason"])] == []
    assert not choices[-1]["delta"].get("tool_calls")
    assert site.sent[0]["tools"][0]["function"]["parameters"] == WEATHER["function"]["parameters"]  # type: ignore[index]
    site.answers("Sun.")
    function = {"name": "weather_mcp_home", "arguments": arguments}
    called = {"id": pieces[0]["id"], "type": "function", "function": function}
    said = {"role": "assistant", "content": "", "tool_calls": [called]}
    result = {"role": "tool", "content": "sun", "tool_call_id": called["id"]}
    assert site.post(turn(asked, said, result, tools=[WEATHER])).text() == "Sun."
    assert site.texts()[-1] == ("tool", "sun")


def test_a_title(site: Served) -> None:
    site.answers("Greetings")
    answer = site.post(title("User: Hi\nAI: Hello!"))
    assert (answer.status, answer.text()) == (200, "Greetings")


def test_a_title_with_a_schema(site: Served) -> None:
    """With `titleMethod: structured`."""
    words = {name: {"type": "string", "description": name} for name in ("language", "title")}
    schema = {"type": "object", "properties": words, "required": ["language", "title"]}
    form = {"type": "json_schema", "json_schema": {"name": "extract", "schema": schema}}
    text = '{"language": "English", "title": "Greetings"}'
    site.answers(text)
    assert site.post(title("User: Hi", response_format=form, max_tokens=200)).text() == text
    assert site.sent[0]["response_format"] == form
