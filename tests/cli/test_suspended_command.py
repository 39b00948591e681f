"""Runs that nobody answers: how they end, are listed, continued and removed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.asking import TOOLS, Booking
from helpers.cli import Commands, Done

from personakit.cli import group
from personakit.cli.shared.shells import answers

RUN = ("run", "ann.yaml", "To Oslo")
MINE = ("--functions", "mine.py")
TRAINS = ("the 9:12", "the 9:40")
ID = re.compile(r"\b[0-9a-f]{32}\b")


@pytest.fixture
def server() -> Iterator[Booking]:
    with Booking() as server:
        yield server


@pytest.fixture
def commands(tmp_path: Path, server: Booking) -> Commands:
    commands = Commands(tmp_path)
    commands.write("ann.yaml", "system: You plan journeys.\nmodel: openai/m\n")
    commands.write("mine.py", TOOLS)
    commands.env |= server.environ()
    return commands


def suspend(commands: Commands, *args: str) -> str:
    """Run until the question; return the id."""
    done = commands(*RUN, *MINE, *args)
    assert done.code == 3
    return str(ID.findall(done.err)[0])


def journals(commands: Commands) -> list[str]:
    folder = commands.folder / "data/personakit/journals"
    return sorted(file.stem for file in folder.glob("*")) if folder.is_dir() else []


def booked(commands: Commands) -> str:
    file = commands.folder / "booked"
    return file.read_text() if file.exists() else ""


def test_a_run_that_nobody_answers_is_suspended(commands: Commands) -> None:
    done = commands(*RUN, *MINE)
    assert (done.code, done.out) == (3, "")
    identity = ID.findall(done.err)[0]
    assert done.err.splitlines()[-4:] == [
        f"personakit: the run is suspended: {identity}",
        "  personakit asks: Book the 9:12? (yes, no, yes for this run)",
        '  pending: book {"train": "the 9:12"}',
        f"To go on: personakit run --resume {identity} --answer yes --functions mine.py",
    ]
    assert booked(commands) == ""


def test_text_that_was_streamed_is_all_that_standard_output_gets(commands: Commands) -> None:
    assert commands(*RUN, *MINE, "--stream").out == "Let me see.\n"


def test_json_of_a_suspended_run(commands: Commands) -> None:
    done = commands(*RUN, *MINE, "--json", "--usage")
    value = json.loads(done.out)["suspended"]
    assert value["id"] in done.err
    assert value["questions"][0]["choices"] == ["yes", "no", "yes for this run"]
    assert value["calls"][0]["name"] == "book"
    assert value["text"] == "Let me see."
    assert value["spent"]["calls"] == 1
    assert "tokens in" in done.err


def test_an_answer_continues_the_run_and_nothing_is_asked_of_the_model_again(
    commands: Commands, server: Booking
) -> None:
    identity = suspend(commands)
    done = commands("run", "--resume", identity[:16], "--answer", "3", *MINE, "--json")
    assert done.code == 0
    value = json.loads(done.out)
    assert value["text"] == "Let me see.\n\n**Done**."
    assert value["spent"]["calls"] == 2
    assert len(server.requests) == 2
    assert booked(commands) == "the 9:12: yes for this run\n"
    assert journals(commands) == []


def test_the_printed_command_continues_a_run_of_ask(commands: Commands, server: Booking) -> None:
    commands.write("my tools.py", TOOLS)
    done = commands("ask", "To Oslo", "-s", "You plan.", "-m", "openai/m", "--functions",
                    "my tools.py")  # fmt: skip
    again = shlex.split(done.err.splitlines()[-1].partition("To go on: ")[2])
    assert again[-2:] == ["--functions", "my tools.py"]
    assert commands(*again[1:]).out == "Let me see.\n\n**Done**.\n"
    assert server.requests[1].body["messages"][0]["content"] == "You plan."


@pytest.mark.parametrize(
    ("how", "out"),
    [
        (("--stream",), "\n\n**Done**.\n"),
        (("--no-stream", "--usage", "--trace"), "Let me see.\n\n**Done**.\n"),
    ],
)
def test_a_resumed_run_prints_as_another_one(
    how: tuple[str, ...], out: str, commands: Commands
) -> None:
    suspend(commands, "--stream")
    done = commands("run", "--resume", "last", "--answer", "y", *MINE, *how)
    assert (done.code, done.out) == (0, out)
    assert ("tokens in" in done.err) == ("--usage" in how)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("perhaps",), "--answer: 'perhaps' is not an answer to 'Book the 9:12?'; answer one of"),
        (("yes", "no"), "found 2 answers, but run"),
        (("",), "'' is not an answer"),
    ],
)
def test_a_wrong_answer_loses_nothing(
    given: tuple[str, ...], error: str, commands: Commands, server: Booking
) -> None:
    identity = suspend(commands)
    words = [word for text in given for word in ("--answer", text)]
    done = commands("run", "--resume", identity, *words, *MINE)
    assert done.code == 2
    assert error in done.err
    assert "1. personakit asks: Book the 9:12? (yes, no, yes for this run)" in done.err
    assert journals(commands) == [identity]
    assert commands("run", "--resume", identity, "--answer", "no", *MINE).code == 0
    assert len(server.requests) == 2


def test_a_run_without_an_open_question_takes_no_answer(commands: Commands) -> None:
    identity = suspend(commands)
    question = json.loads(commands("suspended", "show", "--json").out)["questions"][0]
    file = commands.folder / f"data/personakit/journals/{identity}.jsonl"
    with file.open("a", encoding="utf-8") as journal:  # as kill -9 leaves it after the answer
        journal.write(json.dumps({"at": question["id"], "answer": "yes"}) + "\n")
    assert "no question: it was interrupted" in commands("suspended", "list").out
    done = commands("run", "--resume", "last", "--answer", "yes", *MINE)
    assert done.code == 2
    assert f"leave out --answer: `personakit run --resume {identity}`" in done.err
    assert journals(commands) == [identity]


def test_without_an_answer_the_run_is_suspended_again(commands: Commands) -> None:
    identity = suspend(commands)
    done = commands("run", "--resume", identity, *MINE)
    assert (done.code, done.out) == (3, "")
    assert f"--resume {identity} --answer yes" in done.err


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("ann.yaml",), "PERSONA"),
        (("ann.yaml", "again"), "PERSONA"),
        (("-m", "openai/m"), "-m"),
        (("-c",), "-c"),
        (("--dry-run",), "--dry-run"),
        (("-v", "a=b"), "-v"),
    ],
)
def test_a_resumed_run_takes_no_other_beginning(
    args: tuple[str, ...], found: str, commands: Commands
) -> None:
    done = commands("run", "--resume", "last", *args)
    assert done.code == 2
    assert f"cannot be combined with {found};" in done.err


def test_an_answer_needs_a_run(commands: Commands) -> None:
    done = commands(*RUN, "--answer", "yes")
    assert done.code == 2
    assert "--answer needs --resume ID" in done.err


def test_an_unknown_id_lists_the_newest_runs(commands: Commands) -> None:
    assert "no run is suspended" in commands("run", "--resume", "last").err
    ids = [suspend(commands) for _ in range(6)]
    done = commands("run", "--resume", "ffff", "--answer", "yes")
    assert done.code == 2
    assert ID.findall(done.err) == ids[:0:-1]
    assert "ann  Book the 9:12?" in done.err
    assert "1 more: `personakit suspended list`" in done.err
    several = commands("suspended", "show", "0")
    assert several.code == 2
    assert "several suspended runs begin with '0'" in several.err


def test_an_empty_id_stands_for_no_run(commands: Commands) -> None:
    identity = suspend(commands)
    for command in (("run", "--resume"), ("suspended", "show"), ("suspended", "remove")):
        done = commands(*command, "")
        assert (done.code, done.out) == (2, "")
        assert f"no suspended run begins with ''; these are suspended:\n  {identity}" in done.err
    assert journals(commands) == [identity]


def test_runs_are_listed_shown_and_removed(commands: Commands) -> None:
    assert commands("suspended", "list").err == "no run is suspended\n"
    assert commands("suspended", "list", "--json").out == "[]\n"
    ids = [suspend(commands) for _ in range(3)]
    listed = commands("suspended", "list").out.splitlines()
    assert [line.split("\t")[0] for line in listed] == ids[::-1]
    assert listed[0].split("\t")[2:] == ["ann", "Book the 9:12?"]
    values = json.loads(commands("suspended", "list", "--json").out)
    assert [value["id"] for value in values] == ids[::-1]
    shown = commands("suspended", "show", ids[0]).out
    for part in ("--- text so far\nLet me see.\n", '--- pending\nbook {"train": "the 9:12"}\n',
                 'Book the 9:12?\n{"train": "the 9:12"}\n  1 yes\n  2 no\n',
                 f"personakit run --resume {ids[0]} --answer yes\n"):  # fmt: skip
        assert part in shown
    value = json.loads(commands("suspended", "show", "--json").out)
    assert value == values[0]
    done = commands("suspended", "remove", ids[0], ids[1][:20], ids[0])
    assert (done.code, done.err) == (0, "2 suspended runs removed\n")
    assert journals(commands) == ids[2:]
    assert commands("suspended", "remove", ids[0]).code == 2


def test_a_damaged_journal_hides_no_other_one_and_can_be_removed(commands: Commands) -> None:
    ids = [suspend(commands) for _ in range(2)]
    file = commands.folder / f"data/personakit/journals/{ids[1]}.jsonl"
    file.write_text("{}\n", "utf-8")
    listed = commands("suspended", "list").out.splitlines()
    assert "is damaged" in listed[0]
    assert listed[1].startswith(ids[0])
    assert "is damaged" in json.loads(commands("suspended", "list", "--json").out)[0]["error"]
    assert commands("run", "--resume", "last", "--answer", "yes", *MINE).code == 2
    assert commands("suspended", "remove", "last").code == 0
    assert journals(commands) == ids[:1]


def test_several_questions_take_answers_in_their_order(tmp_path: Path) -> None:
    with Booking(*TRAINS) as server:
        commands = Commands(tmp_path)
        commands.write("ann.yaml", "system: You plan journeys.\nmodel: openai/m\n")
        commands.write("mine.py", TOOLS)
        commands.env |= server.environ()
        identity = suspend(commands)
        done: Done = commands("run", "--resume", identity, "--answer", "yes", *MINE)
        while done.code == 3:  # the sync API asks about one call after the other
            done = commands("run", "--resume", identity, "--answer", "no", *MINE)
        assert done.code == 0
        assert len(server.requests) == 2
    assert booked(commands) == "the 9:12: yes\nthe 9:40: no\n"


def test_a_turn_of_a_conversation_goes_on_in_it(commands: Commands, server: Booking) -> None:
    identity = suspend(commands)
    assert commands("run", "--resume", identity, "--answer", "yes", *MINE).code == 0
    done = commands("run", "-c", "And back?", *MINE, "--stream")
    assert done.code == 3
    roles = [message["role"] for message in server.requests[2].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert commands("run", "--resume", "last", "--answer", "no", *MINE).code == 0
    done = commands("run", "-c", "Thanks", *MINE)
    roles = [message["role"] for message in server.requests[-1].body["messages"]]
    assert roles.count("user") == 3


def test_ids_are_completed(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [suspend(commands) for _ in range(2)]
    for name, value in commands.env.items():
        monkeypatch.setenv(name, value or "")
    for line in ("personakit run --resume ", "personakit suspended show "):
        rows = list(answers(group, {"_PERSONAKIT_COMPLETE": "fish", "COMP_LINE": line}))
        found = [row.split("\t")[1:] for row in rows]
        assert [row[0] for row in found] == [*ids[::-1], "last"]
        assert "Book the 9:12?" in rows[0]


def test_a_replay_that_asks_nobody_says_how_it_goes_on(commands: Commands, shell: Any) -> None:
    suspend(commands)
    assert commands("run", "--resume", "last", "--answer", "yes", *MINE).code == 0
    done = shell("log", "replay", *MINE, **commands.env)
    assert done.returncode == 3
    assert "To go on: personakit run --resume " in done.stderr
    assert "Error" not in done.stderr
