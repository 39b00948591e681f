"""What is wrong in a persona file, and where."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.persona import NAME_RULE, S, faults, system_of

from personakit import Persona, PersonaError, Variable


def test_everything_wrong_is_named_at_once_in_the_order_of_the_file() -> None:
    source = """\
nmae: chef
system: hi
tags: 7
variables:
  a: {typ: string}
  b-c: 1
parameters:
  tempreature: 1
  top_p: 2
messages:
  - usr: x
  - user: 1
plugins: [os.system]
template: no
"""
    found = faults(source)
    assert [text.split(": ")[0] for text in found] == [
        "1:1", "3:7", "5:7", "6:3", "8:3", "9:10", "11:5", "12:11", "13:11", "14:11",
    ]  # fmt: skip
    with pytest.raises(PersonaError) as caught:
        Persona.parse(source, "x.yaml")
    assert str(caught.value).splitlines() == [f"x.yaml:{text}" for text in found]
    assert caught.value.exit_code == 2
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_full_of_mistakes_names_the_first_of_them() -> None:
    found = faults(S + "".join(f"k{n}: 1\n" for n in range(20_000)))
    assert len(found) == 100
    assert found[0].startswith("2:1: unknown key 'k0'")
    assert found[-1].endswith("more than 99 problems")


def test_the_number_of_variables_is_limited() -> None:
    source = f"{S}variables:\n" + "".join(f"  v{n}: {n}\n" for n in range(1000))
    assert len(Persona.parse(source, "x.yaml").variables) == 1000
    assert faults(source + "  more: 1\n") == ["3:3: found 1001 variables; the limit is 1000"]


def test_a_long_key_does_not_make_a_long_message() -> None:
    (found,) = faults(f'{S}? "{"k" * 100_000}"\n: 1')
    assert len(found) < 2000


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/chef.yaml", "chef"), ("chef.yml", "chef"), ("chef.json", "chef"), ("chef", "chef")],
)
def test_the_name_is_the_stem_of_the_file(path: str, name: str) -> None:
    assert Persona.parse(S, path).name == name


@pytest.mark.parametrize("path", ["My Chef.yaml", "con.yaml", "a.b.yaml", "acme:x"])
def test_a_stem_that_is_no_name_asks_for_one(path: str) -> None:
    (found,) = faults(S, path)
    assert found.startswith("1:1: name: ")
    assert NAME_RULE in found
    assert Persona.parse(S + "name: fine", path).name == "fine"


# --- variables ----------------------------------------------------------------------------------


def variable(source: str) -> Variable:
    """Return the variable x that a file declares."""
    return Persona.parse(f"{S}variables:\n  x: {source}\n", "x.yaml").variables["x"]


@pytest.mark.parametrize(
    ("source", "type_name", "default", "required"),
    [
        ("Florent", "string", "Florent", False),
        ("''", "string", "", False),
        ("no", "string", "no", False),
        ("2", "integer", 2, False),
        ("0", "integer", 0, False),
        ("2.5", "number", 2.5, False),
        ("true", "boolean", True, False),
        ("[a, 1]", "array", ("a", 1), False),
        ("[]", "array", (), False),
        ("", "string", None, False),
        ("{default: {a: [1]}}", "object", {"a": (1,)}, False),
        ("{default: a}", "string", "a", False),
        ("{default: 1}", "integer", 1, False),
        ("{default: ~}", "string", None, False),
        ("{}", "string", None, True),
        ("{type: string}", "string", None, True),
        ("{type: integer, default: 2}", "integer", 2, False),
        ("{type: number, default: 2}", "number", 2, False),
        ("{type: number, required: false}", "number", None, False),
        ("{type: boolean, default: false}", "boolean", False, False),
        ("{type: array, default: []}", "array", (), False),
        ("{type: object, default: {}}", "object", {}, False),
        ("{type: object, required: true}", "object", None, True),
        ("{required: true, example: Lyon}", "string", None, True),
        ("{required: true, default: ~}", "string", None, True),
        ("{enum: [1, 2]}", "integer", None, True),
        ("{enum: [a, b], default: b}", "string", "b", False),
    ],
)
def test_a_variable(source: str, type_name: str, default: Any, required: bool) -> None:
    found = variable(source)
    assert (found.name, found.type, found.required) == ("x", type_name, required)
    assert found.default == default
    assert type(found.default) is not bool or isinstance(default, bool)


def test_every_key_of_a_variable() -> None:
    found = variable(
        "{type: integer, default: 3, required: false, enum: [2, 3, 4], minimum: 2, maximum: 4, "
        "description: How many, example: 4}"
    )
    assert (found.enum, found.minimum, found.maximum) == ((2, 3, 4), 2, 4)
    assert (found.description, found.example) == ("How many", 4)
    assert variable("{pattern: '^[a-z]+$', default: abc}").pattern == "^[a-z]+$"


TYPES = "expected one of string, integer, number, boolean, array, object, any, found"


WRONG_VARIABLES = [
    ("{typ: string}", "3:7: unknown key 'typ'; did you mean 'type'?"),
    ("{colour: red}", "3:7: unknown key 'colour' (known: type, default, required, enum,"),
    ("{type: strin}", f"3:13: type: {TYPES} a string 'strin'; did you mean 'string'?"),
    ("{type: 1}", f"3:13: type: {TYPES} an integer 1"),
    ("{type: [string]}", f"3:13: type: {TYPES} a list ['string']"),
    ("{type: }", f"3:13: type: {TYPES} nothing (null)"),
    ("{type: string, default: 1}", "3:30: default: expected a string, found an integer 1"),
    ("{type: integer, default: 1.5}", "3:31: default: expected an integer, found a number 1.5"),
    ("{type: integer, default: true}", "3:31: default: expected an integer, found a boolean True"),
    ("{type: integer, default: '1'}", "3:31: default: expected an integer, found a string '1'"),
    ("{type: number, default: x}", "3:30: default: expected a number, found a string 'x'"),
    ("{type: number, default: .inf}", "3:30: default: expected a number, found float inf"),
    ("{type: boolean, default: no}", "3:31: default: expected a boolean, found a string 'no'"),
    ("{type: array, default: a}", "3:29: default: expected an array, found a string 'a'"),
    ("{type: object, default: []}", "3:30: default: expected an object, found a list []"),
    (".nan", "3:6: default: expected a string, found float nan"),
    ("{required: 1}", "3:17: required: expected true or false, found an integer 1"),
    ("{required: yes}", "3:17: required: expected true or false, found a string 'yes'"),
    (
        "{required: true, default: a}",
        "3:32: a required variable cannot have a default; use `example`",
    ),
    ("{minimum: x}", "3:16: expected a number, found a string 'x'"),
    ("{maximum: .inf}", "3:16: expected a number, found float inf"),
    ("{default: 1, minimum: 2}", "3:16: default: it is 1, the minimum is 2"),
    ("{default: 3, maximum: 2}", "3:16: default: it is 3, the maximum is 2"),
    ("{type: integer, example: 3, maximum: 2}", "3:31: example: it is 3, the maximum is 2"),
    ("{default: é, minimum: 2}", "3:16: default: its length is 1, the minimum is 2"),
    ("{default: [a, b], maximum: 1}", "3:16: default: its length is 2, the maximum is 1"),
    ("{minimum: 3, maximum: 2}", "3:16: the minimum 3 is greater than the maximum 2"),
    ("{type: boolean, minimum: 1}", "3:22: minimum: not supported for a boolean variable"),
    ("{type: object, maximum: 1}", "3:21: maximum: not supported for an object variable"),
    ("{type: integer, pattern: a}", "3:22: pattern: not supported for an integer variable"),
    ("{enum: a}", "3:13: enum: expected a list, found a string 'a'"),
    ("{enum: []}", "3:13: enum: the list is empty, so every value is invalid"),
    ("{enum: [a, 1]}", "3:17: expected a string, found an integer 1"),
    ("{enum: [vegan, any], default: vegn}", "'vegn' is not one of vegan, any; did you mean"),
    ("{pattern: '('}", "3:16: pattern: invalid regular expression: unclosed group"),
    ("{pattern: '(?=a)'}", "3:16: pattern: invalid regular expression: look-around"),
    ("{pattern: '(a)\\1'}", "3:16: pattern: invalid regular expression: backreferences"),
    ("{pattern: 1}", "3:16: pattern: expected a string, found an integer 1; quote it"),
    ("{pattern: '^a+$', default: b}", "3:33: default: 'b' does not match the pattern ^a+$"),
    ("{description: 1}", "3:20: description: expected a string, found an integer 1; quote it"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "fault"), WRONG_VARIABLES)
def test_a_mistake_in_a_variable_is_named_with_its_place(source: str, fault: str) -> None:
    (found,) = faults(f"{S}variables:\n  x: {source}\n")
    assert fault in found


@pytest.mark.parametrize("name", ["a", "_a", "a1", "A_b", "range", "class", "a" * 64])
def test_names_of_variables(name: str) -> None:
    assert list(Persona.parse(f"{S}variables: {{{name}: 1}}", "x.yaml").variables) == [name]


@pytest.mark.parametrize("name", ["1a", "a-b", "a.b", "a b", "é", "__a", "__class__", "a" * 65])
def test_names_that_no_variable_has(name: str) -> None:
    (found,) = faults(f"{S}variables: {{{name}: 1}}")
    wanted = f"2:13: invalid variable name '{name}': use at most 64 letters, digits and '_'"
    assert found.startswith(wanted)


@pytest.mark.parametrize("name", ["input", "parent"])
def test_names_that_are_taken(name: str) -> None:
    assert faults(f"{S}variables: {{{name}: 1}}") == [
        f"2:13: variable {name!r} is set by personakit; choose another name"
    ]


@pytest.mark.parametrize("name", ["true", "False", "none", "None", "not", "self", "loop"])
def test_names_that_mean_something_else_in_a_template(name: str) -> None:
    assert faults(f"{S}variables: {{{name}: 1}}") == [
        f"2:13: variable {name!r} is a reserved word in templates; choose another name"
    ]


def test_a_pattern_cannot_hang_a_file() -> None:
    code = """
from personakit import Persona, PersonaError
source = "system: hi\\nvariables: {x: {pattern: '^(a+)+$', default: '%s'}}"
Persona.parse(source % ("a" * 500_000), "x.yaml")
try:
    Persona.parse(source % ("a" * 500_000 + "!"), "x.yaml")
except PersonaError as error:
    print(str(error)[-34:])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    assert done.stdout == "does not match the pattern ^(a+)+$\n"


# --- plugins ------------------------------------------------------------------------------------


def test_the_three_forms_of_a_plugin() -> None:
    source = """\
system: hi
plugins:
  - cache
  - retry: {attempts: 3, fallback: [a]}
  - use: redact
    options: {entities: [email]}
    on_error: skip
  - log:
  - use: bare
"""
    found = Persona.parse(source, "x.yaml").plugins
    assert [(use.name, use.options, use.on_error) for use in found] == [
        ("cache", {}, "fail"),
        ("retry", {"attempts": 3, "fallback": ("a",)}, "fail"),
        ("redact", {"entities": ("email",)}, "skip"),
        ("log", {}, "fail"),
        ("bare", {}, "fail"),
    ]


# --- files --------------------------------------------------------------------------------------


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    file = tmp_path / "chef.yaml"
    file.write_bytes("\ufeffsystem: 'Grüezi 😀'\r\n".encode())
    found = Persona.read(file)
    assert (found.name, system_of(found), found.path) == ("chef", "Grüezi 😀", str(file))
    assert Persona.read(str(file)).name == "chef"


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(PersonaError, match="cannot be read: ") as caught:
            Persona.read(path)
        assert caught.value.problems[0].path == str(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(PersonaError, match="it is a device"):
        Persona.read("/dev/zero")


def test_a_text_of_no_file_needs_no_name() -> None:
    assert Persona.parse("system: x\n").name == "persona"
