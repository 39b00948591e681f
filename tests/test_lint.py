"""`personakit lint`: what it finds and where, what silences it, and how it prints.

In the files of these tests ``«PK010»`` stands before the character that a finding points at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from personakit import Runner, hookimpl
from personakit.config import Config
from personakit.library import shipped
from personakit.linting.check import Finding, Linter, files_in
from personakit.linting.codes import CODES
from personakit.linting.source import Source
from personakit.persona import yaml

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"«(PK\d{3})»")
Place = tuple[str, int, int, str]
Terminal = Callable[..., "subprocess.CompletedProcess[str]"]


def read(name: str, marked: str) -> tuple[str, list[Place]]:
    """Return the text of a file without its marks, and what they stand for."""
    places, lines = [], []
    for number, line in enumerate(marked.split("\n"), 1):
        text = line
        while found := MARK.search(text):
            places.append((name, number, found.start() + 1, found[1]))
            text = text[: found.start()] + text[found.end() :]
        lines.append(text)
    return "\n".join(lines), places


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lint(files: Mapping[str, str], *, plugins: str = "", strict: bool = False) -> list[Finding]:
    """Write files, lint the YAML among them, and check that it finds what is marked."""
    expected: list[Place] = []
    for name, marked in files.items():
        text, places = read(name, marked)
        expected += places
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, "utf-8")
    select = frozenset(plugins.split(","))
    linter = Linter(Runner(Config(path=(Path("personas"),), select=select)), strict=strict)
    found = linter.check([Path(name) for name in files if name.endswith((".yaml", ".yml"))])
    places = [(f.path, f.line, f.column, f.code) for f in found]
    assert sorted(places) == sorted(expected), "\n".join(map(str, found))
    assert found == sorted(found)
    return found


ONE = {
    "PK001": ["description: d\nsystem: «PK001»{{ x }}\n", "«PK001»\tsystem: x\n"],
    "PK002": [
        "description: d\nsystem: x\nextends: «PK002»chf\n",
        "description: d\nsystem: x\nextends:\n  - explainer\n  - «PK002»../up\n",
    ],
    "PK003": ["«PK003»description: d\nprompt: x\n"],
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
    "PK030": ["description: d\nsystem: x\nplugins:\n  - «PK030»nobody\n  - «PK030»none: {a: 1}\n"],
    "PK033": ["description: d\nsystem: x\ntools: [«PK033»hammer]\n"],
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
        "; PERSONAKIT_PLUGINS selects which may be used"
    )
    assert said[7] == "plugin 'masker' (of acme 1.0) needs the option 'entities'"
    assert said[8] == "plugin 'masker' (of acme 1.0): there is no region XX"


def test_every_code_has_a_test() -> None:
    text = Path(__file__).read_text("utf-8")
    assert sorted(CODES) == sorted(set(MARK.findall(text)))


def test_every_code_in_the_source_is_in_the_table_and_documented() -> None:
    used = set()
    for file in (ROOT / "personakit").rglob("*.py"):
        if file.name != "codes.py":
            used |= set(re.findall(r'"(PK\d{3})"', file.read_text("utf-8")))
    assert used == set(CODES)
    page = (ROOT / "docs" / "lint.md").read_text("utf-8")
    rows = re.findall(r"^\| (PK\d{3}) \| (\w+) \| (.+?) \|", page, re.MULTILINE)
    assert rows == [(code, kind.severity, kind.title) for code, kind in CODES.items()]


def test_comments_silence(folder: Path) -> None:
    lint(
        {
            "personas/line.yaml": (
                "description: d\n"
                "system: '{{ a }} {{ «PK026»e is defined }}' # personakit: ignore[PK023]\n"
                "variables:\n"
                "  # personakit: ignore[PK012, PK024]\n"
                "  b: {enum: [x], default: y}\n"
                "  c: 1  # personakit: ignore[PK024]\n"
                "  «PK024»d: 1\n"
                "  e: 1\n"
            ),
            "personas/file.yaml": (
                "# personakit: ignore-file[PK060,PK023]\n"
                "system: |\n  {{ a }}\n  {{ 'a'|«PK021»x }}\n"
            ),
            "personas/text.yaml": (
                "description: d\nsystem: |\n  {# personakit: ignore[PK023] #}\n  {{ a }}\n"
                "  {{ «PK023»b }}\n"
            ),
        }
    )


def test_a_broken_file_does_not_hide_the_others(folder: Path) -> None:
    lint(
        {
            "personas/a.yaml": "system: «PK001»{{ x }}\n",
            "personas/b.yaml": "description: d\nsystem: |\n  {{ «PK023»x }}\n",
        }
    )


def test_a_file_full_of_mistakes_does_not_stop_the_others(folder: Path) -> None:
    Path("bad.yaml").write_text("system: x\n" + "".join(f"key{i}: x\n" for i in range(500)))
    Path("worse.yaml").write_text("system: 5\n")
    found = Linter(Runner(Config(path=()))).check([Path("bad.yaml"), Path("worse.yaml")])
    assert len([f for f in found if f.path == "bad.yaml"]) == 100
    assert [(f.path, f.code) for f in found if f.line == 1 and f.code != "PK060"] == [
        ("bad.yaml", "PK010"),
        ("worse.yaml", "PK011"),
    ]
    assert found[0].message == "more than 99 problems"


def test_the_mend_of_a_template_is_named(folder: Path) -> None:
    said = [
        lint({"personas/p.yaml": f"description: d\nsystem: |\n  «PK020»{text}\n"})[0].message
        for text in (
            "{% if 1 = 2 %}{% endif %}",
            "{% if 1 %}{% else if 2 %}{% endif %}",
            "{% if 1 %}{% elseif 2 %}{% endif %}",
            "{{ 'a' }",
            "{{ “a” }}",
            "{% fro a in b %}{% endfor %}",
            "{% endif %}",
        )
    ]
    assert [text.rpartition("; ")[2] for text in said] == [
        "compare with ==",
        "write {% elif … %} for else if",
        "write {% elif … %} for else if",
        "an expression ends in }}, a statement in %}",
        "write straight quotes",
        "did you mean 'for'?",
        "there is nothing open that it belongs to",
    ]


def test_strict_makes_errors_of_warnings(folder: Path) -> None:
    (found,) = lint({"personas/p.yaml": "«PK060»system: x\n"}, strict=True)
    assert found.severity == "error"


def test_what_ships_is_clean() -> None:
    files = list(files_in(shipped()))
    assert Linter(Runner(Config(path=()))).check(files) == []


def test_lines_of_a_file_that_is_not_there() -> None:
    assert Source.read("/nowhere").lines == [""]


BAD = "description: d\nsystem: |\n  {{ a, 5%: }}\n"


def test_the_compiler_form(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "p.yaml").write_text("system: x\ntgas: [a]\n")
    (tmp_path / "personas" / "q.yaml").write_text("system: x\n")
    result = terminal("lint")
    assert result.stdout.splitlines() == [
        "personas/p.yaml:1:1: warning: no description; one sentence for `personakit list` says "
        "what it is for [PK060]",
        "personas/p.yaml:2:1: error: unknown key 'tgas'; did you mean 'tags'? [PK010]",
        "personas/q.yaml:1:1: warning: no description; one sentence for `personakit list` says "
        "what it is for [PK060]",
    ]
    assert result.stderr == "1 error, 2 warnings in 2 files; 2 files checked\n"
    assert result.returncode == 1


def test_exit_codes(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "warn.yaml").write_text("system: x\n")
    (tmp_path / "good.yaml").write_text("system: x\ndescription: d\n")
    (tmp_path / "note.md").write_text("x\n")
    assert terminal("lint", "warn.yaml").returncode == 0
    assert terminal("lint", "warn.yaml", "--strict").returncode == 1
    good = terminal("lint", "good.yaml")
    assert (good.returncode, good.stdout, good.stderr) == (
        0,
        "",
        "1 file checked, nothing found\n",
    )
    gone = terminal("lint", "god.yaml")
    assert (gone.returncode, gone.stderr) == (
        2,
        "Error: no file, folder or persona 'god.yaml'; did you mean 'good.yaml'?\n",
    )
    assert terminal("lint", "note.md").returncode == 2


def test_without_a_folder_the_library_is_checked(terminal: Terminal) -> None:
    result = terminal("lint")
    count = len(list(shipped().glob("**/*.yaml")))
    assert (result.returncode, result.stderr) == (0, f"{count} files checked, nothing found\n")
    assert terminal("lint", "chef").stderr == "1 file checked, nothing found\n"


def test_json(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(BAD)
    result = terminal("lint", "--json", "p.yaml")
    (found,) = json.loads(result.stdout)
    assert list(found) == ["path", "line", "column", "severity", "code", "message"]
    assert (found["path"], found["line"], found["column"], found["severity"], found["code"]) == (
        "p.yaml",
        3,
        3,
        "error",
        "PK020",
    )
    assert (result.stderr, result.returncode) == ("", 1)
    assert terminal("lint", "--format", "json", "p.yaml").stdout == result.stdout


def test_annotations_of_github(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a,b:c").mkdir()
    (tmp_path / "a,b:c" / "p.yaml").write_text("description: d\nsystem: x\nversion: 5%\n5%: x\n")
    result = terminal("lint", "--format", "github", "a,b:c/p.yaml")
    assert result.stdout == (
        "::error file=a%2Cb%3Ac/p.yaml,line=4,col=1,title=PK010::unknown key '5%25' "
        "(known: name, description, version, extends, tags, authors, license, source, metadata, "
        "model, parameters, variables, system, messages, prompt, tools, output, history, plugins, "
        "tests, template)\n"
    )


def test_folders_are_searched_but_for_hidden_ones_and_recordings(folder: Path) -> None:
    for name in ("a.yaml", "b/c.yml", ".hidden/d.yaml", ".e.yaml", "recordings/f.yaml", "g.md"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert [str(file) for file in files_in(Path())] == ["a.yaml", "b/c.yml"]


def test_it_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("description: d\nsystem: '{{ a }}'\nvariables: {a: 1}\n")
    code = (
        "import sys\nfrom personakit.cli import group\n"
        "group(['lint', 'p.yaml'], standalone_mode=False)\n"
        "heavy = {'openai', 'pydantic', 'pydantic_core', 'rich', 'jsonschema', 'asyncio'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PERSONAKIT_PLUGINS": "", "HOME": str(tmp_path)},
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_pre_commit_hook_calls_the_command() -> None:
    hooks = yaml.parse((ROOT / ".pre-commit-hooks.yaml").read_bytes()).data
    (hook,) = hooks
    assert (hook["id"], hook["entry"]) == ("personakit-lint", "personakit lint")
    assert re.search(hook["files"], "personas/chef.yaml")
    assert not re.search(hook["files"], "docker-compose.yaml")
