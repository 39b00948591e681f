"""An upstream that counts what each row was paid, and batches in processes of their own.

Run as a program, it runs a batch: its first argument is JSON with the arguments of `start`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from personakit import Config, Persona, Runner
from personakit.batch import Batch
from personakit.testing import Reply, Server

SOURCE = "name: tagger\nsystem: Tag it.\nvariables: {text: {}}\nprompt: '{{ text }}'\n"
MODEL = "openai/test-model"
PATIENCE = 60.0
"""Seconds after which a process of a test has hung."""


class Counting(Server):
    """A server that counts requests and answers by the text of the row.

    Attributes:
        asked: How often each text was asked for.
        paid: How often each text was answered.
        faults: The part of the requests that get an error.
        delay: Seconds before each answer.
        refused: How many of the next requests are refused for their rate.
    """

    def __init__(self, *, faults: float = 0.0, delay: float = 0.0, seed: int = 1) -> None:
        super().__init__([""])
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.faults, self.delay, self.refused = faults, delay, 0
        self._random = random.Random(seed)
        self._guard = threading.Lock()

    def reply(self, answer: Any, body: Mapping[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        with self._guard:
            self.asked[text] += 1
            roll = self._random.random()
            is_refused = self.refused > 0
            self.refused -= is_refused
        if is_refused or roll < self.faults / 2:
            head = {"retry-after": "0.05"}
            return Reply(b'{"error": {"message": "slow down"}}', 429, head)
        if roll < self.faults:
            return Reply(b'{"error": {"message": "broken"}}', 500)
        time.sleep(self.delay)
        with self._guard:
            self.paid[text] += 1
        return super().reply(f"about {text}", body)


def persona(source: str = SOURCE) -> Persona:
    """Return a persona whose only variable is `text`."""
    return Persona.parse(source, "tagger.yaml")


def numbered(count: int) -> list[dict[str, str]]:
    """Return rows with a text of their own each."""
    return [{"text": f"row {number}"} for number in range(count)]


def csv_of(path: Path, count: int) -> Path:
    """Write the rows of `numbered` as CSV."""
    lines = [row["text"] for row in numbered(count)]
    path.write_text("\n".join(["text", *lines]) + "\n", "utf-8")
    return path


def runner_of(server: Server, **given: Any) -> Runner:
    """Return a runner that sends to a server."""
    return Runner(server.config(), log=False, **given)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an output."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def failures(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the failures beside an output."""
    return lines(out.with_name(f"{out.stem}.failed.jsonl"))


def texts(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the texts of lines, sorted."""
    return sorted(line["text"] for line in found)


def start(server: Server, source: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    """Run a batch in a new process."""
    given = {
        "environ": server.environ(),
        "source": str(source),
        "out": str(out),
        "options": options,
    }
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit code and what it printed.

    Raises:
        AssertionError: It has hung; it is killed.
    """
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the batch has hung: {out}{err}") from None
    return process.returncode, out + err


def main() -> None:
    """Run a batch."""
    given = json.loads(sys.argv[1])
    config = Config(model=MODEL, path=(), environ=given["environ"])
    with Runner(config, log=False) as runner:
        batch = Batch(
            persona(), given["source"], out=given["out"], runner=runner, **given["options"]
        )
        sys.stdout.write(f"{sum(result.ok for result in batch.run())}\n")


if __name__ == "__main__":
    main()
