"""Tools of the client beside those of the persona, and questions to the client's user."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.serving import served

import personakit
from personakit import Registry, Request, Response, Tool, ToolCall, hookimpl
from personakit.ledger import Ledger
from personakit.server import Settings
from personakit.testing import Upstream, runner

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}
ASK = {"type": "function", "function": {"name": "personakit_approve", "parameters": {}}}
CALLS: list[str] = []


class Own:
    """A plugin with a tool of its own, and one that asks."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        @registry.tool
        def stock(item: str) -> str:
            CALLS.append(item)
            return f"{item}: 3"

        @registry.tool
        async def order(item: str) -> str:
            answer = await personakit.ask(f"Order {item}?", choices=["yes", "no"], details="3 EUR")
            CALLS.append(f"order {answer}")
            return f"ordered: {answer}"


def call(name: str, identity: str, **arguments: Any) -> ToolCall:
    return ToolCall(identity, name, json.dumps(arguments))


@pytest.fixture(autouse=True)
def _none() -> None:
    CALLS.clear()


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    (tmp_path / "shop.yaml").write_text("system: You sell.\ntools: [stock, order]\n")
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    return tmp_path


def serving(folder: Any, *answers: Any) -> tuple[Any, Upstream]:
    running, upstream = runner(list(answers), plugins=[Own()], path=[folder])
    return served(running, Settings(open=True)), upstream


def mixed(_: Request) -> Response:
    calls = (call("stock", "c1", item="tea"), call("weather", "c2", town="Lyon"))
    return Response("Wait.", calls, "tool_calls", model="test/m")


def tool_calls(answer: Any, *, stream: bool) -> list[dict[str, Any]]:
    if not stream:
        return list(answer.json["choices"][0]["message"]["tool_calls"])
    made: dict[int, dict[str, Any]] = {}
    for each in answer.events:
        for delta in each["choices"][0]["delta"].get("tool_calls", ()) if each["choices"] else ():
            known = made.setdefault(delta["index"], {"function": {"arguments": ""}})
            known |= {k: v for k, v in delta.items() if k in ("id", "type")}
            inner = delta["function"]
            known["function"]["name"] = inner.get("name", known["function"].get("name"))
            known["function"]["arguments"] += inner.get("arguments", "")
    return [made[index] for index in sorted(made)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_round_with_tools_of_both(folder: Any, stream: bool) -> None:
    context, upstream = serving(folder, mixed, "It is warm, and there are 3.")
    with context as server:
        first = server.chat("Tea?", model="shop", tools=[WEATHER], stream=stream)
        assert first.status == 200
        calls = tool_calls(first, stream=stream)
        assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls] == [
            ("weather", {"town": "Lyon"})
        ]
        assert CALLS == ["tea"]
        second = server.chat(*going_on("Tea?", calls), model="shop", tools=[WEATHER])
        assert second.json["choices"][0]["message"]["content"] == "It is warm, and there are 3."
    messages = upstream.requests[1].messages
    assert [(m.role, m.tool_call_id) for m in messages[1:]] == [
        ("user", None),
        ("assistant", None),
        ("tool", "c1"),
        ("tool", "c2"),
    ]
    assert [c.id for c in messages[2].tool_calls] == ["c1", "c2"]
    assert [messages[3].text, messages[4].text] == ["tea: 3", "20 degrees"]
    assert CALLS == ["tea"]


def going_on(said: str, calls: list[dict[str, Any]], answer: str = "20 degrees") -> list[Any]:
    return [
        {"role": "user", "content": said},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": c["id"], "content": answer} for c in calls),
    ]


def test_an_unknown_round_is_not_found(folder: Any) -> None:
    context, upstream = serving(folder, "Hello!")
    with context as server:
        made = {**WEATHER, "id": "pkr_" + "0" * 32 + "_0"}
        made["function"] = {"name": "weather", "arguments": "{}"}
        answer = server.chat(*going_on("Tea?", [made]), model="shop", tools=[WEATHER])
        assert (answer.status, answer.error["code"]) == (404, "run_not_found")
        # In an older round, it is only what the client saw of it.
        more = [*going_on("Tea?", [made]), {"role": "user", "content": "And?"}]
        assert server.chat(*more, model="shop", tools=[WEATHER]).status == 200
    assert [m.role for m in upstream.requests[0].messages[1:]] == [
        "user", "assistant", "tool", "user",
    ]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_is_asked(folder: Any, stream: bool) -> None:
    def ordering(_: Request) -> Response:
        return Response("Hm.", (call("order", "c1", item="tea"),), "tool_calls", model="test/m")

    context, upstream = serving(folder, ordering, "Done.", "Bye.")
    with context as server:
        first = server.chat("Tea!", model="shop", tools=[ASK], stream=stream)
        calls = tool_calls(first, stream=stream)
        assert [c["function"]["name"] for c in calls] == ["personakit_approve"]
        asked = json.loads(calls[0]["function"]["arguments"])
        assert asked == {"question": "Order tea?", "choices": ["yes", "no"], "details": "3 EUR"}
        assert CALLS == []
        wrong = server.chat(*going_on("Tea!", calls, "perhaps"), model="shop", tools=[ASK])
        assert (wrong.status, CALLS) == (400, [])
        assert "yes" in wrong.error["message"]
        given = going_on("Tea!", calls, "yes")
        second = server.chat(*given, model="shop", tools=[ASK], stream=stream)
        text = second.text if stream else second.json["choices"][0]["message"]["content"]
        assert (text, CALLS) == ("Done.", ["order yes"])
        again = server.chat(*given, model="shop", tools=[ASK])
        assert (again.status, CALLS) == (404, ["order yes"])
        later = [*given, {"role": "assistant", "content": "Done."}, "Bye!"]
        assert server.chat(*later, model="shop", tools=[ASK]).status == 200
    roles = [(m.role, m.text) for m in upstream.requests[-1].messages[1:]]
    assert ("user", "Bye!") in roles
    assert "personakit_approve" not in str(upstream.requests)


def test_a_question_is_refused_and_the_model_is_told(folder: Any) -> None:
    def ordering(_: Request) -> Response:
        return Response("", (call("order", "c1", item="tea"),), "tool_calls", model="test/m")

    context, upstream = serving(folder, ordering, "I could not order it.")
    with context as server:
        answer = server.chat("Tea!", model="shop")
        assert answer.json["choices"][0]["message"]["content"] == "I could not order it."
    result = upstream.requests[1].messages[-1]
    assert result.role == "tool"
    assert "nobody" in result.text
    assert CALLS == []


def test_a_tool_of_the_client_cannot_replace_one_of_the_persona(folder: Any) -> None:
    context, upstream = serving(folder, "Hello!")
    with context as server:
        mine = {"type": "function", "function": {"name": "stock"}}
        answer = server.chat("Hi", model="shop", tools=[mine])
    assert (answer.status, answer.error["param"]) == (400, "tools")
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["3d_model", "-x", "7", "a" * 64])
def test_a_tool_of_the_client_has_any_name_that_openai_accepts(folder: Any, name: str) -> None:
    context, upstream = serving(folder, "Hello!")
    with context as server:
        mine = {"type": "function", "function": {"name": name}}
        answer = server.chat("Hi", model="p", tools=[mine])
    assert answer.status == 200
    assert [tool.name for tool in upstream.requests[0].tools] == [name]


def test_custom_tools_and_bodies_of_the_responses_api(folder: Any) -> None:
    def patching(request: Request) -> Response:
        assert isinstance(request.tools[0], Tool)
        made = ToolCall("c9", "apply_patch", json.dumps({"input": "*** Begin"}))
        return Response("", (made,), "tool_calls", model="test/m")

    context, upstream = serving(folder, patching, "Done.")
    custom = {"type": "custom", "name": "apply_patch", "description": "Patch.", "format": {}}
    with context as server:
        body: dict[str, Any] = {
            "model": "p",
            "instructions": "Be brief.",
            "input": [{"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "Go"}]}],
            "tools": [custom],
        }  # fmt: skip
        first = server.request("POST", "/v1/chat/completions", body)
        made = first.json["choices"][0]["message"]["tool_calls"][0]
        assert made["custom"] == {"name": "apply_patch", "input": "*** Begin"}
        body["input"] += [
            {"type": "custom_tool_call", "call_id": made["id"], "name": "apply_patch",
             "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": made["id"], "output": "ok"},
        ]  # fmt: skip
        second = server.request("POST", "/v1/chat/completions", body)
        assert second.json["choices"][0]["message"]["content"] == "Done."
    assert [m.role for m in upstream.requests[1].messages] == [
        "system", "system", "user", "assistant", "tool",
    ]  # fmt: skip
    assert upstream.requests[1].messages[-1].tool_call_id == "c9"


def test_the_journal_of_a_question_that_nobody_answers_is_removed(folder: Any) -> None:
    def ordering(_: Request) -> Response:
        return Response("Hm.", (call("order", "c1", item="tea"),), "tool_calls", model="test/m")

    running, _ = runner([ordering, mixed], plugins=[Own()], path=[folder])
    ledger = Ledger(folder / "ledger.db")
    with served(running, Settings(open=True, ledger=ledger.path)) as server:
        asked = server.chat("Tea!", model="shop", tools=[ASK])
        run = asked.headers["x-personakit-run"]
        assert list(running.journals.ids()) == [run]
        value = ledger.held("", run)
        assert value is not None
        ledger.hold("", run, value, -1)  # a week has passed
        assert list(running.journals.ids()) == [run]
        server.chat("Tea?", model="shop", tools=[WEATHER])
        assert list(running.journals.ids()) == []
    ledger.close()
