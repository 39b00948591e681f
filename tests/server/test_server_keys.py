"""Keys: who may use what, budgets and limits, and what belongs to a key."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import Served, served

from personakit import Request, Response, Runner, ToolCall, Usage
from personakit.ledger import KeyBudget, Ledger
from personakit.server import Settings
from personakit.testing import Upstream, runner

PRICED = "openai/gpt-4o-mini"


class Place:
    """A server with keys, its ledger and its upstream."""

    def __init__(self, folder: Path, *answers: Any, size: int = 3) -> None:
        (folder / "p.yaml").write_text(f"model: {PRICED}\nsystem: You help.\n")
        (folder / "q.yaml").write_text("system: You help.\n")
        self.ledger = Ledger(folder / "ledger.sqlite3")
        self.running, self.upstream = runner(
            list(answers) or ["Hello!"], plugins=[KeyBudget(self.ledger)], path=[folder]
        )
        self.settings = Settings(ledger=folder / "ledger.sqlite3")

    def key(self, name: str, **limits: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.ledger.new_key(name, **limits)[1]}"}

    def __enter__(self) -> Served:
        self._context = served(self.running, self.settings)
        return self._context.__enter__()

    def __exit__(self, *_: object) -> None:
        self._context.__exit__(None, None, None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_key_is_needed(place: Place) -> None:
    anna = place.key("anna")
    old = place.key("old", until=1.0)
    gone = place.key("gone")
    place.ledger.revoke("gone")
    with place as server:
        assert server.chat(headers=anna).status == 200
        for headers in (
            {},
            {"authorization": "Basic x"},
            {"authorization": "Bearer pk-no"},
            old,
            gone,
        ):
            answer = server.chat(headers=headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert server.request("GET", "/v1/models", headers=headers).status == 401
        assert "serve keys new" in server.chat().error["message"]
        assert server.get("/health").status == 200
    assert len(place.upstream.requests) == 1


def test_a_key_sees_only_its_personas(place: Place) -> None:
    anna = place.key("anna", personas=("p",))
    with place as server:
        listed = server.request("GET", "/v1/models", headers=anna).json["data"]
        assert [each["id"] for each in listed] == ["p"]
        refused, unknown = (server.chat(model=m, headers=anna) for m in ("q", "q2"))
        assert (refused.status, unknown.status) == (404, 404)
        assert refused.error["message"].replace("q", "q2") == unknown.error["message"].replace(
            "q2", "q2"
        )
        assert server.request("GET", "/v1/models/q", headers=anna).status == 404


def test_a_key_chooses_only_its_models(place: Place) -> None:
    anna = place.key("anna", models=("test/*",))
    with place as server:
        chosen = {**anna, "x-personakit-model": "test/large"}
        assert server.chat(headers=chosen).status == 200
        assert place.upstream.requests[-1].model == "test/large"
        other = server.chat(headers={**anna, "x-personakit-model": "openai/gpt-5"})
        assert (other.status, other.error["code"]) == (403, "model_not_allowed")
        wrong = server.chat(headers={**anna, "x-personakit-model": "test/large; rm"})
        assert wrong.status in (200, 400)


def test_a_key_limits_the_tokens_of_an_answer(place: Place) -> None:
    anna = place.key("anna", max_tokens=50)
    with place as server:
        cases: list[tuple[dict[str, Any], int]]
        cases = [({}, 50), ({"max_tokens": 900}, 50), ({"max_tokens": 9}, 9)]
        for more, most in cases:
            assert server.chat(headers=anna, **more).status == 200
            assert place.upstream.requests[-1].parameters["max_tokens"] == most
        assert server.chat(headers=anna, max_completion_tokens=900).status == 200
        assert place.upstream.requests[-1].parameters["max_completion_tokens"] == 50


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_ends(tmp_path: Path, stream: bool) -> None:
    usage = Usage(10, 990, 1000)
    place = Place(tmp_path, Response("Hello!", model="gpt-4o-mini", usage=usage))
    anna = place.key("anna", tokens_day=2500, max_tokens=900)
    bob = place.key("bob")
    with place as server:
        codes = [server.chat(headers=anna, stream=stream).status for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        answer = server.chat(headers=anna, stream=stream)
        assert answer.error["code"] == "budget_exceeded"
        assert answer.headers["x-should-retry"] == "false"
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
        assert server.chat(headers=bob).status == 200
    assert len(place.upstream.requests) == 3


def test_too_many_requests_a_minute(place: Place) -> None:
    anna = place.key("anna", rpm=2)
    with place as server:
        assert [server.chat(headers=anna).status for _ in range(3)] == [200, 200, 429]
        answer = server.chat(headers=anna)
        assert answer.error["code"] == "rate_limit_exceeded"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "rate_limited" in server.get("/metrics").body.decode()


def test_too_many_at_the_same_time(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(_: Request) -> str:
        begun.set()
        assert go.wait(10)
        return "Hello!"

    class Threaded(Upstream):
        async def send(self, request: Request, emit: Any = None) -> Response:
            import asyncio

            text = await asyncio.to_thread(slow, request)
            return Response(text, model="m", usage=Usage(1, 1, 2))

    place = Place(tmp_path)
    place.running = Runner(
        place.running.config,
        path=[tmp_path],
        plugins=[KeyBudget(place.ledger)],
        backend=Threaded(),
        log=False,
    )
    anna = place.key("anna", concurrent=1)
    with place as server:
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(server.chat(headers=anna).status))
        thread.start()
        assert begun.wait(10)
        answer = server.chat(headers=anna)
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        go.set()
        thread.join(10)
        assert server.chat(headers=anna).status == 200
    assert statuses == [200]


def test_a_round_belongs_to_its_key(tmp_path: Path) -> None:
    made = ToolCall("c1", "weather", "{}")
    place = Place(tmp_path, Response("", (made,), "tool_calls", model="m"), "Warm.")
    anna, bob = place.key("anna"), place.key("bob")
    tools = [{"type": "function", "function": {"name": "weather"}}]
    with place as server:
        calls = server.chat(headers=anna, tools=tools).json["choices"][0]["message"]["tool_calls"]
        said: list[Any] = [
            "Hi!",
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "20"},
        ]
        other = server.chat(*said, headers=bob, tools=tools)
        assert (other.status, other.error["code"]) == (404, "run_not_found")
        assert len(place.upstream.requests) == 1
        assert server.chat(*said, headers=anna, tools=tools).status == 200


def test_a_ledger_that_cannot_be_read_refuses(place: Place, tmp_path: Path) -> None:
    anna = place.key("anna", usd_day=1)
    with place as server:
        place.ledger.close()
        for file in tmp_path.glob("ledger.sqlite3*"):
            file.write_bytes(b"not a database" * 999)
        answers = [server.chat(headers=anna) for _ in range(2)]
        assert {answer.status for answer in answers} <= {503, 401}
        assert json.dumps(answers[-1].json).count("sqlite") == 0
    assert place.upstream.requests == []


def test_a_server_that_has_seen_a_key_stays_closed(place: Place, tmp_path: Path) -> None:
    place.settings = dataclasses.replace(place.settings, open=True)
    with place as server:
        assert server.chat().status == 200
        anna = place.key("anna")
        wait_until(lambda: server.chat().status == 401)
        assert server.chat(headers=anna).status == 200
        place.ledger.close()
        for file in tmp_path.glob("ledger.sqlite3*"):
            file.unlink()
        wait_until(lambda: server.chat(headers=anna).status in (401, 503))
        assert server.chat().status == 401


def wait_until(check: Any, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not check() and time.monotonic() < until:
        time.sleep(0.05)
    assert check()
