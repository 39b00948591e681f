"""The JSON Schema of persona files: it and the parser say the same."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator

from personakit import Config, PersonaError, hookimpl
from personakit.authoring.schema import persona_schema
from personakit.library.folders import shipped
from personakit.persona import KEYS, ROLES, Persona, parameters, tests, variables, yaml
from personakit.plugins import Plugins

NONE = Plugins(entry_points=())


def validator(plugins: Plugins = NONE, *, abstract: bool = False) -> Draft202012Validator:
    return Draft202012Validator(persona_schema(plugins, abstract=abstract)[0])


def is_valid(text: str, plugins: Plugins = NONE) -> bool:
    return bool(validator(plugins).is_valid(yaml.parse(text).data))


def is_persona(text: str) -> bool:
    try:
        Persona.parse(text, "p.yaml", parents=lambda name: PARENT)
    except PersonaError:
        return False
    return True


PARENT = Persona.parse("system: x\nvariables: {a: 1}\n", "parent.yaml")

GOOD = [
    "system: x",
    "system: x\nname: a-b_9\ndescription: d\nversion: '1'\nlicense: MIT\nsource: here\n",
    "system: x\ntags: one\nauthors: [a, b]\nmetadata: {a: [1]}\nx-mine: {b: 2}\n",
    "extends: parent",
    "extends: [parent, partials/tone]\nsystem: y\n",
    "system: x\nmodel: openai/gpt-5-mini\n",
    "system: x\nmodel:\ndescription:\ntags:\nvariables:\nplugins:\ntests:\n",
    "system: x\nparameters: {temperature: 2, top_p: 0.5, seed: -1, stop: [a], logprobs: true}\n",
    "system: x\nparameters: {logit_bias: {'50256': -100}, response_format: {type: text}}\n",
    "system: x\nparameters: {reasoning_effort: high, verbosity: low, stop: END}\n",
    "system: x\nvariables: {a: 1, b: x, c: [1], d: true, e: , f: 0.5}\n",
    "system: x\nvariables: {a: {type: integer, default: 2, minimum: 1, maximum: 3}}\n",
    "system: x\nvariables: {a: {enum: [x, y], default: x, description: d, example: y}}\n",
    "system: x\nvariables: {a: {required: true, pattern: '^a', example: ab}}\n",
    "system: x\nvariables: {a: {type: object, default: {b: 1}}}\n",
    "system: x\nmessages:\n- user: a\n- assistant: b\n- developer: c\n- system: d\n",
    "system: x\nprompt: '{{ input }}'\n",
    "system: x\ntools: [web_search]\noutput: {type: object}\ntemplate: none\n",
    "prompt: '{{ input }}'\n",
    "messages: [user: a]\n",
    "system: {text: x, cache: true}\nmessages: [{user: a, cache: true}, {user: b, cache: }]\n",
    "system:\nmessages: [user: a]\n",
    "extends: parent\nmessages: {append: [user: a, assistant: b]}\n",
    "system: x\nvariables: {a: {type: array, items: {type: integer, minimum: 1}, default: [1]}}\n",
    "system: x\nvariables: {a: {items: {properties: {b: 1, c: {enum: [x]}}}}}\n",
    "system: x\nvariables: {a: {properties: {b: {required: false}}, additional: true}}\n",
    "system: x\nvariables: {a: {type: object, properties: {b: {items: {}}}, items: }}\n",
    "system: x\nhistory: {keep: 20}\n",
    "system: x\nhistory:\n",
    "system: x\nplugins: [redact, cache: {ttl: 1}, retry: ]\n",
    "system: x\nplugins: [{use: redact, options: {a: 1}, on_error: skip}]\n",
    "system: x\ntests: [{name: n, variables: {a: 1}, prompt: p, render: {contains: a}}]\n",
    "system: x\ntests: [{expect: {judge: good, max_words: 0, json_schema: {}}}]\n",
    "system: x\ntests: [{model: m/x, expect: {judge: {rubric: r, persona: p}, matches: a+}}]\n",
]
BAD = [
    "",
    "[system]",
    "name: p",
    "system: 5",
    "system: x\nname: Has Spaces\n",
    "system: x\nname: con\n",
    "system: x\nname: ''\n",
    "system: x\nsytem: y\n",
    "system: x\nversion: 1.0\n",
    "system: x\ntags: {a: b}\n",
    "system: x\ntags: [1]\n",
    "system: x\nmetadata: [1]\n",
    "extends: ../up",
    "extends: []",
    "extends: 5",
    "system: x\nmodel: '{{ 7 }}'\n",
    "system: x\nmodel: 4\n",
    "system: x\nparameters: [1]\n",
    "system: x\nparameters: {temprature: 1}\n",
    "system: x\nparameters: {temperature: 3}\n",
    "system: x\nparameters: {temperature: '1'}\n",
    "system: x\nparameters: {temperature: }\n",
    "system: x\nparameters: {max_tokens: 0}\n",
    "system: x\nparameters: {max_tokens: 1.5}\n",
    "system: x\nparameters: {base_url: 'http://x'}\n",
    "system: x\nparameters: {stop: ['']}\n",
    "system: x\nparameters: {logit_bias: {a: 1}}\n",
    "system: x\nparameters: {response_format: {type: xml}}\n",
    "system: x\nparameters: {verbosity: shy}\n",
    "system: x\nparameters: {logprobs: 1}\n",
    "system: x\nvariables: [a]\n",
    "system: x\nvariables: false\n",
    "system: x\nvariables: {a-b: 1}\n",
    "system: x\nvariables: {__a: 1}\n",
    "system: x\nvariables: {input: 1}\n",
    "system: x\nvariables: {a: {typ: string}}\n",
    "system: x\nvariables: {a: {type: text}}\n",
    "system: x\nvariables: {a: {type: [string]}}\n",
    "system: x\nvariables: {a: {type: integer, default: x}}\n",
    "system: x\nvariables: {a: {type: integer, example: x}}\n",
    "system: x\nvariables: {a: {type: integer, enum: [x]}}\n",
    "system: x\nvariables: {a: {enum: x}}\n",
    "system: x\nvariables: {a: {minimum: x}}\n",
    "system: x\nvariables: {a: {required: yes}}\n",
    "system: x\nvariables: {a: {required: true, default: b}}\n",
    "system: x\nvariables: {a: {description: 5}}\n",
    "system: x\nvariables: {a: {items: string}}\n",
    "system: x\nvariables: {a: {items: [integer]}}\n",
    "system: x\nvariables: {a: {items: {typ: integer}}}\n",
    "system: x\nvariables: {a: {items: {type: integr}}}\n",
    "system: x\nvariables: {a: {items: {default: a}}}\n",
    "system: x\nvariables: {a: {items: {required: true}}}\n",
    "system: x\nvariables: {a: {type: string, items: {}}}\n",
    "system: x\nvariables: {a: {type: array, properties: {}}}\n",
    "system: x\nvariables: {a: {properties: [b]}}\n",
    "system: x\nvariables: {a: {properties: {b: string}}}\n",
    "system: x\nvariables: {a: {properties: {b: {c: 1}}}}\n",
    "system: x\nvariables: {a: {properties: {b: 1}, required: [b]}}\n",
    "system: x\nvariables: {a: {properties: {b: 1}, additional: some}}\n",
    "system: x\nvariables: {a: {type: object, additional: true}}\n",
    "system: ''\n",
    "system: ' '\nprompt: x\n",
    "messages: []\n",
    "messages: {append: [user: a]}\n",
    "extends: parent\nmessages: {user: a}\n",
    "extends: parent\nmessages: {append: a}\n",
    "extends: parent\nmessages: {append: [usr: a]}\n",
    "extends: parent\nmessages: {append: [], more: []}\n",
    "system: x\nmessages: hello\n",
    "system: x\nmessages: [hello]\n",
    "system: x\nmessages: [{usr: a}]\n",
    "system: x\nmessages: [{cache: true}]\n",
    "system: x\nmessages: [{user: a, cache: 5m}]\n",
    "system: {cache: true}\n",
    "system: {text: ''}\n",
    "system: {text: x, cash: true}\n",
    "system: x\nmessages: [{user: a, assistant: b}]\n",
    "system: x\nmessages: [{user: 5}]\n",
    "system: x\nprompt: [a]\n",
    "system: x\ntools: [{a: b}]\n",
    "system: x\ntools: [a b]\n",
    "system: x\noutput: yes\n",
    "system: x\nhistory: 20\n",
    "system: x\nhistory: {}\n",
    "system: x\nhistory: {keep: -1}\n",
    "system: x\nhistory: {kep: 1}\n",
    "system: x\nplugins: redact\n",
    "system: x\nplugins: [os:system]\n",
    "system: x\nplugins: [{redact: [a]}]\n",
    "system: x\nplugins: [{a: {}, b: {}}]\n",
    "system: x\nplugins: [{use: redact, option: {}}]\n",
    "system: x\nplugins: [{use: redact, on_error: ignore}]\n",
    "system: x\ntests: {a: b}\n",
    "system: x\ntests: [{name: n}]\n",
    "system: x\ntests: [{render: {}}]\n",
    "system: x\ntests: [{render: {contanis: a}}]\n",
    "system: x\ntests: [{render: {contains: []}}]\n",
    "system: x\ntests: [{render: {contains: 5}}]\n",
    "system: x\ntests: [{render: {judge: good}}]\n",
    "system: x\ntests: [{render: {max_words: -1}}]\n",
    "system: x\ntests: [{expect: {judge: {persona: p}}}]\n",
    "system: x\ntests: [{expect: {judge: {rubric: r, rubrik: s}}}]\n",
    "system: x\ntemplate: mustache\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_files_are_good_to_both(text: str) -> None:
    assert (is_persona(text), is_valid(text)) == (True, True)


@pytest.mark.parametrize("text", BAD)
def test_bad_files_are_bad_to_both(text: str) -> None:
    assert (is_persona(text), is_valid(text)) == (False, False)


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_a_json_schema(abstract: bool) -> None:
    made, notes = persona_schema(NONE, abstract=abstract)
    Draft202012Validator.check_schema(made)
    assert (made["$schema"], made["$id"], notes) == (
        "https://json-schema.org/draft/2020-12/schema",
        "urn:personakit:persona:1",
        [],
    )
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("file", sorted(shipped().glob("*.yaml")), ids=lambda file: file.stem)
def test_what_ships_is_valid(file: Path) -> None:
    validator().validate(yaml.parse(file.read_bytes()).data)


def keys_without_description(node: Any, at: str = "") -> list[str]:
    """Return the properties, at any depth, that an editor would show nothing for."""
    found = []
    if isinstance(node, dict):
        for place in ("properties", "patternProperties"):
            # What `if`, `then`, `not` and `anyOf` add to keys is described where those stand.
            if node.get("additionalProperties") is not None:
                for key, value in node.get(place, {}).items():
                    described = isinstance(value, dict) and value.get("description")
                    found += [] if described or place != "properties" else [f"{at}/{key}"]
        for key, value in node.items():
            found += keys_without_description(value, f"{at}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += keys_without_description(value, f"{at}/{index}")
    return found


class Mood(enum.Enum):
    """What there is."""

    HIGH = "high"
    LOW = "low"


@dataclass(eq=False)
class Loudly:
    """Says it louder.

    Attributes:
        marks: How many exclamation marks,
            at the end.
        mood: The mood.
        words: What to loudly; everything when empty.
    """

    marks: int
    mood: Mood = Mood.HIGH
    words: list[str] = field(default_factory=list)
    volume: float | None = None

    @hookimpl
    def chat(self, request: Any) -> None:
        """Change nothing."""


class Broken:
    """Has no hook."""


class Several:
    """Brings another plugin."""

    @staticmethod
    @hookimpl
    def setup(registry: Any) -> None:
        """Contribute."""
        registry.plugin("whisper", Loudly)


@pytest.fixture
def plugins(install: Callable[..., None], tmp_path: Path) -> Plugins:
    install("acme", loudly=Loudly, several=Several)
    install("lame", broken=Broken)
    return Plugins(Config(select=frozenset(["loudly", "several", "broken"])))


def test_every_key_has_a_description(plugins: Plugins) -> None:
    made, _ = persona_schema(plugins)
    assert keys_without_description(made) == []
    names = {*KEYS, *parameters.ALLOWED, *variables.KEYS, *tests.KEYS}
    names |= {*tests.EXPECT, *tests.JUDGE, *ROLES}
    text = json.dumps(made)
    assert [name for name in names if f'"{name}": {{"description"' not in text] == []


def test_the_options_of_installed_plugins_are_in_it(plugins: Plugins) -> None:
    made, notes = persona_schema(plugins)
    Draft202012Validator.check_schema(made)
    (note,) = notes
    assert note.startswith("plugin 'broken' (of lame 1.0) is left out because it is broken: ")
    for name in ("loudly", "whisper"):
        forms = made["properties"]["plugins"]["items"]["anyOf"]
        form = next(f for f in forms if "properties" in f)["properties"][name]
        assert form["description"] == "Says it louder."
        assert form["properties"]["marks"]["description"] == (
            "How many exclamation marks, at the end."
        )
        assert form["properties"]["volume"]["default"] is None
        assert form["required"] == ["marks"]


@pytest.mark.parametrize(
    ("use", "valid"),
    [
        ("loudly: {marks: 3}", True),
        ("loudly: {marks: 3, mood: low, words: [a]}", True),
        ("use: loudly, options: {marks: 3}", True),
        ("whisper: {marks: 3}", True),
        ("unheard: {of: 3}", True),
        ("loudly: {marks: three}", False),
        ("loudly: {marks: 3, mood: odd}", False),
        ("loudly: {mraks: 3}", False),
        ("loudly: {words: [a]}", False),
        ("use: loudly, options: {marks: three}", False),
        ("whisper: {marks: three}", False),
    ],
)
def test_options_are_checked(plugins: Plugins, use: str, valid: bool) -> None:
    assert is_valid(f"system: x\nplugins: [{{{use}}}]\n", plugins) is valid


def test_the_command_prints_it(terminal: Callable[..., Any]) -> None:
    result = terminal("schema")
    made = json.loads(result.stdout)
    assert (result.returncode, result.stderr, made["title"]) == (0, "", "personakit persona")
    Draft202012Validator.check_schema(made)
    whole = Draft202012Validator(made)
    partial = Draft202012Validator(json.loads(terminal("schema", "--partial").stdout))
    with pytest.raises(jsonschema.ValidationError, match="system"):
        whole.validate({"variables": {"a": 1}})
    partial.validate({"variables": {"a": 1}})
