"""A cell that writes a persona."""

from __future__ import annotations

from helpers.notebook import Desk, failed, shown

PIRATE = "description: A pirate.\nsystem: You are {{ name }}, a pirate.\nvariables: {name: Anne}\n"


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


def test_a_new_file_is_written_but_none_is_replaced_unasked(desk: Desk) -> None:
    file = desk.folder / "personas" / "sailor.yaml"
    cell = desk(f"%%persona new sailor --save\n{PIRATE}")
    assert file.read_text() == PIRATE
    assert "Wrote personas/sailor.yaml" in cell.outputs[0].text
    other = PIRATE.replace("Anne", "Mary")
    assert "--force replaces it" in failed(desk(f"%%persona new sailor --save\n{other}"))
    assert file.read_text() == PIRATE
    cell = desk(f"%%persona new sailor --save --force\n{other}")
    assert "-variables: {name: Anne}\n+variables: {name: Mary}" in cell.outputs[0].text
    assert file.read_text() == other
    file.unlink()
    file.parent.rmdir()


def test_a_required_variable_gets_a_sample_in_the_preview(desk: Desk) -> None:
    text = "system: You are {{ name }}.\nvariables: {name: {required: true, example: Anne}}\n"
    html = shown(desk(f"%%persona new example\n{text}"), "text/html")
    assert "You are Anne." in html
    assert "made up for the preview: name=&quot;Anne&quot;" in html
