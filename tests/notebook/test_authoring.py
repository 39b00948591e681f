"""A cell that writes a persona."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.notebook import Desk, failed, shown

PIRATE = "description: A pirate.\nsystem: You are {{ name }}, a pirate.\nvariables: {name: Anne}\n"


@pytest.fixture
def personas(desk: Desk) -> Iterator[Path]:
    folder = desk.folder / "personas"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_persona_can_be_used_at_once(desk: Desk) -> None:
    cell = desk(f"%%persona new pirate --as pirate\n{PIRATE}")
    html = shown(cell, "text/html")
    assert "You are Anne, a pirate." in html
    assert "tokens" in html
    assert "%%persona pirate" in html
    desk("%%persona pirate -v name=Zoë\nHello", "Arr")
    assert desk.system() == "You are Zoë, a pirate."
    assert ">pirate</td>" in shown(desk("%persona"), "text/html")
    assert not (desk.folder / "personas").exists()
    cell = desk("import personakit\nprint(personakit.run(pirate, 'Hello').text)", "Arr")
    assert cell.outputs[0].text == "Arr\n"


def test_one_cell_extends_another(desk: Desk) -> None:
    desk(f"%%persona new pirate\n{PIRATE}")
    cell = desk("%%persona new captain\nextends: pirate\nvariables: {name: Mary}")
    assert failed(cell) == ""
    desk("%%persona captain\nHello", "Arr")
    assert desk.system() == "You are Mary, a pirate."


def test_an_error_has_the_line_of_the_cell(desk: Desk) -> None:
    cell = desk("%%persona new broken\ndescription: A\nsystm: You are {{ nme }}.\nsystem: x\n")
    assert [out.output_type for out in cell.outputs] == ["error"]
    assert "cell:3:1: PK010 unknown key 'systm'; did you mean 'system'?" in failed(cell)
    cell = desk("%%persona new broken\nsystem: |\n  You\n  are {{ nme }}.\nvariables: {name: A}\n")
    assert "cell:4:10: PK023" in failed(cell)
    assert "no persona 'broken'" in failed(desk("%persona broken Hello"))
    assert "did you mean 'my-persona'" in failed(desk("%%persona new My-Persona\nsystem: x"))
    assert "cell:2:7: PK040" in failed(desk("%%persona new a\nname: b\nsystem: x"))


def test_a_new_file_is_written_but_none_is_replaced_unasked(desk: Desk, personas: Path) -> None:
    file = personas / "sailor.yaml"
    cell = desk(f"%%persona new sailor --save\n{PIRATE}")
    assert file.read_text() == PIRATE
    assert "Wrote personas/sailor.yaml" in cell.outputs[0].text
    other = PIRATE.replace("Anne", "Mary")
    (personas / "nurse.yaml").write_text(PIRATE)
    assert "--force replaces it" in failed(desk(f"%%persona new nurse --save\n{other}"))
    assert (personas / "nurse.yaml").read_text() == PIRATE
    cell = desk(f"%%persona new sailor --save --force\n{other}")
    assert "-variables: {name: Anne}\n+variables: {name: Mary}" in cell.outputs[0].text
    assert file.read_text() == other


def test_after_save_the_file_is_the_persona(desk: Desk, personas: Path) -> None:
    desk(f"%%persona new cook --save\n{PIRATE}")
    edited = PIRATE.replace("a pirate.", "a cook.")
    (personas / "cook.yaml").write_text(edited)
    desk("%persona cook Hello", "x")
    assert desk.system() == "You are Anne, a cook."
    desk("%%persona new baker\nextends: cook\nvariables: {name: Mary}\n")
    desk("%persona baker Hello", "x")
    assert desk.system() == "You are Mary, a cook."
    error = failed(desk(f"%%persona new cook --save\n{PIRATE}"))
    assert "personas/cook.yaml has changed since" in error
    assert "--force" in error
    assert (personas / "cook.yaml").read_text() == edited
    # Without --save, the cell is the newest text again.
    desk(f"%%persona new cook\n{PIRATE}")
    desk("%persona cook Hello", "x")
    assert desk.system() == "You are Anne, a pirate."


def test_a_changed_cell_is_saved_again(desk: Desk, personas: Path) -> None:
    desk(f"%%persona new cook --save\n{PIRATE}")
    other = PIRATE.replace("Anne", "Mary")
    cell = desk(f"%%persona new cook --save\n{other}")
    assert "+variables: {name: Mary}" in cell.outputs[0].text
    assert (personas / "cook.yaml").read_text() == other
    (personas / "cook.yaml").unlink()
    desk(f"%%persona new cook --save\n{other}")
    assert (personas / "cook.yaml").read_text() == other


def test_the_python_api_finds_a_persona_of_a_cell(desk: Desk) -> None:
    desk(f"%%persona new parrot\n{PIRATE}")
    cell = desk("import personakit\nprint(personakit.run('parrot', 'Hello').text)", "Arr")
    assert cell.outputs[0].text == "Arr\n"
    assert desk.system() == "You are Anne, a pirate."
    assert desk("print(personakit.form('parrot').persona.name)").outputs[0].text == "parrot\n"
    assert "did you mean 'parrot'" in failed(desk("personakit.run('parot', 'Hello')"))
    cell = desk("print((await personakit.arun('parrot', 'Hello')).text)", "Arr")
    assert cell.outputs[0].text == "Arr\n"


def test_a_required_variable_gets_a_sample_in_the_preview(desk: Desk) -> None:
    text = "system: You are {{ name }}.\nvariables: {name: {required: true, example: Anne}}\n"
    html = shown(desk(f"%%persona new example\n{text}"), "text/html")
    assert "You are Anne." in html
    assert "made up for the preview: name=&quot;Anne&quot;" in html


GREETER = """\
variables: {language: {required: true, example: French}}
system: You greet people in {{ language }}.
prompt: "Greet this person: {{ input }}"
"""


def test_a_persona_that_needs_a_prompt_gets_a_sample_in_the_preview(desk: Desk) -> None:
    html = shown(desk(f"%%persona new greeter\n{GREETER}"), "text/html")
    assert "not rendered" not in html
    assert "Greet this person: …" in html
    assert "made up for the preview: language=&quot;French&quot;, prompt=&quot;…&quot;" in html


def test_the_text_form_shows_what_the_html_shows(desk: Desk) -> None:
    text = shown(desk(f"%%persona new greeter\n{GREETER}"), "text/plain")
    assert text.startswith("line 2: PK060 `description` is missing")
    assert re.search(r"^--- system · (about )?\d tokens$", text, re.MULTILINE)
    assert "Greet this person: …" in text
    assert '--- made up for the preview: language="French", prompt="…"' in text
    assert text.endswith("--- can be used as %%persona greeter")


def test_a_preview_that_fails_names_the_place_in_the_cell(desk: Desk) -> None:
    cell = desk("%%persona new picky\ndescription: d\nsystem: You are {{ a.b }}.\n"
                "variables: {a: {type: object, default: {}}}\n")  # fmt: skip
    for kind in ("text/html", "text/plain"):
        assert "not rendered: cell:3:22: " in shown(cell, kind)
        assert "picky.yaml" not in shown(cell, kind)


def test_force_alone_writes_nothing(desk: Desk, personas: Path) -> None:
    (personas / "clerk.yaml").write_text("mine")
    assert "it needs --save" in failed(desk(f"%%persona new clerk --force\n{PIRATE}"))
    assert (personas / "clerk.yaml").read_text() == "mine"
    assert failed(desk(f"%%persona new clerk --save --force\n{PIRATE}")) == ""
    assert (personas / "clerk.yaml").read_text() == PIRATE
