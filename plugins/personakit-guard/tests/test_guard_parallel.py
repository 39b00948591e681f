"""A judge that runs beside the call: `input: {parallel: true}`."""

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from personakit_guard import Guard, Input, Output

from personakit import (
    Blocked,
    IncompleteAnswer,
    PersonaError,
    Request,
    Response,
    Runner,
    ToolCall,
)
from personakit.testing import MODES, Reply, Server, check_plugin, check_replay, in_mode, runner
from personakit.testing import persona as a_persona

HANG = 30
"""Seconds after which a wait has failed, on a machine however slow."""

EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
def judge(tmp_path: Path) -> str:
    (tmp_path / "judge.yaml").write_text("system: You judge.\n")
    return str(tmp_path / "judge.yaml")


def guard(judge: str, **output: Any) -> Guard:
    return Guard(Input(judge=judge, parallel=True), Output(**output))


class Both(Server):
    """A judge and a model, which answer in the order that the test asks for.

    Args:
        verdict: The judge's answer.
        first: Which of the two answers first, when both were asked: judge or model.
    """

    def __init__(self, verdict: str, first: str) -> None:
        super().__init__()
        self._verdict, self._first = verdict, first
        self._asked = threading.Barrier(2, timeout=HANG)
        self._answered = threading.Event()

    def reply(self, answer: Any, body: Any) -> Reply:
        who = "judge" if body["messages"][0]["content"] == "You judge." else "model"
        self._asked.wait()
        if who != self._first:
            assert self._answered.wait(HANG)
        whole = super().reply(self._verdict if who == "judge" else "Good morning!", body)
        return Reply(self._sent(who, whole.body), headers=EVENTS if body.get("stream") else {})

    def _sent(self, who: str, body: Any) -> Generator[bytes]:
        yield body
        if who == self._first:
            self._answered.set()


@pytest.mark.parametrize("first", ["judge", "model"])
@pytest.mark.parametrize("mode", MODES)
def test_the_judge_runs_beside_the_call(mode: str, first: str, judge: str) -> None:
    for plugin in (guard(judge), guard(judge, deny=("devil",))):
        with Both("allow", first) as server, Runner(server.config(), plugins=[plugin]) as running:
            assert in_mode(mode, running, a_persona(), "Hi").text == "Good morning!"
        assert len(server.requests) == 2


@pytest.mark.parametrize("first", ["judge", "model"])
@pytest.mark.parametrize("mode", ["stream", "pieces"])
def test_nothing_is_shown_of_an_answer_to_a_refused_request(
    mode: str, first: str, judge: str
) -> None:
    with (
        Both("refuse", first) as server,
        Runner(server.config(), plugins=[guard(judge)]) as running,
    ):
        stream = running.stream(a_persona(), "Hi")
        shown: list[Any] = []
        with pytest.raises(Blocked, match="the request is refused by the rule judge judge"):
            shown.extend(stream.pieces() if mode == "pieces" else stream)
    assert shown == []


class Paced(Server):
    """A model that sends pieces until one of them was shown, and then the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def reply(self, answer: Any, body: Any) -> Reply:
        if body["messages"][0]["content"] == "You judge.":
            return super().reply("allow", body)
        return Reply(self._pieces(), headers=EVENTS)

    def _pieces(self) -> Generator[bytes]:
        *pieces, end, done = self.events("abcdef", usage=False)
        yield pieces[0]
        while not self.shown.wait(0.01):
            yield pieces[1]
        yield pieces[2] + end + done


def test_after_the_judgement_the_answer_streams(judge: str) -> None:
    with Paced() as server, Runner(server.config(), plugins=[guard(judge)]) as running:
        stream = running.stream(a_persona(), "Hi", deadline=HANG)
        first = next(stream)  # it hangs if the answer is held until its end
        server.shown.set()
        text = first + "".join(stream)
    assert text == stream.response.text
    assert (text[:3], text[-3:]) == ("abc", "def")


@pytest.mark.parametrize("size", [1, 3])
def test_what_it_returns_is_the_same_in_every_mode(size: int) -> None:
    class Fixed(Guard):
        async def _judged(self, texts: list[str], send: Any) -> None:
            """Allow everything: which of two runs gets an answer of a list is left to chance."""

    plugin = Fixed(Input(judge="judge", parallel=True))
    answer = Response("hello", reasoning="A greeting!")
    response = check_plugin(plugin, "Hi", [answer], sizes=(size,))
    assert (response.text, response.reasoning) == ("hello", "A greeting!")


@pytest.mark.parametrize("mode", MODES)
def test_an_error_of_the_call_has_no_text_before_the_judgement(mode: str) -> None:
    class Waits(Guard):
        async def _judged(self, texts: list[str], send: Any) -> None:
            from personakit import sleep

            await sleep(HANG)

    cut = IncompleteAnswer("cut off", partial="secret", response=Response("secret"))
    plugin = Waits(Input(judge="judge", parallel=True))
    with pytest.raises(IncompleteAnswer) as caught:
        in_mode(mode, runner([cut], plugins=[plugin])[0], a_persona(), "Hi")
    assert (caught.value.partial, caught.value.response) == ("", None)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match=r"input\.parallel .* set input\.judge"):
        Guard(Input(deny=("x",), parallel=True))
    who = a_persona(plugins=[{"guard": {"output": {"judge": "chef", "parallel": True}}}])
    with pytest.raises(PersonaError, match="parallel"):
        runner()[0].run(who)


@pytest.mark.parametrize("parallel", [False, True])
def test_it_obeys_the_rule_of_replay(judge: str, parallel: bool) -> None:
    def look(word: str = "") -> str:
        """Look a word up."""
        return f"found {word}"

    def answer(request: Request) -> Response:
        if request.system == "You judge.":
            return Response("ALLOW")
        if request.messages[-1].role == "user":
            return Response("", (ToolCall("1", "look", '{"word": "a"}'),))
        return Response("rude" if "refused" not in (request.system or "") else "kind")

    rules = Input(judge=judge, parallel=parallel), Output(deny=("rude",), action="reask")
    response = check_replay(lambda: Guard(*rules), answers=[answer], tools=[look])
    assert response.text == "kind"
