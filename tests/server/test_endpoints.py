"""Endpoints of others: what they get from the server, and what is kept and counted for them."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import served

from personakit import Runner, UsageError, hookimpl
from personakit.ledger import KeyBudget, Ledger
from personakit.log import RunLog
from personakit.server import Application, Exchange, Limits, Refusal, Settings, app
from personakit.testing import runner


class Studio:
    """A plugin with endpoints, which are asked for by the name ``mcp``."""

    def __init__(self) -> None:
        self.ended = 0
        self.left: list[float] = []

    @hookimpl
    def setup(self, registry: Any) -> None:
        registry.endpoints("mcp", self.add)

    def add(self, application: Application) -> None:
        self.application = application
        for method, path, endpoint in (
            ("GET", "/names", self.names),
            ("POST", "/run/{persona}", self.run),
            ("POST", "/count", self.count),
            ("POST", "/raw", self.raw),
        ):
            application.router.add(method, path, endpoint)
        application.at_end(self.close)

    async def close(self) -> None:
        self.ended += 1

    async def names(self, exchange: Exchange) -> None:
        self.application.check_origin(exchange)
        caller = self.application.caller(exchange)
        await exchange.reply(200, self.application.personas(caller))

    async def run(self, exchange: Exchange) -> None:
        exchange.shape = lambda refusal: {"fault": refusal.message, "code": refusal.code}
        served = self.application
        caller = served.caller(exchange)
        persona = await served.persona(exchange.rest, caller)
        async with served.running(exchange, caller, persona.name) as counted:
            request = served.runner.render(persona, "Hi", variables=await exchange.json())
            request = request.replace(parameters=caller.limited(request.parameters))
            response: Any = await served.runner.arun(persona, request)
            counted.spent = response.spent
        await exchange.reply(200, {"text": response.text})

    async def count(self, exchange: Exchange) -> None:
        caller = self.application.caller(exchange)
        try:
            async with self.application.counting(caller):
                await exchange.reply(200, {})
        except Refusal as refusal:
            self.application.refused(refusal)
            await exchange.reply(200, {"told": refusal.message})

    async def raw(self, exchange: Exchange) -> None:
        await exchange.pass_on(self.asgi)

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 207, "headers": []})
        await send({"type": "http.response.body", "body": body[:9], "more_body": True})
        if body == b"wait":
            try:
                await receive()
            finally:
                self.left.append(time.monotonic())
        await send({"type": "http.response.body"})


class Place:
    """A server with keys and the endpoints above."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "p.yaml").write_text("model: openai/gpt-4o-mini\nsystem: You help.\n")
        (folder / "q.yaml").write_text("system: You help {{ who }}.\nvariables: {who: {}}\n")
        self.ledger = Ledger(folder / "ledger.db")
        self.studio = Studio()
        self.log = RunLog(folder / "log.sqlite3")
        made, self.upstream = runner(["Hello!"], select=[])
        self.runner = Runner(
            made.config, path=[folder], plugins=[KeyBudget(self.ledger), self.studio],
            backend=self.upstream, log=self.log,
        )  # fmt: skip
        self.settings = Settings(**{"ledger": folder / "ledger.db", "mcp": True, **settings})

    def key(self, name: str, **limits: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.ledger.new_key(name, **limits)[1]}"}

    def serving(self) -> Any:
        return served(self.runner, self.settings)

    def rows(self) -> list[Any]:
        self.runner.close()
        return list(self.log.find())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_who_asks_and_what_he_may_use(place: Place) -> None:
    anna = place.key("anna", personas=("p",))
    with place.serving() as server:
        assert server.get("/names").status == 401
        assert server.request("GET", "/names", headers=anna).json == ["p"]
        refused = server.request("POST", "/run/q", "{}", anna)
        unknown = server.request("POST", "/run/r", "{}", anna)
    assert (refused.status, refused.json["code"]) == (404, "model_not_found")
    assert refused.json["fault"].replace("'q'", "'r'") == unknown.json["fault"]
    assert place.upstream.requests == []
    assert place.studio.ended == 1


def test_a_run_is_admitted_limited_and_counted(place: Place) -> None:
    anna = place.key("anna", rpm=2, max_tokens=7)
    with place.serving() as server:
        assert server.request("POST", "/run/p", "{}", anna).json == {"text": "Hello!"}
        invalid = server.request("POST", "/run/q", "{}", anna)
        late = server.request("POST", "/run/p", "{}", anna)
        metrics = server.get("/metrics").body.decode()
    assert (invalid.status, late.status) == (400, 429)
    assert "who" in invalid.json["fault"]
    assert place.upstream.requests[0].parameters["max_tokens"] == 7
    assert 'requests_total{key="anna",persona="p",status="ok"} 1.0' in metrics
    assert 'requests_total{key="anna",persona="q",status="refused"} 1.0' in metrics
    assert 'refused_total{reason="rate_limited"} 1.0' in metrics
    assert "personakit_in_flight 0.0" in metrics
    assert [row.persona for row in place.rows()] == ["p"]


def test_a_budget_is_kept(place: Place) -> None:
    anna = place.key("anna", tokens_day=1)
    with place.serving() as server:
        refused = server.request("POST", "/run/p", "{}", anna)
        metrics = server.get("/metrics").body.decode()
    assert (refused.status, refused.json["code"]) == (429, "budget_exceeded")
    assert 'refused_total{reason="budget_exceeded"} 1.0' in metrics
    assert place.upstream.requests == []


def test_what_is_no_run_counts_for_the_requests_a_minute_alone(place: Place) -> None:
    anna = place.key("anna", rpm=1, concurrent=1)
    place.ledger.admit(place.ledger.keys()[0], "another")  # its place and its request
    bob = place.key("bob", concurrent=1)
    place.ledger.admit(place.ledger.keys()[1], "another of his")
    with place.serving() as server:
        told = server.request("POST", "/count", headers=anna)
        assert server.request("POST", "/count", headers=bob).json == {}
        metrics = server.get("/metrics").body.decode()
    assert "1 requests a minute" in told.json["told"]
    assert 'refused_total{reason="rate_limited"} 1.0' in metrics


def test_an_asgi_application_replies_within_the_limits(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(body=1000), open=True)
    with place.serving() as server:
        reply = server.request("POST", "/raw", "x" * 1000, {"x-request-id": "mine"})
        assert server.request("POST", "/raw", "x" * 1001).status == 413
    assert (reply.status, reply.headers["x-request-id"], len(reply.body)) == (207, "mine", 9)


def test_a_client_that_leaves_ends_what_an_application_does(tmp_path: Path) -> None:
    place = Place(tmp_path, open=True)
    with place.serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/raw", b"wait")
        assert connection.getresponse().read1() == b"wait"
        left = time.monotonic()
        connection.close()
        while not place.studio.left and time.monotonic() < left + 5:
            time.sleep(0.001)
        assert place.studio.left[0] - left < 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("https://chat.example.com", 200),
        ("http://localhost:6274", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_origins_are_refused(
    tmp_path: Path, origin: str | None, status: int
) -> None:
    place = Place(tmp_path, cors=("https://chat.example.com",), open=True)
    with place.serving() as server:
        headers = {} if origin is None else {"origin": origin}
        assert server.request("GET", "/names", headers=headers).status == status


def test_without_the_plugin_it_is_said_what_to_install(tmp_path: Path) -> None:
    running, _ = runner(path=[tmp_path], select=[])
    with pytest.raises(UsageError, match=r"serve --mcp needs personakit-mcp.*\[mcp\]"):
        app(Settings(mcp=True), runner=running)
    app(Settings(), runner=running)
