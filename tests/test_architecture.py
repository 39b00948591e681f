"""The map of the package: no circles, rooms that are used through their doors, and sizes."""

from __future__ import annotations

import ast
import importlib
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = [ROOT / "personakit", *sorted((ROOT / "plugins").glob("*/personakit_*"))]
ROOMS = sorted(p.parent.name for p in (ROOT / "personakit").glob("*/__init__.py"))
# Commands are a module each, and import their shared parts by module.
WITH_DOORS = [room for room in ROOMS if room != "cli"]


class Import(NamedTuple):
    """One import, wherever it stands: at the top, in a function or under TYPE_CHECKING."""

    importer: str
    imported: str
    name: str
    file: Path
    line: int


def modules(package: Path) -> dict[str, Path]:
    """Return the modules of a package by name."""
    found = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        if "starters" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(package: Path) -> Iterator[Import]:
    """Yield every import of a package's own modules."""
    own = modules(package)
    for module, file in own.items():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{file}:{node.lineno}: write the whole name"
                names = [(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            for origin, name in names:
                imported = f"{origin}.{name}" if f"{origin}.{name}" in own else origin
                if imported in own and imported != module:
                    yield Import(module, imported, name, file, node.lineno)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the circles of a graph: what can be reached from itself."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for after in edges.get(waiting.pop(), ()):
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
        return seen

    all_reached = {module: reached(module) for module in edges}
    groups = {
        tuple(sorted(other for other in found if module in all_reached.get(other, ())))
        for module, found in all_reached.items()
        if module in found
    }
    return sorted(map(list, groups))


def graph(package: Path) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for one in imports(package):
        edges.setdefault(one.importer, set()).add(one.imported)
    return edges


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_imports_go_in_a_circle(package: Path) -> None:
    assert circles(graph(package)) == []


def test_no_rooms_import_one_another_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for one in imports(ROOT / "personakit"):
        rooms = [(f"{module}.").split(".")[1] for module in one[:2]]
        if rooms[0] != rooms[1]:
            edges.setdefault(rooms[0], set()).add(rooms[1])
    assert circles(edges) == []


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"d"}, "e": {"a"}}
    assert circles(edges) == [["a", "b", "c"], ["d"]]


def test_rooms_are_used_through_their_doors() -> None:
    """Outside a room, only what its `__init__` names is imported from it."""
    wrong = []
    for one in imports(ROOT / "personakit"):
        parts = one.imported.split(".")
        if len(parts) < 2 or parts[1] not in WITH_DOORS or one.name == parts[1]:
            continue
        inside = one.importer.split(".")[1:2] == parts[1:2]
        door = importlib.import_module(f"personakit.{parts[1]}")
        past = parts[2] not in door.__all__ if len(parts) > 2 else one.name not in door.__all__
        if not inside and (past or (len(parts) > 2 and one.name != parts[2])):
            wrong.append(f"{one.file}:{one.line}: {one.imported} {one.name}")
        if inside and len(parts) == 2 and one.importer != one.imported:
            wrong.append(f"{one.file}:{one.line}: a room does not use its own door")
    assert wrong == []


@pytest.mark.parametrize("room", WITH_DOORS)
def test_a_door_names_what_type_checkers_see(room: str) -> None:
    door = importlib.import_module(f"personakit.{room}")
    source = Path(str(door.__file__)).read_text("utf-8")
    seen = {
        alias.asname
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen | {"door"} == {*door.__all__, "door"}
    assert door.__all__ == dir(door) == sorted(door.__all__)
    for name in door.__all__:
        assert getattr(door, name) is not None
    # A module that has the name of a value would take its place once it is imported.
    files = {file.stem for file in Path(str(door.__file__)).parent.glob("*.py")}
    values = {name for name in door.__all__ if not isinstance(getattr(door, name), type(ast))}
    assert not files & values
    with pytest.raises(AttributeError, match=f"module 'personakit.{room}' has no attribute"):
        _ = door.nothing_of_the_kind


def test_every_name_of_a_door_is_used_by_another_room() -> None:
    named = {
        (room, name)
        for room in WITH_DOORS
        for name in dir(importlib.import_module(f"personakit.{room}"))
    }
    used = set()
    for one in imports(ROOT / "personakit"):
        parts = one.imported.split(".")
        if len(parts) > 1 and one.importer.split(".")[1:2] != parts[1:2]:
            used.add((parts[1], one.name))
    public = {
        (room, name) for room, name in named if room in ("batch", "formats", "server", "testing")
    }
    public |= {("notebook", "notebook_asker")}  # found by its name from below, in IPython alone
    assert sorted(named - used - public) == []


def sizes() -> dict[Path, int]:
    return {
        file: len(file.read_text("utf-8").splitlines())
        for file in modules(ROOT / "personakit").values()
    }


def test_modules_and_rooms_are_small() -> None:
    assert len(list((ROOT / "personakit").glob("*.py"))) <= 18
    for room in WITH_DOORS:
        assert len(list((ROOT / "personakit" / room).glob("*.py"))) <= 12, room
    assert {file.name: lines for file, lines in sizes().items() if lines > 430} == {}
    assert statistics.median(sizes().values()) <= 150


def test_commands_print_through_one_function() -> None:
    """click.echo() removes escape sequences in a pipe; click.style() is shown on a terminal."""
    prints = re.compile(r"\bclick\.(?:echo|secho|style)\(|(?<![\w.])print\(")
    printing = {
        file.name
        for file in (ROOT / "personakit" / "cli").rglob("*.py")
        if any(
            prints.search(line.partition("#")[0]) for line in file.read_text("utf-8").split("\n")
        )
    }
    assert printing == {"output.py"}


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{file}:{node.lineno}: {node.name}"
        for file in sizes()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 50
    ]
    assert long == []


def test_the_files_of_tests_are_small() -> None:
    long = {
        file.name
        for folder in (ROOT / "tests", ROOT / "plugins")
        for file in folder.rglob("*.py")
        if len(file.read_text("utf-8").splitlines()) > 500
    }
    assert long == set()


def test_the_page_about_the_architecture_names_what_there_is() -> None:
    """Each room has its line on the page, and each path of the page is there."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `personakit/(\w+)/?(?:\.py)?` \| (.+) \|$", page, re.MULTILINE))
    flat = {file.stem for file in (ROOT / "personakit").glob("*.py")} - {"__init__", "__main__"}
    assert set(rows) == {*ROOMS, *flat}
    assert all(sentence.count(". ") == 0 for sentence in rows.values())
    for path in re.findall(r"`((?:personakit|plugins|tests|docs|benchmarks)/[\w/.-]*)`", page):
        assert (ROOT / path).exists(), path
