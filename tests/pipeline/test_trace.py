"""A trace: what each layer did, held or live, and what it changed."""

from __future__ import annotations

import pytest

from personakit import PluginError, Request, Response, Send, StreamStarted, Trace, hookimpl
from personakit.testing import MODES, Server, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)


class German:
    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_system("Answer in German.")


class Shout:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request)
        return response.replace(text=response.text.upper(), metadata={"loud": True})


class Flows:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        return await send.live(request)


class Answers:
    @hookimpl
    def chat(self) -> Response:
        return Response("mine")


class Breaks:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send(request)
        raise ValueError("no")


class Asks:
    """Has another persona look at the question first."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        said = await send.run(persona("You judge.", name="judge"), request.messages[-1].text)
        return await send.live(request.with_system(f"Judged: {said.text}"))


class Replays:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        before = send.started
        for piece in ("one ", "two"):
            await send.emit(piece)
        return Response("one two three", metadata={"started": (before, send.started)})


@in_modes
def test_each_layer_says_what_it_did(mode: str) -> None:
    trace = Trace()
    running, _ = runner(["hello"], plugins=[German(), Shout(), Flows()])
    assert in_mode(mode, running, persona(), "Hi!", trace=trace).text == "HELLO"
    assert [(s.plugin, s.hook, s.depth, s.way) for s in trace.steps] == [
        ("German", "chat", 0, "passed"),
        ("Shout", "chat", 1, "held"),
        ("Flows", "chat", 2, "live"),
        ("", "chat", 3, "answered"),
    ]
    german, shout, flows, model = trace.steps
    assert "Answer in German." in german.request_diff()
    assert german.response_diff() == flows.request_diff() == flows.response_diff() == ""
    assert '-  "text": "hello"' in shout.response_diff()
    assert '+  "text": "HELLO"' in shout.response_diff()
    assert '"loud": true' in shout.response_diff()
    assert isinstance(model.response, Response)
    assert model.response.text == "hello"
    assert all(0 <= step.seconds < 60 for step in trace.steps)


@in_modes
def test_the_time_of_a_layer_is_its_own(mode: str) -> None:
    import time

    class Slow:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            time.sleep(0.05)
            return await send(request)

    trace = Trace()
    running, _ = runner(plugins=[Flows(), Slow(), Flows()])
    in_mode(mode, running, persona(), "Hi!", trace=trace)
    outer, slow, inner, model = (step.seconds for step in trace.steps)
    assert slow >= 0.05 > max(outer, inner, model)


@in_modes
def test_a_layer_that_answers_or_fails(mode: str) -> None:
    trace = Trace()
    running, upstream = runner(plugins=[Flows(), Answers(), German()])
    assert in_mode(mode, running, persona(), "Hi!", trace=trace).text == "mine"
    assert [(s.plugin, s.way) for s in trace.steps] == [("Flows", "live"), ("Answers", "answered")]
    assert upstream.requests == []
    trace = Trace()
    running, _ = runner(plugins=[Breaks()])
    with pytest.raises(PluginError):
        in_mode(mode, running, persona(), "Hi!", trace=trace)
    assert [(s.plugin, s.way) for s in trace.steps] == [("Breaks", "failed"), ("", "answered")]
    assert isinstance(trace.steps[0].error, ValueError)


@in_modes
def test_an_upstream_that_fails(mode: str) -> None:
    trace = Trace()
    running, _ = runner([ConnectionError("gone")], plugins=[Flows()])
    with pytest.raises(ConnectionError):
        in_mode(mode, running, persona(), "Hi!", trace=trace)
    assert [s.way for s in trace.steps] == ["failed", "failed"]


@in_modes
def test_another_persona_is_run_by_a_plugin(mode: str) -> None:
    running, upstream = runner(["fine", "Hello!"], plugins=[German(), Asks()])
    answered = in_mode(mode, running, persona("You."), "Hi!", model="test/chosen")
    assert answered.text == "Hello!"
    judge, answer = upstream.requests
    assert judge.model == answer.model == "test/chosen"
    assert judge.system == "You judge.\n\nAnswer in German."  # without the plugin that asks
    assert judge.messages[-1].text == "Hi!"
    assert answer.system == "You.\n\nAnswer in German.\n\nJudged: fine"


@in_modes
def test_what_another_persona_raises_passes_unchanged(mode: str) -> None:
    running, _ = runner([ConnectionError("gone")], plugins=[Asks()])
    with pytest.raises(ConnectionError):
        in_mode(mode, running, persona(), "Hi!")


def test_nothing_is_sent_to_prepare_a_request_that_depends_on_another() -> None:
    running, upstream = runner(plugins=[German(), Asks()])
    assert running.prepare(persona("You."), "Hi!").system == "You.\n\nAnswer in German."
    assert upstream.requests == []


@in_modes
def test_an_answer_that_is_there_goes_out_piece_by_piece(mode: str) -> None:
    running, upstream = runner(plugins=[Flows(), Replays()])
    response = in_mode(mode, running, persona(), "Hi!")
    assert response.text == "one two three"
    assert response.metadata["started"] == (False, "stream" in mode)
    assert list(running.stream(persona(), "Hi!")) == ["one ", "two", " three"]
    assert upstream.requests == []


@in_modes
def test_nothing_can_be_sent_once_text_of_its_own_went_out(mode: str) -> None:
    class Both:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            await send.emit("mine ")
            return await send(request)

    running, upstream = runner(plugins=[Both()])
    with pytest.raises(StreamStarted, match=r"do not call `send.emit` before it"):
        in_mode(mode, running, persona(), "Hi!")
    assert upstream.requests == []


def test_the_command_line_shows_it(terminal, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "who.yaml").write_text("system: You.\nplugins: [redact]\n")
    with Server(["Dear [EMAIL-1]"]) as server:
        env = {**server.environ(), "PERSONAKIT_PLUGINS": "redact"}
        done = terminal("run", "who.yaml", "I am a@b.com", "-m", "openai/x", "--trace", **env)
    assert done.stdout == "Dear a@b.com\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("personakit: who.yaml is not in your library")
    assert lines[1].startswith("redact (chat), live, ")
    assert '    +      "content": "I am [EMAIL-1]",' in lines
    assert '    +  "text": "Dear a@b.com",' in lines
    assert lines[-1].startswith("  model, answered, ")
    failed = terminal(
        "run", "who.yaml", "x", "-m", "openai/x", "--trace", OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        OPENAI_API_KEY="k", PERSONAKIT_PLUGINS="redact",
    )  # fmt: skip
    assert failed.returncode == 1
    assert "redact (chat), failed, " in failed.stderr
