"""README and docs say what is true: their examples run, and nothing public is missing."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path

import pytest
from helpers import pages

from personakit import Persona, Registry, Runner, providers
from personakit.base import TYPES
from personakit.cli import COMMANDS
from personakit.config import KEYS, LOG_KEYS, PROVIDER_KEYS, Config
from personakit.hookspecs import Specs
from personakit.persona import KEYS as PERSONA_KEYS
from personakit.persona import parameters, variables
from personakit.testing import Server

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text("utf-8")):
            line = page.read_text("utf-8").count("\n", 0, match.start()) + 1
            if match[1] == language:
                found.append((f"{page.relative_to(ROOT)}:{line}", match[2]))
    return found


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize(("place", "code"), blocks("python"), ids=lambda v: v[:30])
def test_python_examples_run(
    place: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "personakit.run(" in code:  # with the reader's config and default model
        (tmp_path / "example.py").write_text(code, "utf-8")
        if place.startswith("README"):
            (tmp_path / "personas").mkdir()
            greeter = next(text for path, text in blocks("yaml") if path.startswith("README"))
            (tmp_path / "personas" / "greeter.yaml").write_text(greeter, "utf-8")
        with Server(['{"dish": "Soup", "minutes": 20}']) as server:
            env = pages.environment(tmp_path / "reader", server.base_url)
            assert pages.typed("python -W error example.py", tmp_path, env)[0] == 0
        return
    names: dict[str, object] = {"__name__": place}
    exec(compile(code, place, "exec", dont_inherit=True), names)
    for name, value in list(names.items()):
        if name.startswith("test_") and callable(value):
            value()


# The blocks of these pages are parts of files; tests/test_tutorial.py and
# tests/test_from_f_strings.py put them together.
STEPS = ("docs/tutorial.md", "docs/from-f-strings.md")
# The YAML of these pages is for other programs; tests/server/test_serve_docs.py reads it.
OTHERS = ("docs/serve/clients.md", "docs/serve/production.md")
FILES = [block for block in blocks("yaml") if not block[0].startswith((*STEPS, *OTHERS))]


@pytest.mark.parametrize(("place", "text"), FILES, ids=lambda v: v[:30])
def test_yaml_examples_are_personas_or_config(place: str, text: str, tmp_path: Path) -> None:
    configs = ("docs/config.md", "docs/keys.md", "docs/log.md")
    if place.startswith(configs) or text.startswith("providers:"):
        file = tmp_path / "config.yaml"
        file.write_text(text, "utf-8")
        assert Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(tmp_path)}).file
        return
    if not any(f"{key}:" in text for key in ("system", "messages", "prompt")):
        text = "system: x\n" + text
    file = tmp_path / "example.yaml"
    file.write_text(re.sub(r"^name:.*\n", "", text), "utf-8")
    running = Runner(Config(path=()))
    found = running.load(file)
    if not found.plugins:  # those of the examples are not installed
        takes_input = running.catalog.compiled(found).takes_input
        samples = {name: v.example for name, v in found.variables.items() if v.example is not None}
        running.render(found, "x" if takes_input else None, variables=samples)


def test_the_transcript_of_render_in_the_readme_is_what_it_prints() -> None:
    text = page("README.md")
    source = next(t for _, t in blocks("yaml") if "in one sentence." in t)
    found = Persona.parse(source, "greeter.yaml")
    request = Runner(Config(path=())).render(found, "Zoë", variables={"language": "French"})
    shown = "".join(f"--- {m.role}\n{m.text.rstrip()}\n" for m in request.messages)
    assert shown in text


def test_the_readme_is_short_up_to_the_first_success() -> None:
    assert len(page("README.md").split("## Write a persona")[0].split()) < 250
    assert page("README.md").count("\n") <= 110


def test_every_section_of_the_file_format_has_an_example() -> None:
    sections = re.split(r"^## ", page("docs/personas.md"), flags=re.MULTILINE)[1:]
    keys = {section.split("\n")[0]: section for section in sections}
    assert [key for key in PERSONA_KEYS if "```yaml" not in keys[key]] == []


def test_every_key_of_a_persona_has_a_section() -> None:
    sections = re.findall(r"^## (\S+)$", page("docs/personas.md"), re.MULTILINE)
    assert sorted(sections) == sorted(PERSONA_KEYS)


@pytest.mark.parametrize(
    ("names", "where"),
    [
        (parameters.ALLOWED, "docs/personas.md"),
        (parameters.REFUSED, "docs/personas.md"),
        (TYPES, "docs/personas.md"),
        (variables.KEYS, "docs/personas.md"),
        (providers.BUILT_IN, "docs/models.md"),
        (KEYS, "docs/config.md"),
        (set(PROVIDER_KEYS) - {"connect"}, "docs/config.md"),
        (LOG_KEYS, "docs/log.md"),
    ],
)
def test_every_name_is_documented(names: set[str], where: str) -> None:
    text = page(where)
    assert [
        name
        for name in names
        if f"`{name}`" not in text and f"\n{name}:" not in text.replace("\n  ", "\n")
    ] == []


def test_every_command_is_documented() -> None:
    assert [c for c in COMMANDS if f"`personakit {c}" not in page("docs/cli.md")] == []


def test_every_hook_and_argument_is_documented() -> None:
    for name in ("setup", "chat", "tool", "observe"):
        text = page(f"docs/plugins/{name}.md")
        arguments = [p for p in inspect.signature(getattr(Specs, name)).parameters if p != "self"]
        assert f"# The hook `{name}`" in text
        assert f"`{name}({', '.join(arguments)})`" in text


def test_every_contribution_is_documented() -> None:
    text = page("docs/plugins/setup.md")
    methods = [n for n, _ in inspect.getmembers(Registry, inspect.isfunction) if n[0] != "_"]
    assert [name for name in methods if f"`{name}(" not in text] == []


def test_the_json_forms_of_the_cli_are_the_documented_ones() -> None:
    text = textwrap.dedent(page("docs/cli.md"))
    for key in ("name", "distribution", "hooks", "provides", "finish_reason", "total_tokens"):
        assert json.dumps(key) in text


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    made = [title.replace(" ", "-") for title in plain]
    before = [made[:place].count(name) for place, name in enumerate(made)]
    return {f"{name}-{count}" if count else name for name, count in zip(made, before, strict=True)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_to_a_page_and_a_heading(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text("utf-8"))
    for target, anchor in links:
        other = (path.parent / target) if target else path
        assert other.exists(), f"{target} is missing"
        assert not anchor or anchor in anchors(other.read_text("utf-8")), f"{target}#{anchor}"
