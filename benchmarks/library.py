"""Does it matter how many personas there are?"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import CACHE, Missing
from benchmarks.harness.process import Ended, run
from benchmarks.peers.prompty import HEAD

NUMBERS = (10, 1_000, 20_000, 100_000)
BIG = 20_000
LIMIT = 60.0
SETTLED = 2.5
"""Seconds after which nobody need doubt that a file's time would tell of a change."""
TOO_LONG = f"> {LIMIT:.0f}"
NOTE = f"""\
Whole processes, in seconds, with so many persona files in one folder. *first* is the first time, \
*again* when nothing has changed since, *changed* after one file was written. Memory is the most \
that the process held, in MiB. What takes longer \
than {LIMIT:.0f} s is stopped."""
PEERS = """\
Whole processes, in seconds, with as many files of the same text in the peer's own format. Prompty \
and Banks have no command, so a script of two lines does it."""
LOAD_ALL = """
import glob, prompty
print(len([prompty.load(file).name for file in glob.glob("*.prompty")]))
"""
FIND_ONE = """
from banks.registries import DirectoryPromptRegistry
print(DirectoryPromptRegistry(".", force_reindex=%s).get(name="bench%d").name)
"""


def ask(bench: Bench) -> list[Table]:
    """Ask the command line about folders of every size."""
    # What is measured first finds no index; the folders are made anew each time.
    shutil.rmtree(CACHE / "library", ignore_errors=True)
    numbers = [number for number in NUMBERS if number <= bench.pick(10**9, 1000)]
    return [_ours(bench, numbers), _peers(bench, min(BIG, numbers[-1]))]


def _fill(folder: Path, number: int, ending: str, make: Callable[[str], str]) -> Path:
    """Make a folder of so many files."""
    folder.mkdir(parents=True)
    for at in range(number):
        name = f"bench{at}"
        (folder / (name + ending)).write_text(make(name), "utf-8")
    return folder


def _ours(bench: Bench, numbers: list[int]) -> Table:
    columns = ["personakit", *(f"{number:,}" for number in numbers), "memory"]
    rows: dict[str, list[Cell]] = {}
    memory: dict[str, int] = {}
    for number in numbers:
        home = CACHE / "library" / f"ours-{number}"
        folder = _fill(home / "all", number, ".yaml", lambda name: sample.persona(name=name))
        environ = bench.envs.environ(HOME=str(home), PERSONAKIT_PATH=str(folder))
        time.sleep(SETTLED)
        last = f"bench{number - 1}"
        completion = {
            "_PERSONAKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": f"personakit run {last[:-1]}",
            "COMP_CWORD": "2",
        }
        render = ("render", last, "Hi", "-v", "location=Lyon")
        for name, words, more, times, expect in (
            ("`render` one by name", render, {}, bench.pick(7, 3), "Lyon"),
            ("`list`, first", ("list",), {}, 1, last),
            ("`list`, again", ("list",), {}, bench.pick(5, 2), last),
            ("`list`, changed", ("list",), {}, 1, "Plans quick"),
            ("`list --json`, again", ("list", "--json"), {}, bench.pick(5, 2), last),
            ("completion of a name", (), completion, bench.pick(5, 2), last),
        ):
            if "changed" in name:
                text = sample.persona(name="bench0").replace("Plans", "Plans quick")
                (folder / "bench0.yaml").write_text(text, "utf-8")
            command = (bench.envs.python("personakit"), "-m", "personakit", *words)
            row = rows.setdefault(f"**{name}**", [])
            if row and row[-1] == TOO_LONG:  # a larger folder takes no less
                row.append(TOO_LONG)
                continue
            cell, held = _timed(command, {**environ, **more}, str(home), times, expect)
            row.append(cell)
            memory[f"**{name}**"] = held
    cells = [[name, *row, memory[name] / 2**20] for name, row in rows.items()]
    columns[-1] += f" at {numbers[-1]:,}, MiB"
    return Table("Library: personakit", columns, cells, NOTE)


def _peers(bench: Bench, number: int) -> Table:
    base = CACHE / "library"
    body = json.dumps({"system": sample.TEXT})
    llm = _fill(base / "llm" / "templates", number, ".yaml", lambda name: body)
    text = HEAD % ("http://127.0.0.1:1/v1", sample.TEMPLATE, sample.PROMPT)
    prompty = _fill(
        base / "prompty",
        number,
        ".prompty",
        lambda name: text.replace("name: bench", f"name: {name}"),
    )
    banks = _fill(base / "banks", number, ".0.jinja", lambda name: sample.TEMPLATE)
    environ = bench.envs.environ(LLM_USER_PATH=str(llm.parent), HOME=str(base))
    rows: list[list[Cell]] = []
    missing = {}
    last = f"bench{number - 1}"
    commands = {
        "`llm templates list`": (llm, last, ("llm", "-m", "llm", "templates", "list")),
        "Prompty, load all": (prompty, str(number), ("prompty", "-c", LOAD_ALL)),
        "Banks, find one, first": (banks, last, ("banks", "-c", FIND_ONE % (True, number - 1))),
        "Banks, find one, again": (banks, last, ("banks", "-c", FIND_ONE % (False, number - 1))),
    }
    for name, (folder, expect, (env, *words)) in commands.items():
        try:
            command = (bench.envs.python(env), *words)
            cell, held = _timed(command, environ, str(folder), 1, expect)
            rows.append([name, cell, held / 2**20])
        except Missing as why:
            missing[name] = str(why)
    columns = ["Peers", f"{number:,}", "memory MiB"]
    return Table("Library: peers", columns, rows, PEERS, missing=missing)


def _timed(
    command: tuple[str, ...], environ: dict[str, str], folder: str, times: int, expect: str
) -> tuple[Cell, int]:
    """Return the median of the seconds that a command takes, and the most memory."""
    took: list[Ended] = []
    for _ in range(times):
        took.append(run(command, environ, folder, limit=LIMIT))
        if took[-1].code == -9:
            return TOO_LONG, took[-1].memory
        if took[-1].code or expect not in took[-1].out:
            said = took[-1].out.strip()[-60:] or "nothing"
            return f"wrong: {' '.join(said.split())}", took[-1].memory
    return statistics.median(ended.wall for ended in took), max(e.memory for e in took)
