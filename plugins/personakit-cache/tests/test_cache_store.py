"""The store: shared, bounded, forgetful, and never in the way of an answer."""

import json
import logging
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from personakit_cache import Cache

from personakit import Runner
from personakit.testing import MODES, Upstream, in_mode, persona, runner


def running_with(folder: Path, answer: Any = "Hello", **options: Any) -> tuple[Runner, Upstream]:
    return runner([answer], plugins=[Cache(folder=str(folder), **options)])


def state(running: Runner, prompt: str = "Hi") -> Any:
    return running.run(persona(), prompt).metadata["cache"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "personakit.cache"]


def write_many(folder: str, number: int) -> list[str]:
    """Run in a process of its own."""
    running, _ = running_with(Path(folder), lambda r: f"You: {r.messages[-1].text}")
    for turn in range(12):
        prompt = f"{turn} {number if turn % 2 else 'all'}"
        assert running.run(persona(), prompt).text == f"You: {prompt}"
    return [state(running, f"{turn} {number}") for turn in range(1, 12, 2)]


def test_processes_share_a_store(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.starmap(write_many, [(str(tmp_path), number) for number in range(4)])
        pool.close()
        pool.join()
    running, _ = running_with(tmp_path)
    states = sum(found, [state(running, f"{turn} all") for turn in range(0, 12, 2)])
    # On a machine that is very busy a process may wait for the others in vain.
    assert states.count("hit") > 0.9 * len(states)
    with closing(sqlite3.connect(tmp_path / "cache.db")) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


FORKING = """
import os, sys
from personakit.testing import persona, runner
from personakit_cache import Cache
running, _ = runner(plugins=[Cache(folder=sys.argv[1])])
def state(prompt): return running.run(persona(), prompt).metadata["cache"]
found = [state("parent")]
child = os.fork()
if child == 0:
    os._exit([state("parent"), state("child")] != ["hit", "miss"])
found.append(os.waitpid(child, 0)[1])
print([*found, state("parent"), state("child")])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_uses_it_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['miss', 0, 'hit', 'hit']"


def test_another_instance_finds_it(tmp_path: Path) -> None:
    assert state(running_with(tmp_path)[0]) == "miss"
    assert state(running_with(tmp_path)[0]) == "hit"


@pytest.mark.parametrize(("ttl", "again"), [(0.05, "miss"), (None, "hit"), (1000.0, "hit")])
def test_an_answer_gets_old(tmp_path: Path, ttl: float | None, again: str) -> None:
    running, _ = running_with(tmp_path, ttl=ttl)
    state(running)
    time.sleep(0.1)
    assert state(running) == again


def test_a_full_store_drops_what_was_not_used(tmp_path: Path) -> None:
    running, _ = running_with(tmp_path, lambda r: "x" * 30_000, max_size=1_000_000)
    state(running, "often")
    for number in range(50):
        state(running, str(number))
        assert state(running, "often") == "hit"
        assert (tmp_path / "cache.db").stat().st_size < 1_200_000
    assert state(running, "49") == "hit"
    assert state(running, "0") == "miss"


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    running, _ = running_with(folder)
    state(running)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def still_answers(running: Runner, caplog: pytest.LogCaptureFixture, why: str) -> None:
    with caplog.at_level(logging.WARNING):
        for mode in MODES:
            response = in_mode(mode, running, persona(), "Hi")
            assert (response.text, response.metadata["cache"]) == ("Hello", "miss")
    (warning,) = warnings(caplog)
    assert why in warning
    assert "so the model is asked" in warning


def test_garbage_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache.db").write_bytes(b"garbage" * 1000)
    running, upstream = running_with(tmp_path)
    still_answers(running, caplog, "file is not a database")
    assert str(tmp_path) in warnings(caplog)[0]
    assert len(upstream.requests) == 4
    assert (tmp_path / "cache.db").read_bytes() == b"garbage" * 1000


def test_a_file_in_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    still_answers(running_with(tmp_path / "file")[0], caplog, "NotADirectoryError")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_is_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o500)
    still_answers(running_with(tmp_path)[0], caplog, "PermissionError")


def test_a_locked_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used, fresh = running_with(tmp_path)[0], running_with(tmp_path)[0]
    state(used, "before")
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(state, (used, fresh))) == ["miss", "miss"]
    assert ["locked" in warning for warning in warnings(caplog)] == [True, True]
    assert [state(used), state(fresh)] == ["miss", "hit"]


def test_a_folder_that_was_deleted_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "answers"
    running, _ = running_with(folder)
    state(running)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert [state(running), state(running)] == ["miss", "hit"]
    assert warnings(caplog) == []


class Bomb:
    """Does something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def change(folder: Path, **columns: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        assert other.execute(f"UPDATE Cache SET {names}", list(columns.values())).rowcount == 1


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    running, _ = running_with(tmp_path)
    state(running)
    change(tmp_path, mode=4, value=pickle.dumps(Bomb(tmp_path / "boom")))
    assert [state(running), state(running)] == ["miss", "hit"]
    assert not (tmp_path / "boom").exists()


def test_no_other_file_is_read_or_removed(tmp_path: Path) -> None:
    folder, file = tmp_path / "answers", tmp_path / "file"
    running, _ = running_with(folder)
    state(running)
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        ((entry,),) = other.execute("SELECT value FROM Cache").fetchall()
    file.write_text(entry)
    change(folder, mode=3, filename="../file", value=None)
    assert state(running) == "miss"
    assert file.exists()


ENTRY: dict[str, Any] = {
    "text": "Hello",
    "finish_reason": "stop",
    "model": "m",
    "id": "1",
    "raw": {},
    "parsed": None,
    "metadata": {},
    "tool_calls": [],
    "reasoning": "",
    "items": [],
    "annotations": [],
}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ENTRY, "hit"),
        ({**ENTRY, "text": 5}, "miss"),
        ({**ENTRY, "finish_reason": ["stop"]}, "miss"),
        ({**ENTRY, "tool_calls": [{"id": 1, "name": "a", "arguments": "{}"}]}, "miss"),
        ({**ENTRY, "tool_calls": [{"what": 1}]}, "miss"),
        ({**ENTRY, "tool_calls": None}, "miss"),
        ({**ENTRY, "more": 1}, "miss"),
        ({**ENTRY, "raw": None}, "miss"),
        ({**ENTRY, "metadata": [1]}, "miss"),
        ({**ENTRY, "reasoning": None}, "miss"),
        ({**ENTRY, "items": [1]}, "miss"),
        ({**ENTRY, "annotations": [1]}, "miss"),
        ({"text": "Hello"}, "miss"),
        ([], "miss"),
        (None, "miss"),
    ],
)
def test_entries_of_another_shape_are_none(tmp_path: Path, entry: Any, expected: str) -> None:
    running, _ = running_with(tmp_path)
    state(running)
    change(tmp_path, value=json.dumps(entry))
    assert [state(running), state(running)] == [expected, "hit"]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, ""], ids=["cut", "deep", "empty"])
def test_texts_that_are_no_json(tmp_path: Path, text: str) -> None:
    running, _ = running_with(tmp_path)
    state(running)
    change(tmp_path, value=text)
    assert [state(running), state(running)] == ["miss", "hit"]


def test_a_store_that_is_no_file_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "cache.db")
    assert state(running_with(tmp_path)[0]) == "miss"
    assert "it is a FIFO" in warnings(caplog)[0]
