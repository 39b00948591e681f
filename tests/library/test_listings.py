"""Texts of personas, such as entries of a list, and their index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.index import wait_until_settled, write

from personakit import Persona, PersonaError
from personakit.library.library import Library
from personakit.registry import PersonaSource

STAMP = "1"


def listed(library: Library, made: list[str], stamp: str = STAMP) -> dict[str, str]:
    """Return the texts by name; `made` gets the names of those that were made anew."""

    def describe(persona: Persona) -> str:
        made.append(persona.name)
        return f"{persona.description}/{','.join(persona.variables)}"

    rows = library.listings("test", stamp, describe)
    texts: dict[str, str] = {}
    for row in rows:
        if isinstance(row, PersonaError):
            texts["error"] = texts.get("error", "") + str(row)
        else:
            texts[row.name] = row.text
    return texts


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders of old personas; there is one for each test, so that all become old at once."""
    root = tmp_path_factory.mktemp("old")
    for number in range(40):
        write(
            root / f"{number}",
            base="description: Base.\nsystem: x\nvariables: {tone: {}}\n",
            child="extends: base\ndescription: Child.\n",
            plain="description: Plain.\nsystem: x\n",
        )
        write(root / f"{number}", loaded="extends: acme:x\ndescription: Loaded.\n")
    wait_until_settled(root)
    return iter(sorted(root.iterdir()))


@pytest.fixture
def folder(old: Iterator[Path]) -> Path:
    """A folder of old personas, one of which extends another, and one what a plugin loads."""
    return next(old)


OLD = {"base": "Base./tone", "child": "Child./tone", "plain": "Plain./"}


def ours(texts: dict[str, str]) -> dict[str, str]:
    """Return the texts without those of the personas that ship."""
    return {name: text for name, text in texts.items() if name in {*OLD, "other"}}


def change_plain(folder: Path) -> None:
    write(folder, plain="description: Other.\nsystem: x\n")


def change_parent(folder: Path) -> None:
    write(folder, base="description: Base.\nsystem: x\nvariables: {mood: {}}\n")


def add(folder: Path) -> None:
    write(folder, other="description: New.\nsystem: x\n")


def rename(folder: Path) -> None:
    (folder / "plain.yaml").rename(folder / "other.yaml")


def remove(folder: Path) -> None:
    (folder / "plain.yaml").unlink()


CHANGES = [
    (change_plain, {**OLD, "plain": "Other./"}),
    (change_parent, {**OLD, "base": "Base./mood", "child": "Child./mood"}),
    (add, {**OLD, "other": "New./"}),
    (rename, {"base": "Base./tone", "child": "Child./tone", "other": "Plain./"}),
    (remove, {"base": "Base./tone", "child": "Child./tone"}),
]


@pytest.mark.parametrize("is_new", [True, False], ids=["another process", "same process"])
@pytest.mark.parametrize(("change", "after"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_a_change_shows_at_the_next_list(
    folder: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    after: dict[str, str],
    is_new: bool,
) -> None:
    library = Library((folder,), cache=tmp_path / "cache")
    assert ours(listed(library, [])) == OLD
    made: list[str] = []
    assert ours(listed(library, made)) == OLD
    change(folder)
    if is_new:
        library = Library((folder,), cache=tmp_path / "cache")
    assert ours(listed(library, made)) == after
    before = {name: text for name, text in OLD.items() if after.get(name) == text}
    assert not before.keys() & set(made)


def test_a_persona_that_breaks_is_an_error_until_it_is_mended(folder: Path, tmp_path: Path) -> None:
    library = Library((folder,), cache=tmp_path / "cache")
    listed(library, [])
    write(folder, plain="sistem: x\n")
    texts = listed(library, [])
    assert "plain" not in texts
    assert "plain.yaml" in texts["error"]
    wait_until_settled(folder)
    for again in (library, Library((folder,), cache=tmp_path / "cache")):
        assert "plain.yaml" in listed(again, [])["error"]
    write(folder, plain="description: Plain.\nsystem: x\n")
    assert ours(listed(library, [])) == OLD


def test_another_process_makes_no_text_again(folder: Path, tmp_path: Path) -> None:
    listed(Library((folder,), cache=tmp_path / "cache"), [])
    made: list[str] = []
    assert ours(listed(Library((folder,), cache=tmp_path / "cache"), made)) == OLD
    assert made == []


def test_another_stamp_makes_every_text_again(folder: Path, tmp_path: Path) -> None:
    listed(Library((folder,), cache=tmp_path / "cache"), [])
    made: list[str] = []
    assert ours(listed(Library((folder,), cache=tmp_path / "cache"), made, "2")) == OLD
    assert {*OLD} <= set(made)


@pytest.mark.parametrize("content", [None, b"", b"personakit index 0\n", b"\xff" * 500])
def test_a_damaged_index_is_made_again(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    cache = tmp_path / "cache"
    listed(Library((folder,), cache=cache), [])
    files = list(cache.rglob("*.index"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-20] if content is None else content)
    made: list[str] = []
    assert ours(listed(Library((folder,), cache=cache), made)) == OLD
    assert {*OLD} <= set(made)
    made.clear()
    listed(Library((folder,), cache=cache), made)
    assert made == []


def test_a_cache_that_cannot_be_written_costs_only_time(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file, in which no folder can be made")
    library = Library((folder,), cache=cache)
    made: list[str] = []
    for _ in range(2):
        assert ours(listed(library, made)) == OLD
    assert made.count("plain") == 1


def test_a_long_text_is_not_kept(folder: Path, tmp_path: Path) -> None:
    write(folder, plain=f"description: {'x' * 20_001}\nsystem: x\n")
    wait_until_settled(folder)
    for _ in range(2):
        texts = listed(Library((folder,), cache=tmp_path / "cache"), [])
        assert texts["plain"] == "x" * 20_001 + "/"
    assert all(b"xxxxx" not in file.read_bytes() for file in (tmp_path / "cache").rglob("*.index"))


def test_the_version_changes_with_any_part_of_the_persona(folder: Path, tmp_path: Path) -> None:
    def versions() -> dict[str, int]:
        rows = library.listings("test", STAMP, lambda persona: persona.name)
        return {row.name: row.version for row in rows if not isinstance(row, PersonaError)}

    library = Library((folder,), cache=tmp_path / "cache")
    before = versions()
    assert versions() == before
    write(folder, base="description: Base.\nsystem: another\nvariables: {tone: {}}\n")
    after = versions()
    assert {name for name in after if after[name] != before[name]} == {"base", "child"}


def test_what_a_plugin_loads_is_asked_for_each_time(folder: Path, tmp_path: Path) -> None:
    texts = {"x": "description: x\nsystem: x\nvariables: {first: {}}\n"}
    source = PersonaSource(function=texts.get, list=None, keep=0, plugin="acme")

    def library() -> Library:
        return Library((folder,), lambda scheme: source, cache=tmp_path / "cache")

    same = library()
    assert listed(same, [])["loaded"] == "Loaded./first"
    texts["x"] = "description: x\nsystem: x\nvariables: {second: {}}\n"
    assert listed(same, [])["loaded"] == "Loaded./second"
    assert listed(library(), [])["loaded"] == "Loaded./second"
