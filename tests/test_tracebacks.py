"""What a traceback of an error shows, in a script and in IPython."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import personakit
from personakit import (
    BackendError,
    Config,
    PersonakitError,
    PluginError,
    Request,
    Runner,
    Send,
    hookimpl,
)
from personakit.testing import MODES, Reply, Server, Upstream

OWN = str(Path(personakit.__file__).parent)
MOST_FRAMES = 6
MOST_LINES = 45
"""Of a whole traceback, with those of the test itself and of asyncio."""


class Fails:
    """A plugin with a mistake."""

    def __init__(self, *, first: bool = True) -> None:
        self.first = first

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        return helps(None) if self.first else helps(await send(request))


def helps(_: Any) -> Any:
    raise ValueError("no luck")


class Watches:
    """A plugin that lets errors of the backend pass."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        return await send(request)


PERSONAS = {
    "ann": "system: Hi {{ a }}\nvariables: {a: x}\n",
    "bad": "system: Hi {{ a.b }}\nvariables: {a: {default: {z: 1}}}\n",
    "broken": "systm: Hi\n",
    "child": "extends: broken\n",
    "form": "system: Hi\noutput: {type: object, properties: {a: {type: integer}}, required: [a]}\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PERSONAS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def fails(runner: Runner, mode: str, persona: str, **options: Any) -> PersonakitError:
    """Return the error of a run in one of the four modes, as the caller receives it."""

    def stream() -> None:
        for _ in runner.stream(persona, "Hi", **options):
            pass

    async def astream() -> None:
        async for _ in runner.astream(persona, "Hi", **options):
            pass

    async def arun() -> None:
        await runner.arun(persona, "Hi", **options)

    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: runner.run(persona, "Hi", **options),
        "stream": stream,
        "arun": lambda: asyncio.run(arun()),
        "astream": lambda: asyncio.run(astream()),
    }
    with runner, pytest.raises(PersonakitError) as caught:
        calls[mode]()
    return caught.value


def frames(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def check(error: PersonakitError, *, lines: int = MOST_LINES) -> None:
    own = [file for file in frames(error) if file.startswith(OWN)]
    shown = "".join(traceback.format_exception(error))
    assert 1 <= len(own) <= MOST_FRAMES
    assert shown.count("\n") <= lines, shown
    assert "site-packages" not in shown


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a missing key": ("ann", {"model": "openai/x"}),
    "an unknown persona": ("anne", {}),
    "a broken persona": ("broken", {}),
    "a broken parent": ("child", {}),
    "an unknown variable": ("ann", {"variables": {"b": 1}}),
    "a wrong value": ("ann", {"variables": {"a": []}}),
    "an unknown option": ("ann", {"temperature": 1}),
    "a template": ("bad", {"model": "openai/x"}),
    "an unknown provider": ("ann", {"model": "nobody/x"}),
    "a schema": ("ann", {"model": "openai/x", "output": {"type": "nothing"}}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_few_frames_of_ours_stand_above_those_of_the_user(
    case: str, mode: str, folder: Path
) -> None:
    persona, options = CASES[case]
    check(fails(Runner(Config(path=(folder,))), mode, persona, **options))


@pytest.mark.parametrize(
    "options", [{"attachments": ["/nope.png"]}, {"output": {"type": "nothing"}}, {"tools": [5]}]
)
def test_few_frames_of_ours_stand_in_an_error_of_prepare(
    options: dict[str, Any], folder: Path
) -> None:
    with pytest.raises(PersonakitError) as caught:
        Runner(Config(model="openai/x", path=(folder,))).prepare("ann", "Hi", **options)
    check(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_an_error_of_the_upstream_is_short_and_keeps_its_cause(mode: str, folder: Path) -> None:
    refused = Reply(b'{"error": {"message": "no such key"}}', 401)
    with Server([refused]) as server:
        runner = Runner(Config(path=(folder,), environ=server.environ()))
        error = fails(runner, mode, "ann", model="openai/x")
    check(error)
    assert type(error.__cause__).__module__.startswith("openai")
    gone = Config(path=(folder,), environ=server.environ())
    error = fails(Runner(gone), mode, "ann", model="openai/x")
    check(error)
    assert isinstance(error, BackendError)
    assert "Connection error" in str(error.__cause__)
    with Server(["no JSON"]) as server:
        runner = Runner(Config(path=(folder,), environ=server.environ()))
        check(fails(runner, mode, "form", model="openai/x"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", [True, False])
def test_the_frames_of_a_plugin_stay(mode: str, first: bool, folder: Path) -> None:
    config = Config(path=(folder,))
    runner = Runner(config, plugins=[Fails(first=first)], backend=Upstream())
    error = fails(runner, mode, "ann")
    check(error)
    assert isinstance(error, PluginError)
    assert error.__cause__ is not None
    assert [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)] == [
        "chat",
        "helps",
    ]
    passed = Upstream([BackendError("it is down")])
    error = fails(Runner(config, plugins=[Watches()], backend=passed), mode, "ann")
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert "chat" in names


def test_all_frames_are_there_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(Config(path=(folder,)))
    short = frames(fails(runner, "run", "broken"))
    monkeypatch.setenv("PERSONAKIT_TRACEBACK", "full")
    full = fails(runner, "run", "broken")
    assert len(frames(full)) > len(short) + 3
    assert "Traceback (most recent call last)" in "".join(full._render_traceback_())


def test_a_bug_in_a_backend_keeps_its_frames(folder: Path) -> None:
    class Broken:
        async def send(self, request: Request, emit: Any = None) -> Any:
            return helps(request)

    with pytest.raises(ValueError, match="no luck") as caught:
        Runner(Config(path=(folder,)), backend=Broken()).run("ann", "Hi")
    assert [frame.name for frame in caught.traceback][-2:] == ["send", "helps"]


def test_a_script_that_ends_with_an_error_prints_a_short_traceback(folder: Path) -> None:
    script = 'import personakit\n\npersonakit.run("ann.yaml", "Hi", model="openai/x")\n'
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert lines[1].strip().startswith('File "')
    assert lines[1].endswith('script.py", line 3, in <module>')
    assert len(lines) <= 14
    assert "OPENAI_API_KEY" in lines[-1]


# --- IPython -------------------------------------------------------------------------------------


@pytest.fixture
def shell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], tuple[bool, str]]]:
    """Return a function that runs a cell in IPython: whether it failed, and what it printed."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    made: Any = InteractiveShell()  # type: ignore[no-untyped-call]
    made.user_ns["runner"] = Runner(Config(path=(folder,)), plugins=[], backend=Upstream())
    made.user_ns["keyless"] = Runner(Config(path=(folder,)))
    made.user_ns["failing"] = Runner(Config(path=(folder,)), plugins=[Fails()], backend=Upstream())
    shown: list[str] = []
    monkeypatch.setattr(
        made, "_showtraceback", lambda kind, value, lines: shown.append("\n".join(lines))
    )

    def cell(code: str) -> tuple[bool, str]:
        shown.clear()
        return made.run_cell(code).error_in_exec is not None, "".join(shown)

    yield cell
    InteractiveShell.clear_instance()


def test_an_error_in_a_cell_is_one_line(shell: Callable[[str], tuple[bool, str]]) -> None:
    failed, shown = shell("runner.run('an', 'Hi')")
    assert failed
    assert shown.startswith("PersonaNotFound: ")
    assert "did you mean 'ann'" in shown
    assert "\n" not in shown
    for code in (
        "keyless.run('ann', 'Hi', model='openai/x')",
        "for text in keyless.stream('ann', 'Hi', model='openai/x'): pass",
        "await keyless.arun('ann', 'Hi', model='openai/x')",
        "async for text in keyless.astream('ann', 'Hi', model='openai/x'): pass",
    ):
        failed, shown = shell(code)
        assert failed
        assert shown.startswith("ConfigError: ")
        assert "OPENAI_API_KEY" in shown
        assert "\n" not in shown
    assert shell("1 + 1") == (False, "")


def test_the_problems_of_a_persona_are_a_line_each(
    shell: Callable[[str], tuple[bool, str]], folder: Path
) -> None:
    (folder / "two.yaml").write_text("system: Hi\nsystm: Hi\nvariable: {}\n")
    failed, shown = shell("runner.run('two', 'Hi')")
    assert failed
    assert len(shown.split("\n")) == 2
    assert "two.yaml:2:1" in shown


def test_a_mistake_in_a_plugin_has_its_place(shell: Callable[[str], tuple[bool, str]]) -> None:
    failed, shown = shell("failing.run('ann', 'Hi')")
    assert failed
    first, *places = shown.split("\n")
    assert first.startswith("PluginError: ")
    assert "ValueError: no luck" in first
    assert [place.split(",")[0] for place in places] == ["  in chat", "  in helps"]
    assert all(__file__ in place for place in places)


def test_a_message_cannot_control_a_terminal() -> None:
    assert BackendError("a\x1b[2Jb\nc\td")._render_traceback_() == [
        "BackendError: a\\u001b[2Jb",
        "c\td",
    ]
