"""Questions of runs to a client's user: asked several times, answered twice, late or in part."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import Answer, Served, served

import personakit
from personakit import Registry, Response, ToolCall, UpstreamUnavailable, hookimpl
from personakit.server import Settings
from personakit.testing import MemoryJournals, Upstream, runner

ASK = {"type": "function", "function": {"name": "personakit_approve"}}
WEATHER = {"type": "function", "function": {"name": "weather"}}
CALLS: list[str] = []


class Shop:
    """A plugin whose tools ask."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        @registry.tool
        async def order(item: str) -> str:
            answer = await personakit.ask(f"Order {item}?", choices=["yes", "no"])
            paid = await personakit.ask(f"Pay 1,000 EUR for {item}?", choices=["yes", "no"])
            CALLS.append(f"{item}: order {answer}, pay {paid}")
            return paid

        @registry.tool
        async def send(item: str) -> str:
            answer = await personakit.ask(f"Send {item}?", choices=["yes", "no"])
            await asyncio.sleep(0.2)
            CALLS.append(f"{item}: send {answer}")
            return answer


@pytest.fixture(autouse=True)
def _none() -> None:
    CALLS.clear()


def serving(
    folder: Path, *answers: Any, journals: MemoryJournals | None = None
) -> tuple[Any, Upstream]:
    for name, text in (("shop", "You sell."), ("other", "You help.")):
        (folder / f"{name}.yaml").write_text(f"system: {text}\ntools: [order, send]\n")
    running, upstream = runner(list(answers), plugins=[Shop()], path=[folder], journals=journals)
    return served(running, Settings(open=True, ledger=folder / "ledger.db")), upstream


def calling(*names: str) -> Response:
    calls = [ToolCall(f"c{n}", name, '{"item": "tea"}') for n, name in enumerate(names)]
    return Response("", tuple(calls), "tool_calls", model="test/m")


def calls_of(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return list(answer.json["choices"][0]["message"]["tool_calls"])


def question(call: dict[str, Any]) -> str:
    return str(json.loads(call["function"]["arguments"])["question"])


def said(calls: list[dict[str, Any]], *answers: str) -> list[dict[str, Any]]:
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(calls, answers, strict=False)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def ask(server: Served, *messages: Any, model: str = "shop", **more: Any) -> Answer:
    return server.chat("Tea!", *messages, model=model, tools=[ASK, WEATHER], **more)


def test_an_answer_that_is_sent_again_does_not_answer_the_next_question(tmp_path: Path) -> None:
    context, upstream = serving(tmp_path, calling("order"), "Done.")
    with context as server:
        first = calls_of(ask(server))
        answered = said(first, "yes")
        second = calls_of(ask(server, *answered))
        assert question(second[0]) == "Pay 1,000 EUR for tea?"
        assert second[0]["id"] != first[0]["id"]
        again = calls_of(ask(server, *answered))
        assert (again, CALLS) == (second, [])
        last = ask(server, *answered, *said(second, "no"))
        assert last.json["choices"][0]["message"]["content"] == "Done."
    assert CALLS == ["tea: order yes, pay no"]
    assert len(upstream.requests) == 2


def test_two_clients_answer_at_the_same_time(tmp_path: Path) -> None:
    context, _ = serving(tmp_path, calling("send"), "Done.")
    with context as server:
        answered = said(calls_of(ask(server)), "yes")
        found: list[Answer] = []
        threads = [
            threading.Thread(target=lambda: found.append(ask(server, *answered))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert CALLS == ["tea: send yes"]
    assert {each.status for each in found} <= {200, 404, 409}
    assert [each.status for each in found].count(200) == 1
    assert "process" not in str([each.body for each in found])


def test_a_run_that_fails_after_an_answer_goes_on_with_the_same_answer(tmp_path: Path) -> None:
    broken = UpstreamUnavailable("down")
    context, upstream = serving(tmp_path, calling("send"), broken, "Done.")
    with context as server:
        answered = said(calls_of(ask(server)), "yes")
        assert ask(server, *answered).status == 502
        assert ask(server, *answered).json["choices"][0]["message"]["content"] == "Done."
    assert CALLS == ["tea: send yes"]
    assert len(upstream.requests) == 3


def test_one_of_two_questions_is_answered_first(tmp_path: Path) -> None:
    context, upstream = serving(tmp_path, calling("send", "send", "weather"), "Done.")
    with context as server:
        both = calls_of(ask(server))
        assert [question(each) for each in both] == ["Send tea?"] * 2
        left = calls_of(ask(server, *said(both[1:], "no")))
        assert left == both[:1]
        weather = calls_of(ask(server, *said(both, "yes", "no")))
        assert [each["function"]["name"] for each in weather] == ["weather"]
        given = *said(both, "yes", "no"), *said(weather, "20 degrees")
        assert ask(server, *given).json["choices"][0]["message"]["content"] == "Done."
    assert CALLS == ["tea: send no", "tea: send yes"]
    results = [(m.tool_call_id, m.text) for m in upstream.requests[-1].messages if m.tool_call_id]
    assert results == [("c0", "yes"), ("c1", "no"), ("c2", "20 degrees")]


def test_a_stream_that_asks_has_no_other_calls(tmp_path: Path) -> None:
    """The client's own call comes when the run goes on, and would be there twice."""
    context, _ = serving(tmp_path, calling("weather", "send"), "Done.")
    with context as server:
        answer = ask(server, stream=True)
        deltas = [e["choices"][0]["delta"] for e in answer.events]
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert [(each["index"], each["function"]["name"]) for each in calls] == [
            (0, "personakit_approve")
        ]
        after = ask(server, *said(calls, "yes"), stream=True)
        deltas = [e["choices"][0]["delta"] for e in after.events]
        names = [c["function"]["name"] for delta in deltas for c in delta.get("tool_calls", ())]
        assert names == ["weather"]


def test_a_changed_persona_and_another_one_are_refused(tmp_path: Path) -> None:
    context, _ = serving(tmp_path, calling("send"), "Done.")
    with context as server:
        answered = said(calls_of(ask(server)), "yes")
        other = ask(server, *answered, model="other")
        text = (tmp_path / "shop.yaml").read_text()
        (tmp_path / "shop.yaml").write_text(text.replace("You sell.", "You sell well."))
        changed = ask(server, *answered)
        for refused in (other, changed):
            assert (refused.status, refused.error["code"]) == (409, "run_not_resumable")
            assert str(tmp_path) not in refused.body.decode()
        (tmp_path / "shop.yaml").write_text(text)
        assert ask(server, *answered).status == 200
    assert CALLS == ["tea: send yes"]


def test_a_run_that_was_removed_is_not_known(tmp_path: Path) -> None:
    """As one whose server stopped between its end and the answer."""
    journals = MemoryJournals()
    context, upstream = serving(tmp_path, calling("send"), journals=journals)
    with context as server:
        answered = said(calls_of(ask(server)), "yes")
        for identity in list(journals.ids()):
            journals.remove(identity)
        refused = ask(server, *answered)
    assert (refused.status, refused.error["code"]) == (404, "run_not_found")
    assert len(upstream.requests) == 1
