"""What does a row of a batch cost, and what does it cost to go on with one?"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.call import AIOHTTP, OURS
from benchmarks.harness import process, ratios
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Measured, Side, contest
from benchmarks.harness.envs import Missing
from benchmarks.harness.server import answer_of

BY_HAND = "openai by hand"
BY_HAND_AIOHTTP = "openai by hand, aiohttp"
COMMAND = "**`personakit batch`**"
SIDES = [
    Side(BY_HAND, "openai_client:batch", "openai", ("openai",), share=0.4),
    Side(BY_HAND_AIOHTTP, "openai_client:batch", "openai-aiohttp", ("openai",), AIOHTTP, share=0.4),
    Side("**`Batch.arun`**", "ours:batch", "personakit", OURS),
    Side("**`Batch.arun`**, aiohttp", "ours:batch", "personakit-aiohttp", OURS),
    Side("LangChain `abatch`", "langchain:batch", "langchain", ("langchain-openai",), share=0.1),
    Side("LiteLLM `batch_completion`", "litellm:batch", "litellm", ("litellm",), share=0.05),
]
GOALS = {"": 0.8, ", aiohttp": 0.5}
"""The most CPU of a row of ours beside the same row by hand, by what sends the requests."""
RESUME, MEMORY, LIMIT = 1.5, 100, 60
"""The other goals: times reading the output, bytes a row, and seconds."""
AT_ONCE = 64
_SERVING = Path(__file__).with_name("serving")
_SYSTEM = (
    "You sort reviews of {product}, sold in {country}. Answer with one word: positive, negative "
    "or mixed."
)
_REVIEWS = (
    'It came on time, "as described", and works.',
    "Broken after two days; the shop did not answer.",
    "Good value. The colour is not that of the picture, though.",
    "Je le recommande à tout le monde.",
)
ROWS = """\
{times:,} rows of a CSV file with five columns, {at_once} requests at once to a server on loopback \
that answers at once, each answer written to a file of JSON lines; the median of up to {rounds} \
runs. By hand, a task for each row formats two messages, waits for a semaphore, calls \
`chat.completions.create` and writes a line. personakit checks all rows first, renders its persona \
for each, paces the requests and keeps its journal; the command is measured without what one row \
takes, and it raises the thresholds of the garbage collector, which all others leave. The others \
do fewer rows: by hand two fifths, LangChain a tenth, LiteLLM a twentieth."""
HELD = """\
The most memory of a process with {many:,} rows beside one with {few:,}, for each row more. The \
rows are checked, with unique keys and all contents compared; then a finished batch is run again, \
as it is and after its index was lost, which a batch writes every ten seconds and at its end. \
Resuming is compared with reading the output once, line by line, with `json.loads`, both without \
the start of the interpreter and the imports. The medians of {rounds} runs."""
LEARNT = """\
The controller of a batch beside simulated providers whose limit nobody told it, in virtual time: \
the seconds until the answers of the last ten were 90 % of what the provider can give, the share \
of that in the last of {minutes} minutes, and the requests that were refused, each of which is \
sent again. An answer takes half a second."""


def ask(bench: Bench) -> list[Table]:
    """Compare rows with peers, and measure memory, going on and learning a limit."""
    with TemporaryDirectory(prefix="personakit-bench-") as folder:
        return [_rows(bench, Path(folder)), _ended(bench, Path(folder)), _limits(bench)]


def write_table(file: Path, rows: int) -> None:
    """Write a table of reviews."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "product", "country", "stars", "review"])
        for row in range(rows):
            review = f"{_REVIEWS[row % len(_REVIEWS)]} Order {row}."
            writer.writerow([f"r{row:07}", f"lamp {row % 97}", "France", row % 5 + 1, review])


def persona() -> str:
    """Return the persona of the rows; JSON is YAML."""
    system = _SYSTEM.replace("{", "{{ ").replace("}", " }}")
    declared = {"product": {"required": True}, "country": {"required": True}}
    return json.dumps({"name": "sorter", "variables": declared, "system": system})


def _rows(bench: Bench, folder: Path) -> Table:
    effort = Effort(bench.pick(5, 1), bench.pick(10_000, 400), AT_ONCE)
    shares = {effort.times, effort.times // 10}
    counts = {max(1, int(times * side.share)) for times in shares for side in SIDES}
    for count in {*counts, 1, AT_ONCE}:
        write_table(folder / f"{count}.csv", count)
    job: dict[str, Any] = {
        "base_url": bench.server.url(),
        "tables": str(folder),
        "persona": persona(),
        "system": _SYSTEM,
        "expect": answer_of(1),
    }
    found = contest(bench, SIDES, job, effort)
    for kind in GOALS:
        found[COMMAND + kind] = _command(bench, folder, f"personakit{kind and '-aiohttp'}", effort)
    rows: list[list[Cell]] = []
    bases = {kind: found[BY_HAND + kind] for kind in GOALS}
    for name, side in ratios.ranked(found).items():
        kind = ", aiohttp" if name.endswith(", aiohttp") else ""
        cost = ratios.ratio(side.cpu, bases[kind].cpu)
        goal = f"≤ {GOALS[kind]}" if name.startswith("**") else None
        wall = side.wall * ratios.MICRO if side.wall else None
        rows.append([name, cost, goal, side.cpu * ratios.MICRO, wall])
    note = ROWS.format(times=effort.times, at_once=AT_ONCE, rounds=effort.rounds)
    columns = ["Row", "CPU beside by hand", "goal", "CPU µs", "time µs"]
    absent, versions = ratios.missing(found), ratios.versions(found)
    return Table("Batch: a row", columns, rows, note, 1, absent, versions)


def _command(bench: Bench, folder: Path, env: str, effort: Effort) -> Measured:
    """Return what a row of the command takes, without what one row alone takes."""
    try:
        python = bench.envs.python(env)
    except Missing as missing:
        return Measured(missing=str(missing))
    file = folder / "sorter.yaml"
    file.write_text(persona(), "utf-8")
    url, took = bench.server.url(), {1: [0.0, 0.0], effort.times: [0.0, 0.0]}
    environ = bench.envs.environ(OPENAI_BASE_URL=url, OPENAI_API_KEY="key", NO_COLOR="1")
    rounds = []
    for number in bench.rounds(effort.rounds):
        for count in took:
            out = folder / f"{env}-{number}-{count}.jsonl"
            command = [python, "-P", "-m", "personakit", "batch", str(file)]
            command += [str(folder / f"{count}.csv"), "-o", str(out), "--key", "id"]
            command += ["--input", "review", "--concurrency", str(AT_ONCE)]
            command += ["--model", "openai/test-model"]
            ended = process.run(command, environ, str(folder), limit=300)
            if ended.code or out.read_bytes().count(b"\n") != count:
                return Measured(missing=f"it ended with {ended.code}: {ended.out[-200:]}")
            took[count] = [ended.cpu, ended.wall]
        pairs = zip(took[effort.times], took[1], strict=True)
        rounds.append([(many - one) / (effort.times - 1) for many, one in pairs])
    cpu, wall = (sorted(each)[len(rounds) // 2] for each in zip(*rounds, strict=True))
    return Measured(cpu=cpu, wall=wall)


@dataclass(frozen=True, slots=True)
class _Took:
    """What an action of `benchmarks.serving.finished` took: seconds, and the most bytes."""

    cpu: float
    wall: float
    memory: int


class _Finished:
    """A batch of which every row has an answer, in a folder of its own."""

    def __init__(self, bench: Bench, folder: Path, rows: int) -> None:
        self._bench, self._folder = bench, folder
        folder.mkdir()
        (folder / "persona.yaml").write_text(persona(), "utf-8")
        write_table(folder / "rows.csv", rows)

    def act(self, action: str, rounds: int = 1) -> _Took:
        """Return what an action takes, the medians of some rounds.

        Raises:
            Missing: It failed.
        """
        python = self._bench.envs.python("personakit")
        command = [python, "-P", str(_SERVING / "finished.py"), action, str(self._folder)]
        found = []
        for _ in range(rounds):
            if action == "rebuild":
                command[3] = "resume"
                (self._folder / "out.jsonl.index").unlink()
            environ = self._bench.envs.environ()
            ended = process.run(command, environ, str(self._folder), limit=600)
            if ended.code:
                raise Missing(f"{action} ended with {ended.code}: {ended.out[-300:]}")
            found.append((*json.loads(ended.out), ended.memory))
        cpu, wall, memory = (sorted(each)[rounds // 2] for each in zip(*found, strict=True))
        return _Took(cpu, wall, memory)


def _ended(bench: Bench, folder: Path) -> Table:
    few, many = bench.pick(50_000, 500), bench.pick(250_000, 2500)
    most, rounds = bench.pick(1_000_000, 2500), bench.pick(3, 1)
    rows: list[list[Cell]] = []
    note = HELD.format(few=few, many=many, rounds=rounds)
    columns = ["Figure", "measured", "goal", "CPU s", "time s"]
    title = f"Batch: memory, and going on with {most:,} done rows"
    try:
        small, large = (_Finished(bench, folder / f"rows{n}", n) for n in (few, many))
        for batch in (small, large):
            batch.act("make")
        held = {"check": "checked", "resume": "resumed", "rebuild": "resumed without the index"}
        for action, name in list(held.items())[: bench.pick(3, 1)]:
            first, second = small.act(action), large.act(action)
            each = (second.memory - first.memory) / (many - few)
            rows.append([f"bytes a row, {name}", f"{each:.0f}", f"≤ {MEMORY}", None, None])
        largest = large
        if most != many:
            largest = _Finished(bench, folder / f"rows{most}", most)
            largest.act("make")
        read = largest.act("read", rounds)
        rows.append(["reading the output", 1.0, None, read.cpu, read.wall])
        names = {"resume": "resuming", "rebuild": "resuming, without the index"}
        for action, name in names.items():
            took = largest.act(action, rounds)
            goal = f"≤ {RESUME}"
            rows.append([name, ratios.ratio(took.cpu, read.cpu), goal, took.cpu, took.wall])
    except Missing as missing:
        return Table(title, columns, rows, note, 0, {"personakit": str(missing)})
    return Table(title, columns, rows, note)


def _limits(bench: Bench) -> Table:
    seconds = bench.pick(180, 60)
    title, note = "Batch: learning a limit", LEARNT.format(minutes=seconds // 60)
    columns = ["Provider", "seconds to 90 %", "goal", "share later", "refused"]
    try:
        command = [bench.envs.python("personakit"), "-P", str(_SERVING / "limits.py")]
    except Missing as missing:
        return Table(title, columns, [], note, 0, {"personakit": str(missing)})
    ended = process.run([*command, str(seconds)], bench.envs.environ(), str(_SERVING), limit=300)
    if ended.code:
        return Table(title, columns, [], note, 0, {"personakit": ended.out[-300:]})
    found: Mapping[str, tuple[float | None, float, int]] = json.loads(ended.out)
    rows: list[list[Cell]] = [
        [name, "never" if first is None else f"{first}", f"≤ {LIMIT}", share, f"{refused:,}"]
        for name, (first, share, refused) in found.items()
    ]
    return Table(title, columns, rows, note)
