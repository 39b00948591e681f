"""The persona file: what each key takes, and that each mistake is named where it stands."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from personakit import Persona, PersonaError, Variable

S = "system: hi\n"


def faults(source: str, path: str = "x.yaml") -> list[str]:
    """Return everything that is wrong with a file, as `line:column: message`."""
    with pytest.raises(PersonaError) as caught:
        Persona.parse(source, path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_every_key() -> None:
    found = Persona.parse(
        """\
name: chef
description: Plans meals.
version: "1.0"
tags: [food, home]
authors: Florent
license: MIT
source: https://example.com
metadata: {a: [1, {b: null}]}
x-team: {anything: [goes]}
model: openai/gpt-5-mini
parameters: {temperature: 0.9, max_tokens: 2084}
variables:
  cook: Florent
system: Act as {{ cook }}.
messages:
  - user: What is in season?
  - assistant: Kale.
prompt: "Summarise: {{ input }}"
tools: [web_search]
output: {type: object}
history: {keep: 20}
plugins: [cache]
tests:
  - {name: says who, render: {contains: [Florent]}}
template: jinja
""",
        "folder/chef.yaml",
    )
    assert found.name == "chef"
    assert found.description == "Plans meals."
    assert found.version == "1.0"
    assert found.tags == ("food", "home")
    assert found.authors == ("Florent",)
    assert found.license == "MIT"
    assert found.source == "https://example.com"
    assert found.metadata == {"a": (1, {"b": None})}
    assert found.model == "openai/gpt-5-mini"
    assert found.parameters == {"temperature": 0.9, "max_tokens": 2084}
    assert list(found.variables) == ["cook"]
    assert found.system.source == "Act as {{ cook }}."
    assert [(role, text.source) for role, text in found.messages] == [
        ("user", "What is in season?"),
        ("assistant", "Kale."),
    ]
    assert found.prompt is not None
    assert found.prompt.source == "Summarise: {{ input }}"
    assert found.tools == ("web_search",)
    assert found.output == {"type": "object"}
    assert found.history is not None
    assert found.history.keep == 20
    assert [use.name for use in found.plugins] == ["cache"]
    assert [test.name for test in found.tests] == ["says who"]
    assert found.path == "folder/chef.yaml"


def test_one_key_is_enough() -> None:
    found = Persona.parse("system: hi", "folder/some-name_2.yaml")
    assert found.name == "some-name_2"
    assert (found.description, found.tags, found.model, found.prompt) == ("", (), None, None)


def test_a_persona_cannot_be_changed() -> None:
    found = Persona.parse(S + "parameters: {stop: [a]}\nmetadata: {a: {b: 1}}", "x.yaml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "y"  # type: ignore[misc]
    with pytest.raises(TypeError, match="read-only"):
        found.parameters["seed"] = 1  # type: ignore[index]
    with pytest.raises(TypeError, match="read-only"):
        found.metadata["a"]["b"] = 2


@pytest.mark.parametrize(
    "empty",
    "description version tags authors license source metadata model parameters variables messages "
    "prompt tools output history plugins tests template extends".split(),
)
def test_a_key_without_a_value_is_as_if_it_were_not_there(empty: str) -> None:
    found = Persona.parse(f"{S}{empty}:\n", "x.yaml")
    bare = Persona.parse(S, "x.yaml")
    attribute = getattr(found, empty, None)
    assert attribute == getattr(bare, empty, None)


NO_NAME = "is no name: write `name:` with 1 to 64 of a-z, 0-9, '_' and '-'"
MESSAGE = "a message is its role and its content, as in `- user: What is in season?`; found "
PLUGIN = "a plugin is `- name`, `- name: {option: value}` or `- use: name` with `options:`; found "
LONG = "a" * 65

# What stands below `system: hi`, and the one thing that is wrong with it.
WRONG = [
    ("nmae: x", "2:1: unknown key 'nmae'; did you mean 'name'?"),
    ("zzz: x", "2:1: unknown key 'zzz' (known: name, description, version, "),
    ("X-y: 1", "2:1: unknown key 'X-y'"),
    ("name:", "2:6: name: expected a string, found nothing (null)"),
    ("name: 1", "2:7: name: expected a string, found an integer 1; quote it"),
    ("name: true", "2:7: name: expected a string, found a boolean True; quote it"),
    ("name: ''", f"2:7: name: '' {NO_NAME}"),
    ("name: Chef", f"2:7: name: 'Chef' {NO_NAME}"),
    ("name: -x", f"2:7: name: '-x' {NO_NAME}"),
    ("name: a b", f"2:7: name: 'a b' {NO_NAME}"),
    ("name: ../x", f"2:7: name: '../x' {NO_NAME}"),
    ("name: a.b", f"2:7: name: 'a.b' {NO_NAME}"),
    ('name: "a\\n"', f"2:7: name: 'a\\n' {NO_NAME}"),
    ("name: é", f"2:7: name: 'é' {NO_NAME}"),
    ("name: con", f"2:7: name: 'con' {NO_NAME}"),
    ("name: com1", f"2:7: name: 'com1' {NO_NAME}"),
    (f"name: {LONG}", f"2:7: name: '{LONG}' {NO_NAME}"),
    ("description: 1", "2:14: description: expected a string, found an integer 1; quote it"),
    ("description: [a]", "2:14: description: expected a string, found a list ['a']"),
    ("version: 1.0", "2:10: version: expected a string, found a number 1.0; quote it"),
    ("license: {}", "2:10: license: expected a string, found a mapping {}"),
    ("source: 1", "2:9: source: expected a string, found an integer 1; quote it"),
    ("tags: {a: 1}", "2:7: tags: expected a list, found a mapping {'a': 1}"),
    ("tags: 7", "2:7: tags: expected a list, found an integer 7"),
    ("tags: [a, 7]", "2:11: tags: expected a string, found an integer 7; quote it"),
    ("authors: [~]", "2:11: authors: expected a string, found nothing (null)"),
    ("metadata: [1]", "2:11: metadata: expected a mapping, found a list [1]"),
    ("metadata: 0", "2:11: metadata: expected a mapping, found an integer 0"),
    ("model: 5", "2:8: model: expected a string, found an integer 5; quote it"),
    ("model: ''", "2:8: model: '' is no model: write provider/model, such as openai/gpt-5-mini"),
    ("model: '{{ x }}'", "2:8: model: '{{ x }}' is no model"),
    ('model: "a\\nb"', "2:8: model: 'a\\nb' is no model"),
    ("parameters: []", "2:13: parameters: expected a mapping, found a list []"),
    ("parameters: ''", "2:13: parameters: expected a mapping, found a string ''"),
    ("variables: [a]", "2:12: variables: expected a mapping, found a list ['a']"),
    ("variables: false", "2:12: variables: expected a mapping, found a boolean False"),
    ("prompt: 1", "2:9: prompt: expected a string, found an integer 1; quote it"),
    ("messages: hi", "2:11: messages: expected a list, found a string 'hi'"),
    ("messages: {user: a}", "2:11: messages: expected a list, found a mapping {'user': 'a'}"),
    ("messages:\n  - hi", f"3:5: {MESSAGE}a string 'hi'"),
    ("messages:\n  - {user: a, assistant: b}", f"3:5: {MESSAGE}the keys user, assistant"),
    ("messages:\n  - {role: user, content: x}", f"3:5: {MESSAGE}the keys role, content"),
    (
        "messages:\n  - user: a\n  - usr: a",
        f"4:5: {MESSAGE}'usr', not one of system, developer, user, assistant; did you mean 'user'?",
    ),
    ("messages: [{tool: x}]", f"2:13: {MESSAGE}'tool', not one of system"),
    ("messages: [{user: }]", "2:19: user: expected a string, found nothing (null)"),
    ("messages: [{user: [a]}]", "2:19: user: expected a string, found a list ['a']"),
    ("plugins: cache", "2:10: plugins: expected a list, found a string 'cache'"),
    ("plugins: {}", "2:10: plugins: expected a list, found a mapping {}"),
    ("plugins: [1]", f"2:11: {PLUGIN}an integer 1"),
    ("plugins: [{}]", f"2:11: {PLUGIN}a mapping {{}}"),
    ("plugins: [{a: {}, b: {}}]", f"2:11: {PLUGIN}a mapping"),
    ("plugins: ['']", "2:11: plugin '' is no name of an installed plugin"),
    ("plugins: [os.system]", "2:11: plugin 'os.system' is no name of an installed plugin"),
    ("plugins: ['a:b']", "2:11: plugin 'a:b' is no name of an installed plugin"),
    ("plugins: [{a: 1}]", "2:15: a: expected a mapping, found an integer 1"),
    ("plugins: [{use: 1}]", "2:17: use: expected a string, found an integer 1; quote it"),
    ("plugins: [{use: ../a}]", "2:11: plugin '../a' is no name of an installed plugin"),
    ("plugins: [{use: a, option: {}}]", "2:20: unknown key 'option'; did you mean 'options'?"),
    ("plugins: [{use: a, options: [1]}]", "2:29: options: expected a mapping, found a list [1]"),
    (
        "plugins: [{use: a, on_error: ski}]",
        "2:30: on_error: expected fail or skip, found a string 'ski'; did you mean 'skip'?",
    ),
    ("template: jinja2", "2:11: template: expected jinja or none, found a string 'jinja2'; did"),
    ("template: 1", "2:11: template: expected jinja or none, found an integer 1"),
    ("tools: [web search]", "2:9: tools: 'web search' is no name of a tool"),
    ("tools: ''", "2:8: tools: '' is no name of a tool"),
    ("tools: [1]", "2:9: tools: expected a string, found an integer 1; quote it"),
    ("output: [1]", "2:9: output: expected a mapping, found a list [1]"),
    (
        "history: 20",
        "2:10: history: expected a mapping, found an integer 20; write `history: {keep: 20}`",
    ),
    ("history: {}", "2:10: history: no `keep:`; it says how many messages are sent"),
    (
        "history: {keep: -1}",
        "2:17: keep: expected a number of messages, 0 or more, found an integer -1",
    ),
    (
        "history: {keep: yes}",
        "2:17: keep: expected a number of messages, 0 or more, found a string 'yes'",
    ),
    (
        "history: {keep: true}",
        "2:17: keep: expected a number of messages, 0 or more, found a boolean True",
    ),
    ("history: {kep: 1, keep: 2}", "2:11: unknown key 'kep'; did you mean 'keep'?"),
    ("tests: {}", "2:8: tests: expected a list, found a mapping {}"),
    ("tests: [{}]", "2:9: a test has `render:`, `expect:` or both; found neither"),
    ("tests: [{render: {contain: x}}]", "2:19: unknown key 'contain'; did you mean 'contains'?"),
    ("tests: [{render: {contains: []}}]", "2:29: contains: the list is empty"),
    ("tests: [{render: {max_words: -1}}]", "2:30: max_words: expected an integer of 0 or more"),
    ("tests: [{render: {matches: '('}}]", "2:28: matches: not a pattern: unclosed group"),
    ("tests: [{expect: {judge: {}}}]", "2:26: judge: no `rubric:`; it says what a good answer is"),
    ("extends: x", "2:10: extends: a persona that is not in a library cannot extend another"),
    ("extends: ../x", "2:10: extends: '../x' is no name of a persona; write its name, or a path"),
    ("extends: /x", "2:10: extends: '/x' is no name of a persona"),
    ("extends: x.yaml", "2:10: extends: 'x.yaml' is no name of a persona"),
    (
        "extends: [file:///etc/passwd]",
        "2:11: extends: 'file:///etc/passwd' is no name of a persona",
    ),
]


@pytest.mark.parametrize(("source", "fault"), WRONG)
def test_a_mistake_is_named_with_its_place(source: str, fault: str) -> None:
    (found,) = faults(S + source)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("", "a persona is a mapping with at least `system:`; the file is empty"),
        ("# nothing", "a persona is a mapping with at least `system:`; the file is empty"),
        ("hi", "1:1: a persona is a mapping with at least `system:`; found a text"),
        ("- a", "1:1: a persona is a mapping with at least `system:`; found a list"),
        ("7", "1:1: a persona is a mapping with at least `system:`; found a value"),
        ("name: x", "1:1: no `system:`; it holds the system message"),
        ("system:", "1:1: no `system:`; it holds the system message"),
        ("system: 1", "1:9: system: expected a string, found an integer 1; quote it"),
        ("system: no", None),
        ("system: ''", None),
        ("system: [a]", "1:9: system: expected a string, found a list ['a']"),
    ],
)
def test_the_system_message(source: str, fault: str | None) -> None:
    if fault is None:
        assert Persona.parse(source, "x.yaml").system.source in ("no", "")
    else:
        assert [text.lstrip(" ") for text in faults(source)] == [fault]


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
    assert faults(source + "  more: 1\n") == ["3:3: 1001 variables; 1000 is the limit"]


def test_a_long_key_does_not_make_a_long_message() -> None:
    (found,) = faults(f'{S}? "{"k" * 100_000}"\n: 1')
    assert len(found) < 2000


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/chef.yaml", "chef"), ("chef.yml", "chef"), ("chef.json", "chef"), ("chef", "chef")],
)
def test_the_name_is_the_stem_of_the_file(path: str, name: str) -> None:
    assert Persona.parse(S, path).name == name


@pytest.mark.parametrize("path", ["My Chef.yaml", "con.yaml", "<stdin>", "a.b.yaml", "acme:x"])
def test_a_stem_that_is_no_name_asks_for_one(path: str) -> None:
    (found,) = faults(S, path)
    assert found.startswith("1:1: name: ")
    assert NO_NAME in found
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


TYPES = "expected one of string, integer, number, boolean, array, object, found"
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
    ("{required: true, default: a}", "3:32: a required variable has no default; use `example`"),
    ("{minimum: x}", "3:16: expected a number, found a string 'x'"),
    ("{maximum: .inf}", "3:16: expected a number, found float inf"),
    ("{default: 1, minimum: 2}", "3:16: default: it is 1, the minimum is 2"),
    ("{default: 3, maximum: 2}", "3:16: default: it is 3, the maximum is 2"),
    ("{type: integer, example: 3, maximum: 2}", "3:31: example: it is 3, the maximum is 2"),
    ("{default: é, minimum: 2}", "3:16: default: its length is 1, the minimum is 2"),
    ("{default: [a, b], maximum: 1}", "3:16: default: its length is 2, the maximum is 1"),
    ("{minimum: 3, maximum: 2}", "3:16: the minimum 3 is greater than the maximum 2"),
    ("{type: boolean, minimum: 1}", "3:22: minimum: a boolean variable has none"),
    ("{type: object, maximum: 1}", "3:21: maximum: an object variable has none"),
    ("{type: integer, pattern: a}", "3:22: pattern: an integer variable has none"),
    ("{enum: a}", "3:13: enum: expected a list, found a string 'a'"),
    ("{enum: []}", "3:13: enum: the list is empty; no value could be given"),
    ("{enum: [a, 1]}", "3:17: expected a string, found an integer 1"),
    ("{enum: [vegan, any], default: vegn}", "'vegn' is not one of vegan, any; did you mean"),
    ("{pattern: '('}", "3:16: not a pattern: unclosed group"),
    ("{pattern: '(?=a)'}", "3:16: not a pattern: look-around, including look-ahead"),
    ("{pattern: '(a)\\1'}", "3:16: not a pattern: backreferences are not supported"),
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
    assert found.startswith(f"2:13: variable '{name}' is no name: use letters, digits and '_'")


@pytest.mark.parametrize("name", ["input", "parent"])
def test_names_that_are_taken(name: str) -> None:
    assert faults(f"{S}variables: {{{name}: 1}}") == [
        f"2:13: variable {name!r} is set by personakit; choose another name"
    ]


@pytest.mark.parametrize("name", ["true", "False", "none", "None", "not", "self", "loop"])
def test_names_that_mean_something_else_in_a_template(name: str) -> None:
    assert faults(f"{S}variables: {{{name}: 1}}") == [
        f"2:13: variable {name!r} is a word of Jinja's; choose another name"
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
    assert (found.name, found.system.source, found.path) == ("chef", "Grüezi 😀", str(file))
    assert Persona.read(str(file)).name == "chef"


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(PersonaError, match="cannot be read: ") as caught:
            Persona.read(path)
        assert caught.value.problems[0].path == str(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(PersonaError, match="more than 1,048,576 bytes; that is the limit"):
        Persona.read("/dev/zero")


def test_a_text_of_no_file_needs_no_name() -> None:
    assert Persona.parse("system: x\n").name == "persona"
