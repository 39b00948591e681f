"""Runs whose process is killed at any point: what was paid and done is not paid or done again."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.killed import PERSONA, Processes, processes
from helpers.suspending import CALCULATOR, Gate, adds, runner_of
from helpers.suspending import Counter as Calls

from personakit import JournalError, Response, Runner, Suspended
from personakit.testing import Reply, Server, Upstream

MORE = int(os.environ.get("PERSONAKIT_EXAMPLES", "100")) > 1000
ROUNDS = (("a", "b"), ("c",))
NOTES = ["a", "b", "c"]
KILLED = {"killed": True}


class Notebook(Server):
    """A server whose answer depends on the request, whatever was sent before.

    Attributes:
        sent: How often each request was sent, by the number of its rounds so far.
        kills: The request during which the client in `folder` is killed.
        folder: The folder of the client.
    """

    def __init__(self) -> None:
        super().__init__([""])
        self.sent: Counter[int] = Counter()
        self.kills = -1
        self.folder = Path()

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        done = sum(message["role"] == "assistant" for message in body["messages"])
        self.sent[done] += 1
        if self.kills == done:
            self.kills = -1
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
        if done == len(ROUNDS):
            return super().reply(f"Done after {len(body['messages'])} messages.", body)
        calls = [
            {
                "id": f"{done}-{text}",
                "type": "function",
                "function": {"name": "note", "arguments": json.dumps({"text": text})},
            }
            for text in ROUNDS[done]
        ]
        whole = self.whole("")
        whole["choices"][0] |= {
            "message": {"role": "assistant", "content": None, "tool_calls": calls},
            "finish_reason": "tool_calls",
        }
        return super().reply(whole, body)


@pytest.fixture(scope="module")
def run() -> Iterator[Processes]:
    with processes() as started:
        yield started


@pytest.fixture
def server() -> Iterator[Notebook]:
    with Notebook() as started:
        yield started


class World:
    """A folder, a server, and what has happened in them."""

    def __init__(self, run: Processes, server: Notebook, folder: Path) -> None:
        folder.mkdir()
        self.run, self.server, self.folder = run, server, folder
        self.base = {"folder": str(folder), "environ": server.environ()}
        server.folder = folder
        server.sent.clear()

    def __call__(self, **more: Any) -> dict[str, Any]:
        return self.run({**self.base, **more})[0]

    @property
    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def ids(self) -> list[str]:
        return [file.stem for file in (self.folder / "journals").glob("*.jsonl")]

    def recorded(self) -> int:
        """Return how many answers of the model are in the journal."""
        text = (self.folder / "journals" / f"{self.ids[0]}.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        models = {line["at"] for line in lines if line.get("kind") == "model"}
        return len({line["at"] for line in lines if "result" in line} & models)

    def to_the_end(self, kills: Iterable[Any] = (), **more: Any) -> dict[str, Any]:
        """Resume the run in processes that are killed, until one is not; check each of them."""
        left, result = iter(kills), KILLED
        while result == KILLED:
            assert len(self.ids) == 1
            before, paid = self.server.sent.copy(), self.recorded()
            result = self(id=self.ids[0], kill=next(left, ()), **more)
            again = self.server.sent - before
            assert not [done for done in again if done < paid], "it was paid twice"
            assert max(again.values(), default=1) == 1
        assert "text" in result, result
        assert self.ids == []
        return result


POINTS = [
    *itertools.product(["before", "after"], range(1, 14 if MORE else 9)),
    *(("tool", text) for text in NOTES),
]


@pytest.mark.parametrize("again", ["yes", "no"])
def test_a_run_that_is_killed_anywhere_does_everything_once(
    run: Processes, server: Notebook, tmp_path: Path, again: str
) -> None:
    expected = World(run, server, tmp_path / "whole")(answer="yes")
    killed = 0
    for number, point in enumerate(POINTS if MORE or again == "yes" else POINTS[-3:]):
        world = World(run, server, tmp_path / str(number))
        result = world(answer="yes", kill=point)
        if result != KILLED:
            assert result == expected, point
            continue
        killed += 1
        if not world.ids:
            assert world.notes == []  # nothing was asked yet
            continue
        result = world.to_the_end(answer="yes", again=again)
        # Only a person lets it run again.
        allowed = result["again"] if again == "yes" else []
        assert len(result["again"]) <= 1
        assert Counter(world.notes) <= Counter([*NOTES, *allowed]), point
        if again == "yes":
            assert Counter(world.notes) >= Counter(NOTES)
            assert result["messages"] == expected["messages"]
            # A model call that was interrupted is made again, and counted with unknown tokens.
            assert result["calls"] - 3 in (0, 1), point
            assert result["tokens"] == expected["tokens"], point
        if point[0] == "tool":
            assert result["again"] == [point[1]]
    assert killed >= 3


def test_a_run_that_is_killed_again_and_again_does_everything_once(
    run: Processes, server: Notebook, tmp_path: Path
) -> None:
    for number in range(12 if MORE else 3):
        world = World(run, server, tmp_path / str(number))
        suspended = world()
        kills = [(when, n) for n in range(1, 5) for when in ("after", "before")]
        kills = [kills[(at * (number + 1) + number) % len(kills)] for at in range(12)]
        assert suspended["id"] == world.ids[0]
        world.to_the_end(kills, answer="yes", again="no")
        assert max(Counter(world.notes).values(), default=0) <= 1


def test_a_process_that_is_killed_at_a_question_leaves_it_to_the_next(
    run: Processes, server: Notebook, tmp_path: Path
) -> None:
    world = World(run, server, tmp_path / "run")
    assert world(answer="yes", kill=["asked", "2.0"]) == KILLED
    (identity,) = world.ids
    assert world.notes == ["a"]
    result = world(id=identity)
    assert list(result["questions"].values()) == ['Allow {"text": "b"}?']
    result = world(id=identity, given="no", answer="yes")
    assert "text" in result
    assert world.notes == ["a", "c"]
    assert server.sent == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("request_", [1, 2])
def test_a_process_that_is_killed_while_the_model_answers_asks_it_again(
    run: Processes, server: Notebook, tmp_path: Path, request_: int
) -> None:
    world = World(run, server, tmp_path / "run")
    server.kills = request_
    assert world(answer="yes") == KILLED
    result = world.to_the_end(answer="yes")
    assert server.sent == {0: 1, 1: 1, 2: 1, request_: 2}
    assert sorted(world.notes) == NOTES
    assert (result["calls"], result["incomplete"]) == (4, True)


@pytest.mark.parametrize("times", range(8 if MORE else 2))
def test_of_several_processes_that_resume_a_run_one_goes_on(
    run: Processes, server: Notebook, tmp_path: Path, times: int
) -> None:
    world = World(run, server, tmp_path / "run")
    suspended = world()
    command = {**world.base, "id": suspended["id"], "answer": "yes"}
    answers = dict.fromkeys(suspended["questions"], "yes")
    results = world.run(*[{**command, "given": answers}] * 3)
    ended = [each for each in results if "text" in each]
    stopped = [each for each in results if "error" in each]
    assert (len(ended), len(stopped)) == (1, 2)
    assert sorted(world.notes) == NOTES
    assert server.sent == {0: 1, 1: 1, 2: 1}
    # Who comes later finds no such question, or no such run.
    assert {each["error"] for each in stopped} <= {"JournalError", "UsageError"}


def test_the_code_of_the_next_day(run: Processes, server: Notebook, tmp_path: Path) -> None:
    world = World(run, server, tmp_path / "run")
    identity = world()["id"]
    changed = world(id=identity, persona=PERSONA.replace("take", "write"), answer="yes")
    assert changed["error"] == "UsageError"
    assert "persona 'notes'" in changed["message"]
    assert "has changed" in changed["message"]
    for code in ("quiet", "embeds"):
        other = world(id=identity, code=code, answer="yes")
        assert other.get("error") == "ReplayMismatch", (code, other)
        assert "Gate" in other["plugin"]
        assert "at step 1.0 it asked for a question before it was suspended" in other["message"]
        assert "Gate' now asks for send()" in other["message"]
    assert world.notes == []
    assert world(id=identity, answer="yes")["calls"] == 3
    assert world.notes == NOTES
    assert server.sent == {0: 1, 1: 1, 2: 1}


def test_a_journal_that_is_torn_anywhere_in_its_last_lines(tmp_path: Path) -> None:
    def made(folder: Path, upstream: Upstream, **more: Any) -> Runner:
        return runner_of(folder, upstream, Gate(), **more)

    answers: list[str | Response] = [adds((1, 2), (3, 4)), "Both are added."]
    calls = Calls()
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, Upstream(answers), ask=_interrupting(2)).run(
            CALCULATOR, "Go.", tools=[calls.add]
        )
    (file,) = (tmp_path / "journals").iterdir()
    data = file.read_bytes()
    cuts = range(sum(map(len, data.splitlines(keepends=True)[:-2])), len(data))
    for cut in cuts if MORE else cuts[::7]:
        file.write_bytes(data[:cut])
        file.chmod(0o600)
        again, upstream = Calls(), Upstream(answers[1:])
        runner = made(tmp_path, upstream, ask=lambda question: "yes")
        response = runner.resume(file.stem, tools=[again.add])
        assert response.text == "Let me see.\n\nBoth are added."
        assert again.calls == [(3, 4)]
        assert len(upstream.requests) == 1
        assert not file.exists()


def _interrupting(number: int) -> Any:
    asked: list[Any] = []

    def ask(question: Any) -> str:
        asked.append(question)
        if len(asked) == number:
            raise KeyboardInterrupt
        return "yes"

    return ask


def test_who_goes_on_first_takes_the_run_from_who_waits_for_an_answer(tmp_path: Path) -> None:
    calls, upstream = Calls(), Upstream([adds((1, 2)), "Added."])
    other: list[Response | Suspended] = []

    def ask(question: Any) -> str:
        runner = runner_of(tmp_path, upstream, Gate())
        (identity,) = runner.journals.ids()
        other.append(runner.resume(identity, "yes", tools=[calls.add]))
        return "yes"

    with pytest.raises(JournalError):
        runner_of(tmp_path, upstream, Gate(), ask=ask).run(CALCULATOR, "Go.", tools=[calls.add])
    assert [each.text for each in other] == ["Let me see.\n\nAdded."]
    assert calls.calls == [(1, 2)]
    assert len(upstream.requests) == 2
