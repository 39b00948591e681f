"""`personakit lint`: texts that a comment or a prompt loses, and schemas without values."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.lint import lint

from personakit import PersonaError, Runner, UsageError
from personakit.config import Config
from personakit.linting.codes import CODES

D = "description: d\n"
OUTPUT = f"{D}system: x\noutput:\n  type: object\n"

TEXTS = {
    "PK028": [
        f"{D}system: x\nprompt: «PK028»Say hello.\n",
        f"{D}system: x\nprompt: «PK028»|\n  Say {{{{ a }}}}.\nvariables: {{a: 1}}\n",
        f"{D}system: x\ntemplate: none\nprompt: «PK028»'{{{{ input }}}}'\n",
        f"{D}system: x\nprompt: '{{% if input is defined %}}{{{{ input }}}}{{% endif %}}'\n",
        f"{D}system: x\nprompt: «PK028»Hi\n"
        "tests: [{prompt: «PK052»a, render: {contains: x}}]\n",
    ],
    "PK061": [
        f"{D}system: Use C# and «PK061»#tags\n",
        "description: one «PK061»#two\nsystem: x\n",
        f"{D}system: You are. «PK061»# 1 rule\n",
        f"{D}system: one\n  two\n  three «PK061»#four\n",
        f"{D}system: x\nmessages:\n- user: hi «PK061»#a\n- user: yo  # a comment\n",
        f"{D}system: x\ntags: [a, b] #c\nmodel: openai/m #fast\nversion: '1' #x\n",
        f"{D}system: '{{{{ a }}}}'\nvariables:\n  a: x «PK061»#y\n",
        f"{D}«PK003»system: «PK061»#1 rule\n",
        f"{D}system: 'a #b'\nprompt: |\n  c #d {{{{ input }}}}\n",
    ],
    "PK071": [
        f"{D}system: x\noutput:\n  «PK071»dish: string\n  minutes: integer\n",
        f"{D}system: x\noutput: {{title: string, type: string}}\n",
    ],
    "PK070": [
        f"{OUTPUT}  properties: {{a: {{}}}}\n  required: «PK070»[a, b]\n"
        "  additionalProperties: false\n",
        f"{OUTPUT}  properties: {{a: {{minimum: 3, maximum: «PK070»2}}}}\n",
        f"{OUTPUT}  properties: {{a: {{minItems: 3, maxItems: «PK070»2}}}}\n",
        f"{OUTPUT}  properties: {{a: {{type: string, enum: «PK070»[1, 2]}}}}\n",
        f"{OUTPUT}  properties: {{a: {{type: [integer, 'null'], enum: [null]}}}}\n",
        f"{OUTPUT}  properties: {{a: {{enum: «PK070»[]}}}}\n",
        f"{OUTPUT}  properties: {{a: {{type: boolean, const: «PK070»yes}}}}\n",
        f"{OUTPUT}  anyOf: [{{minimum: 3, maximum: 2}}, {{}}]\n",
        f"{OUTPUT}  patternProperties: {{'^b': {{}}}}\n  required: [b]\n"
        "  additionalProperties: false\n",
        f"{D}system: x\ntests:\n- expect: {{json_schema: {{minLength: 2, maxLength: «PK070»1}}}}\n",
    ],
}


def test_a_prompt_of_another_type_is_one_problem(folder: Path) -> None:
    lint({"personas/p.yaml": f"{D}system: x\nprompt: «PK011»[a]\n"})


def test_a_name_in_single_braces_is_no_use_of_a_variable(folder: Path) -> None:
    text = f"{D}system: Hi {{a}}.\nvariables: {{«PK024»a: 1}}\n"
    (finding,) = lint({"personas/p.yaml": text})
    assert finding.message.endswith("; a template writes {{ a }}, not {a}")


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=f"{code}-{i}") for code, t in TEXTS.items() for i, text in enumerate(t)],
)
def test_each_problem_has_its_place(folder: Path, text: str) -> None:
    for finding in lint({"personas/p.yaml": text}):
        assert finding.severity == CODES[finding.code].severity


def test_the_correction_is_in_the_message(folder: Path) -> None:
    (found,) = lint({"personas/p.yaml": f"{D}system: Use C# and «PK061»#tags\n"})
    assert found.message == (
        'system: " #" begins a comment in YAML, so the text from there on is lost; quote the text: '
        '`"Use C# and #tags"`; a comment has two spaces before # and one after'
    )


def test_a_prompt_that_would_be_lost_is_an_error(folder: Path) -> None:
    Path("p.yaml").write_text(f"{D}system: x\nprompt: Say hello.\n")
    runner = Runner(Config(path=()))
    with pytest.raises(PersonaError) as caught:
        runner.render("p.yaml", "my text")
    (problem,) = caught.value.problems
    (finding,) = lint({"q.yaml": f"{D}system: x\nprompt: «PK028»Say hello.\n"})
    assert problem.message == finding.message
    assert (problem.line, problem.column) == (finding.line, finding.column)
    assert [m.text for m in runner.render("p.yaml").messages] == ["x", "Say hello."]
    assert runner.render("p.yaml", "").messages == runner.render("p.yaml").messages


def test_a_prompt_takes_the_text_where_the_template_reads_it(folder: Path) -> None:
    Path("partials").mkdir()
    Path("partials/ask.md").write_text("Ask: {{ input }}")
    Path("base.yaml").write_text(f"{D}system: x\nprompt: \"{{% include 'partials/ask.md' %}}\"\n")
    Path("child.yaml").write_text(f"{D}extends: base\n")
    runner = Runner(Config(path=(Path(),)))
    for name in ("base", "child"):
        assert runner.render(name, "why").messages[-1].text == "Ask: why"
    Path("child.yaml").write_text(f"{D}extends: base\nprompt: y\n")
    with pytest.raises(UsageError, match=r"child\.yaml:3:9: `prompt:` does not use"):
        runner.render("child", "why")


def test_render_and_lint_report_the_same_places(folder: Path) -> None:
    text = f"{D}system: |\n  Hello {{{{ «PK023»name }}}}, {{{{ 'a'|«PK021»uper }}}}\n"
    found = lint({"p.yaml": text})
    with pytest.raises(PersonaError) as caught:
        Runner(Config(path=())).render("p.yaml")
    problems = {(p.line, p.column, p.message) for p in caught.value.problems}
    assert problems == {(f.line, f.column, f.message) for f in found}


def test_a_variable_that_only_children_use_is_used(folder: Path) -> None:
    lint(
        {
            "personas/base.yaml": f"{D}variables: {{a: 1, b: 2, «PK024»c: 3}}\nsystem: x\n",
            "personas/child.yaml": f"{D}extends: base\nsystem: '{{{{ a }}}}'\n",
            "personas/grandchild.yaml": f"{D}extends: [child]\nsystem: '{{{{ b }}}}'\n",
            "personas/broken.yaml": f"{D}extends: «PK002»base2\nsystem: '{{{{ c }}}}'\n",
        }
    )
    # The children need not be among the files that are checked.
    lint({"personas/base.yaml": f"{D}variables: {{a: 1, b: 2, «PK024»d: 3}}\nsystem: x\n"})
