"""Options that only the user may set: which ones are marked, and that no form of them is missed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NewType, Required, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypeAliasType, TypedDict

from personakit import PersonaError, UserOption, hookimpl
from personakit.base import described
from personakit.permissions import within
from personakit.testing import persona, runner

# --- the options of the first-party plugins ------------------------------------------------------

PACKAGES = sorted((Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml"))
SPEAKS = re.compile(
    r"file|folder|path|director|\burls?\b|address|host|command|environment|variable|\bkeys?\b"
    r"|\btokens?\b|credential|secret|judge|\bpersonas?\b|fallback",
    re.IGNORECASE,
)
EXCEPTIONS = {
    "mcp.servers": "names of servers in the user's own file; another name is an error",
    "rag.glob": "patterns of names below `folder`; none leads out of it",
}


def classes() -> Iterator[tuple[str, type]]:
    """Yield the name and class of each first-party plugin that has options."""
    for file in PACKAGES:
        points = tomllib.loads(file.read_text("utf-8"))["project"]["entry-points"]["personakit"]
        for name, point in points.items():
            module, _, attribute = point.partition(":")
            target = getattr(import_module(module), attribute) if attribute else None
            if dataclasses.is_dataclass(target):
                yield name, typing.cast("type", target)


def options(prefix: str, owner: type) -> Iterator[tuple[str, Any, str]]:
    """Yield the name, type and description of each option of a class and its nested classes."""
    for name, kind in typing.get_type_hints(owner, include_extras=True).items():
        if name[0] == "_" or typing.get_origin(kind) is ClassVar:
            continue
        yield f"{prefix}.{name}", kind, described(owner, name)
        for part in parts(kind):
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                yield from options(f"{prefix}.{name}", part)


def parts(kind: Any) -> Iterator[Any]:
    """Yield a type and the types and notes that it is made of."""
    yield kind
    yield from getattr(kind, "__metadata__", ())
    for argument in typing.get_args(kind):
        yield from parts(argument)


OPTIONS = {name: (kind, text) for n, c in classes() for name, kind, text in options(n, c)}


def test_every_plugin_with_options_is_looked_at() -> None:
    assert {"budget", "cache", "guard", "mcp", "otel", "rag", "redact", "retry", "schema"} <= {
        name.partition(".")[0] for name in OPTIONS
    }
    assert "guard.output.judge" in OPTIONS
    assert all(text for name, (_, text) in OPTIONS.items() if name.count(".") == 1)


def test_every_option_that_names_something_of_the_users_is_marked() -> None:
    missing = []
    for name, (kind, text) in OPTIONS.items():
        found = list(parts(kind))
        # A number, a choice or a class names nothing; the fields of a class are options themselves.
        names = any(
            isinstance(part, type) and issubclass(part, str | os.PathLike) for part in found
        )
        marked = any(isinstance(part, UserOption) for part in found)
        if names and not marked and SPEAKS.search(f"{name.partition('.')[2]} {text}"):
            missing.append(name)
    assert sorted(missing) == sorted(EXCEPTIONS)


@pytest.mark.parametrize(
    ("option", "mark"),
    [
        ("budget.folder", UserOption("folder")),
        ("cache.folder", UserOption("folder")),
        ("guard.input.judge", UserOption("persona", in_persona=True)),
        ("guard.output.judge", UserOption("persona", in_persona=True)),
        ("rag.folder", UserOption("folder", in_persona=True)),
        ("retry.fallback", UserOption("model")),
    ],
)
def test_what_a_persona_may_name(option: str, mark: UserOption) -> None:
    assert mark in list(parts(OPTIONS[option][0]))


# --- the paths that a persona may name -----------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links into it, out of it and to itself, beside another one."""
    base = tmp_path_factory.mktemp("tree")
    root = base / "root"
    for folder in ("root/a/b", "root/.hidden", "rooted", "outside/a"):
        (base / folder).mkdir(parents=True)
    (root / "file").write_text("x")
    for link, target in {
        "in": "a", "up": "..", "out": "../outside", "beside": "../rooted", "loop": "loop",
        "abs": "/", "a/back": "../..", "shown": ".hidden", "a/here": ".",
    }.items():  # fmt: skip
        (root / link).symlink_to(target)
    return root


SEGMENTS = (
    "a", "b", "file", "none", "in", "up", "out", "beside", "loop", "abs", "back", "shown", "here",
    "..", ".", ".hidden", "", "~", "~root", "$HOME", "C:", "file:", "rooted", "...", ".. ", "\0",
)  # fmt: skip
paths = st.builds(
    lambda start, parts, sep, end: start + sep.join(parts) + end,
    st.sampled_from(["", "", "", "/", "//", "\\", "~/", "./", "../", "file:", "file:/"]),
    st.lists(st.sampled_from(SEGMENTS) | st.text(max_size=5), max_size=6),
    st.sampled_from(["/", "/", "\\", "//"]),
    st.sampled_from(["", "", "/", "/."]),
)


@settings(max_examples=400)
@given(paths)
@example("out")
@example("in/../up/root/a")
@example("a/back/outside")
@example("file:/etc")
def test_no_path_leads_out_of_the_folder(tree: Path, path: str) -> None:
    try:
        found = within(tree, path)
    except ValueError:
        return
    below = Path(os.path.realpath(found)).relative_to(os.path.realpath(tree))
    assert found.is_absolute()
    assert not [part for part in below.parts if part.startswith(".")]


plain = st.lists(st.from_regex(r"[\w-][\w .$%-]{0,8}[\w]", fullmatch=True), min_size=1, max_size=4)


@settings(max_examples=100)
@given(plain.filter(lambda parts: not {*parts} & {"up", "out", "beside", "abs", "loop", "shown"}))
@example(["a", "b"])
@example(["in", "b"])
@example(["not yet", "there.md"])
def test_a_plain_relative_name_is_a_path_below_the_folder(tree: Path, parts: list[str]) -> None:
    named = "/".join(parts)
    expected = Path(os.path.realpath(tree / named))
    assert [within(tree, form) for form in (named, f"./{named}", f"{named}/")] == [expected] * 3


def test_a_private_folder_is_named_by_no_persona(tree: Path) -> None:
    (tree / "a" / "personas").mkdir()
    with pytest.raises(ValueError, match="files of personakit itself"):
        within(tree, "a/b", private=[tree / "a"])
    with pytest.raises(ValueError, match="files of personakit itself"):
        within(tree, "in", private=[tree / "a" / "b"])
    assert within(tree, "in/personas", private=[tree / "a"]).name == "personas"
    assert within(tree, "file", private=[tree / "a"]).name == "file"


# --- marks in types ------------------------------------------------------------------------------

Marked = Annotated[str, UserOption("file", in_persona=True)]
Item = TypeVar("Item")


@dataclasses.dataclass
class Record:
    name: str = ""
    file: Marked = ""


class Entry(TypedDict, total=False):
    name: str
    file: Required[Marked]


class Model(BaseModel):
    file: Marked = ""
    files: list[Path] = []


@dataclasses.dataclass
class Deep:
    records: dict[str, list[Record | None]] = dataclasses.field(default_factory=dict)


class Aliased(BaseModel):
    file: Marked = Field("", alias="source")


class Root(RootModel[Marked]):
    """Is a text."""


class Pair(NamedTuple):
    name: str
    file: Path


class Small(TypedDict):
    model: Annotated[str, UserOption("model")]


class Large(TypedDict):
    size: int
    model: Marked


@dataclasses.dataclass
class Box(Generic[Item]):
    content: Item


@dataclasses.dataclass
class Unresolved:
    cache: ClassVar[NotDefinedHere]  # type: ignore[name-defined]  # noqa: F821
    file: Marked = ""


Renamed = NewType("Renamed", Path)
Named = TypeAliasType("Named", Path)


@dataclasses.dataclass(eq=False)
class Nested:
    """Has a path in an option of every form."""

    seen: ClassVar[list[Nested]] = []

    text: Marked = ""
    path: Path | None = None
    optional: Marked | None = None
    items: list[Marked] = dataclasses.field(default_factory=list)
    whole: Annotated[list[str], UserOption("file", in_persona=True)] = dataclasses.field(
        default_factory=list
    )
    union: str | list[Marked] = ""
    marked_union: Annotated[str | list[str], UserOption("file", in_persona=True)] = ""
    mapping: dict[str, Marked] = dataclasses.field(default_factory=dict)
    paths: set[Path] = dataclasses.field(default_factory=set)
    endless: tuple[Path, ...] = ()
    record: Record = dataclasses.field(default_factory=Record)
    entry: Entry | None = None
    model: Model = dataclasses.field(default_factory=Model)
    deep: Deep = dataclasses.field(default_factory=Deep)
    second: tuple[int, Path] = (0, Path())
    pair: Pair | None = None
    aliased: Aliased | None = None
    root: Root | None = None
    either: Small | Large | None = None
    box: Box[Path] | None = None
    unresolved: Unresolved | None = None
    renamed: Renamed | None = None
    named: Named | None = None
    keys: dict[Path, int] = dataclasses.field(default_factory=dict)
    like: os.PathLike[str] | None = None

    @hookimpl
    def chat(self) -> None:
        self.seen.append(self)


FORMS: dict[str, Callable[[str], Any]] = {
    "text": lambda path: path,
    "path": lambda path: path,
    "optional": lambda path: path,
    "items": lambda path: ["file", path],
    "whole": lambda path: [path],
    "union": lambda path: [path],
    "marked_union": lambda path: path,
    "mapping": lambda path: {"a": "a/b", "b": path},
    "paths": lambda path: [path],
    "endless": lambda path: [path, path],
    "record": lambda path: {"name": "/n", "file": path},
    "entry": lambda path: {"name": "/n", "file": path},
    "model": lambda path: {"file": "file", "files": [path]},
    "deep": lambda path: {"records": {"a": [None, {"file": path}]}},
    "second": lambda path: [1, path],
    "pair": lambda path: ["/n", path],
    "aliased": lambda path: {"source": path},
    "root": lambda path: path,
    "either": lambda path: {"size": 1, "model": path},
    "box": lambda path: {"content": path},
    "unresolved": lambda path: {"file": path},
    "renamed": lambda path: path,
    "named": lambda path: path,
    "keys": lambda path: {path: 1},
    "like": lambda path: path,
}
# A persona cannot set a path without a mark, whatever it names.
UNMARKED = {
    "path", "paths", "endless", "model", "second", "pair", "box", "renamed", "named", "keys",
    "like",
}  # fmt: skip
GOOD = ("file", "a/b", "./in/none", "file:/x")
BAD = ("/etc/passwd", "~/x", "../x", "a/../../x", "C:\\x", ".hidden", "out/a")


def run(folder: Path, option: str, value: Any) -> Nested:
    """Run a persona of a folder that lists the plugin; return the plugin."""
    file = folder / "who.yaml"
    listed = [{"use": "nested", "options": {option: value}}]
    file.write_text(json.dumps({"system": "x", "plugins": listed}))
    runner(select=["nested"])[0].run(file, "Hi")
    return Nested.seen.pop()


@pytest.mark.parametrize("option", FORMS)
def test_a_persona_names_paths_below_its_folder_in_any_form(
    option: str, install: Callable[..., None], tree: Path
) -> None:
    install(nested=Nested)

    @settings(max_examples=10)
    @given(st.sampled_from((*BAD, *GOOD) if option in UNMARKED else BAD))
    def refuses(path: str) -> None:
        reason = "only the user may set it" if option in UNMARKED else "own file"
        with pytest.raises(PersonaError, match=rf"who\.yaml:1:.*option '{option}': .*{reason}"):
            run(tree, option, FORMS[option](path))

    @settings(max_examples=10)
    @given(st.sampled_from(GOOD))
    def resolves(path: str) -> None:
        found = getattr(run(tree, option, FORMS[option](path)), option)
        assert os.path.realpath(tree / path) in str(found)

    refuses()
    if option not in UNMARKED:
        resolves()


@pytest.mark.parametrize("option", ["text", "optional", "items", "record", "deep"])
def test_the_config_names_any_path(
    option: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(nested=Nested)
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("PART", "part")
    for path, expected in (("/x/y", "/x/y"), ("~/y", "/home/ann/y"), ("$PART/y", "part/y")):
        running, _ = runner(
            select=["nested"], plugin_options={"nested": {option: FORMS[option](path)}}
        )
        running.run(persona(plugins=["nested"]), "Hi")
        found = str(getattr(Nested.seen.pop(), option))
        assert re.search(rf"(^|'){expected}('|$)", found)


@dataclasses.dataclass(eq=False)
class Sends:
    """Names what is no path."""

    address: Annotated[str, UserOption("address")] = ""
    command: Annotated[list[str], UserOption("command")] = dataclasses.field(default_factory=list)
    credential: Annotated[str | None, UserOption("credential")] = None
    variable: Annotated[str, UserOption("variable")] = ""

    @hookimpl
    def chat(self) -> None: ...


@pytest.mark.parametrize(
    ("option", "value"),
    [("address", "file"), ("command", ["", "ls"]), ("credential", "x"), ("variable", "HOME")],
)
def test_what_is_no_path_is_the_users_alone(
    option: str, value: Any, install: Callable[..., None], tree: Path
) -> None:
    install(nested=Sends)
    with pytest.raises(PersonaError, match=f"option '{option}': found .*; only the user may set"):
        run(tree, option, value)
    running, _ = runner(plugin_options={"nested": {option: value}})
    assert running.run(persona(plugins=["nested"]), "Hi").text == "Hello!"
