"""Where personas come from: names, paths, schemes, parents, and files that change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.persona import system_of

from personakit import (
    Config,
    Persona,
    PersonaError,
    PersonaNotFound,
    Registry,
    Runner,
    UsageError,
    hookimpl,
)
from personakit.library.folders import shipped
from personakit.library.library import Library


def write(folder: Path, **files: str) -> Path:
    """Write persona files, each by its stem; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, content in files.items():
        (folder / f"{stem}.yaml").write_text(content, "utf-8")
    return folder


def texts(library: Library, *names: str) -> list[str]:
    return [system_of(library.load(name)) for name in names]


# --- names and paths ----------------------------------------------------------------------------


def test_the_first_folder_wins(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a="system: a1", chef="system: mine")
    two = write(tmp_path / "two", a="system: a2", b="system: b2")
    library = Library((one, tmp_path / "none", two))
    assert texts(library, "a", "b", "chef") == ["a1", "b2", "mine"]
    assert library.load("a").path == str(one / "a.yaml")
    assert system_of(Library((two, one)).load("a")) == "a2"


def test_those_that_ship_come_last() -> None:
    found = Library().load("chef")
    assert found.path == str(shipped() / "chef.yaml")
    assert system_of(found).startswith("Act as a chef")


def test_a_runner_searches_its_own_folders_first(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a="system: a1")
    two = write(tmp_path / "two", a="system: a2")
    running = Runner(Config(path=(one,)), path=[str(two)])
    assert system_of(running.load("a")) == "a2"
    given = Persona.parse("system: hi", "x.yaml")
    assert running.load(given) is given


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.json", "a.txt", "a"])
def test_a_file_is_loaded_by_its_path(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text('{"system": "hi"}')
    for reference in (file, str(file)):
        found = Library().load(reference)
        assert (found.name, found.path) == ("a", str(file))


def test_a_path_may_be_relative_or_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "here", a="system: here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert texts(Library(), "here/a.yaml", "./here/a.yaml", "~/here/a.yaml") == ["here"] * 3
    monkeypatch.chdir(tmp_path / "here")
    assert texts(Library(), "a.yaml", "../here/a.yaml") == ["here"] * 2
    with pytest.raises(PersonaNotFound):
        Library().load("a")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("cheff", "no persona 'cheff' in FOLDER"),
        ("cheff", "; did you mean 'chef'?"),
        ("zzzzzz", "; `personakit.Runner().library.names()` shows the personas"),
        (
            "Chef",
            "'Chef' is neither a persona name (a-z, 0-9, '_', '-') nor a file path; did you m",
        ),
        ("", "'' is neither a persona name"),
        (".", "'.' is neither a persona name"),
        ("..", "'..' is neither a persona name"),
        ("-x", "'-x' is neither a persona name"),
        ("a b", "'a b' is neither a persona name"),
        ("é", "'é' is neither a persona name"),
        ("CON", "'CON' is neither a persona name"),
        ("con", "'con' is neither a persona name"),
        ("lpt1", "'lpt1' is neither a persona name"),
        ("a\n", "is neither a persona name"),
        ("a\0", "is neither a persona name"),
        ("a" * 65, "is neither a persona name"),
        ("a" * 100_000, "is neither a persona name"),
        ("../x", "no file ../x; `personakit.Runner().library.names()` shows the personas"),
        ("nope.yaml", "no file nope.yaml; `personakit.Runner().library.names()` shows"),
        ("FOLDER/nofile.yaml", "no file FOLDER/nofile.yaml; `personakit.Runner()"),
        ("a/b", "no file a/b; the folder a does not exist"),
        ("a\\b", "no file a\\b"),
        ("/etc/none", "no file /etc/none"),
        ("none/x.yaml", "no file none/x.yaml; the folder none does not exist"),
        ("FOLDER/cheff.yaml", "no file FOLDER/cheff.yaml; did you mean 'FOLDER/chef.yaml'?"),
        ("chef.yaml", "no file chef.yaml; load the persona 'chef' of the library without a"),
        ("~nobody-at-all/x.yaml", "no file ~nobody-at-all/x.yaml"),
        (
            "http://x.y/z.yaml",
            "no file http://x.y/z.yaml, and no installed plugin provides the scheme 'http:'",
        ),
        ("file:///etc/passwd", "no installed plugin provides the scheme 'file:'"),
        ("ab:" + "x" * 5000, "no installed plugin provides the scheme 'ab:'"),
        ("ab:\0", "no installed plugin provides the scheme 'ab:'"),
        ("old", "no persona 'old'; rename FOLDER/old.yml to .yaml"),
    ],
)
def test_what_is_not_found(tmp_path: Path, reference: str, message: str) -> None:
    folder = write(tmp_path, chef="system: hi")
    (folder / "old.yml").write_text("system: hi")
    with pytest.raises(PersonaNotFound) as caught:
        Library((folder,)).load(reference.replace("FOLDER", str(folder)))
    assert message.replace("FOLDER", str(folder)) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "reference", ["/etc/passwd", "x\0.yaml", "a/" * 5000 + "x.yaml", "/dev/null", "."]
)
def test_a_path_that_is_no_persona(reference: str) -> None:
    with pytest.raises(PersonaError) as caught:
        Library().load(Path(reference))
    assert "root:" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    library = Library((tmp_path,))
    for reference in ("a", str(tmp_path), tmp_path / "a.yaml"):
        with pytest.raises(PersonaError, match="found a folder; name a file in it"):
            library.load(reference)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    folder = write(tmp_path, a="system: hi")
    (folder / "a.yaml").chmod(0)
    with pytest.raises(PersonaError, match=r"a.yaml: cannot be read: Permission denied"):
        Library((folder,)).load("a")


def test_a_link_to_itself_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    with pytest.raises(PersonaError, match=r"a.yaml: cannot be read: "):
        Library((tmp_path,)).load("a")


def test_a_file_has_one_name(tmp_path: Path) -> None:
    folder = write(tmp_path, a="name: b\nsystem: hi")
    with pytest.raises(PersonaError) as caught:
        Library((folder,)).load("a")
    place = f"{folder / 'a.yaml'}:1:7"
    assert str(caught.value) == f"{place}: name: found 'b' in a file called 'a'; use one name"
    assert Library().load(folder / "a.yaml").name == "b"


# --- files that change --------------------------------------------------------------------------


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    library = Library((write(tmp_path, a="system: one"),))
    first = library.load("a")
    assert library.load("a") is first
    write(tmp_path, a="system: two!")
    assert system_of(library.load("a")) == "two!"
    write(tmp_path, a="sistem: three")
    for _ in range(2):
        with pytest.raises(PersonaError, match="unknown key 'sistem'"):
            library.load("a")
    write(tmp_path, a="system: four")
    assert system_of(library.load("a")) == "four"
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(PersonaNotFound):
        library.load("a")


def test_a_file_of_the_same_size_and_time_in_place_of_another_is_read(tmp_path: Path) -> None:
    library = Library((write(tmp_path, a="system: one"),))
    assert texts(library, "a") == ["one"]
    stat = (tmp_path / "a.yaml").stat()
    new = write(tmp_path / "new", a="system: two") / "a.yaml"
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(tmp_path / "a.yaml")
    assert texts(library, "a") == ["two"]


def test_a_file_that_appears_earlier_on_the_path_wins(tmp_path: Path) -> None:
    library = Library((tmp_path / "one", write(tmp_path / "two", a="system: two")))
    assert texts(library, "a") == ["two"]
    write(tmp_path / "one", a="system: one")
    assert texts(library, "a") == ["one"]


# --- all of them --------------------------------------------------------------------------------


def test_all_personas_are_listed_broken_ones_as_errors(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a="system: a1", bad="sistem: x", chef="system: mine")
    two = write(tmp_path / "two", a="system: a2", z="system: z")
    for other in ("x.yml", "Upper.yaml", ".hidden.yaml", "a b.yaml", "notes.txt"):
        (one / other).write_text("system: no")
    (one / "folder.yaml").mkdir()
    library = Library((one, two, tmp_path / "none"))
    found = {}
    for item in library.personas():
        name = "bad" if isinstance(item, PersonaError) else item.name
        found[name] = str(item) if isinstance(item, PersonaError) else system_of(item)
    assert {name: found[name] for name in ("a", "chef", "z")} == {
        "a": "a1",
        "chef": "mine",
        "z": "z",
    }
    assert "unknown key 'sistem'" in found["bad"]
    shipping = {file.stem for file in shipped().glob("*.yaml")}
    assert set(found) == shipping | {"a", "bad", "z"} == set(library.names())
    assert list(found) == sorted(found) == library.names()


# --- parents ------------------------------------------------------------------------------------


def test_a_child_wins_over_its_parents(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        one="""\
description: One.
tags: [a, b]
model: test/one
metadata: {x: 1, y: 1}
parameters: {seed: 1, top_p: 0.5}
variables:
  a: one
  n: {type: integer, default: 1, minimum: 1, description: How many}
tools: [search]
plugins: [cache, retry: {attempts: 2}]
system: one
messages: [{user: one}]
prompt: one {{ input }}
output: {type: object}
version: "1"
""",
        two="extends: one\ntags: [b, c]\nparameters: {seed: 2}\nvariables: {a: two}\nsystem: two",
        child="""\
extends: two
metadata: {y: 2}
parameters: {top_p: 1}
variables:
  n: {default: 5}
plugins: [retry: {attempts: 2}, log]
tools: [search, read]
tags: d
""",
    )
    found = Library((folder,)).load("child")
    assert (found.name, found.extends) == ("child", ("two",))
    assert (found.description, found.model, found.version) == ("One.", "test/one", "")
    assert found.tags == ("a", "b", "c", "d")
    assert found.metadata == {"x": 1, "y": 2}
    assert found.parameters == {"seed": 2, "top_p": 1}
    assert {name: one.default for name, one in found.variables.items()} == {"a": "two", "n": 5}
    assert (found.variables["n"].minimum, found.variables["n"].description) == (1, "How many")
    assert found.tools == ("search", "read")
    assert [use.name for use in found.plugins] == ["cache", "retry", "log"]
    assert system_of(found) == "two"
    assert [text.source for _, text in found.messages] == ["one"]
    assert found.prompt is not None
    assert found.prompt.source == "one {{ input }}"
    assert found.output == {"type": "object"}


def test_a_variable_of_a_parent_is_changed_key_by_key(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        base="system: hi\nvariables: {a: 1, b: {required: true}, c: {type: integer, minimum: 3}}",
        child="""\
extends: base
variables:
  a: {description: A}
  b: {default: x}
  c: {required: false}
""",
        wrong="extends: base\nvariables: {c: 2}",
    )
    found = Library((folder,)).load("child").variables
    assert [(one.type, one.default, one.required) for one in found.values()] == [
        ("integer", 1, False),
        ("string", "x", False),
        ("integer", None, False),
    ]
    assert (found["a"].description, found["c"].minimum) == ("A", 3)
    with pytest.raises(PersonaError, match="default: it is 2, the minimum is 3"):
        Library((folder,)).load("wrong")


def test_a_parent_may_stand_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path, base="system: beside", a="extends: base")
    assert system_of(Library().load(tmp_path / "a.yaml")) == "beside"


def test_several_parents_in_order(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a="system: a\nparameters: {seed: 1, top_p: 1}",
        b="parameters: {seed: 2}",
        child="extends: [a, b]",
    )
    found = Library((folder,)).load("child")
    assert (system_of(found), found.parameters) == ("a", {"seed": 2, "top_p": 1})


def test_a_parent_may_be_below_a_folder_or_of_the_same_name_further_on(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", chef="extends: chef\nvariables: {cook: Anna}")
    write(mine / "partials", base="tags: [base]")
    write(mine, a="extends: partials/base\nsystem: a")
    library = Library((mine,))
    assert library.load("a").tags == ("base",)
    assert library.load("chef").variables["cook"].default == "Anna"
    assert system_of(library.load("chef")).startswith("Act as a chef")


def test_a_changed_parent_is_read_again(tmp_path: Path) -> None:
    library = Library((write(tmp_path, a="system: one", b="extends: a"),))
    assert texts(library, "b") == ["one"]
    write(tmp_path, a="system: three")
    assert texts(library, "b") == ["three"]
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(PersonaError, match="no persona 'a' in the library"):
        library.load("b")


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nobody", "a.yaml:1:10: extends: no persona 'nobody' in the library"),
        ("bse", "extends: no persona 'bse' in the library; did you mean 'base'?"),
        ("[base, nobody]", "a.yaml:1:17: extends: no persona 'nobody'"),
        ("a", "a.yaml:1:10: extends: found a cycle: a -> a"),
        ("round", "found a cycle: a -> round -> a"),
        ("broken", "a.yaml:1:10: extends: broken has errors"),
        ("broken", "broken.yaml:1:1: unknown key 'sistem'; did you mean 'system'?"),
        (
            "../secret",
            "invalid persona name '../secret': write a name, or a path inside the library",
        ),
        ("link", "'link.yaml' is outside the library folder"),
        (
            "headless",
            "a.yaml:1:1: the persona sends nothing: it has neither `system:`, `messages:` nor",
        ),
        ("[" + "base, " * 17 + "]", "extends: found 17 personas; the limit is 16"),
        ("p0", "the limit is 16 files that extend one another"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, extends: str, message: str) -> None:
    write(tmp_path, secret="system: SECRET")
    inner = write(
        tmp_path / "inner",
        a=f"extends: {extends}",
        base="system: base",
        round="extends: a",
        broken="sistem: x",
        headless="tags: [a]",
        **{f"p{n}": f"extends: p{n + 1}" for n in range(20)},
        p20="system: hi",
    )
    (inner / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(PersonaError) as caught:
        Library((inner,)).load("a")
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("last", ["system: hi", "sistem: hi"])
def test_parents_that_multiply_are_read_once(tmp_path: Path, last: str) -> None:
    many = ", ".join
    files = {f"p{n}": f"extends: [{many([f'p{n + 1}'] * 16)}]" for n in range(15)}
    library = Library((write(tmp_path, **files, p15=last),))
    if last.startswith("system"):
        assert texts(library, "p0") == ["hi"]
    else:
        with pytest.raises(PersonaError) as caught:
            library.load("p0")
        assert len(caught.value.problems) < 1000


# --- from elsewhere -----------------------------------------------------------------------------


class Loads:
    """A plugin that loads personas of its own scheme."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.loader("acme", lambda rest: f"name: made\nsystem: I am {rest}.")
        registry.loader("bytes", lambda rest: b"name: made\nextends: chef\nsystem: \xc3\xa9")
        registry.loader("bad", lambda rest: "sistem: x\nname: made")


def test_a_plugin_loads_personas(install: Callable[..., None]) -> None:
    install(loads=Loads)
    running = Runner(Config(path=()))
    assert system_of(running.load("acme:a/b:c")) == "I am a/b:c."
    assert running.load("acme:x").path == "acme:x"
    found = running.load("bytes:")
    assert (system_of(found), found.variables["cook"].default) == ("é", "Florent")
    with pytest.raises(PersonaError, match="bad:x:1:1: unknown key 'sistem'"):
        running.load("bad:x")
    with pytest.raises(PersonaNotFound, match="no installed plugin provides the scheme 'acmee:'"):
        running.load("acmee:x")


def test_an_installed_package_brings_personas(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write(site / "acme_personas", welder="system: I weld.", chef="system: acme")
    write(site / "acme_more" / "inner", inside="system: inside")
    (site / "acme_personas" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = site / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[personakit.personas]\na = acme_personas\nb = acme_more.inner\nc = no_such_package\n"
        "d = __main__\n"
    )
    write(tmp_path / "mine", inside="system: mine")
    code = (
        "from pathlib import Path\nfrom personakit import Config, Runner\n"
        "running = Runner(Config(path=(Path('mine'),)))\n"
        "print([running.load(n).system.source for n in ('welder', 'chef', 'inside')])\n"
        "print('welder' in running.library.names())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "['I weld.', 'acme', 'mine']\nTrue\n"


def test_nothing_of_a_partial_is_found_outside(tmp_path: Path) -> None:
    library = Library((write(tmp_path / "in", a="system: hi"),))
    (tmp_path / "in" / "p.md").write_text("hi")
    assert library.partial("p.md", "x.yaml") == tmp_path / "in" / "p.md"
    for name in ("../in/p.md", "/etc/passwd", "p.md\0", "C:p.md", "a\\p.md", "none.md", ""):
        with pytest.raises(UsageError):
            library.partial(name, "x.yaml")
