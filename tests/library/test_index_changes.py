"""The index follows the files, whatever happens to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helpers.index import VARIANTS, _empty, _link, said, wait_until_settled, write
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit.errors import PersonaNotFound
from personakit.library.library import Library

SHIPPED = {"PATH": "", "PERSONAKIT_PLUGINS": ""}


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
        shutil.copytree(Path(__file__).parents[2] / name, tmp_path / "code" / name)
    write(tmp_path / "lib", a="system: x")
    wait_until_settled(tmp_path)
    code = {"PYTHONPATH": str(tmp_path / "code")}
    outs = [output(start(tmp_path, "-c", STALE, str(tmp_path), **code)) for _ in range(2)]
    with (tmp_path / "code" / "personakit" / "persona" / "persona.py").open("a") as file:
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
    assert not modules & {*HEAVY.split(), "personakit.persona.persona", "personakit.runner"}


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
    typed = {"_PERSONAKIT_COMPLETE": "fish", "COMP_LINE": "personakit run trans"}
    out = output(start(tmp_path, "-m", "personakit", **typed))
    assert out.splitlines() == ["plain\ttranslator\t"]


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
    assert [line for line in session.text.splitlines() if "a b\\u001b[2J" in line]
