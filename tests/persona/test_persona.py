"""The persona file: what each key takes, and that each mistake is named where it stands."""

from __future__ import annotations

import dataclasses

import pytest
from helpers.persona import EMPTY, NAME_RULE, NO_TEXT, S, faults, system_of

from personakit import Persona


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
    assert system_of(found) == "Act as {{ cook }}."
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


MESSAGE = "expected a role and its content, as in `- user: What is in season?`, found "


PLUGIN = "expected `- name`, `- name: {option: value}` or `- use: name` with `options:`, found "


LONG = "a" * 65


# What stands below `system: hi`, and the one thing that is wrong with it.
WRONG = [
    ("nmae: x", "2:1: unknown key 'nmae'; did you mean 'name'?"),
    ("zzz: x", "2:1: unknown key 'zzz' (known: name, description, version, "),
    ("X-y: 1", "2:1: unknown key 'X-y'"),
    ("name:", "2:6: name: expected a string, found nothing (null)"),
    ("name: 1", "2:7: name: expected a string, found an integer 1; quote it"),
    ("name: true", "2:7: name: expected a string, found a boolean True; quote it"),
    ("name: ''", f"2:7: name: invalid name '': {NAME_RULE}"),
    ("name: Chef", f"2:7: name: invalid name 'Chef': {NAME_RULE}"),
    ("name: -x", f"2:7: name: invalid name '-x': {NAME_RULE}"),
    ("name: a b", f"2:7: name: invalid name 'a b': {NAME_RULE}"),
    ("name: ../x", f"2:7: name: invalid name '../x': {NAME_RULE}"),
    ("name: a.b", f"2:7: name: invalid name 'a.b': {NAME_RULE}"),
    ('name: "a\\n"', f"2:7: name: invalid name 'a\\n': {NAME_RULE}"),
    ("name: é", f"2:7: name: invalid name 'é': {NAME_RULE}"),
    ("name: con", f"2:7: name: invalid name 'con': {NAME_RULE}"),
    ("name: com1", f"2:7: name: invalid name 'com1': {NAME_RULE}"),
    (f"name: {LONG}", f"2:7: name: invalid name '{LONG}': {NAME_RULE}"),
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
    ("model: ''", "2:8: model: invalid model '': write provider/model, such as openai/gpt-5-mini"),
    ("model: '{{ x }}'", "2:8: model: invalid model '{{ x }}'"),
    ('model: "a\\nb"', "2:8: model: invalid model 'a\\nb'"),
    ("parameters: []", "2:13: parameters: expected a mapping, found a list []"),
    ("parameters: ''", "2:13: parameters: expected a mapping, found a string ''"),
    ("variables: [a]", "2:12: variables: expected a mapping, found a list ['a']"),
    ("variables: false", "2:12: variables: expected a mapping, found a boolean False"),
    ("prompt: 1", "2:9: prompt: expected a string, found an integer 1; quote it"),
    ("messages: hi", "2:11: messages: expected a list, found a string 'hi'"),
    ("messages:\n  - hi", f"3:5: {MESSAGE}a string 'hi'"),
    (
        "messages:\n  - {user: a, assistant: b}",
        "3:5: expected a role and its content, as in `- user: …` and `- assistant: …`, found",
    ),
    (
        "messages:\n  - {role: user, content: x}",
        "3:5: expected a role and its content, as in `- user: x`, found the keys role, content",
    ),
    (
        "messages:\n  - user: a\n  - usr: a",
        "4:5: unknown role 'usr': use one of system, developer, user, assistant; "
        "did you mean 'user'?",
    ),
    ("messages: [{tool: x}]", "2:13: unknown role 'tool': use one of system"),
    ("messages: [{user: }]", "2:19: user: expected a string, found nothing (null)"),
    ("messages: [{user: [a]}]", "2:19: user: expected a string, found a list ['a']"),
    ("plugins: cache", "2:10: plugins: expected a list, found a string 'cache'"),
    ("plugins: {}", "2:10: plugins: expected a list, found a mapping {}"),
    ("plugins: [1]", f"2:11: {PLUGIN}an integer 1"),
    ("plugins: [{}]", f"2:11: {PLUGIN}a mapping {{}}"),
    ("plugins: [{a: {}, b: {}}]", f"2:11: {PLUGIN}a mapping"),
    ("plugins: ['']", "2:11: invalid plugin name '': use 1 to 64"),
    ("plugins: [os.system]", "2:11: invalid plugin name 'os.system': use 1 to 64"),
    ("plugins: ['a:b']", "2:11: invalid plugin name 'a:b': use 1 to 64"),
    ("plugins: [{a: 1}]", "2:15: a: expected a mapping, found an integer 1"),
    ("plugins: [{use: 1}]", "2:17: use: expected a string, found an integer 1; quote it"),
    ("plugins: [{use: ../a}]", "2:11: invalid plugin name '../a': use 1 to 64"),
    ("plugins: [{use: a, option: {}}]", "2:20: unknown key 'option'; did you mean 'options'?"),
    ("plugins: [{use: a, options: [1]}]", "2:29: options: expected a mapping, found a list [1]"),
    (
        "plugins: [{use: a, on_error: ski}]",
        "2:30: on_error: expected fail or skip, found a string 'ski'; did you mean 'skip'?",
    ),
    ("template: jinja2", "2:11: template: expected jinja or none, found a string 'jinja2'; did"),
    ("template: 1", "2:11: template: expected jinja or none, found an integer 1"),
    ("tools: [web search]", "2:9: tools: invalid tool name 'web search': use 1 to 64 letters"),
    ("tools: ''", "2:8: tools: invalid tool name '': use 1 to 64 letters"),
    (
        "tools: [1]",
        "2:9: tools: expected a name, found an integer 1; write the name of an installed tool",
    ),
    (
        "messages: {user: a}",
        "2:11: messages: expected a list, found a mapping {'user': 'a'}; write `- ` before each",
    ),
    ("messages: {}", "2:11: messages: expected a list, or `append:` with a list, found neither"),
    ("messages: {append: }", "2:11: messages: expected a list, or `append:` with a list"),
    (
        "messages:\n  append: [user: a]",
        "3:3: append: it adds to the messages of a parent, and this",
    ),
    ("output: [1]", "2:9: output: expected a mapping, found a list [1]"),
    (
        "history: 20",
        "2:10: history: expected a mapping, found an integer 20; write `history: {keep: 20}`",
    ),
    ("history: {}", "2:10: history: `keep:` is missing; it sets how many messages are sent"),
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
    ("tests: [{}]", "2:9: expected `render:`, `expect:` or both, found neither"),
    ("tests: [{render: {contain: x}}]", "2:19: unknown key 'contain'; did you mean 'contains'?"),
    ("tests: [{render: {contains: []}}]", "2:29: contains: the list is empty"),
    ("tests: [{render: {max_words: -1}}]", "2:30: max_words: expected an integer of 0 or more"),
    (
        "tests: [{render: {matches: '('}}]",
        "2:28: matches: invalid regular expression: unclosed group",
    ),
    (
        "tests: [{expect: {judge: {}}}]",
        "2:26: judge: `rubric:` is missing; it describes a good answer",
    ),
    ("extends: x", "2:10: extends: a persona that is not in a library cannot extend another"),
    ("extends: ../x", "2:10: extends: invalid persona name '../x': write a name, or a path"),
    ("extends: /x", "2:10: extends: invalid persona name '/x'"),
    ("extends: x.yaml", "2:10: extends: invalid persona name 'x.yaml'"),
    (
        "extends: [file:///etc/passwd]",
        "2:11: extends: a persona that is not in a library cannot extend another",
    ),
]


@pytest.mark.parametrize(("source", "fault"), WRONG)
def test_a_mistake_is_named_with_its_place(source: str, fault: str) -> None:
    (found,) = faults(S + source)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("", "expected a mapping with at least `system:`, found an empty file"),
        ("# nothing", "expected a mapping with at least `system:`, found an empty file"),
        (
            "hi",
            "1:1: expected a mapping with at least `system:`, found a string; write a text below "
            "`system: |`, indented",
        ),
        (
            "- a",
            "1:1: expected a mapping with at least `system:`, found a list; write `key: value` "
            "without `- `",
        ),
        ("7", "1:1: expected a mapping with at least `system:`, found a value"),
        ("name: x", f"1:1: {NO_TEXT}"),
        (
            "system:",
            "1:1: `system:` has no text; write it after the colon, or indented below "
            "`system: |`, and quote a text that begins with #",
        ),
        ("messages: []", f"1:1: {NO_TEXT}"),
        ("prompt:", f"1:1: {NO_TEXT}"),
        ("messages: [user: Hi]", None),
        ("prompt: '{{ input }}'", None),
        ("system: 1", "1:9: system: expected a string, found an integer 1; quote it"),
        ("system: no", None),
        ("system: ''", f"1:9: {EMPTY}"),
        ("system: |\n\n\nmessages: [user: Hi]", f"1:9: {EMPTY}"),
        ("system: '  '\nprompt: Hi", f"1:9: {EMPTY}"),
        (
            "system: [a]",
            "1:9: system: expected a string, found a list ['a']; write lines of a "
            "text below a `|`, without `- `, and quote a text that begins with [",
        ),
    ],
)
def test_the_system_message(source: str, fault: str | None) -> None:
    if fault is None:
        system = Persona.parse(source, "x.yaml").system
        assert (system.source if system else None) in ("no", None)
    else:
        assert [text.lstrip(" ") for text in faults(source)] == [fault]
