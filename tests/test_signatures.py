"""What help() and editors show of the functions that take options."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import io
import pydoc
import typing
from typing import Any

import pytest

import personakit
from personakit import Conversation, Options, Runner
from personakit.pipeline import AllOptions, RunOptions
from personakit.testing import persona, runner

VERBS = ("run", "arun", "stream", "astream", "prepare")
FUNCTIONS = [getattr(owner, verb) for owner in (personakit, Runner, Conversation) for verb in VERBS]
BOUND = [getattr(runner()[0], verb) for verb in VERBS]


DEFAULTS = {each.name: each.default for each in dataclasses.fields(RunOptions)}


def test_every_option_has_a_default() -> None:
    assert set(DEFAULTS) == set(AllOptions.__annotations__) == {*Options.__annotations__, "output"}


@pytest.mark.parametrize("function", [*FUNCTIONS, *BOUND], ids=lambda f: f.__qualname__)
def test_options_are_keyword_arguments_with_types_and_defaults(function: Any) -> None:
    signature = inspect.signature(function)
    keywords = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert {each.name: each.default for each in keywords} == DEFAULTS
    assert signature.parameters["max_rounds"].annotation == "int | None"
    assert signature.parameters["output"].annotation == "Any"
    assert not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    signature.bind_partial(variables={"guests": 2}, output=dict)
    with pytest.raises(TypeError, match="temperature"):
        signature.bind_partial(temperature=1)


def test_positional_arguments_are_left() -> None:
    assert [*inspect.signature(personakit.run).parameters][:2] == ["persona", "prompt"]
    assert str(inspect.signature(Runner.run)).startswith("(\n    self,\n    persona: str | Path")
    assert [*inspect.signature(runner()[0].run).parameters][:2] == ["persona", "prompt"]
    talk = runner()[0].conversation(persona())
    assert [*inspect.signature(talk.astream).parameters][:2] == ["prompt", "variables"]


def test_help_has_a_line_for_each_option() -> None:
    out = io.StringIO()
    pydoc.Helper(output=out).help(personakit.run)
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines[2:6] == [
        "run(",
        "persona: str | Path | Persona,",
        "prompt: str | Request | Resumption | None = None,",
        "*,",
    ]
    assert "variables: Mapping[str, Any] | None = None," in lines
    assert "max_rounds: int | None = 10," in lines
    assert ") -> Response[Any]" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("function", [Runner.conversation, runner()[0].conversation])
def test_the_setup_of_a_conversation_is_keyword_arguments(function: Any) -> None:
    signature = inspect.signature(function)
    keywords = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    shown = {each.name: (each.annotation, each.default) for each in keywords}
    assert shown == {
        "model": ("str | None", None),
        "variables": ("Mapping[str, Any] | None", None),
        "parameters": ("Mapping[str, Any] | None", None),
        "id": ("str | None", None),
        "messages": ("Iterable[Message]", ()),
        "notify": ("Callable[[str], None] | None", None),
    }
    assert len(signature.parameters) == 7 + (function is Runner.conversation)
    talk = function(*([runner()[0]] * (function is Runner.conversation)), persona(), id="c1")
    assert talk.id == "c1"


def test_a_function_stays_what_it_is() -> None:
    assert inspect.isfunction(personakit.run)
    assert inspect.iscoroutinefunction(personakit.arun)
    assert inspect.iscoroutinefunction(Runner.arun)
    assert "run_sync(" in inspect.getsource(personakit.run)
    assert "def run(" in inspect.getsource(Runner.run)
    assert len(typing.get_overloads(personakit.run)) == 4
    response = asyncio.run(runner()[0].arun(persona(), "Hi!", max_rounds=3))
    assert response.text == "Hello!"
