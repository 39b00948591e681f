"""Whole runs with the plugin, in all four modes, over any chunks."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personakit_guard import Guard, Input, Output

from personakit import (
    Blocked,
    Config,
    IncompleteAnswer,
    PersonaError,
    PersonakitError,
    Piece,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    Usage,
    hookimpl,
)
from personakit.testing import MODES, Answer, Server, Upstream, check_plugin, in_mode, runner
from personakit.testing import persona as a_persona

DENY = Guard(output=Output(deny=("devil",)))


class With:
    """Brings a tool along."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(self.tool)


def by_name(options: Any, answers: Sequence[Answer] = ("ok",), **keys: Any) -> Any:
    running = Runner(Config(model="test/m", path=()), backend=Upstream(answers))
    return running, a_persona(plugins=[{"use": "guard", "options": options, **keys}])


def streamed(running: Runner, who: Any, prompt: Any = "Hi") -> tuple[str, Exception | None]:
    text, failed = "", None
    try:
        for piece in running.stream(who, prompt):
            text += piece
    except PersonakitError as error:
        failed = error
    return text, failed


@pytest.mark.parametrize("mode", MODES)
def test_by_name_from_yaml(mode: str) -> None:
    options = {"input": {"deny": ["bomb"]}, "output": {"patterns": ["x{3}"], "message": "No."}}
    running, who = by_name(options, ["fine", "xxx"])
    assert in_mode(mode, running, who, "Hi").text == "fine"
    with pytest.raises(Blocked, match="No") as caught:
        in_mode(mode, running, who, "Hi")
    assert caught.value.reason == "No."
    assert caught.value.__notes__ == ["rule: output.patterns[0]"]
    with pytest.raises(Blocked, match=r"input\.deny\[0\]") as caught:
        in_mode(mode, running, who, "a BOMB")
    assert "bomb" not in str(caught.value).lower()


@pytest.mark.parametrize("size", range(1, 8))
def test_nothing_refused_is_streamed_through_the_real_client(size: int) -> None:
    with (
        Server(["good day, devil"], size=size, cut=1) as server,
        closing(Runner(server.config(), plugins=[DENY])) as running,
    ):
        text, failed = streamed(running, a_persona())
    assert text == ""
    assert isinstance(failed, Blocked)


def test_a_good_answer_comes_through_the_real_client() -> None:
    with (
        Server(["good day"], cut=1) as server,
        closing(Runner(server.config(), plugins=[DENY])) as running,
    ):
        assert streamed(running, a_persona()) == ("good day", None)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8), st.integers(1, 5), st.sampled_from(MODES))
def test_a_text_with_a_denied_word_never_gets_out(a: str, b: str, size: int, mode: str) -> None:
    running, _ = runner([f"{a} devil {b}"], plugins=[DENY], size=size)
    with pytest.raises(Blocked):
        in_mode(mode, running, a_persona(), "Hi")
    assert streamed(running, a_persona())[0] == ""


@pytest.mark.parametrize(
    ("answers", "attempts", "asked"),
    [(["devil", "fine"], 1, 2), (["devil", "devil", "fine"], 2, 3), (["fine"], 3, 1)],
)
def test_reask(answers: list[str], attempts: int, asked: int) -> None:
    guard = Guard(output=Output(deny=("devil",), action="reask", attempts=attempts))
    assert check_plugin(guard, "Hi", answers).text == "fine"
    running, upstream = runner(answers, plugins=[guard])
    response = running.run(a_persona(), "Hi")
    assert len(upstream.requests) == asked
    assert response.usage is not None
    assert response.usage.completion_tokens == sum(map(len, answers))
    assert ("output.deny[0]" in upstream.requests[-1].system) == (asked > 1)


@pytest.mark.parametrize("costs", [(0.25, 0.5), (None, None), (None, 0.5)])
def test_what_was_refused_is_paid_for(costs: tuple[float | None, float | None]) -> None:
    """A cost that an inner plugin set, such as schema or budget, is that of its answer alone."""
    guard = Guard(output=Output(deny=("devil",), action="reask"))
    refused = Response("the devil", usage=Usage(10, 5, 15), cost=costs[0])
    answers = [refused, Response("an angel", usage=Usage(20, 6, 26), cost=costs[1])]
    running, _ = runner(answers, plugins=[guard])
    response = running.run(a_persona(), "Hi")
    assert response.usage == Usage(30, 11, 41)
    assert response.cost == (0.75 if None not in costs else None)


def test_the_last_attempt_is_refused() -> None:
    guard = Guard(output=Output(deny=("devil",), action="reask", attempts=2))
    running, upstream = runner(["devil"], plugins=[guard])
    with pytest.raises(Blocked):
        running.run(a_persona(), "Hi")
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "arguments", ['{"q": "devil"}', '{"q": "d\\u0065vil"}', '{"q":"a\\ndevil"}']
)
def test_arguments_are_checked_before_the_tool_is_called(arguments: str) -> None:
    called = []

    def look(**_: str) -> str:
        called.append(1)
        return "x"

    tool = Tool("look", look, parameters={"type": "object"})
    calls = Response("", tool_calls=(ToolCall("1", "look", arguments),))
    running, _ = runner([calls, "done"], plugins=[DENY, With(tool)])
    with pytest.raises(Blocked):
        running.run(a_persona(), "Hi")
    assert not called


def test_results_of_tools_and_a_phrase_over_two_rounds_are_checked() -> None:
    tool = Tool("look", lambda: "a devil")
    calls = Response("red", tool_calls=(ToolCall("1", "look"),))
    for guard in (Guard(input=Input(deny=("devil",))), Guard(output=Output(deny=("red cat",)))):
        running, _ = runner([calls, "cat"], plugins=[guard, With(tool)])
        with pytest.raises(Blocked):
            running.run(a_persona(), "Hi")


def test_the_persona_s_own_system_text_is_not_checked() -> None:
    assert check_plugin(Guard(input=Input(deny=("test",))), "Hi").text == "Hello!"


def test_with_input_alone_the_answer_streams() -> None:
    running, _ = runner(["abcdef"], plugins=[Guard(input=Input(deny=("x",)))], size=2)
    assert list(running.stream(a_persona(), "Hi")) == ["ab", "cd", "ef"]


def judged(verdict: Answer, side: str, mode: str, tmp_path: Path) -> Response:
    (tmp_path / "judge.yaml").write_text("name: judge\nsystem: You judge.\n")

    def answer(request: Request) -> str | Response:
        if request.persona != "judge":
            return "fine"
        if isinstance(verdict, Exception):
            raise verdict
        assert isinstance(verdict, str)
        return verdict

    running = Runner(Config(model="test/m", path=(tmp_path,)), backend=Upstream([answer]))
    options = {"use": "guard", "options": {side: {"judge": "judge"}}, "on_error": "skip"}
    return in_mode(mode, running, a_persona(plugins=[options]), "Hi")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["input", "output"])
def test_the_judge(mode: str, side: str, tmp_path: Path) -> None:
    for verdict in ("allow", "Allow.", " ALLOW, it is fine"):
        assert judged(verdict, side, mode, tmp_path).text == "fine"
    refused: list[Answer] = ["refuse", "allowed", "allow-list", "I allow", "", "**allow**"]
    for bad in [*refused, IncompleteAnswer("broke", partial="allow"), Blocked("no")]:
        with pytest.raises(Blocked, match="judge"):
            judged(bad, side, mode, tmp_path)


@pytest.mark.parametrize("side", ["input", "output"])
def test_an_unknown_judge_is_an_error_and_no_way_past(side: str) -> None:
    running, who = by_name({side: {"judge": "nobody"}}, on_error="skip")
    text, failed = streamed(running, who)
    assert text == ""
    assert "nobody" in str(failed)


def test_what_a_broken_answer_carries_is_dropped() -> None:
    running, _ = runner([IncompleteAnswer("broke", partial="devil")], plugins=[DENY])
    with pytest.raises(IncompleteAnswer) as caught:
        running.run(a_persona(), "Hi")
    assert caught.value.partial == ""


def test_one_instance_serves_many_runs() -> None:
    def one(n: int) -> str:
        running, _ = runner(["devil" if n % 2 else "fine"], plugins=[DENY])
        return streamed(running, a_persona())[0]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(12))) == ["fine", ""] * 6

    async def many() -> list[Any]:
        runs = [runner(["devil" if n % 2 else "fine"], plugins=[DENY])[0] for n in range(6)]
        tasks = (running.arun(a_persona(), "Hi") for running in runs)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(found, Blocked) for found in asyncio.run(many())] == [False, True] * 3


@pytest.mark.parametrize(("verdict", "code", "shown"), [("allow", 0, "fine"), ("no", 1, "")])
def test_a_judge_from_a_file_through_the_command(
    tmp_path: Path, verdict: str, code: int, shown: str
) -> None:
    (tmp_path / "judge.yaml").write_text("name: judge\nsystem: You judge.\nmodel: openai/m\n")
    file = tmp_path / "clerk.yaml"
    file.write_text(
        "name: clerk\nsystem: Hi.\nplugins:\n  - guard: {output: {judge: judge.yaml}}\n"
    )
    with Server(["fine", verdict]) as server:
        command = [sys.executable, "-m", "personakit", "run", str(file), "Hi", "-m", "openai/m"]
        environ = {**os.environ, **server.environ()}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, shown), done.stderr
    assert ("refused by the rule judge" in done.stderr) == bool(code)


@pytest.mark.parametrize("mode", MODES)
def test_reasoning_is_checked_and_lost_with_a_refused_answer(mode: str) -> None:
    running, _ = runner([Response("Hi", reasoning="The devil!")], plugins=[DENY])
    with pytest.raises(Blocked):
        in_mode(mode, running, a_persona(), "Hi")
    # What cannot be used has not been checked, either.
    call = ToolCall("1", "wipe", "{}")
    error = IncompleteAnswer("no", partial="devil", response=Response("devil", tool_calls=(call,)))
    running, _ = runner([error], plugins=[DENY])
    with pytest.raises(IncompleteAnswer) as raised:
        in_mode(mode, running, a_persona(), "Hi")
    assert (raised.value.partial, raised.value.response) == ("", None)


def clerk(folder: Path, side: str, judge: str) -> Path:
    (folder / "judge.yaml").write_text("system: You judge.\n")
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "judge.yaml").write_text("system: I judge.\n")
    file = folder / "mine" / "clerk.yaml"
    file.write_text(f"system: Hi.\nplugins:\n  - guard: {{{side}: {{judge: '{judge}'}}}}\n")
    return file


@pytest.mark.parametrize(
    ("side", "answers"), [("input", ["allow", "fine"]), ("output", ["fine", "allow"])]
)
@pytest.mark.parametrize(
    ("judge", "system"),
    [("judge", "You judge."), ("judge.yaml", "I judge."), ("./judge.yaml", "I judge.")],
)
def test_a_judge_by_name_or_beside_the_file(
    side: str, answers: list[str], judge: str, system: str, tmp_path: Path
) -> None:
    running, upstream = runner(answers, path=(tmp_path,))
    assert running.run(clerk(tmp_path, side, judge), "Hi").text == "fine"
    (asked,) = (request for request in upstream.requests if request.persona == "judge")
    assert asked.system == system


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    "judge", ["{folder}/judge.yaml", "~/judge.yaml", "../judge.yaml", "out.yaml", ".judge.yaml"]
)
def test_a_judge_out_of_the_folder(side: str, judge: str, tmp_path: Path) -> None:
    file = clerk(tmp_path, side, judge.format(folder=tmp_path))
    (tmp_path / "mine" / "out.yaml").symlink_to(tmp_path / "judge.yaml")
    running, upstream = runner()
    message = (
        f"{file}:3:.*plugin 'guard'.*option '{side}': .*; a persona may name a persona by its "
        f"name, or a file in the folder of its own file; .*plugin_options: {{guard: {{{side}: "
    )
    with pytest.raises(PersonaError, match=message):
        running.run(file, "Hi")
    assert upstream.requests == []
    # The user may name it.
    options = {"guard": {side: {"judge": str(tmp_path / "judge.yaml")}}}
    running, upstream = runner(["allow"], plugin_options=options)
    assert running.run(a_persona(plugins=["guard"]), "Hi").text == "allow"
    assert {request.persona for request in upstream.requests} == {"judge", "test"}


def test_a_judge_beside_the_file_may_not_name_the_file_of_a_model(tmp_path: Path) -> None:
    file = clerk(tmp_path, "input", "judge.yaml")
    (tmp_path / "mine" / "judge.yaml").write_text("system: I judge.\nmodel: local//x.gguf\n")
    with pytest.raises(PersonaError, match=r"judge\.yaml:2:8: model: 'local//x\.gguf' is the path"):
        runner()[0].run(file, "Hi")


@pytest.mark.parametrize("mode", MODES)
def test_what_may_be_shown_beside_the_text_is_checked(mode: str) -> None:
    notes = ({"type": "citation", "quotes": ["The devil!"]},)
    running, _ = runner([Response("Hi", annotations=notes)], plugins=[DENY])
    with pytest.raises(Blocked):
        in_mode(mode, running, a_persona(), "Hi")
    fine = Response("Hi", reasoning="Hm.", annotations=({"quotes": ["An angel."]},))
    running, _ = runner([fine], plugins=[DENY])
    response = in_mode(mode, running, a_persona(), "Hi")
    assert (response.reasoning, response.annotations) == (fine.reasoning, fine.annotations)


def test_no_piece_of_a_refused_answer_is_shown() -> None:
    refused = Response("Hi", reasoning="Well. The devil!", tool_calls=(ToolCall("1", "a"),))
    running, _ = runner([refused], plugins=[DENY])
    shown: list[Piece] = []
    with pytest.raises(Blocked):
        shown += running.stream(a_persona(), "Hi").pieces()
    assert shown == []
