"""A form of widgets for a persona."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

import personakit
from personakit import Persona, Runner
from personakit.notebook import form
from personakit.testing import Reply, Server

SOURCE = """
description: Everything.
variables:
  cook: {default: Florent}
  story: {default: "%s"}
  diet: {enum: [any, vegan], default: any, description: What they eat}
  quick: {type: boolean, default: true}
  guests: {type: integer, minimum: 1, maximum: 40, default: 2}
  year: {type: integer, minimum: 1900, default: 2000}
  salt: {type: number, minimum: 0, maximum: 1, default: 0.5}
  tags: {type: array, items: {type: string}, default: [a]}
  sizes: {type: array, items: {type: integer}, default: [1, 2]}
  shop: {type: object, properties: {name: {type: string}}, default: {name: Corner}}
  name: {required: true, pattern: "^[A-Z]"}
system: >-
  {{ cook }} {{ diet }} {{ quick }} {{ guests }} {{ tags }} {{ sizes }} {{ shop.name }} {{ name }}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Leek **soup** <b>"]) as running:
        yield running


@pytest.fixture
def made(server: Server) -> Iterator[Any]:
    with Runner(server.config()) as runner:
        yield form(Persona.parse(SOURCE % ("x" * 100), "all.yaml"), runner=runner)


def test_each_variable_has_the_widget_of_its_type(made: Any) -> None:
    kinds = {name: type(field).__name__ for name, field in made.fields.items()}
    assert kinds == {
        "cook": "Text",
        "story": "Textarea",
        "diet": "Dropdown",
        "quick": "Checkbox",
        "guests": "IntSlider",
        "year": "BoundedIntText",
        "salt": "BoundedFloatText",
        "tags": "TagsInput",
        "sizes": "Textarea",
        "shop": "Textarea",
        "name": "Text",
    }
    assert (made.fields["guests"].min, made.fields["guests"].max) == (1, 40)
    assert made.fields["diet"].tooltip == "What they eat"


def test_the_values_are_typed_and_the_untouched_ones_stay_defaults(
    made: Any, server: Server
) -> None:
    made.fields["name"].value = "Zoë"
    made.fields["guests"].value = 6
    made.fields["tags"].value = ["b", "c"]
    made.fields["sizes"].value = "[3]"
    assert made.values() == {"name": "Zoë", "guests": 6, "tags": ["b", "c"], "sizes": [3]}
    made.prompt.value = "Soup?"
    made.button.click()
    messages = server.requests[0].body["messages"]
    assert messages[0]["content"].startswith("Florent any True 6 ['b', 'c'] [3] Corner Zoë")
    assert messages[1]["content"] == "Soup?"
    (shown,) = made.output.outputs
    assert shown["data"]["text/markdown"].startswith("Leek **soup** &lt;b>\n\n<sub>test-model")
    assert made.response.text == "Leek **soup** <b>"
    assert made.button.disabled is False


def test_an_error_is_under_its_field_and_nothing_is_sent(made: Any, server: Server) -> None:
    made.fields["name"].value = "<b>zoë"
    made.fields["shop"].value = "{"
    made.button.click()
    assert server.requests == []
    faults = {name: fault.value for name, fault in made._faults.items() if fault.value}
    assert set(faults) == {"name", "shop"}
    assert "does not match the pattern" in faults["name"]
    assert "<b>" not in faults["name"]
    assert "expected JSON" in faults["shop"]
    made.fields["name"].value = "Zoë"
    made.fields["shop"].value = '{"name": "Market"}'
    made.button.click()
    assert len(server.requests) == 1
    assert not any(fault.value for fault in made._faults.values())


@pytest.mark.parametrize(
    ("rules", "shown", "kind"),
    [
        ("default: 2000000000", 2_000_000_000, "BoundedIntText"),
        ("default: -2000000000, maximum: 5", -2_000_000_000, "BoundedIntText"),
        ("minimum: 2000000000, required: true", 2_000_000_000, "BoundedIntText"),
        ("maximum: -2000000000, required: true", -2_000_000_000, "BoundedIntText"),
        ("default: 9007199254740993", "9007199254740993", "Text"),
        ("minimum: 10000000000000000, required: true", "", "Text"),
        ("default: 3, type: number, maximum: 1.0e+300", 3, "BoundedFloatText"),
        ("default: 1.0e+300, type: number", 1e300, "BoundedFloatText"),
        ("minimum: 2.0e+9, type: number, required: true", 2e9, "BoundedFloatText"),
    ],
)
def test_a_large_number_is_shown_as_it_is(
    server: Server, rules: str, shown: object, kind: str
) -> None:
    rules = rules if "type" in rules else f"type: integer, {rules}"
    text = f"system: '{{{{ n }}}}'\nvariables: {{n: {{{rules}}}}}\n"
    with Runner(server.config()) as runner:
        made = form(Persona.parse(text, "large.yaml"), runner=runner)
        field = made.fields["n"]
        assert (field.value, type(field).__name__) == (shown, kind)
        if kind == "Text":
            field.value = "90071992547409931"
            assert made.values() == {"n": 90071992547409931}
            field.value = "many"
            with pytest.raises(personakit.UsageError, match="expected JSON"):
                made.values()
        elif "required" not in rules:
            assert made.values() == {}


def test_a_failed_run_is_shown_and_can_be_repeated(made: Any, server: Server) -> None:
    server.answers = [Reply(b'{"error": {"message": "<b>no"}}', 400)]
    made.fields["name"].value = "Zoë"
    made.button.click()
    (shown,) = made.output.outputs
    assert "&lt;b&gt;no" in shown["data"]["text/html"]
    assert made.button.disabled is False


def test_a_stopped_run_keeps_its_text_and_has_no_response(made: Any, server: Server) -> None:
    made.fields["name"].value = "Zoë"
    made.run()
    assert made.response is not None
    events = list(server.events("Leek soup. " * 50, usage=True))

    def pieces() -> Iterator[bytes]:
        yield from events[: len(events) // 2]
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(600):  # until the client leaves
            time.sleep(0.1)
            yield b": still here\n\n"

    server.answers = [Reply(pieces(), headers={"content-type": "text/event-stream"})]  # type: ignore[arg-type]
    made.button.click()
    (shown,) = made.output.outputs
    assert shown["data"]["text/markdown"].startswith("Leek soup. Leek soup.")
    assert shown["data"]["text/markdown"].endswith("\n\n<sub>stopped</sub>")
    assert (made.response, made.button.disabled) == (None, False)
    server.answers = ["Pie"]
    made.button.click()
    assert made.response.text == "Pie"


def test_a_failed_run_has_no_response(made: Any, server: Server) -> None:
    made.fields["name"].value = "Zoë"
    made.run()
    server.answers = [Reply(b'{"error": {"message": "no"}}', 400)]
    made.run()
    assert made.response is None


@pytest.mark.parametrize("typed", ["", " \n"])
@pytest.mark.parametrize(
    "rules", ["required: true", "required: true, type: object", "required: true, type: integer"]
)
def test_a_required_variable_cannot_stay_empty(server: Server, rules: str, typed: str) -> None:
    rules += ", minimum: 10000000000000000" if "integer" in rules else ""
    text = f"system: '{{{{ n }}}}'\nvariables: {{n: {{{rules}}}}}\n"
    with Runner(server.config()) as runner:
        made = form(Persona.parse(text, "required.yaml"), runner=runner)
        made.fields["n"].value = typed
        made.button.click()
        assert server.requests == []
        assert "required; write a value" in made._faults["n"].value
        with pytest.raises(personakit.UsageError, match=r"^n: required; write a value$"):
            made.values()


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [150, 900, 100_000])
def test_json_that_is_nested_too_deep_is_an_error_of_its_field(
    server: Server, opening: str, depth: int
) -> None:
    closing = "]" if opening == "[" else "}"
    text = "system: '{{ n }}'\nvariables: {n: {type: object, default: {}}}\n"
    with Runner(server.config()) as runner:
        made = form(Persona.parse(text, "deep.yaml"), runner=runner)
        made.fields["n"].value = f'{{"x": {opening * depth}1{closing * depth}}}'
        made.button.click()
        assert server.requests == []
        assert "nested" in made._faults["n"].value
        assert "\n" not in made._faults["n"].value
        made.fields["n"].value = opening * depth
        made.button.click()
        assert made._faults["n"].value


@pytest.mark.parametrize("typed", ["NaN", "1e999", "Infinity"])
def test_what_json_does_not_have_is_an_error(server: Server, typed: str) -> None:
    text = "system: '{{ n }}'\nvariables: {n: {type: array, items: {type: number}, default: []}}\n"
    with Runner(server.config()) as runner:
        made = form(Persona.parse(text, "number.yaml"), runner=runner)
        made.fields["n"].value = f"[{typed}]"
        with pytest.raises(personakit.UsageError, match=r"^n: "):
            made.values()


def test_the_last_line_of_a_cell_shows_it() -> None:
    shown = personakit.form("chef")._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    with pytest.raises(personakit.PersonaNotFound, match="did you mean 'chef'"):
        personakit.form("cheff")
