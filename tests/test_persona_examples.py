"""The personas in the docs are good ones: lint, the schema for editors and their tests agree."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from helpers import pages

from personakit import Runner
from personakit.authoring import persona_schema
from personakit.config import Config
from personakit.linting import Linter
from personakit.persona import KEYS
from personakit.suite import Case, Suite
from personakit.testing import Server

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/**/*.md"))),
    *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("plugins/*/README.md"))),
]
WHOLE = re.compile(r"^(system|extends):", re.MULTILINE)
# Excerpts have no description; their plugins and tools need not be installed. A reader may have
# saved an example of the same name.
EXCUSED = {"PK060", "PK030", "PK033", "PK042"}
EXAMPLES = [
    pytest.param(block.text, id=f"{page}-{number}")
    for page in PAGES
    if page != "docs/tutorial.md"  # its blocks are parts of files, which its own test lints
    for number, block in enumerate(pages.blocks((ROOT / page).read_text("utf-8")))
    if block.language == "yaml" and WHOLE.search(block.text)
]


def saved(text: str, folder: Path) -> Path:
    name = re.search(r"^name: (\S+)", text, re.MULTILINE)
    file = folder / "personas" / f"{name[1] if name else 'example'}.yaml"
    (file.parent / "notes").mkdir(parents=True)  # an example of a plugin names it
    file.write_text(text, "utf-8")
    return file


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema, _ = persona_schema(Runner(Config(path=(), select=frozenset())).plugins)
    schema["properties"].pop("plugins")  # it knows those that are installed
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", EXAMPLES)
def test_lint_and_editors_have_no_complaint(
    text: str, tmp_path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    file = saved(text, tmp_path)
    findings = Linter(Runner(Config(path=(file.parent,)))).check([file])
    assert [finding for finding in findings if finding.code not in EXCUSED] == []
    assert not re.search(r"^system: \w$", text, re.MULTILINE)  # a placeholder teaches nothing
    validator.validate({k: v for k, v in yaml.safe_load(text).items() if k != "plugins"})


def test_the_persona_of_the_readme_is_clean(tmp_path: Path) -> None:
    text = next(block for block in EXAMPLES if str(block.id).startswith("README")).values[0]
    file = saved(str(text), tmp_path)
    assert Linter(Runner(Config(path=(file.parent,)))).check([file]) == []


def test_the_example_of_tests_passes(tmp_path: Path) -> None:
    (section,) = re.findall(r"^## tests\n.*?^## ", page("personas"), re.MULTILINE | re.DOTALL)
    file = saved(next(pages.blocks(section)).text, tmp_path)
    with (
        Server(["Thank you! We are sorry about the noise."]) as server,
        Suite(server.config(), model="openai/test-model") as suite,
    ):
        cases = suite.collect([str(file)])
        outcomes = [suite.run(case) for case in cases if isinstance(case, Case)]
    assert [outcome.failures for outcome in outcomes] == [(), ()]


def test_every_key_is_in_the_table_of_contents() -> None:
    contents = page("personas").partition("```")[0]
    assert sorted(re.findall(r"\[(\w+)\]\(#\1\)", contents)) == sorted(KEYS)


def test_the_schema_for_editors_is_made_as_the_page_says(tmp_path: Path) -> None:
    consoles = [b for b in pages.blocks(page("personas")) if b.language == "console"]
    (block,) = [b for b in consoles if "personakit schema" in b.text]
    (tmp_path / "personas").mkdir()
    env = pages.environment(tmp_path, "")
    for command in pages.commands(block.text):
        assert pages.typed(command.line, tmp_path, env) == (0, "")
    assert json.loads((tmp_path / "personas" / ".persona.schema.json").read_text("utf-8"))["title"]


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")
