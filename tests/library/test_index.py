"""Listing with an index: always what the files say, and nothing is read twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.index import VARIANTS, _empty, _link, said, wait_until_settled, write

from personakit.errors import PersonaError
from personakit.library.library import Library


def described(library: Library) -> dict[str, str]:
    own = {str(folder) for folder in library.path}
    return {
        item.name: item.description
        for item in library.summaries()
        if not isinstance(item, PersonaError) and str(Path(item.path).parent) in own
    }


@pytest.fixture
def copy(settled: tuple[Path, Path], tmp_path: Path) -> tuple[Library, Path]:
    """A library of the old personas, and the file of its index, free to be spoilt."""
    root, cache = settled
    shutil.copytree(cache, tmp_path / "cache")
    library = Library((root,), cache=tmp_path / "cache")
    return library, next((tmp_path / "cache").rglob(f"{root.name}-*"))


# --- what has changed is seen -------------------------------------------------------------------


def test_what_is_added_changed_renamed_and_deleted_is_seen_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "lib", a=VARIANTS["one"], b=VARIANTS["two"])
    library = Library((folder,), cache=tmp_path / "cache")
    assert described(library) == {"a": "One.", "b": "Two."}
    write(folder, c=VARIANTS["one"])
    assert described(library) == {"a": "One.", "b": "Two.", "c": "One."}
    write(folder, a="description: More.\nsystem: x\n")
    assert described(library) == {"a": "More.", "b": "Two.", "c": "One."}
    (folder / "a.yaml").rename(folder / "d.yaml")
    assert described(library) == {"b": "Two.", "c": "One.", "d": "More."}
    (folder / "c.yaml").replace(folder / "b.yaml")
    assert described(library) == {"b": "One.", "d": "More."}
    (folder / "d.yaml").unlink()
    assert described(library) == {"b": "One."}
    shutil.rmtree(folder)
    assert described(library) == {}


def test_a_change_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "lib", a=VARIANTS["one"])
    library = Library((folder,), cache=tmp_path / "cache")
    file = folder / "a.yaml"
    for text, word in (("two", "Two."), ("one", "One.")) * 10:
        before = file.stat()
        with file.open("r+", encoding="utf-8") as opened:
            opened.write(VARIANTS[text])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = file.stat()
        assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
        assert described(library) == {"a": word}


def test_a_change_of_a_parent_is_seen(pool: Path, tmp_path: Path) -> None:
    # Links to old files: what they lead to has settled, so that only a look at it tells.
    one, two = _empty(pool)
    library = Library((one, two), cache=tmp_path)
    both = [library, Library((two,), cache=tmp_path)]
    _link(two / "a.yaml", "child")
    assert described(library) == {}
    _link(two / "base.yaml", "one")
    assert [described(each) for each in both] == [{"a": "One.", "base": "One."}] * 2
    _link(two / "base.yaml", "two")
    assert described(library) == {"a": "Two.", "base": "Two."}
    (two / "base.yaml").unlink()
    _link(one / "base.yaml", "two")
    assert [described(each) for each in both] == [{"a": "Two.", "base": "Two."}, {}]
    _link(one / "base.yaml", "one")
    assert [described(each) for each in both] == [{"a": "One.", "base": "One."}, {}]


def test_a_parent_is_looked_for_again_on_another_search_path(pool: Path, tmp_path: Path) -> None:
    one, two = _empty(pool)
    _link(two / "a.yaml", "child")
    _link(one / "base.yaml", "one")
    third = write(tmp_path / "third", base="description: Third.\nsystem: x")
    wait_until_settled(tmp_path)
    for path, word in (((one, two), "One."), ((third, one, two), "Third."), ((one, two), "One.")):
        assert described(Library(path, cache=tmp_path / "cache"))["a"] == word


def test_a_file_that_says_another_name_cannot_be_run_by_name_and_is_left_out(
    tmp_path: Path,
) -> None:
    library = Library((write(tmp_path, a="name: b\nsystem: x"),))
    (fault,) = [it for it in library.summaries() if isinstance(it, PersonaError)]
    assert "found 'b' in a file called 'a'" in str(fault)
    assert str(fault) in [str(item) for item in library.personas()]


# --- what has not is not read -------------------------------------------------------------------


def test_nothing_is_read_twice_but_what_changed(settled: tuple[Path, Path], tmp_path: Path) -> None:
    root, cache = settled
    shutil.copytree(cache, tmp_path / "cache")
    reads: list[int] = []
    library = Library((root,), cache=tmp_path / "cache")
    assert said(library, reads) == said(Library((root,)))
    (root / "new.yaml").write_text("system: x")
    assert said(library, reads) == said(Library((root,)))
    (root / "new.yaml").unlink()
    assert said(library, reads) == said(Library((root,)))
    assert said(Library((root,), cache=tmp_path / "cache"), reads) == said(Library((root,)))
    assert reads == [0, 1, 0, 0]


def test_what_is_so_young_that_a_change_may_not_show_is_read_again(tmp_path: Path) -> None:
    library = Library((write(tmp_path / "lib", a="system: x"),), cache=tmp_path / "cache")
    said(library)
    totals: list[int] = []
    list(library.summaries(lambda done, total: totals.append(total)))
    assert totals[-1:] == [1]


def test_an_index_is_for_its_owner_alone(copy: tuple[Library, Path]) -> None:
    _, index = copy
    assert index.stat().st_mode & 0o777 == 0o600


def test_the_folders_of_an_index_are_for_its_owner_alone(tmp_path: Path) -> None:
    cache = tmp_path / "a" / "cache"
    said(Library((write(tmp_path / "lib", a="system: x"),), cache=cache))
    index, *_ = cache.glob("**/*.index")
    folders = [folder for folder in index.parents if tmp_path in folder.parents]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


def test_reading_that_is_broken_off_goes_on_from_there(
    settled: tuple[Path, Path], tmp_path: Path
) -> None:
    library = Library((settled[0],), cache=tmp_path)

    def stop(done: int, total: int) -> None:
        if total == 21 and done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(library.summaries(stop))
    totals = set()
    list(library.summaries(lambda done, total: totals.add(total)))
    assert totals == {6}


# --- an index that is of no use -----------------------------------------------------------------


SPOIL: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + bytes(32),
    "one bit": lambda data: data.replace(b"D7.", b"D6."),
    "garbage": lambda data: bytes(range(256)) * 64,
    "text": lambda data: b"{}\n",
    "a later version": lambda data: data.replace(b"index 1\n", b"index 2\n"),
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_spoilt_index_is_made_again(
    copy: tuple[Library, Path], spoil: Callable[[bytes], bytes]
) -> None:
    library, index = copy
    data = index.read_bytes()
    assert spoil(data) != data
    index.write_bytes(spoil(data))
    reads: list[int] = []
    assert said(library, reads) == said(Library(library.path))
    said(library, reads)
    assert reads == [21, 0]


def test_the_index_of_another_folder_is_not_used(copy: tuple[Library, Path]) -> None:
    library, index = copy
    (other,) = [file for file in index.parent.iterdir() if file != index]
    shutil.copy(other, index)
    reads: list[int] = []
    assert said(library, reads) == said(Library(library.path))
    assert reads == [21]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_the_index_of_another_user_is_not_used(copy: tuple[Library, Path]) -> None:
    library, index = copy
    os.chown(index, 12345, -1)
    reads: list[int] = []
    said(library, reads)
    assert reads == [21]
    assert index.stat().st_uid == 0


@pytest.mark.parametrize("place", ["cache", "cache/library", "index"])
def test_where_no_index_can_be_written_the_files_are_read(
    settled: tuple[Path, Path], tmp_path: Path, place: str
) -> None:
    root, known = settled
    cache = tmp_path / "cache"
    if place == "index":
        (cache / "library" / next(known.rglob(f"{root.name}-*")).name).mkdir(parents=True)
    else:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("a file in the place of the folder")
    reads: list[int] = []
    for _ in range(2):
        assert said(Library((root,), cache=cache), reads) == said(Library((root,)))
    assert reads[1] >= 21
    assert not list(tmp_path.rglob(".*"))


def test_the_index_of_a_folder_that_is_gone_goes_with_the_next_new_one(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, a="system: x") for name in ("one", "two")]
    wait_until_settled(*folders)
    for folder in folders:
        said(Library((folder,), cache=tmp_path / "cache"))
        shutil.rmtree(folder)
    kept = {file.name.split("-")[0] for file in (tmp_path / "cache").rglob("*.index")}
    assert kept == {"two", "personas"}
