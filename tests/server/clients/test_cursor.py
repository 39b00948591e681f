"""What Cursor sends to the base URL that its user sets: bodies of two APIs, mixed.

The facts are from BerriAI/litellm, commit 14c97ba8db1cb4172e3276ba191c962be8a1cc11 and release
1.110.2, `litellm/proxy/response_api_endpoints/endpoints.py`: in the agent mode the body has the
shape of the Responses API (`input`, flat tools, custom tools with a grammar, `reasoning`), beside
`stream_options` and perhaps an empty `messages`; else it has messages, with tools of both shapes.
Cursor always expects a chat completion.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.served import Answer, Served, call, streamed_call

PATCH = "*** Begin Patch\n*** Update File: a.py\n+print('hi')\n*** End Patch\n"
GRAMMAR = 'start: begin end\nbegin: "*** Begin Patch" LF\nend: "*** End Patch" LF\n'
APPLY_PATCH = {
    "type": "custom",
    "name": "ApplyPatch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}
PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ_FILE = {
    "type": "function", "name": "ReadFile", "description": "Read a file.", "parameters": PATH,
    "strict": False,
}  # fmt: skip
RULES = "You are a coding agent in an editor."
AGENT: dict[str, Any] = {
    "model": "plain",
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"verbosity": "low"},
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "prompt_cache_key": "cursor-session",
    "tools": [APPLY_PATCH, READ_FILE],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_output_tokens": 4096,
    "temperature": 0.2,
}


def said(text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def called(answer: Answer) -> list[dict[str, Any]]:
    """Return the tool calls of a stream, joined by their index."""
    calls: dict[int, dict[str, Any]] = {}
    for event in answer.events()[:-1]:
        for choice in event["choices"]:
            for piece in choice["delta"].get("tool_calls") or ():
                if (one := calls.setdefault(piece["index"], piece)) is not piece:
                    for kind, name in (("function", "arguments"), ("custom", "input")):
                        if kind in one:
                            one[kind][name] += (piece.get(kind) or {}).get(name) or ""
    return list(calls.values())


@pytest.mark.parametrize("messages", [{}, {"messages": []}, {"messages": None}])
def test_the_agent_mode(site: Served, messages: Any) -> None:
    asked = [{"role": "system", "content": RULES}, said("Fix the bug.")]
    answer = site.post({**AGENT, **messages, "input": asked})
    assert (answer.status, answer.text()) == (200, "Hello!"), answer.body
    objects = {event["object"] for event in answer.events()[:-1]}
    assert objects == {"chat.completion.chunk"}
    assert site.texts() == [
        ("system", "Answer in one sentence."), ("system", RULES), ("user", "Fix the bug."),
    ]  # fmt: skip
    (sent,) = site.sent
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["ApplyPatch", "ReadFile"]
    assert {tool["type"] for tool in sent["tools"]} == {"function"}
    assert GRAMMAR.strip() in sent["tools"][0]["function"]["description"]
    assert sent["tools"][1]["function"]["parameters"] == PATH


def test_parameters_of_the_agent_mode(site: Served) -> None:
    """They have other names in the Responses API."""
    answer = site.post({**AGENT, "input": [said("Hi")], "stream": False})
    (sent,) = site.sent
    most = sent.get("max_completion_tokens", sent.get("max_tokens"))
    assert (sent["temperature"], most) == (0.2, 4096)
    assert (sent["reasoning_effort"], sent["verbosity"]) == ("medium", "low")
    assert answer.json()["object"] == "chat.completion"


def test_a_schema_of_the_agent_mode(site: Served) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    form = {"type": "json_schema", "name": "check", "schema": schema, "strict": True}
    site.answers('{"ok": true}')
    body = {"model": "plain", "input": "Is it?", "text": {"format": form}}
    assert site.post(body).text() == '{"ok": true}'
    inner = {"name": "check", "schema": schema, "strict": True}
    assert site.sent[0]["response_format"] == {"type": "json_schema", "json_schema": inner}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_custom_tool(site: Served, stream: bool) -> None:
    """Its input is a text for Cursor, and JSON for the upstream."""
    site.answers((streamed_call if stream else call)("ApplyPatch", {"input": PATCH}))
    answer = site.post({**AGENT, "stream": stream, "input": [said("Add hi to a.py.")]})
    calls = called(answer) if stream else answer.json()["choices"][0]["message"]["tool_calls"]
    (one,) = calls
    assert (one["type"], one["custom"]) == ("custom", {"name": "ApplyPatch", "input": PATCH})
    site.answers("Done.")
    history = [
        said("Add hi to a.py."),
        {"type": "custom_tool_call", "call_id": one["id"], "name": "ApplyPatch", "input": PATCH},
        {"type": "custom_tool_call_output", "call_id": one["id"], "output": "Done"},
    ]
    assert site.post({**AGENT, "input": history}).text() == "Done."
    *_, call_message, result = site.sent[0]["messages"]
    function = call_message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("ApplyPatch", {"input": PATCH})
    assert (result["role"], result["content"]) == ("tool", "Done")
    assert result["tool_call_id"] == call_message["tool_calls"][0]["id"]


def test_calls_of_one_round_are_one_message(site: Served) -> None:
    """OpenAI refuses a message with calls that is not followed by their results."""
    arguments = [json.dumps({"path": name}) for name in ("a.py", "b.py")]
    history = [
        {"role": "developer", "content": RULES},
        said("Fix the bug."),
        {"type": "reasoning", "summary": [], "encrypted_content": "opaque"},
        said("I read the files.", "assistant"),
        *(
            {"type": "function_call", "call_id": f"c{n}", "name": "ReadFile", "arguments": text}
            for n, text in enumerate(arguments)
        ),
        {"type": "function_call_output", "call_id": "c0", "output": "print('hi')"},
        {
            "type": "function_call_output", "call_id": "c1",
            "output": [{"type": "input_text", "text": "print('ho')"}],
        },
    ]  # fmt: skip
    assert site.post({**AGENT, "input": history}).text() == "Hello!"
    after = site.sent[0]["messages"][3:]
    assert [message["role"] for message in after] == ["assistant", "tool", "tool"]
    assert [one["id"] for one in after[0]["tool_calls"]] == ["c0", "c1"]
    assert after[0]["content"] == "I read the files."
    assert [message["content"] for message in after[1:]] == ["print('hi')", "print('ho')"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        ({"type": "function", "name": "ReadFile"}, "ReadFile"),
        ({"type": "function", "function": {"name": "ReadFile"}}, "ReadFile"),
        ({"type": "custom", "name": "ApplyPatch"}, "ApplyPatch"),
    ],
)
def test_messages_with_tools_of_both_shapes(site: Served, choice: Any, expected: str) -> None:
    nested = {"name": "ReadFile", "description": "Read a file.", "parameters": PATH}
    custom = {key: value for key, value in APPLY_PATCH.items() if key != "type"}
    for patch in (APPLY_PATCH, {"type": "custom", "custom": custom}):
        site.answers("Hello!")
        tools = [{"type": "function", "function": nested}, patch]
        body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
        answer = site.post({**body, "tool_choice": choice})
        assert answer.status == 200, answer.body
        (sent,) = site.sent
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["ReadFile", "ApplyPatch"]
        made = sent["tool_choice"]
        assert (made if isinstance(made, str) else made["function"]["name"]) == expected


def test_a_body_with_neither(site: Served) -> None:
    answer = site.post({"model": "plain", "tools": [APPLY_PATCH]})
    assert (answer.status, answer.json()["error"]["param"]) == (400, "messages")
    assert "messages" in answer.json()["error"]["message"]
