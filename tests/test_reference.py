"""docs/python.md, the reference of the Python API, is complete and up to date."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from helpers import pages, reference
from helpers.docstrings import parse
from helpers.signatures import parameters

import personakit
import personakit.testing
from personakit import Runner
from personakit.testing import Server

FILE = Path(__file__).parent.parent / "docs" / "python.md"
STALE = "docs/python.md is not what the docstrings say; to write it: uv run --dev just reference"
if os.environ.get("GOLDEN") == "write":
    FILE.write_text(reference.page(), "utf-8")
PAGE = FILE.read_text("utf-8")
TITLES = re.findall(r"^###+ `(.+)`$", PAGE, re.M)
NAMES = [*dir(personakit), *(f"testing.{name}" for name in dir(personakit.testing))]


def section(name: str) -> str:
    """Return what the page has about a public name."""
    titles = (name, f"personakit.{name}")
    (found,) = (part for part in re.split(r"^### ", PAGE, flags=re.M) if part[1:].startswith(titles)
                and part[1:].partition("`")[0] in titles)  # fmt: skip
    return re.split(r"^## ", found, flags=re.M)[0]


def value(name: str) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(personakit.testing if module else personakit, own)


def test_the_page_is_what_the_docstrings_say() -> None:
    if reference.page() != PAGE:
        pytest.fail(STALE)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_described(name: str) -> None:
    row = re.search(rf"^\| \[?`{name}`.* \| (.+) \|$", PAGE, re.M)
    if row:
        assert row[1].endswith(".")
    else:
        text = re.sub(r"^```py\n.*?^```$", "", section(name), flags=re.M | re.S)
        assert re.match(r"`.+`\n\s*\w[^\n]+[.:]\n", text), text[:200]


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isfunction(value(name))])
def test_the_arguments_of_every_function_are_shown_one_by_one(name: str) -> None:
    shown = re.search(r"^```py\n(.*?)^```$", section(name), re.M | re.S)
    assert shown
    signature = inspect.signature(value(name))
    assert [p for p in signature.parameters if not re.search(rf"\b{p}\b", shown[1])] == []
    assert "Unpack" not in shown[1]


def test_arguments_are_described_if_one_of_them_is() -> None:
    missing = []
    for name in NAMES:
        kind = value(name)
        functions = {name: kind} if inspect.isfunction(kind) else {}
        if isinstance(kind, type):
            functions = {
                f"{name}.{m.name}": m.value for m in reference.members(kind) if not m.is_property
            }
        for title, each in functions.items():
            function = getattr(each, "__func__", each)
            docs = parse(inspect.getdoc(function) or "")
            described = {argument.lstrip("*") for argument, _ in docs.arguments}
            wanted = {each.name for each in parameters(inspect.signature(function), each)}
            if described and "options" not in described and wanted - described:
                missing.append((title, wanted - described))
    assert missing == []


def attributes(kind: type) -> set[str]:
    """Return the public attributes of a class: declared, properties, and those of `__init__`."""
    names = {
        *vars(kind).get("__annotations__", {}),
        *(name for name, member in vars(kind).items() if isinstance(member, property)),
    }
    init = vars(kind).get("__init__")
    if inspect.isfunction(init) and not dataclasses.is_dataclass(kind):
        names |= {
            node.attr
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(init))))
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == "self"
        }
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(value(name), type)])
def test_every_attribute_is_described_with_the_class_that_has_it(name: str) -> None:
    kind = value(name)
    public = {value(each): each for each in NAMES if isinstance(value(each), type)}
    has = set[str]()
    for base in kind.__mro__:
        if base is kind or (base.__module__.startswith("personakit") and base not in public):
            has |= attributes(base)
    rows = f"### `{name}`" in PAGE or f"### `personakit.{name}`" in PAGE
    text = re.sub(r"^#### .*?(?=^#|\Z)", "", section(name) if rows else "", flags=re.M | re.S)
    assert [each for each in sorted(has) if not re.search(rf"^- `{each}`", text, re.M)] == []


SHARED = [name for name in personakit.__all__ if hasattr(Runner, name)]


@pytest.mark.parametrize("name", SHARED)
def test_a_function_of_the_shared_runner_is_described_as_the_method_is(name: str) -> None:
    function = parse(inspect.getdoc(getattr(personakit, name)) or "")
    method = parse(inspect.getdoc(getattr(Runner, name)) or "")
    example: list[str] = []
    own: list[str] = []
    for paragraph in function.text.split("\n\n"):
        (example if paragraph.startswith("```py\n") else own).append(paragraph)
    assert len(example) == 1
    assert function.raises or own[-1].endswith("Arguments and errors: see `run`.")
    assert function._replace(text="\n\n".join(own)) == method


def test_the_examples_in_docstrings_run(tmp_path: Path) -> None:
    lines = ["import asyncio, personakit", "async def main():"]
    for name in SHARED:
        text = parse(inspect.getdoc(getattr(personakit, name)) or "").text
        code = re.findall(r"^```py\n(.*?)^```$", text, re.M | re.S)
        lines += [textwrap.indent(each, "    ") for each in code]
    (tmp_path / "all.py").write_text("\n".join([*lines, "asyncio.run(main())"]), "utf-8")
    with Server(["Soup."]) as server:
        env = pages.environment(tmp_path, server.base_url)
        status, out = pages.typed("python -W error all.py", tmp_path, env)
    assert status == 0, out
    assert out.count("Soup.") == 3


def test_no_private_name_is_on_the_page() -> None:
    assert [title for title in TITLES if re.search(r"(^|\.)_(?!_)", title)] == []
    code = "".join(re.findall(r"^```py\n.*?^```$", PAGE, re.M | re.S))
    assert re.findall(r"\b_[a-z]\w*|0x[0-9a-f]{6,}|<factory>|ForwardRef", code) == []


def test_no_name_has_two_headings() -> None:
    assert sorted(set(TITLES)) == sorted(TITLES)


def test_a_new_name_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async def warm(*, models: list[str] | None = None) -> None:
        """Import what runs need.

        Args:
            models: The models; None for ``all`` of them.

        Raises:
            UsageError: A model is unknown.
        """

    warm.__module__ = "personakit"
    monkeypatch.setattr(personakit, "warm", warm, raising=False)
    monkeypatch.setattr(personakit, "__all__", [*personakit.__all__, "warm"])
    text = reference.page()
    shown = "```py\nasync warm(*, models: list[str] | None = None)\n```\n\nImport what runs need.\n"
    assert shown in text
    assert "- `models` (`list[str] | None`): The models; None for `all` of them.\n" in text
    assert "[`warm`](#personakitwarm)" in text
