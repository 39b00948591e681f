"""Variables of the type `any`."""

from __future__ import annotations

from typing import Any

import pytest

from personakit import Config, Persona, Runner

SOURCE = "prompt: '{{ x | tojson(compact=true) }}'\nvariables: {x: {type: any, required: false}}\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a", '"a"'), ([], "[]"), (0, "0"), (True, "true"), ({"k": [1]}, '{"k":[1]}'), (None, "null")],
)
def test_a_value_of_every_type_is_accepted(value: Any, shown: str) -> None:
    with Runner(Config(path=()), log=False) as runner:
        request = runner.render(Persona.parse(SOURCE), None, variables={"x": value})
    assert request.messages[-1].text == shown


def test_a_text_of_the_command_line_is_json_or_itself() -> None:
    variable = Persona.parse(SOURCE).variables["x"]
    texts = ["[1]", "abc", "7", '{"a": null}', "[1"]
    assert [variable.convert(text) for text in texts] == [[1], "abc", 7, {"a": None}, "[1"]
    assert variable.to_schema() == {}
