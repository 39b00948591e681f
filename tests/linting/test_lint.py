"""`personakit lint`: what it finds and where, what silences it, and how it prints.

In the files of these tests ``«PK010»`` stands before the character that a finding points at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from helpers.lint import lint

from personakit import Registry, UserOption, hookimpl
from personakit.linting.codes import CODES

ONE = {
    "PK001": ["description: d\nsystem: «PK001»{{ x }}\n", "«PK001»\tsystem: x\n"],
    "PK002": [
        "description: d\nsystem: x\nextends: «PK002»chf\n",
        "description: d\nsystem: x\nextends:\n  - explainer\n  - «PK002»../up\n",
    ],
    "PK003": ["«PK003»description: d\ntags: [a]\n"],
    "PK010": [
        "description: d\nsystem: x\n«PK010»vresion: x\n",
        "description: d\nsystem: '{{ a }}'\nvariables:\n  a: {«PK010»tpye: string}\n",
        "description: d\nsystem: x\nmessages:\n- «PK010»usr: Hello\n",
        "description: d\nsystem: x\ntests: [{render: {contains: a, «PK010»mathces: b}}]\n",
    ],
    "PK011": [
        "«PK011»\n",
        "description: d\nsystem: «PK011»5\n",
        "description: d\nsystem: x\ntags: «PK011»5\nmessages: [«PK011»hello]\n",
    ],
    "PK012": [
        "description: d\nsystem: x\noutput: {type: string, pattern: «PK012»'^(?!a)'}\n",
        "description: d\nsystem: '{{ a }}'\nvariables:\n  a: {type: «PK012»text}\n",
        "description: d\nsystem: '{{ a }}'\nvariables:\n  a: {enum: [x, y], default: «PK012»z}\n",
    ],
    "PK013": [
        "description: d\nsystem: x\nparameters:\n  «PK013»temprature: 1\n  «PK013»base_url: y\n"
    ],
    "PK014": ["description: d\nsystem: x\nparameters: {top_p: «PK014»1.5}\n"],
    "PK020": [
        "description: d\nsystem: |\n  one\n  «PK020»two {% if %}\n",
        "description: d\nsystem: x\nmessages:\n  - user: a\n  «PK020»- assistant: '{{ a }'\n",
    ],
    "PK021": [
        "description: d\nsystem: |\n  {{ 'a'|«PK021»uper }} {{ 'b'|«PK021»lowr }}\n",
        "description: d\nsystem: |\n  {% if 1 is «PK021»odds %}{% endif %}\n",
        "description: d\nsystem: |\n  {% if 0 %}{{ 'a'|«PK021»uper }}{% endif %}\n",
    ],
    "PK022": [
        "description: d\nsystem: |\n  {% include '«PK022»partials/none.md' %}\n",
        "description: d\nsystem: |\n  {% set a = 'b' %}\n  {% «PK022»include a %}\n",
        "description: d\nsystem: |\n  {% «PK022»import 'a' as b %}\n",
    ],
    "PK023": [
        "description: d\nsystem: |\n  {{ «PK023»a }} {{ a }}\n  b {{ «PK023»b }}\n",
        "description: d\nsystem: 'input: {{ «PK023»input }}'\n",
        "description: d\nsystem: >\n  one\n  two {{ «PK023»a }}\n\n  three\n"
        "  four {{ «PK023»b }}\n",
        "description: d\nsystem: one\n  two {{ «PK023»a }}\n",
        "description: d\nsystem: x\nmessages:\n- user: y {{ «PK023»a }}\n"
        "prompt: '{{ «PK023»b }}'\n",
        "description: d\nsystem: '{{ «PK023»a|uper }}'\n".replace("uper", "«PK021»uper"),
    ],
    "PK024": [
        "description: d\nsystem: x\nvariables:\n  «PK024»a: 1\n",
        "description: d\nsystem: '{{ a }}'\ntemplate: none\nvariables: {«PK024»a: 1}\n",
    ],
    "PK025": [
        "description: d\nvariables: {a: {enum: [any, vegan], default: any}}\nsystem: |\n"
        "  vegn {% if a == '«PK025»vegn' %}{% endif %}\n"
        "  {% if a in ['vegan', '«PK025»fish'] %}{% elif '«PK025»meat' != a %}{% endif %}\n"
        "  {% if a == 'any' or a in ('vegan', 'any') %}{% endif %}\n",
        "description: d\nvariables: {n: 1, b: true}\nsystem: |\n"
        "  {% if n == '«PK025»2' %}{% endif %}{% if n == 2.0 or b == true %}{% endif %}\n"
        "  {{ 'x' if b == '«PK025»true' else 'y' }}\n",
    ],
    "PK026": [
        "description: d\nvariables: {a: x}\nsystem: |\n"
        "  {{ a }} {{ «PK026»a | default('b') }} {{ a|default('b', true) }}\n"
        "  {% if a and «PK026»a is defined %}{% endif %}\n",
    ],
    "PK027": [
        "description: d\nvariables: {a: {required: false}, b: }\nsystem: |\n"
        "  {{ «PK027»a }} {% if b %}{{ b }}{% endif %}\n",
    ],
    "PK029": [
        "description: d\nvariables: {a: {properties: {b: 1}, default: {}}}\n"
        "system: '{{ a.«PK029»c }}'\n",
    ],
    "PK030": ["description: d\nsystem: x\nplugins:\n  - «PK030»nobody\n  - «PK030»none: {a: 1}\n"],
    "PK033": ["description: d\nsystem: x\ntools: [«PK033»hammer]\n"],
    "PK034": [
        "description: d\nsystem: x\n"
        "tests: [{expect: {judge: {rubric: r, persona: «PK034»../judge.yaml}}}]\n",
    ],
    "PK040": ["description: d\nname: «PK040»other\nsystem: x\n"],
    "PK050": [
        "description: d\nvariables: {n: {type: integer, required: true}}\nsystem: '{{ n }}'\n"
        "tests:\n"
        "  - «PK050»render: {contains: x}\n"
        "  - variables: {n: «PK050»two, «PK050»m: 1}\n"
        "    render: {contains: x}\n"
        "  - variables: {n: 1}\n"
        "    expect: {contains: x}\n",
    ],
    "PK051": [
        "description: d\nsystem: x\ntests:\n- expect:\n    contains: [a cat, dog]\n"
        "    not_contains: «PK051»cat\n    max_words: «PK051»1\n    max_tokens: «PK051»0\n",
        "description: d\nsystem: x\ntests:\n- render:\n    contains_any: «PK051»[ab, bc]\n"
        "    not_contains: b\n",
        "description: d\nsystem: x\ntests:\n- render: {equals: a b, contains: «PK051»[c],"
        " not_contains: «PK051»[a b], contains_any: «PK051»[d]}\n",
        "description: d\nsystem: x\ntests:\n- render: {not_contains: «PK051»['']}\n",
        "description: d\nsystem: x\ntests: [{render: {contains: a, not_contains: A}}]\n",
    ],
    "PK052": [
        "description: d\nsystem: x\nprompt: 'Sum up {{ input }}'\n"
        "tests:\n- «PK052»render: {contains: x}\n- prompt: p\n  render: {contains: p}\n",
        "description: d\nsystem: x\nprompt: '{{ input if input is defined else 1 }}'\n"
        "tests:\n- render: {contains: x}\n",
    ],
    "PK053": [
        "description: d\nsystem: x\n"
        "tests: [{expect: {judge: {rubric: r, persona: «PK053»nobody}}}]\n",
    ],
    "PK060": ["«PK060»system: x\n", "system: x\ndescription: d\n"],
    "PK090": [
        "description: d  # personakit: ignore[PK024, «PK090»PK999]\nsystem: x\n",
        "description: d  «PK090»# personakit: ignore\nsystem: x\n",
    ],
}


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=f"{code}-{i}") for code, t in ONE.items() for i, text in enumerate(t)],
)
def test_each_problem_has_its_place(folder: Path, text: str) -> None:
    for finding in lint({"personas/p.yaml": text}):
        assert finding.severity == CODES[finding.code].severity
        assert "\n" not in finding.message


def test_a_parent_that_is_broken_is_reported_once(folder: Path) -> None:
    lint(
        {
            "personas/a.yaml": "description: d\nextends: «PK002»base\nsystem: '{{ x }}'\n",
            "personas/b.yaml": "description: d\nextends: «PK002»base\n",
            "personas/base.yaml": "description: d\nsystem: «PK011»5\n",
        }
    )


def test_variables_are_followed_through_parents_and_partials(folder: Path) -> None:
    lint(
        {
            "personas/base.yaml": (
                "description: d\nvariables: {a: 1, b: 2}\nsystem: '{{ a }} {{ b }}'\n"
            ),
            # It uses neither a nor b: not its fault. c is its own, and so is b once it names it.
            "personas/child.yaml": (
                "description: d\nextends: base\nsystem: y\n"
                "variables: {«PK024»b: {default: 3}, «PK024»c: 1}\n"
            ),
            "personas/whole.yaml": (
                "description: d\nextends: base\nvariables: {tone: soft}\n"
                "system: |\n  {{ parent.system }}\n  {% include 'partials/tone.md' %}\n"
            ),
            "personas/partials/tone.md": "Be {{ tone }}.\n",
        }
    )
    lint(
        {
            "personas/typo.yaml": (
                "description: d\nvariables: {«PK024»tone: soft}\n"
                "system: \"{% include 'partials/typo.md' %}\"\n"
            ),
            "personas/partials/typo.md": "Be\nvery {{ «PK023»tune }} {{ 'a'|«PK021»uper }}.\n",
        }
    )


def test_what_is_set_in_a_template_is_no_variable(folder: Path) -> None:
    lint(
        {
            "personas/p.yaml": (
                "description: d\nvariables: {a: {enum: [x], default: x}}\nsystem: |\n"
                "  {% for a in ['y'] %}{{ a if a == 'y' and a is defined }}{% endfor %}{{ a }}\n"
            )
        }
    )


def test_partials_are_only_extended(folder: Path) -> None:
    lint(
        {
            "personas/partials/pro.yaml": "variables: {a: 1}\nmessages: [{user: '{{ b }}'}]\n",
            "personas/partials/bad.yaml": "sytem: x\n".replace("sytem", "«PK010»sytem"),
            "personas/p.yaml": "description: d\nextends: partials/pro\nsystem: '{{ a }}'\n"
            "variables: {b: 1}\n",
        }
    )


def test_names_that_clash(folder: Path) -> None:
    lint(
        {
            "personas/twin.yaml": "description: d\nsystem: x\n",
            "personas/twin.yml": "«PK041»description: d\nsystem: x\n",
            "personas/alone.yml": "«PK043»description: d\nsystem: x\n",
            "personas/chef.yaml": "«PK042»description: d\nsystem: x\n",
            "personas/editor.yaml": "description: d\nextends: editor\n",
            "elsewhere/a.yaml": "description: d\nname: «PK044»same\nsystem: x\n",
            "elsewhere/b.yaml": "description: d\nname: «PK041»«PK044»same\nsystem: x\n",
        }
    )


class Redact:
    """Hides."""

    def __init__(self, entities: list[str], region: str = "", limit: int = 1) -> None:
        if region == "XX":
            raise ValueError("there is no region XX")

    @hookimpl
    def chat(self, request: Any) -> None:
        """Never called by lint."""
        raise AssertionError


class Files:
    """Names files, and provides models that are files."""

    def __init__(
        self,
        log: Annotated[str, UserOption("file")] = "",
        notes: Annotated[list[str], UserOption("folder", in_persona=True)] = [],  # noqa: B006
        models: list[Annotated[str, UserOption("model")]] = [],  # noqa: B006
        limit: int = 1,
    ) -> None: ...

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("files", names_file=lambda model: model != "own")


class NoHook:
    """Is broken."""


def test_plugins(folder: Path, install: Callable[..., None]) -> None:
    install("acme", masker=Redact, broken=NoHook)
    found = lint(
        {
            "personas/p.yaml": (
                "description: d\nsystem: x\nplugins:\n"
                "  - «PK030»maskr\n"
                "  - masker: {entities: [a]}\n"
                "  - masker: {entities: «PK031»a, «PK031»entites: [a], limit: «PK031»one}\n"
                "  - «PK031»masker\n"
                "  - «PK031»use: masker\n"
                "    options: {region: XX, entities: []}\n"
                "  - «PK032»broken\n"
            )
        },
        plugins="masker,broken",
    )
    said = {f.line: f.message for f in found}
    assert said[4] == "no plugin 'maskr' is installed; did you mean 'masker'?" + (
        "; PERSONAKIT_PLUGINS limits which may be used"
    )
    assert said[7] == (
        "plugin 'masker' (of acme 1.0) needs the option 'entities'; set it here, or in the config "
        "file: `plugin_options: {masker: {entities: …}}`"
    )
    assert said[8] == "plugin 'masker' (of acme 1.0): there is no region XX"


def test_what_only_the_user_may_name(folder: Path, install: Callable[..., None]) -> None:
    install("acme", files=Files)
    found = lint(
        {
            "personas/p.yaml": (
                "description: d\nsystem: x\nmodel: «PK034»files/x.bin\nplugins:\n"
                "  - files: {log: «PK034»x.log, notes: «PK034»[a, ../b], limit: «PK031»one}\n"
                "  - files: {models: «PK034»[files/own, files/./x.bin]}\n"
                "  - files: {notes: [a, b/c], models: [files/own, other/x], limit: 2}\n"
                "tests:\n"
                "  - expect: {judge: {rubric: r, model: «PK034»files//x.bin}}\n"
                "    model: «PK034»files/~/x.bin\n"
            ),
            "personas/own.yaml": "description: d\nsystem: x\nmodel: files/own\n",
        },
        plugins="files",
    )
    place = {(f.line, f.column): f.message for f in found}
    assert len(place) == 7
    assert place[3, 8] == (
        "model: 'files/x.bin' is the path of a file, which only the user may name: use "
        "`-m files/x.bin`, or `model:` in the config file"
    )
    assert place[5, 18] == (
        "plugin 'files' (of acme 1.0), option 'log': found 'x.log'; only the user may set it; if "
        "you trust it, set it in the config file: `plugin_options: {files: {log: …}}`"
    )
    (notes,) = (message for message in place.values() if "'../b'" in message)
    assert f"'../b' is outside of {folder / 'personas'}; a persona may name a folder" in notes
