"""Questions of tool calls that nobody answers, of which the model is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.suspending import CALCULATOR, Asks, Counter, Gate, in_mode, runner_of, two_calls

from personakit import Blocked
from personakit.testing import MODES, Upstream


@pytest.mark.parametrize("mode", MODES)
def test_the_model_is_told_that_nobody_answers(tmp_path: Path, mode: str) -> None:
    upstream, tool = two_calls(), Counter()
    runner = runner_of(tmp_path, upstream, Gate(), on_suspend="tell")
    response = in_mode(mode, runner, CALCULATOR, "Add.", [], tools=[tool.add])
    results = [message for message in response.messages if message.role == "tool"]
    assert [message.tool_call_id for message in results] == ["c1", "c2"]
    assert all("error: nobody is there to answer" in message.text for message in results)
    assert tool.calls == []
    assert list(runner.journals.ids()) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_question_of_another_hook_ends_the_run(tmp_path: Path, mode: str) -> None:
    runner = runner_of(tmp_path, Upstream(["Hello!"]), Asks("Go on?"))
    with pytest.raises(Blocked, match="nobody is there to answer: Go on"):
        in_mode(mode, runner, CALCULATOR, "Hi", [], on_suspend="tell")
