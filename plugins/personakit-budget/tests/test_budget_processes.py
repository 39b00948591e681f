"""Processes that share a ledger, and the command that reads it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from personakit_budget import Budget
from personakit_budget.ledger import Ledger

from personakit.testing import persona, runner

WORKER = """
import sys
from personakit import Blocked
from personakit.testing import persona, runner
from personakit_budget import Budget

for folder, limit in zip(sys.argv[1:], (1_000_000, 400)):
    running, upstream = runner(["sixsix"], plugins=[Budget(day_tokens=limit, folder=folder)])
    for _ in range(25):
        try:
            running.run(persona(), "Hi", parameters={"max_tokens": 6})
        except Blocked as error:
            assert "day_tokens" in error.reason, error.reason
    print(len(upstream.requests))
"""


# Each thread opens the file while others hold SQLite's locks on it.
THREADS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from personakit import Amount
from personakit_budget.ledger import Call, Ledger

folder, name = sys.argv[1:]
ledger = Ledger(Path(folder))

def call(number):
    made = Call(f"{name}-{number}", "persona", time.time(), 0.0)
    ledger.settle(ledger.reserve_for(made, lambda spent: Amount(1, 1)), Amount(1, 1))

with ThreadPoolExecutor(4) as pool:
    list(pool.map(call, range(60)))
"""


def tokens_in(folder: Path) -> int:
    """Return the settled tokens: by then, reservations have expired."""
    later = time.time() + 86_400
    return sum(total.tokens for total in Ledger(folder).by_persona(0, later).values())


def test_four_processes_share_sums_and_a_limit(tmp_path: Path) -> None:
    free, limited = tmp_path / "free", tmp_path / "limited"
    command = [sys.executable, "-c", WORKER, str(free), str(limited)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    made = [list(map(int, worker.communicate()[0].split())) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    assert [calls for calls, _ in made] == [25] * 4
    assert tokens_in(free) == 800
    calls = sum(calls for _, calls in made)
    assert 20 < calls < 100
    assert tokens_in(limited) == 8 * calls <= 400


def test_threads_of_several_processes_lose_no_call(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", THREADS, str(tmp_path), name], stderr=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    assert [worker.communicate()[1] for worker in workers] == [""] * 3
    assert tokens_in(tmp_path) == 180


def command(*args: str, home: Path) -> Any:
    environ = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    return subprocess.run(
        [sys.executable, "-m", "personakit", "budget", *args],
        capture_output=True, text=True, env=environ, check=False,
    )  # fmt: skip


def test_the_command_shows_today(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "personakit" / "budget"
    assert "no usage since" in command(home=tmp_path).stdout
    assert not folder.exists()
    running, _ = runner(["sixsix"], plugins=[Budget(folder=str(folder))])
    running.run(persona(), "Hi")
    shown = command("--json", "--folder", str(folder), home=tmp_path)
    assert json.loads(shown.stdout) == {
        "test": {"calls": 1, "tokens": 8, "usd": 0.0, "unpriced_calls": 1}
    }
    table = command("--folder", str(folder), home=tmp_path).stdout.splitlines()
    assert [line.split() for line in table] == [
        ["persona", "calls", "tokens", "usd"],
        ["test", "1", "8", "0.0000+"],
    ]
    wrong = command("--timezone", "Mars", home=tmp_path)
    assert wrong.returncode == 1
    assert "unknown timezone 'Mars'" in wrong.stderr
