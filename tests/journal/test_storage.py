"""Where journals are kept: files of a folder, and memory, by the same rules."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.suspending import CALCULATOR, Counter, Gate, adds

from personakit import (
    JournalError,
    JournalFolder,
    JournalStorage,
    Request,
    Runner,
    Suspended,
    UsageError,
    hookimpl,
)
from personakit.testing import MemoryJournals, runner

A, B = "a" * 32, "b" * 32


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JournalStorage:
    return MemoryJournals() if request.param == "memory" else JournalFolder(tmp_path / "journals")


@pytest.fixture
def folder(tmp_path: Path) -> JournalFolder:
    return JournalFolder(tmp_path / "journals")


def suspended(journals: JournalStorage) -> tuple[Runner, Suspended]:
    running, _ = runner([adds((1, 2)), "Three."], plugins=[Gate()], journals=journals)
    with pytest.raises(Suspended) as caught:
        running.run(CALCULATOR, "Add!", tools=[Counter().add])
    return running, caught.value


def test_lines_are_appended_and_read(storage: JournalStorage) -> None:
    assert (list(storage.ids()), list(storage.read(A))) == ([], [])
    storage.append(A, 0, ['{"a": 1}', '"ä€"'])
    storage.append(B, 0, ["{}"])
    storage.append(A, 2, ["2"])
    assert sorted(storage.ids()) == [A, B]
    assert list(storage.read(A)) == ['{"a": 1}', '"ä€"', "2"]
    storage.remove(A)
    storage.remove(A)
    assert (list(storage.ids()), list(storage.read(A))) == ([B], [])


def test_what_was_read_stays_as_it_was(storage: JournalStorage) -> None:
    given = ["1"]
    storage.append(A, 0, given)
    given.append("2")
    read = storage.read(A)
    storage.append(A, 1, ["3"])
    assert (list(read), list(storage.read(A))) == (["1"], ["1", "3"])


@pytest.mark.parametrize(("at", "fault"), [(0, "goes on"), (1, "goes on"), (3, "goes on")])
def test_another_number_of_lines_is_a_conflict(
    storage: JournalStorage, at: int, fault: str
) -> None:
    storage.append(A, 0, ["1", "2"])
    with pytest.raises(JournalError, match=f"has 2 lines, expected {at}: another process {fault}"):
        storage.append(A, at, ["3"])
    assert list(storage.read(A)) == ["1", "2"]


def test_a_journal_that_was_removed_is_not_begun_again(storage: JournalStorage) -> None:
    storage.append(A, 0, ["1"])
    storage.remove(A)
    with pytest.raises(JournalError, match="has 0 lines, expected 1: it was removed"):
        storage.append(A, 1, ["2"])
    assert list(storage.ids()) == []


def test_one_thread_wins_each_line(storage: JournalStorage) -> None:
    threads, lines = 4, 25
    won: list[list[int]] = [[] for _ in range(threads)]

    def append(number: int) -> None:
        while (at := len(storage.read(A))) < lines:
            try:
                storage.append(A, at, [f'"{number} {at}"'])
            except JournalError:
                continue
            won[number].append(at)

    started = [threading.Thread(target=append, args=(n,)) for n in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
    assert sorted(at for each in won for at in each) == list(range(lines))
    owners = {at: number for number, each in enumerate(won) for at in each}
    assert list(storage.read(A)) == [f'"{owners[at]} {at}"' for at in range(lines)]


@pytest.mark.parametrize("change", ["answered", "removed"])
def test_a_run_that_goes_on_twice_is_stopped(storage: JournalStorage, change: str) -> None:
    running, waits = suspended(storage)
    counter, read = Counter(), storage.read(waits.id)
    # It reads the journal before another process goes on with the run.
    late: Any = SimpleNamespace(
        append=storage.append, remove=storage.remove, read=lambda _: read, ids=lambda: [waits.id]
    )
    other, upstream = runner(["Three."], plugins=[Gate()], journals=late)
    if change == "answered":
        done = running.resume(waits, "yes", tools=[counter.add])
        assert (done.text, counter.calls) == ("Let me see.\n\nThree.", [(1, 2)])
    else:
        storage.remove(waits.id)
    with pytest.raises(JournalError, match="it was removed"):
        other.resume(waits, "yes", tools=[counter.add])
    assert (upstream.requests, len(counter.calls)) == ([], change == "answered")


# --- what a journal contains -------------------------------------------------------------------


def test_a_run_is_in_the_storage_until_it_has_ended(storage: JournalStorage) -> None:
    running, waits = suspended(storage)
    assert list(running.journals.ids()) == list(storage.ids()) == [waits.id]
    lines = [json.loads(line) for line in storage.read(waits.id)]
    assert lines[0]["id"] == waits.id
    assert not any("\n" in line for line in storage.read(waits.id))
    running.resume(waits.id, "yes", tools=[Counter().add])
    assert list(storage.ids()) == []


def test_it_has_the_request_before_plugins_and_no_keys(storage: JournalStorage) -> None:
    class Hides:
        @hookimpl
        def run(self, request: Request) -> Request:
            return request.map_text(lambda text: text.replace("jane@example.com", "[EMAIL-1]"))

    running, upstream = runner(
        [adds((1, 2)), "Three."], plugins=[Hides(), Gate()], journals=storage
    )
    secret = {"api_key": "sk-1234567890abcdef", "extra_headers": {"x": "hidden"}}
    asked = running.render(CALCULATOR, "I am jane@example.com").replace(parameters=secret)
    with pytest.raises(Suspended) as caught:
        running.run(CALCULATOR, asked, tools=[Counter().add])
    text = "".join(storage.read(caught.value.id))
    assert "jane@example.com" not in str(upstream.requests[0].messages)
    assert "I am jane@example.com" in text
    assert "sk-1234567890abcdef" not in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: ["", *lines],
        lambda lines: ["[]", *lines[1:]],
        lambda lines: ["{}", *lines[1:]],
        lambda lines: [lines[0], "{", *lines[1:]],
        lambda lines: [lines[0], "null", *lines[1:]],
        lambda lines: [lines[0], '{"at": "9", "result": 1}'],
        lambda lines: [lines[0], '{"at": "9", "kind": "model"}'],
        lambda lines: [lines[0], '{"at": "9", "question": {}}'],
    ],
)
def test_a_damaged_journal_is_one_error(
    storage: JournalStorage, change: Callable[[list[str]], list[str]]
) -> None:
    running, waits = suspended(storage)
    lines = change(list(storage.read(waits.id)))
    storage.remove(waits.id)
    storage.append(waits.id, 0, lines)
    fault = f"the journal of run {waits.id} is damaged .*personakit suspended remove {waits.id}"
    for read in (running.suspended, running.resume):
        with pytest.raises(JournalError, match=fault):
            read(waits.id)
    assert list(storage.read(waits.id)) == lines


def test_a_newer_journal_is_not_read(storage: JournalStorage) -> None:
    running, waits = suspended(storage)
    first, *others = storage.read(waits.id)
    storage.remove(waits.id)
    storage.append(waits.id, 0, [json.dumps({**json.loads(first), "journal": 99}), *others])
    with pytest.raises(JournalError, match="was written by a newer personakit; update it"):
        running.suspended(waits.id)


@pytest.mark.parametrize(
    ("id", "fault"),
    [
        (B, "no suspended run has the id 'bbbb"),
        ("", "no suspended run has the id ''"),
        ("../x", "no suspended run has the id '../x'"),
    ],
)
def test_an_id_without_a_journal(storage: JournalStorage, id: str, fault: str) -> None:  # noqa: A002
    running, _ = suspended(storage)
    with pytest.raises(UsageError, match=f"{fault}.*; 1 run waiting; .*lists them"):
        running.suspended(id)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_the_user_can_read_the_files(tmp_path: Path, umask: int) -> None:
    journals = JournalFolder(tmp_path / "data" / "journals")
    before = os.umask(umask)
    try:
        journals.append(A, 0, ["1"])
    finally:
        os.umask(before)
    (file,) = journals.path.iterdir()
    assert file.name == f"{A}.jsonl"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, journals.path, file.parents[1])]
    assert modes == [0o600, 0o700, 0o700]


def test_a_file_that_other_users_can_read_is_not_used(folder: JournalFolder) -> None:
    folder.append(A, 0, ["1"])
    file = folder.path / f"{A}.jsonl"
    file.chmod(0o644)
    with pytest.raises(JournalError, match=r"mode is 644.*chmod 600"):
        folder.read(A)
    file.chmod(0o600)
    assert folder.read(A) == ["1"]


def test_a_torn_last_line_is_none(folder: JournalFolder) -> None:
    folder.append(A, 0, ["1", "2"])
    file = folder.path / f"{A}.jsonl"
    with file.open("ab") as stream:
        stream.write('{"text": "ä'.encode()[:-1])
    assert folder.read(A) == ["1", "2"]
    folder.append(A, 2, ["3"])
    assert file.read_bytes() == b"1\n2\n3\n"


def test_the_folder_has_other_files(folder: JournalFolder) -> None:
    assert folder.ids() == []
    folder.append(A, 0, ["1"])
    (folder.path / "notes.txt").write_text("mine")
    assert folder.ids() == [A]


@pytest.mark.parametrize("id", ["", "../a", "a/b", "ä", "."])
def test_an_id_is_no_path(folder: JournalFolder, id: str) -> None:  # noqa: A002
    for call in (folder.read, folder.remove, lambda name: folder.append(name, 0, ["1"])):
        with pytest.raises(JournalError, match=r"invalid id of a run .*: use 32 hex digits"):
            call(id)


def test_what_is_in_the_way_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = JournalFolder(tmp_path / "file")
    with pytest.raises(JournalError, match=r"file.*cannot be written: Not a directory"):
        blocked.append(A, 0, ["1"])
    journals = JournalFolder(tmp_path / "journals")
    (journals.path / f"{A}.jsonl").mkdir(parents=True)
    with pytest.raises(JournalError, match=r"jsonl.*"):
        journals.append(A, 0, ["1"])
    with pytest.raises(JournalError, match="cannot be removed"):
        journals.remove(A)
    os.mkfifo(journals.path / f"{B}.jsonl")
    with pytest.raises(UsageError, match=B):
        journals.append(B, 0, ["1"])


APPENDER = """
import sys
from personakit import JournalError, JournalFolder

journals, name, lines = JournalFolder(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
while (at := len(journals.read("a" * 32))) < lines:
    try:
        journals.append("a" * 32, at, [f'"{name} {at}"'])
    except JournalError:
        continue
    print(at, flush=True)
"""


def test_one_process_wins_each_line(folder: JournalFolder) -> None:
    lines, names = 40, ("x", "y", "z")
    code = [sys.executable, "-W", "error", "-c", APPENDER, str(folder.path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    appending = [subprocess.Popen([*code, name, str(lines)], **pipes) for name in names]
    for process in appending:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in appending:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outs = [process.communicate(timeout=120)[0] for process in appending]
    won = {int(at): name for name, out in zip(names, outs, strict=True) for at in out.split()}
    assert sum(len(out.split()) for out in outs) == len(won) == lines
    assert folder.read(A) == [f'"{won[at]} {at}"' for at in range(lines)]
