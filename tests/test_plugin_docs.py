"""The documentation of plugins is complete: every name that an author meets is on a page."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from personakit import Event, Registry, Send, Step, testing
from personakit.hookspecs import Specs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "plugins"
HOOKS = ("setup", "run", "chat", "tool", "observe")
PACKAGES = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
BLOCK = re.compile(r"^```(python|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def undocumented(package: Path) -> Iterator[str]:
    """Yield the options of a first-party package's plugins that its README has no row for."""
    points = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    readme = (package / "README.md").read_text("utf-8")
    for point in points["entry-points"]["personakit"].values():
        module, _, name = point.partition(":")
        try:
            target = importlib.import_module(module)
            target = getattr(target, name) if name else target
        except (ImportError, AttributeError) as error:
            yield f"{package.name}: cannot be loaded: {error}"
            continue
        if dataclasses.is_dataclass(target):
            for field in dataclasses.fields(target):
                if field.init and field.name[0] != "_" and f"| `{field.name}` |" not in readme:
                    yield f"{package.name}: {field.name}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_page_that_names_its_arguments(hook: str) -> None:
    text = page(hook)
    arguments = [p for p in inspect.signature(getattr(Specs, hook)).parameters if p != "self"]
    signature = f"`{hook}({', '.join(arguments)})`"
    assert text.startswith(f"# The hook `{hook}`\n")
    assert signature in text
    assert f"[{signature}]({hook}.md)" in page("index")
    assert [name for name in arguments if f"`{name}` " not in text] == []


def test_there_is_no_other_hook() -> None:
    assert sorted(name for name in vars(Specs) if name[0] != "_") == sorted(HOOKS)


def test_every_member_of_send_is_documented() -> None:
    members = [name for name in dir(Send) if name[0] != "_"]
    assert {"live", "started", "emit", "run"} <= set(members)
    text = page("chat")
    assert [name for name in members if not re.search(rf"^### `.*send\.{name}\b", text, re.M)] == []
    assert "### `await send(request)`" in text


def test_every_method_of_the_registry_is_documented_with_its_arguments() -> None:
    text = page("setup")
    missing = []
    for name, method in inspect.getmembers(Registry, inspect.isfunction):
        if name[0] != "_":
            row = re.search(rf"^\| `{name}\((.*?)\)` \|", text, re.MULTILINE)
            wanted = set(inspect.signature(method).parameters) - {"self", "command"}
            said = row[1] if row else None
            if said is None or [p for p in wanted if not re.search(rf"\b{p}\b", said)]:
                missing.append(name)
    assert missing == []


def test_every_name_of_the_testing_module_is_documented() -> None:
    text = page("testing")
    assert [name for name in dir(testing) if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    "name",
    [
        "check_backend",
        "check_plugin",
        "check_filter",
        "check_replay",
        "in_mode",
        "runner",
        "persona",
    ],
)
def test_every_argument_of_a_testing_function_is_documented(name: str) -> None:
    found = re.search(rf"^`{name}\((.*)\)`", page("testing"), re.MULTILINE)
    said = re.findall(r"\w+", found[1]) if found else []
    wanted = list(inspect.signature(getattr(testing, name)).parameters)
    aliases = {"run_with": "runner", "who": "persona"}
    assert [p for p in wanted if aliases.get(p, p) not in said] == []


def test_every_field_of_an_event_and_a_step_is_documented() -> None:
    events = [f.name for f in dataclasses.fields(Event) if f"`{f.name}`" not in page("observe")]
    steps = [
        f.name
        for f in dataclasses.fields(Step)
        if f.name[0] != "_" and f"`{f.name}`" not in page("index")
    ]
    assert (events, steps) == ([], [])


def test_every_first_party_package_is_in_the_table() -> None:
    text = page("index")
    names = [file.parent.name for file in PACKAGES]
    assert [n for n in names if f"| [{n}](../../plugins/{n}/README.md) |" not in text] == []


def test_every_option_of_a_first_party_plugin_is_in_its_readme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for file in PACKAGES:  # one that is not installed is looked at all the same
        monkeypatch.syspath_prepend(file.parent)
    missing = [said for file in PACKAGES for said in undocumented(file.parent)]
    assert missing == [], f"no row in the table of options: {', '.join(missing)}"


def test_every_page_is_linked_from_the_index() -> None:
    names = [file.name for file in DOCS.glob("*.md") if file.name != "index.md"]
    assert [name for name in names if f"({name})" not in page("index")] == []


def test_links_lead_somewhere() -> None:
    dead = []
    for file in DOCS.glob("*.md"):
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", file.read_text("utf-8")):
            target = file.parent / link if link else file
            if not target.is_file():
                dead.append(f"{file.name}: {link}")
            elif anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads]
                if anchor not in slugs:
                    dead.append(f"{file.name}: {link}#{anchor}")
    assert dead == []


def test_the_tutorial_works_step_by_step(pytester: pytest.Pytester) -> None:
    steps = 0
    package = pytester.mkpydir("personakit_shout")
    pytester.syspathinsert()
    for language, code in BLOCK.findall(page("tutorial")):
        if language == "python":
            (package / "__init__.py").write_text(code, "utf-8")
            continue
        steps += 1
        test = pytester.makepyfile(**{f"test_step_{steps}": code})
        result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", test)
        assert result.ret == 0, result.stdout.str()
    assert steps == 3
    assert "personakit_shout" not in sys.modules


def test_the_example_of_the_fixture_works(pytester: pytest.Pytester) -> None:
    (code,) = [code for language, code in BLOCK.findall(page("testing")) if language == "py"]
    pytester.makepyfile(code)
    assert pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").ret == 0
