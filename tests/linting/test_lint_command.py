"""`personakit lint`: every code, forms of output, and what it takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from helpers.lint import MARK, lint
from helpers.shipped import shipped_files

from personakit import Runner
from personakit.config import Config
from personakit.library.folders import shipped
from personakit.linting.check import Linter, files_in
from personakit.linting.codes import CODES
from personakit.linting.source import Source
from personakit.persona import yaml

ROOT = Path(__file__).parents[2]


Terminal = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_code_has_a_test() -> None:
    text = "".join(file.read_text("utf-8") for file in Path(__file__).parent.glob("test_*.py"))
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
        "no open tag matches it",
    ]


def test_strict_makes_errors_of_warnings(folder: Path) -> None:
    (found,) = lint({"personas/p.yaml": "«PK060»system: x\n"}, strict=True)
    assert found.severity == "error"


def test_what_ships_is_clean() -> None:
    assert Linter(Runner(Config(path=()))).check(shipped_files()) == []


def test_lines_of_a_file_that_is_not_there() -> None:
    assert Source.read("/nowhere").lines == [""]


BAD = "description: d\nsystem: |\n  {{ a, 5%: }}\n"


def test_the_compiler_form(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "p.yaml").write_text("system: x\ntgas: [a]\n")
    (tmp_path / "personas" / "q.yaml").write_text("system: x\n")
    result = terminal("lint")
    assert result.stdout.splitlines() == [
        "personas/p.yaml:1:1: warning: `description` is missing; add one sentence for "
        "`personakit list` [PK060]",
        "personas/p.yaml:2:1: error: unknown key 'tgas'; did you mean 'tags'? [PK010]",
        "personas/q.yaml:1:1: warning: `description` is missing; add one sentence for "
        "`personakit list` [PK060]",
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
    names = [f"{file}:" for file in shipped_files()]
    assert [line for line in result.stdout.splitlines() if line.startswith(tuple(names))] == []
    count = len(list(shipped().glob("**/*.yaml")))
    assert f"{count} files checked" in result.stderr
    assert terminal("lint", "chef").stderr == "1 file checked, nothing found\n"


def test_json(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(BAD)
    result = terminal("lint", "--json", "p.yaml")
    (found,) = json.loads(result.stdout)
    names = "path line column severity code message end_line end_column"
    assert list(found) == names.split()
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
        "::error file=a%2Cb%3Ac/p.yaml,line=4,col=1,endLine=4,endColumn=3,title=PK010::"
        "unknown key '5%25' "
        "(known: name, description, version, extends, tags, authors, license, source, metadata, "
        "model, api, parameters, variables, system, messages, prompt, tools, output, history, "
        "plugins, tests, template)\n"
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
