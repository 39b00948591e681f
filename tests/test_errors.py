"""The errors: one tree, drawn in the module's docstring, with fields that survive a pickle."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

import personakit
from personakit import Problem, Response, errors

CLASSES = [
    it for _, it in inspect.getmembers(errors, inspect.isclass) if issubclass(it, Exception)
]  # fmt: skip


def drawn() -> dict[str, str]:
    """Return each class of the drawn tree with its parent."""
    parents: dict[int, str] = {}
    found = {}
    for indent, name in re.findall(
        r"^    ([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE
    ):
        depth = len(indent)
        parents[depth] = name
        found[name] = parents.get(depth - 4, "Exception")
    return found


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert drawn() == {it.__name__: it.__base__.__name__ for it in CLASSES if it.__base__}


def test_every_error_is_public() -> None:
    assert {it.__name__ for it in CLASSES} <= set(personakit.__all__)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_exit_code_tells_a_mistake_of_the_caller_from_a_run_that_failed(
    kind: type[errors.PersonakitError],
) -> None:
    assert kind.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)


PROBLEM = Problem("no `system:`", "chef.yaml", 3, 1)
MADE: dict[str, Any] = {
    "Blocked": lambda: errors.Blocked("not here"),
    "PersonaError": lambda: errors.PersonaError([PROBLEM, Problem("x")]),
    "TemplateError": lambda: errors.TemplateError([PROBLEM]),
    "PluginError": lambda: errors.PluginError("m", plugin="p", response=Response("paid")),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_a_pickle_with_its_fields(kind: type[Exception]) -> None:
    if issubclass(kind, errors.BackendError):
        error: Exception = kind("m", partial="Hel", status=500, request_id="req_1")
    else:
        error = MADE.get(kind.__name__, lambda: kind("m"))()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) != ""
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (PROBLEM, "chef.yaml:3:1: no `system:`"),
        (Problem("m", "chef.yaml", 3), "chef.yaml:3: m"),
        (Problem("m", "chef.yaml"), "chef.yaml: m"),
        (Problem("m"), "m"),
    ],
)
def test_a_problem_names_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_persona_error_says_every_problem() -> None:
    error = errors.PersonaError([PROBLEM, Problem("second", "chef.yaml", 4, 2)])
    assert str(error).splitlines() == ["chef.yaml:3:1: no `system:`", "chef.yaml:4:2: second"]
    assert error.problems[0] is PROBLEM


def test_did_you_mean() -> None:
    assert errors.did_you_mean("cheff", ["chef", "coach"]) == "; did you mean 'chef'?"
    assert errors.did_you_mean("zzz", ["chef"]) == errors.did_you_mean("chef", []) == ""
