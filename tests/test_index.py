"""Listing with an index: always what the files say, and nothing is read twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit.errors import PersonaError, PersonaNotFound
from personakit.library import Library

Said = list[tuple[object, ...]]
SHIPPED = {"PATH": "", "PERSONAKIT_PLUGINS": ""}
VARIANTS = {
    "one": "description: One.\nsystem: x\n",
    "two": "description: Two.\nsystem: x\n",
    "tagged": 'description: "É\\t\\"\\n"\nversion: "1"\ntags: [a, b]\nsystem: x\n',
    "wrong": "description: Wrong.\nsistem: x\n",
    "named": "name: other\nsystem: x\n",
    "child": "extends: base\nsystem: x\n",
    "grandchild": "extends: [partials/base, d]\ntags: own\n",
}


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return folder


def wait_until_settled(*folders: Path) -> None:
    """Wait until no file is so young that it could change without getting another time."""
    files = [file for folder in folders for file in folder.rglob("*")]
    newest = max(file.lstat().st_ctime for file in files)
    while time.time() - newest < 2.1:
        time.sleep(0.05)


def said(library: Library, reads: list[int] | None = None) -> Said:
    """Return everything that a list shows; note how many files were read for it."""
    totals = []

    def progress(done: int, total: int) -> None:
        if done == total:
            totals.append(total)

    found: Said = [
        (str(item),) if isinstance(item, PersonaError) else (*item[:3], *item.tags, item.path)
        for item in library.summaries(progress)
    ]
    if reads is not None:
        reads.append(sum(totals))
    return found


def described(library: Library) -> dict[str, str]:
    own = {str(folder) for folder in library.path}
    return {
        item.name: item.description
        for item in library.summaries()
        if not isinstance(item, PersonaError) and str(Path(item.path).parent) in own
    }


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of old personas, and a cache whose index knows them and those that ship."""
    root, cache = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("cache")
    texts = {f"p{number:02}": f"description: D{number}.\nsystem: x\n" for number in range(20)}
    write(root, wrong="sistem: x", **texts)
    wait_until_settled(root)
    reads: list[int] = []
    before = said(Library((root,), cache=cache), reads)
    assert reads[0] >= 21
    assert before == said(Library((root,)))
    return root, cache


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


# --- the same with and without ------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders, each with one old file for each variant, to be linked to."""
    root = tmp_path_factory.mktemp("pool")
    for folder in ("one", "two"):
        write(root / folder / "old", **VARIANTS)
    wait_until_settled(root)
    return root


def _empty(pool: Path) -> tuple[Path, Path]:
    for link in [*pool.glob("*/*.yaml"), *pool.glob("*/partials/*.yaml")]:
        link.unlink()
    return pool / "one", pool / "two"


def _link(file: Path, variant: str) -> None:
    """Put a link to an old file, by a path within the library, in the place of a file."""
    file.unlink(missing_ok=True)
    root = next(parent for parent in file.parents if (parent / "old").is_dir())
    file.symlink_to(root / "old" / f"{variant}.yaml")


NAMES = st.sampled_from(["one/a", "one/b", "one/d", "two/a", "two/base", "one/partials/base"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("link"), NAMES, st.sampled_from(sorted(VARIANTS))),
        st.tuples(st.just("write"), NAMES, st.sampled_from(sorted(VARIANTS))),
        st.tuples(st.just("move"), NAMES, NAMES),
        st.tuples(st.just("delete"), NAMES, st.just("")),
        st.tuples(st.just("spoil"), st.integers(0, 400), st.just("")),
        st.tuples(st.just("turn"), st.just(""), st.just("")),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_the_list_is_that_of_the_files(
    pool: Path, steps: list[tuple[str, str | int, str]]
) -> None:
    path = _empty(pool)
    with tempfile.TemporaryDirectory() as cache:
        for do, what, variant in [("link", "one/a", "one"), *steps]:
            _step(pool, Path(cache), do, what, variant)
            path = path[::-1] if do == "turn" else path
            assert said(Library(path, cache=Path(cache))) == said(Library(path))


def _step(pool: Path, cache: Path, do: str, what: str | int, variant: str) -> None:
    if isinstance(what, int):
        for index in cache.rglob("*.index"):
            index.write_bytes(index.read_bytes()[:what])
        return
    if do == "turn":
        return
    file = pool / f"{what}.yaml"
    file.parent.mkdir(exist_ok=True)
    if do == "move":
        target = pool / f"{variant}.yaml"
        target.parent.mkdir(exist_ok=True)
        if file.exists():
            target.write_bytes(file.read_bytes()) if file.is_symlink() else file.replace(target)
        return
    if do == "link":
        _link(file, variant)
        return
    file.unlink(missing_ok=True)
    if do == "write":
        file.write_text(VARIANTS[variant], "utf-8")


# --- as a process -------------------------------------------------------------------------------


def start(folder: Path, *args: str, **environ: str) -> subprocess.Popen[str]:
    python = {k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "PYTHON", "COV_"))}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *args],
        cwd=folder,
        env={**SHIPPED, "HOME": str(folder), **python, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


STALE = """
import sys
from pathlib import Path
from personakit.library import Library
totals = []
list(Library((Path("lib"),), cache=Path("cache")).summaries(lambda *told: totals.append(told[1])))
print(sum(set(totals)) > 0, sys.modules["personakit"].__file__.startswith(sys.argv[1]))
"""


def test_another_version_of_personakit_reads_the_files_again(tmp_path: Path) -> None:
    for name in ("personakit", "personas"):
        shutil.copytree(Path(__file__).parent.parent / name, tmp_path / "code" / name)
    write(tmp_path / "lib", a="system: x")
    wait_until_settled(tmp_path)
    code = {"PYTHONPATH": str(tmp_path / "code")}
    outs = [output(start(tmp_path, "-c", STALE, str(tmp_path), **code)) for _ in range(2)]
    with (tmp_path / "code" / "personakit" / "persona.py").open("a") as file:
        file.write("# a new rule")
    outs.append(output(start(tmp_path, "-c", STALE, str(tmp_path), **code)))
    assert outs == ["True True\n", "False True\n", "True True\n"]


def test_two_processes_may_make_it_at_once(settled: tuple[Path, Path], tmp_path: Path) -> None:
    environ = {"PERSONAKIT_PATH": str(settled[0])}
    processes = [start(tmp_path, "-m", "personakit", "list", **environ) for _ in range(3)]
    outs = [output(process) for process in processes]
    assert "p07\tD7.\t" in outs[0].splitlines()
    assert len(set(outs)) == 1
    reads: list[int] = []
    said(Library((settled[0],), cache=tmp_path / ".cache" / "personakit"), reads)
    assert reads == [0]


HEAVY = "yaml jinja2 pluggy asyncio openai pydantic pydantic_core rich importlib.metadata ssl"
LIST = """
import sys
from personakit.cli import main
sys.argv = ["personakit", "list", "--json"]
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def test_a_list_from_the_index_imports_nothing_that_reads_or_runs_personas(tmp_path: Path) -> None:
    write(tmp_path / "personas", a=VARIANTS["tagged"])
    wait_until_settled(tmp_path)
    output(start(tmp_path, "-m", "personakit", "list", XDG_CACHE_HOME=str(tmp_path / "xdg")))
    assert (tmp_path / "xdg" / "personakit" / "library").is_dir()
    process = start(tmp_path, "-c", LIST, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    out, err = process.communicate(timeout=60)
    rows = json.loads(out)
    assert out == json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    assert rows[0] == {
        "name": "a",
        "description": 'É\t"\n',
        "tags": ["a", "b"],
        "version": "1",
        "path": "personas/a.yaml",
    }
    modules = set(err.split())
    assert "personakit.cli.list" in modules
    assert not modules & {*HEAVY.split(), "personakit.persona", "personakit.runner"}


RENDER = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[0]))) if args else None)
import personakit
assert personakit.render("p07").system == "x"
names = ("os.listdir", "os.scandir", "open")
print(*(what for event, what in seen if event in names and "lib" in what), sep="\\n")
print("asyncio" in sys.modules, "importlib.metadata" in sys.modules)
"""


def test_one_persona_by_name_is_found_without_looking_at_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "lib", p07="system: x", p08="system: y")
    out = output(start(tmp_path, "-c", RENDER, PERSONAKIT_PATH=str(folder)))
    files = [line for line in out.splitlines() if line.startswith(str(tmp_path))]
    assert files == [str(folder / "p07.yaml")]
    assert out.splitlines()[-1] == "False False"


def test_names_are_completed_and_hinted_at_among_thousands(tmp_path: Path) -> None:
    folder = tmp_path / "personas"
    folder.mkdir()
    for number in range(1500):
        (folder / f"clerk-{number}.yaml").touch()
    write(folder, translator="system: x")
    with pytest.raises(PersonaNotFound, match="did you mean 'translator'"):
        Library((folder,)).load("tranlsator")
    words = {"COMP_WORDS": "personakit run trans", "COMP_CWORD": "2"}
    out = output(start(tmp_path, "-m", "personakit", _PERSONAKIT_COMPLETE="bash_complete", **words))
    assert out.splitlines() == ["plain,translator"]


def test_a_thousand_rows_on_a_terminal_are_lines(shell: Any) -> None:
    (shell.folder / "personas").mkdir()
    texts = {f"clerk-{number}": "description: D.\ntags: [t]\nsystem: x" for number in range(1001)}
    write(shell.folder / "personas", **texts)
    write(shell.folder / "personas", odd='description: "a\\nb\\e[2J"\nsystem: x')
    with shell.terminal("list", "--tag", "t") as session:
        assert session.end() == 0
    assert "clerk-7     D.  t" in session.text.splitlines()
    with shell.terminal("list") as session:
        assert session.end() == 0
    assert [line for line in session.text.splitlines() if "a b\\x1b[2J" in line]
