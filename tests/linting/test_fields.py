"""Lint of the fields that templates read: those of items, loops, `set` and filters."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.lint import lint

HEAD = """\
description: d
variables:
  guests:
    items:
      properties:
        name: {}
        age: {type: integer, required: false}
        diet: {enum: [any, vegan], default: any}
        address: {properties: {city: {}}}
        tags: []
    default: []
  open: {properties: {name: x}, additional: true, default: {}}
  table: {properties: {seats: 4, items: [a]}, default: {}}
  plain: {type: object, default: {}}
  texts: {items: {}, default: []}
system: |
"""
GOOD = [
    "{% for guest in guests %}{{ guest.name }}{{ guest['diet'] }}{{ loop.index }}{% endfor %}",
    "{{ guests[0].address.city }} {{ guests[1:][0].name }} {{ (guests|first).name }}",
    "{{ open.any }} {{ plain.any.thing }} {{ plain['x'] }} {{ texts[0].upper() }}",
    "{% for key, value in table.items() %}{{ key.x }}{% endfor %}{{ table['items'][0] }}",
    "{% for guest in guests %}{% for tag in guest.tags %}{{ tag }}{% endfor %}{% endfor %}",
    "{% for g in guests %}{{ g.name }}{% endfor %}{% for g in plain.list %}{{ g.x }}{% endfor %}",
    "{% set g = guests[0] %}{% set g = plain %}{{ g.x }}",
    "{% macro show(guests) %}{{ guests.x }}{% endmacro %}{{ show(plain) }}",
    "{% with guests = plain %}{{ guests.x }}{% endwith %}",
    "{% for g in guests recursive %}{{ g.x }}{{ loop(g.tags) }}{% endfor %}",
    "{{ guests|map(attribute='address.city')|join }} {{ guests|sort(attribute='age,name')|last }}",
    "{{ guests|map(attribute='nick', default='-')|join }} {{ guests|map('upper')|join }}",
    "{% for guest in guests if guest.age %}{{ guest.age }}{% endfor %}",
    "{% for guest in guests %}{{ guest.age if guest.age else '' }}{% endfor %}",
    "{% for letter in guests|groupby('name') %}{{ letter.grouper }}{% endfor %}",
    "{{ guests.index(1) }} {{ table.get('x') }}",
]
WRONG = [
    ("{% for g in guests %}{{ g.«PK029»nmae }}{% endfor %}", "'g' has no field 'nmae'; did you"),
    ("{{ guests[0]['«PK029»nmae'] }}", "'guests[0]' has no field 'nmae'; did you mean 'name'?"),
    ("{{ guests.«PK029»name }}", "'guests' is an array, which has no field 'name'; write a loop"),
    ("{% set g = guests|last %}{{ g.«PK029»x }}", "'g' has no field 'x' (declared: name, age, di"),
    ("{{ guests[0].address.«PK029»town }}", "'guests[0].address' has no field 'town' (declared: c"),
    ("{{ guests|map(attribute='«PK029»nmae')|join }}", "'guests[]' has no field 'nmae'; did you"),
    ("{{ guests|selectattr('«PK029»aeg')|list }}", "'guests[]' has no field 'aeg'; did you mean"),
    ("{{ (guests|sort(attribute='name')|first).«PK029»x }}", "'guests|sort|first' has no field"),
    ("{% for g in guests if g.«PK029»agee %}{% endfor %}", "'g' has no field 'agee'; did you"),
    ("{% for g in guests %}{% if g.«PK029»x is defined %}{% endif %}{% endfor %}", "'g' has no"),
    ("{{ table.«PK029»seets }}", "'table' has no field 'seets'; did you mean 'seats'?"),
    (
        "{% for g in guests %}{% if g.diet == '«PK025»vegn' %}{% endif %}{% endfor %}",
        "'g.diet' is never 'vegn'; did you mean 'vegan'?; the comparison is never true",
    ),
    (
        "{% for g in guests %}{{ «PK027»g.age }}{% endfor %}",
        "'g.age' is null unless a value is set",
    ),
]
REST = "  {# personakit: ignore-file[PK024] #}\n"


@pytest.mark.parametrize("text", GOOD)
def test_fields_that_may_exist(folder: Path, text: str) -> None:
    assert lint({"personas/a.yaml": f"{HEAD}{REST}  {text}\n"}) == []


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_fields_that_no_value_has(folder: Path, text: str, message: str) -> None:
    (finding,) = lint({"personas/a.yaml": f"{HEAD}{REST}  {text}\n"})
    assert finding.message.startswith(f"system: {message}")


def test_a_partial_may_leave_the_fields_to_its_children(folder: Path) -> None:
    partial = "system: '{{ a.x }}'\nvariables: {a: {properties: {y: 1}, default: {}}}\n"
    child = (
        "extends: partials/p\ndescription: d\nsystem: '{{ a.x }} {{ a.«PK029»z }}'\n"
        "variables: {a: {properties: {x: 1}}}\n"
    )
    lint({"personas/partials/p.yaml": partial, "personas/c.yaml": child})


def test_the_values_of_a_test_are_checked_where_they_are(folder: Path) -> None:
    tests = (
        "tests:\n- render: {contains: a}\n  variables:\n    guests:\n"
        "    - {name: A, age: «PK050»x, address: {city: C}}\n"
    )
    (finding,) = lint({"personas/a.yaml": f"{HEAD}{REST}  x\n{tests}"})
    assert finding.message.endswith(
        "variable 'guests[0].age': expected an integer, found a string 'x'"
    )


def test_a_template_that_is_nested_deep(folder: Path) -> None:
    deep = f"{{{{ table{'.a' * 3000} }}}}"
    head = "description: d\nvariables: {table: {properties: {a: 1}, default: {}}}\n"
    for key in ("system", "prompt"):
        lint({f"personas/{key}.yaml": f"{head}{key}: |\n  «PK020»{deep}\n"})
