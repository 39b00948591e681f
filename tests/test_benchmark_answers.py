"""How the benchmark of the embedded model judges an answer; no model takes part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.answers import CONFIGURATIONS, TASKS, Answer, tables
from benchmarks.harness.judged import (
    Demand,
    language,
    repeated_lines,
    repeated_phrases,
)
from personakit import Runner

SENTENCE = "The light of the sun meets the air and is scattered by it in all directions."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SENTENCE, "English"),
        ("Je suis à la maison et je bois un café avec les amis.", "French"),
        ("Me gusta cocinar en casa con los amigos, ¿y a ti qué te gusta?", "Spanish"),
        ("1 2 3 4", ""),
        ("", ""),
    ],
)
def test_a_language_is_known_by_its_common_words(text: str, expected: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    ("text", "lines", "phrases"),
    [
        (SENTENCE, 0, 0),
        ("- one two three\n- four\n2. One two three!\n", 1, 0),
        ("Yes.\nNo.\nYes.\n", 0, 0),
        (f"{SENTENCE} Then {SENTENCE.lower()}", 0, 7),
    ],
)
def test_repeated_lines_and_phrases_are_counted_once(text: str, lines: int, phrases: int) -> None:
    assert (len(repeated_lines(text)), len(repeated_phrases(text))) == (lines, phrases)


def test_a_demand_names_everything_that_is_wrong() -> None:
    demand = Demand("French", (1, 5), has=["^1\\."], lacks=["sun"])
    assert demand.faults(SENTENCE) == ["no ^1\\.", "has sun", "not French", "16 words"]
    assert Demand(has=["light"]).faults(SENTENCE) == []


def test_every_task_renders_a_packaged_persona() -> None:
    assert len({task.persona for task in TASKS}) == len(TASKS) == 12
    with Runner() as runner:
        for task in TASKS:
            request = runner.render(task.persona, task.prompt, variables=task.variables)
            assert "temperature" in request.parameters


def test_the_plugins_own_sampling_takes_part() -> None:
    sampling = pytest.importorskip("personakit_local.sampling")
    default = next(how for name, how in CONFIGURATIONS.items() if name.startswith("**"))
    assert default == sampling.SAMPLING


def test_an_answer_that_fails_twice_is_bad_once() -> None:
    good = Answer("chef", 1, "", ended=True, repeats=False, faults=[])
    bad = Answer("chef", 2, "", ended=False, repeats=True, faults=["no x"])
    whole, by_persona = tables({"default": [good, bad]})
    assert whole.title == "Answers: bad ones of 2"
    assert list(whole.rows) == [["default", "1", "1", "1", "1", "1"]]
    assert ["chef", "1"] in list(by_persona.rows)
