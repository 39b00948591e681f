"""Personas that plugins load: their names, their parents, how long they are kept, and errors."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    ConfigError,
    Conversation,
    Persona,
    PersonaError,
    PersonakitError,
    PersonaNotFound,
    Registry,
    Response,
    Runner,
    VariableError,
    hookimpl,
)
from personakit.library import Summary
from personakit.testing import MODES, Upstream, in_mode, runner
from personakit.testing import persona as made

CHEF = "system: You are a chef {{ of }}.\nvariables: {of: the database}\n"


class Source:
    """A plugin whose loader returns rows, and notes its calls."""

    def __init__(self, rows: dict[str, Any] | None = None, scheme: str = "db", **more: Any) -> None:
        self.rows: dict[str, Any] = {"chef": CHEF, **(rows or {})}
        self.scheme, self.more = scheme, more
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.__name__ = f"plugin-{scheme}"

    @hookimpl
    def setup(self, registry: Registry) -> None:
        registry.loader(self.scheme, self.load, **self.more)

    def load(self, rest: str) -> Any:
        self.calls.append(rest)
        self.threads.add(threading.get_ident())
        row = self.rows[rest]
        if isinstance(row, BaseException):
            raise row
        return row() if callable(row) else row


def using(*sources: Source, path: Any = (), answers: Any = ("ok",)) -> tuple[Runner, Upstream]:
    return runner(answers, plugins=sources, path=path)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def system(running: Runner, reference: str) -> str:
    return running.render(reference).system


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["chef", "team/chef", "a b", "17", "Chef", "a//b", "é:x", ""])
@pytest.mark.parametrize("head", ["", "name: chef\n", "name: other\n"])
def test_the_name_is_the_reference(rest: str, head: str) -> None:
    running, upstream = using(Source({rest: f"{head}system: x"}))
    persona = running.load(f"db:{rest}")
    assert (persona.name, persona.path) == (f"db:{rest}", f"db:{rest}")
    assert persona.document.folder is None
    response = running.run(f"db:{rest}", "Hi")
    assert response.request is not None
    assert {response.request.persona, upstream.requests[0].persona} == {f"db:{rest}"}


def test_two_loaders_may_have_a_persona_of_the_same_name() -> None:
    running, _ = using(Source(), Source({"chef": "system: Another."}, "git"))
    assert [running.load(f"{s}:chef").name for s in ("db", "git")] == ["db:chef", "git:chef"]
    assert system(running, "git:chef") == "Another."
    assert running.load("chef").name == "chef"


def test_an_invalid_name_in_the_yaml_is_an_error() -> None:
    running, _ = using(Source({"x": "name: Some Body\nsystem: x"}))
    with pytest.raises(PersonaError, match=r"db:x:1:7: name: invalid name 'Some Body'"):
        running.load("db:x")


def test_a_pin_and_a_saved_conversation_keep_the_name(tmp_path: Path) -> None:
    running, upstream = using(Source({"chef": f"version: '2'\n{CHEF}"}), answers=["Soup.", "Wine."])
    assert running.load("db:chef@2").name == "db:chef"
    with pytest.raises(PersonaNotFound, match="db:chef does not match the pin '3': found 2"):
        running.load("db:chef@3")
    talk = running.conversation(running.load("db:chef"))
    talk.run("Dinner?")
    talk.save(tmp_path / "talk.json")
    again = Conversation.load(tmp_path / "talk.json", running)
    assert again.persona.name == "db:chef"
    again.run("And to drink?")
    assert upstream.requests[-1].system == "You are a chef the database."


def test_a_file_does_not_take_the_place_of_a_persona_of_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("db:chef", "zz:chef.yaml"):
        Path(name).write_text("name: chef\nsystem: From a file.")
    running, _ = using(Source())
    assert system(running, "db:chef") == "You are a chef the database."
    assert system(running, "./db:chef") == "From a file."
    assert system(running, "zz:chef.yaml") == "From a file."


# --- extends ------------------------------------------------------------------------------------


def test_what_may_extend_a_persona_of_a_plugin(tmp_path: Path) -> None:
    write(tmp_path / "mine", inner="extends: db:chef\nsystem: '{{ parent.system }} Mine.'")
    write(tmp_path / "mine" / "deep", deep="extends: db:chef")
    write(tmp_path / "else", outer="extends: inner", other="extends: db:chef")
    rows = {
        "child": "extends: db:chef\nsystem: '{{ parent.system }} Child.'",
        "lib": "extends: inner",
        "foreign": "extends: git:x",
        "loop": "extends: db:pool",
        "pool": "extends: db:loop",
        "abstract": "description: no text",
        "full": "extends: db:abstract\nsystem: x",
    }
    running, _ = using(Source(rows), Source(scheme="git"), path=[tmp_path / "mine"])
    mine, chef = "You are a chef the database. Mine.", "You are a chef the database."
    assert system(running, "inner") == mine
    assert system(running, str(tmp_path / "mine" / "deep" / "deep.yaml")) == chef
    assert system(running, str(tmp_path / "else" / "outer.yaml")) == mine
    assert system(running, "db:lib") == mine
    assert system(running, "db:child") == f"{chef} Child."
    assert system(running, "db:full") == "x"
    with pytest.raises(PersonaError, match=r"other\.yaml:1:10: extends: db:chef is not allowed: "):
        running.load(str(tmp_path / "else" / "other.yaml"))
    with pytest.raises(PersonaError, match="git:x is not allowed: db:foreign may extend personas"):
        running.load("db:foreign")
    with pytest.raises(PersonaError, match="found a cycle: db:loop -> db:pool -> db:loop"):
        running.load("db:loop")
    with pytest.raises(PersonaError, match="db:chef is not allowed: only a persona in a folder"):
        Persona.parse("extends: db:chef", parents=running.library.parents())


def test_a_persona_of_a_plugin_reads_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, beside="system: Beside."))
    (tmp_path / "secret.md").write_text("SECRET")
    running, _ = using(
        Source({"a": "extends: beside", "b": "system: '{% include \"secret.md\" %}'", "c": CHEF})
    )
    for reference in ("db:a", "db:b"):
        with pytest.raises(PersonaError, match=r"no persona 'beside'|no file 'secret\.md'"):
            running.run(reference, "Hi")


def test_a_changed_parent_is_seen(tmp_path: Path) -> None:
    source = Source()
    running, _ = using(source, path=[write(tmp_path, mine="extends: db:chef")])
    first = running.load("mine")
    assert running.load("mine") is first
    source.rows["chef"] = "system: Changed."
    assert system(running, "mine") == "Changed."
    source.rows["chef"] = OSError("down")
    with pytest.raises(PersonaError, match=r"mine\.yaml:1:10: extends: db:chef has errors"):
        running.load("mine")


def test_a_list_of_the_library_asks_a_loader_again(tmp_path: Path) -> None:
    source = Source({"chef": f"description: One.\n{CHEF}"})
    folder = write(tmp_path / "personas", mine="extends: db:chef")

    def described() -> list[str]:
        running, _ = using(source, path=[folder])
        running.library.cache = tmp_path / "cache"
        found = {str(getattr(it, "name", it)): it for it in running.library.summaries()}
        summary = found["mine"]
        assert isinstance(summary, Summary)
        return [summary.description]

    assert described() == ["One."]
    source.rows["chef"] = f"description: Two.\n{CHEF}"
    assert described() == ["Two."]


# --- how long it is kept ------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "calls"), [(0, 3), (60, 1), (None, 1), (1e-9, 3)])
def test_a_text_is_kept_as_long_as_the_loader_says(keep: float | None, calls: int) -> None:
    source = Source(keep=keep)
    running, _ = using(source)
    first, *others = [running.load("db:chef") for _ in range(3)]
    assert source.calls == ["chef"] * calls
    # Its templates are compiled once, since the text has not changed.
    assert all(other is first for other in others)
    source.rows["chef"] = "system: Changed."
    changed = "Changed." if calls > 1 else "You are a chef the database."
    assert system(running, "db:chef") == changed


def test_the_number_of_kept_personas_is_limited() -> None:
    source = Source({str(n): f"system: x{n}" for n in range(1100)}, keep=None)
    running, _ = using(source)
    for n in range(1100):
        running.load(f"db:{n}")
    running.load("db:1099")
    running.load("db:0")
    assert source.calls[1100:] == ["0"]


def test_threads_share_one_call() -> None:
    start, release = threading.Barrier(9), threading.Event()

    def slow() -> str:
        assert release.wait(60)
        return CHEF

    # A thread that is late gets what is kept.
    source = Source({"chef": slow, "down": slow}, keep=60)
    running, _ = using(source)
    results: list[str] = []

    def load() -> None:
        start.wait(60)
        results.append(running.load("db:chef").name)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.wait(60)
    release.set()
    for thread in threads:
        thread.join(60)
    assert (results, source.calls) == (["db:chef"] * 8, ["chef"])


def test_a_loader_that_loads_its_own_persona_is_an_error() -> None:
    source = Source()
    running, _ = using(source)
    source.rows["chef"] = lambda: running.load("db:chef").name
    with pytest.raises(PersonaError, match="its loader loads the same persona again"):
        running.load("db:chef")


# --- the event loop -----------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 60, None])
def test_the_event_loop_never_calls_a_loader(tmp_path: Path, keep: float | None) -> None:
    source = Source(keep=keep)
    folder = write(tmp_path, mine="extends: db:chef")
    running, upstream = using(source, path=[folder])

    class Asks:
        @hookimpl
        async def chat(self, request: Any, send: Any) -> Response:
            await send.run("db:chef", "aside")
            answer: Response = await send(request)
            return answer

    async def every(one: Runner) -> None:
        for _ in range(3):
            for reference in ("mine", "db:chef"):
                await one.arun(reference, "Hi")
                async for _piece in one.astream(reference, "Hi"):
                    pass
        await one.warm("db:chef", "mine")
        await one.arun("db:chef", "Hi")

    asking, _ = runner(plugins=[source, Asks()], path=[folder])
    for one in (running, asking):
        asyncio.run(every(one))
    assert source.calls
    assert threading.get_ident() not in source.threads
    assert {request.system for request in upstream.requests} == {"You are a chef the database."}


def test_errors_of_an_async_run_come_from_the_run() -> None:
    running, _ = using(Source())

    async def wrong(reference: str, **options: Any) -> None:
        for _ in range(2):
            stream = running.astream(reference, "Hi", **options)
            async for _piece in stream:
                pass

    with pytest.raises(PersonaNotFound, match="no persona 'db:cheff'"):
        asyncio.run(wrong("db:cheff"))
    with pytest.raises(VariableError, match="unknown variable 'off'"):
        asyncio.run(wrong("db:chef", variables={"off": 1}))


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_text_is_used_in_the_next_run(mode: str) -> None:
    source = Source()
    running, upstream = using(source)
    for number in range(3):
        source.rows["chef"] = f"system: Number {number}."
        in_mode(mode, running, "db:chef", "Hi")
    assert [request.system for request in upstream.requests] == [f"Number {n}." for n in range(3)]


# --- errors -------------------------------------------------------------------------------------


def endless() -> Iterator[str]:
    while True:
        yield "x"


async def coroutine() -> str:
    return CHEF


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (OSError("no route\nto host"), "OSError: no route to host"),
        (ConfigError("set DB_URL"), "set DB_URL"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        ({"system": "x"}, "expected the YAML as str or bytes, found dict"),
        (made, "expected the YAML as str or bytes, found Persona"),
        (17, "expected the YAML as str or bytes, found int"),
        (coroutine, "expected the YAML as str or bytes, found coroutine; write the loader with"),
    ],
)
def test_a_loader_that_fails_is_one_error(row: Any, message: str) -> None:
    running, _ = using(Source({"x": row}))
    with pytest.raises(PersonaError) as caught:
        running.run("db:x", "Hi")
    assert str(caught.value).startswith(f"db:x: plugin 'plugin-db' cannot load it: {message}")
    assert caught.value.__cause__ is (row if isinstance(row, BaseException) else None)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interruption_passes(error: type[BaseException]) -> None:
    source = Source({"x": error()})
    running, _ = using(source)
    for _ in range(2):
        with pytest.raises(error):
            running.load("db:x")
    source.rows["x"] = CHEF
    assert running.load("db:x").name == "db:x"


def many() -> dict[str, str]:
    return {"chef": "Cooks.", "cook": "", "b/chief": "x"}


def broken() -> list[str]:
    raise OSError("down")


@pytest.mark.parametrize(
    ("rest", "row", "names", "message"),
    [
        ("cheff", KeyError("cheff"), many, " (KeyError: 'cheff'); did you mean 'db:chef'?"),
        ("cheff", None, lambda: ["chef"], "; did you mean 'db:chef'?"),
        ("zzzzz", None, many, "; `personakit list db:` shows those that it has"),
        ("cheff", IndexError(), broken, " (IndexError)"),
        ("cheff", PersonaNotFound("gone"), None, " (gone)"),
    ],
)
def test_what_is_not_there(rest: str, row: Any, names: Any, message: str) -> None:
    running, _ = using(Source({rest: row}, list=names))
    with pytest.raises(PersonaNotFound) as caught:
        running.load(f"db:{rest}")
    expected = f"no persona 'db:{rest}': plugin 'plugin-db' does not have it{message}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("rest", ["a\nb", "\x1b[31m", "x" * 501, "a\u2028b", "a\u202eb", "\u2066"])
def test_what_cannot_be_a_reference_is_not_asked_for(rest: str) -> None:
    source = Source()
    running, _ = using(source)
    with pytest.raises(PersonaNotFound, match="after 'db:', write at most 500 characters"):
        running.load(f"db:{rest}")
    assert source.calls == []


@given(st.text(max_size=20), st.one_of(st.text(max_size=40), st.binary(max_size=40)))
def test_any_reference_and_any_text_is_a_persona_or_one_error(rest: str, text: Any) -> None:
    running, _ = using(Source({rest: text}))
    with suppress(PersonakitError):
        assert running.load(f"db:{rest}").name == f"db:{rest}"


# --- lists and arguments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (many, ["db:b/chief|x", "db:chef|Cooks.", "db:cook|"]),
        (lambda: {"b", "a"}, ["db:a|", "db:b|"]),
        (lambda: {"a": None, "b": "on\n  two lines"}, ["db:a|", "db:b|on two lines"]),
        (lambda: iter(()), []),
        (None, []),
        (broken, ["db:: plugin 'plugin-db' cannot load it: its list: OSError: down"]),
        (lambda: "chef", ["db:: plugin 'plugin-db' cannot load it: its list: TypeError: expected"]),
        (lambda: [1], ["db:: plugin 'plugin-db' cannot load it: its list: expected names, or a"]),
        (lambda: ["a\nb"], ["db:: plugin 'plugin-db' cannot load it: its list: expected names"]),
    ],
)
def test_what_a_plugin_lists(names: Any, expected: list[str]) -> None:
    running, _ = using(Source(list=names))
    found = [
        str(one) if isinstance(one, PersonaError) else f"{one.name}|{one.description}"
        for one in running.library.listed()
    ]
    assert len(found) == len(expected)
    assert all(one.startswith(text) for one, text in zip(found, expected, strict=True))
    assert list(running.library.listed("zz")) == []


def test_an_endless_list_ends() -> None:
    running, _ = using(Source(list=endless))
    assert len(list(running.library.listed("db"))) == 1


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        ("x", {}, "function must be a function, found 'x'"),
        (None, {}, "function must be a function, found None"),
        (str, {"list": ["a"]}, r"list must be a function, found \['a'\]"),
        (str, {"keep": -1}, "keep must be a number of seconds from 0 on, or None .*; found -1"),
        (str, {"keep": True}, "keep must be a number"),
        (str, {"keep": "60"}, "keep must be a number"),
        (str, {"keep": float("nan")}, "keep must be a number"),
    ],
)
def test_wrong_arguments(function: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"registry.loader: {message}"):
        Registry("mine").loader("db", function, **more)


Install = Callable[..., None]


def test_a_plugin_is_imported_only_if_its_scheme_is_used(install: Install) -> None:
    install("acme-db", db="personakit_no_such_module")
    running, _ = runner()
    assert list(running.library.listed()) == []
    assert "personakit_no_such_module" not in sys.modules
    with pytest.raises(PersonaNotFound, match="no installed plugin provides the scheme 'db:'"):
        running.load("db:chef")
