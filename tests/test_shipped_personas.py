"""The personas that ship: each is complete, renders with every value, and uses what it declares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.shipped import shipped_files

from personakit import Config, Persona, Runner, Variable

FILES = shipped_files()


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(Config(path=(), model="test/model"))


def test_there_are_many() -> None:
    assert len(FILES) >= 25
    assert {"chef", "summarizer", "translator"} <= {file.stem for file in FILES}


def values(persona: Persona) -> list[dict[str, Any]]:
    """Return sets of values: the defaults, and each other value of one variable at a time."""
    needed = {name: one.example for name, one in persona.variables.items() if one.required}
    sets = [needed]
    for name, one in persona.variables.items():
        sets += [{**needed, name: value} for value in others(one)]
    return sets


def others(variable: Variable) -> list[Any]:
    """Return further values of a variable that choose other branches of a template."""
    found: list[Any] = list(variable.enum)
    if variable.type == "boolean":
        found += [True, False]
    if variable.example is not None:
        found.append(variable.example)
    bounds = (variable.minimum, variable.maximum)
    if variable.type in ("integer", "number"):
        found += [bound for bound in bounds if bound is not None]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_persona_that_ships(file: Path, runner: Runner) -> None:
    persona = runner.load(file.stem)
    assert persona.path == str(file)
    assert "name" in persona.document.data
    assert 10 <= len(persona.description) <= 80
    assert persona.description.endswith(".")
    assert persona.tags
    assert all(re.fullmatch(r"[a-z][a-z-]*", tag) for tag in persona.tags)
    assert re.fullmatch(r"\d+\.\d+", persona.version)
    assert persona.license == "Apache-2.0"
    assert persona.model is None
    assert not persona.plugins
    compiled = runner.catalog.compiled(persona)
    assert persona.variables.keys() == compiled.used - {"input"}
    for name, variable in persona.variables.items():
        assert not variable.required or variable.example is not None, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_persona_that_ships_renders(file: Path, runner: Runner) -> None:
    persona = runner.load(file.stem)
    for given in values(persona):
        request = runner.render(persona, "What the user types.", variables=given)
        assert request.messages[0].role == "system"
        assert request.messages[-1].role == "user"
        assert "What the user types." in request.messages[-1].text
        for message in request.messages:
            assert message.text.strip()
            assert not re.search(r"\b(?:None|True|False)\b", message.text)
            assert "\n\n\n" not in message.text


def test_the_chef_is_the_one_of_the_origin(runner: Runner) -> None:
    chef = runner.load("chef")
    assert chef.parameters == {"temperature": 0.9, "max_tokens": 2084}
    assert {name: one.default for name, one in chef.variables.items()} == {
        "cook": "Florent",
        "guests": 2,
        "diet": "any",
    }
    request = runner.render("chef")
    (message,) = request.messages
    assert message.role == "system"
    assert message.text.startswith("Act as a chef whose name is Florent.\n")
    assert request.parameters == chef.parameters
    given = {"cook": "Anna", "guests": 1, "diet": "vegan"}
    text = runner.render("chef", variables=given).system
    assert "whose name is Anna." in text
    assert "You cook for 1 person." in text
    assert "Every dish is vegan." in text
