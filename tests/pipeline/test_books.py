"""The books: everything that a run pays is in `Response.spent`, in the log and in errors."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    BackendError,
    Blocked,
    Config,
    PluginError,
    RateLimited,
    Request,
    Response,
    RunLog,
    Runner,
    Send,
    Spent,
    Tool,
    ToolCall,
    UpstreamUnavailable,
    Usage,
    gather,
    hookimpl,
    sleep,
)
from personakit.testing import MODES, Reply, Server, Upstream, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
TEN = Response("ten", usage=Usage(6, 4, 10))
UNKNOWN = Response("unknown")


class Translate:
    """Pays a second call."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request)
        asked = await send.run(persona("Translate."), response.text)
        return response.replace(text=asked.text)


class Again:
    """Sends as often as the first failures require."""

    def __init__(self, most: int = 5) -> None:
        self.most = most

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        for _ in range(self.most - 1):
            try:
                return await send(request)
            except BackendError:
                continue
        return await send(request)


@in_modes
def test_a_second_call_is_counted(mode: str) -> None:
    running, _ = runner([TEN, TEN], plugins=[Translate()])
    response = in_mode(mode, running, persona(), "?", model="openai/gpt-4o-mini")
    assert response.usage == Usage(6, 4, 10)
    assert response.spent.usage == Usage(12, 8, 20)
    assert response.cost is not None
    assert response.spent.cost == pytest.approx(2 * response.cost)
    assert response.spent.to_dict()["calls"] == 2


@in_modes
def test_rounds_of_tools_are_counted(mode: str) -> None:
    look = Tool.of(lambda: "seen", name="look", description="Look.")
    call = TEN.replace(tool_calls=(ToolCall("1", "look"),))
    running, _ = runner([call, TEN, TEN, TEN], plugins=[Translate()])
    response = in_mode(mode, running, persona(), "?", tools=[look])
    assert response.spent.usage == Usage(24, 16, 40)


@pytest.mark.parametrize(
    ("error", "usage"),
    [
        (RateLimited("slow down", status=429), Usage(6, 4, 10)),
        (UpstreamUnavailable("no", status=503), Usage(6, 4, 10)),
        (BackendError("cut", partial="te"), Usage(6, 4, 10, incomplete=True)),
        (BackendError("odd", response=TEN), Usage(12, 8, 20)),
        (OSError("of the backend"), Usage(6, 4, 10, incomplete=True)),
    ],
)
@in_modes
def test_what_a_failed_attempt_cost(mode: str, error: Exception, usage: Usage) -> None:
    class Anew:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            try:
                return await send(request)
            except Exception:
                return await send(request)

    running, _ = runner([error, TEN], plugins=[Anew()])
    assert in_mode(mode, running, persona(), "?").spent.usage == usage


@in_modes
def test_one_unknown_part_makes_the_sum_incomplete(mode: str) -> None:
    running, _ = runner([TEN, UNKNOWN], plugins=[Translate()])
    spent = in_mode(mode, running, persona(), "?", model="openai/gpt-4o-mini").spent
    assert spent.usage == Usage(6, 4, 10, incomplete=True)
    assert spent.cost is None
    running, _ = runner([UNKNOWN, UNKNOWN], plugins=[Translate()])
    assert in_mode(mode, running, persona(), "?").spent.usage is None


@in_modes
def test_a_failed_run_tells_what_it_paid(mode: str) -> None:
    class Refuses:
        @hookimpl
        async def run(self, request: Request, send: Send) -> None:
            await send(request)
            raise Blocked("no")

    running, _ = runner([TEN], plugins=[Refuses(), Translate()])
    with pytest.raises(Blocked) as caught:
        in_mode(mode, running, persona(), "?")
    assert caught.value.spent == Spent(caught.value.spent.charges)
    assert caught.value.spent.usage == Usage(12, 8, 20)


def test_a_response_outside_of_a_run_has_its_own() -> None:
    assert TEN.spent.usage == Usage(6, 4, 10)
    assert Response("x").spent.usage is None


@in_modes
def test_a_hook_sees_what_the_run_has_paid_so_far(mode: str) -> None:
    seen: list[Any] = []

    class Looks:
        @hookimpl
        async def run(self, request: Request, send: Send) -> Response | None:
            if request.system == "Translate.":
                return None
            seen.append(send.spent.usage)
            response = await send(request)
            seen.append(send.spent.usage)
            return response

    running, _ = runner([TEN], plugins=[Looks(), Translate()])
    in_mode(mode, running, persona(), "?")
    assert seen == [Usage(), Usage(12, 8, 20)]


@settings(deadline=None, max_examples=40)
@given(
    answers=st.lists(
        st.sampled_from([TEN, UNKNOWN, RateLimited("slow", status=429)]), min_size=1, max_size=6
    ),
    translated=st.booleans(),
)
def test_the_books_equal_what_the_model_counted(answers: list[Any], translated: bool) -> None:
    for mode in MODES:
        plugins = [*([Translate()] if translated else []), Again(8)]
        running, upstream = runner([*answers, TEN], plugins=plugins)
        spent = in_mode(mode, running, persona(), "?").spent
        given_out = [[*answers, *[TEN] * 9][n] for n in range(len(upstream.requests))]
        counted = [answer.usage for answer in given_out if isinstance(answer, Response)]
        assert spent.usage == Usage.sum(counted)


# --- through the real client ---------------------------------------------------------------------


@in_modes
def test_the_attempts_of_the_client(mode: str) -> None:
    def cut_off() -> Any:
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
        raise ConnectionError

    refused = Reply(b"{}", 503, {"retry-after-ms": "1"})
    with Server([refused, "Hello!"]) as server:
        running = Runner(server.config())
        response = in_mode(mode, running, persona(), "?")
        assert response.attempts == 2
        assert response.spent.usage == response.usage
        running.close()
    with Server([Reply(cut_off(), headers={"content-type": "text/event-stream"})]) as server:
        running = Runner(server.config())
        with pytest.raises(BackendError) as caught:
            in_mode(mode, running, persona(), "?")
        assert caught.value.spent.usage is None
        assert len(caught.value.spent.charges) >= 1
        running.close()


@in_modes
def test_an_attempt_that_got_no_reply_is_unknown(mode: str) -> None:
    """A server that closes the connection may have answered, and counted, the request."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def close_each() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                connection.recv(65536)
                connection.close()

        thread = threading.Thread(target=close_each)
        thread.start()
        environ = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "k"}
        running = Runner(Config(model="openai/x", path=(), environ=environ))
        request = running.render(persona(), "?").replace(max_retries=1)
        with pytest.raises(BackendError) as caught:
            in_mode(mode, running, persona(), request)
        thread.join()
        running.close()
    assert caught.value.attempts == 2
    assert caught.value.spent.usage is None
    assert len(caught.value.spent.charges) == 2


def test_a_refused_connection_costs_nothing() -> None:
    with Server() as server:
        config = server.config()
    running = Runner(config)
    with pytest.raises(UpstreamUnavailable) as caught:
        running.run(persona(), "?", timeout=5)
    assert caught.value.spent.usage == Usage()
    running.close()


def test_a_cancelled_run_may_have_paid(tmp_path: Path) -> None:
    begun = threading.Event()

    def slow() -> Any:
        begun.set()
        threading.Event().wait(5)
        yield b""

    async def cancel(running: Runner) -> None:
        task = asyncio.create_task(running.arun(persona(), "?"))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        await asyncio.wait([task])
        await running.aclose()

    log = RunLog(tmp_path / "log.db")
    with Server([Reply(slow())]) as server:
        asyncio.run(cancel(Runner(server.config(), log=log)))
    (row,) = log.find()
    assert row.usage is None
    assert row.cost is None


# --- the log and the notes -----------------------------------------------------------------------


class Notes:
    """Leaves notes in each round."""

    def __init__(self) -> None:
        self.round = 0

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        self.round += 1
        response = await send.live(request)
        mine = {
            "variant": "b",
            "sources": [{"file": "a.md"}, {"file": f"{self.round}.md"}],
            "counts": {"last": self.round, f"round {self.round}": True},
        }
        return response.replace(metadata={**response.metadata, **mine})


@in_modes
def test_the_notes_of_all_rounds_are_merged(mode: str) -> None:
    look = Tool.of(lambda: "seen", name="look", description="Look.")
    call = TEN.replace(tool_calls=(ToolCall("1", "look"),))
    running, _ = runner([call, TEN], plugins=[Notes()])
    response = in_mode(mode, running, persona(), "?", tools=[look])
    assert response.metadata == {
        "variant": "b",
        "sources": ({"file": "a.md"}, {"file": "1.md"}, {"file": "2.md"}),
        "counts": {"last": 2, "round 1": True, "round 2": True},
    }


def test_the_log_has_the_books_and_the_notes(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.db")
    with Server(["One", "Two"]) as server:
        running = Runner(server.config(), plugins=[Notes(), Translate()], log=log)
        response = running.run(persona(), "?")
        running.close()
    (row,) = log.find()
    assert row.usage == response.spent.usage != response.usage
    assert row.calls == 2
    assert row.notes["sources"] == [{"file": "a.md"}, {"file": "2.md"}]
    assert row.to_json()["notes"]["variant"] == "b"


# --- around each request -------------------------------------------------------------------------


class Every:
    """Notes each request that is sent."""

    every_call = True

    class State:
        def __init__(self) -> None:
            self.calls = 0

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.seen: list[tuple[str, str, int]] = []

    @hookimpl
    async def chat(self, request: Request, send: Send, state: State) -> Response:
        state.calls += 1
        self.seen.append((request.api, request.messages[-1].text, state.calls))
        if request.api == self.refused:
            raise Blocked(f"no {request.api}")
        return await send.live(request)


class Everything:
    """Embeds, asks another persona and sends twice."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        found = await send.embed(["one", "two words"], model="test/small")
        assert [len(vector) for vector in found.vectors] == [found.dimensions] * 2
        await send.run(persona("Other."), "other")
        await send(request)
        return await send.live(request)


@in_modes
@pytest.mark.parametrize("first", [True, False])
def test_one_layer_stands_around_each_request(mode: str, first: bool) -> None:
    every = Every()
    plugins = [every, Everything()] if first else [Everything(), every]
    running, upstream = runner([TEN], plugins=plugins)
    response = in_mode(mode, running, persona(), "Hi")
    # The state is that of the run, also in the run inside.
    assert every.seen == [
        ("embeddings", "two words", 1),
        ("auto", "other", 2),
        ("auto", "Hi", 3),
        ("auto", "Hi", 4),
    ]
    (embedded,) = upstream.embedded
    assert [message.text for message in embedded.messages] == ["one", "two words"]
    spent = response.spent.usage
    assert spent is not None
    assert response.spent.charges[0].asked == "test/small"
    assert spent.total_tokens == 30 + (response.spent.charges[0].usage or Usage()).total_tokens > 30


@in_modes
def test_it_can_refuse_embeddings(mode: str) -> None:
    running, upstream = runner([TEN], plugins=[Everything(), Every("embeddings")])
    with pytest.raises(Blocked, match="no embeddings") as caught:
        in_mode(mode, running, persona(), "Hi")
    assert not upstream.embedded
    assert caught.value.spent.usage == Usage()


def test_it_cannot_answer_embeddings() -> None:
    class Answers:
        every_call = True

        @hookimpl
        def chat(self, request: Request) -> Response:
            return Response("no vectors")

    running, _ = runner([TEN], plugins=[Everything(), Answers()])
    with pytest.raises(PluginError, match="plugins Answers answered a request for embeddings"):
        running.run(persona(), "Hi")


@in_modes
def test_embeddings_that_fail_may_have_cost_something(mode: str) -> None:
    upstream = Upstream([TEN], embeddings=[ConnectionError("gone")])
    running = Runner(Config(model="test/m", path=()), plugins=[Everything()], backend=upstream)
    with pytest.raises(ConnectionError):
        in_mode(mode, running, persona(), "Hi")


@in_modes
def test_a_plugin_around_each_request_may_send_one_itself(mode: str) -> None:
    class Judges:
        every_call = True

        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            response = await send(request)
            await send.embed(["ok?"], model="test/small")
            await send.run(persona("Judge."), "ok?")
            return response

    every = Every()
    running, upstream = runner([TEN], plugins=[Judges(), every])
    response = in_mode(mode, running, persona(), "Hi")
    assert len(upstream.requests) == 2
    assert [text for _, text, _ in every.seen] == ["Hi", "ok?", "ok?"]
    assert len(response.spent.charges) == 3


@in_modes
def test_a_request_that_is_left_behind_is_unknown(mode: str) -> None:
    released = threading.Event()

    def slow(request: Request) -> Response:
        released.wait(5)
        return TEN

    class Moderates:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            try:
                await gather(send(request), refuses())
            except Blocked:
                return Response("no")
            raise AssertionError

    async def refuses() -> None:
        await sleep(0.05)
        raise Blocked("no")

    running, _ = runner([slow], plugins=[Moderates()])
    if mode in ("arun", "astream"):
        released.set()  # a function of the fake model would block the event loop
    response = in_mode(mode, running, persona(), "Hi")
    released.set()
    if mode in ("run", "stream"):
        assert response.text == "no"
        assert response.spent.usage is None
    else:
        assert len(response.spent.charges) == 1
