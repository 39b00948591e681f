"""What does a layer cost, for a call and for a piece of a stream; and what do 500 packages cost?"""

from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import ratios
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Side, contest
from benchmarks.harness.process import Ended, run
from benchmarks.harness.server import answer_of

LAYERS = (0, 1, 10, 100)
KINDS = {
    "plain": "looks at the request",
    "around": "waits for the answer",
    "live": "filters the answer",
}
PIECES = 200
INSTALLED = 500
NOTE = f"""\
Layers that change nothing, around a model that answers from memory, so that nothing else costs; \
all in µs of CPU. The last column is what one further layer costs: 100 layers less none, divided \
by 100. Streams have {PIECES} pieces, which all layers pass on ("filters") or hold back ("waits"); \
there the cost is that of a piece."""
SCAN = f"""\
Whole processes beside the same with {INSTALLED} more distributions installed, of which ten have \
an entry point of personakit, and ten one of llm."""


def ask(bench: Bench) -> list[Table]:
    """Measure layers, then the scan for entry points."""
    whole = [_layers(bench, kind, streamed=False) for kind in KINDS]
    live = [_layers(bench, kind, streamed=True) for kind in ("around", "live")]
    columns = ["Layers", *(str(count) for count in LAYERS), "one more"]
    table = Table("Plugins: the cost of layers", columns, [*whole, *live], NOTE)
    return [table, _scan(bench)]


def _layers(bench: Bench, kind: str, *, streamed: bool) -> list[Cell]:
    sides = [
        Side(str(count), "ours:layers", "personakit", ("personakit",), {"layers": count})
        for count in LAYERS
    ]
    text = answer_of(PIECES)
    job = {
        "expect": text,
        "kind": kind,
        "streamed": streamed,
        "size": len(text) // PIECES,
    }
    found = contest(bench, sides, job, Effort(bench.pick(5, 3), bench.pick(100, 20)))
    per = PIECES if streamed else 1
    name = KINDS[kind] + (", a piece of a stream" if streamed else ", a call")
    wrong = ratios.missing(found)
    if wrong:
        return [f"{name}: {next(iter(wrong.values()))}", *([None] * (len(LAYERS) + 1))]
    costs = [found[str(count)].cpu * ratios.MICRO / per for count in LAYERS]
    return [name, *costs, (costs[-1] - costs[0]) / LAYERS[-1]]


def _scan(bench: Bench) -> Table:
    rows: list[list[Cell]] = []
    missing = {}
    with TemporaryDirectory() as folder:
        site = Path(folder, "site")
        _install(site)
        for name, env, words in (
            ("**`personakit list`**", "personakit", ("-m", "personakit", "list")),
            ("**`personakit render chef`**", "personakit", ("-m", "personakit", "render", "chef")),
            ("**`personakit plugins`**", "personakit", ("-m", "personakit", "plugins")),
            ("`llm --version`", "llm", ("-m", "llm", "--version")),
        ):
            try:
                command = (bench.envs.python(env), *words)
            except Exception as why:
                missing[name] = str(why)
                continue
            took: dict[bool, list[Ended]] = {False: [], True: []}
            for _ in bench.rounds(bench.pick(9, 3)):
                for more, ended in took.items():
                    environ = bench.envs.environ(HOME=folder)
                    path = [environ.get("PYTHONPATH", ""), *([str(site)] if more else [])]
                    environ["PYTHONPATH"] = ":".join(filter(None, path))
                    ended.append(run(command, environ, folder))
                    assert ended[-1].code == 0, ended[-1].out
            few, many = (statistics.median(e.cpu for e in took[more]) for more in (False, True))
            rows.append([name, few * 1000, many * 1000, many / few])
    columns = ["Scan", "ms", f"with {INSTALLED} more", "ratio"]
    return Table("Plugins: many installed distributions", columns, rows, SCAN, missing=missing)


def _install(site: Path) -> None:
    """Make a folder of installed distributions."""
    for number in range(INSTALLED):
        info = site / f"filler_{number}-1.0.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: filler-{number}\nVersion: 1.0\n"
        (info / "METADATA").write_text(text, "utf-8")
        points = f"[console_scripts]\nfiller{number} = filler_{number}:main\n"
        if number % 50 == 0:
            (site / f"filler_{number}.py").write_text("class Filler: ...\n", "utf-8")
            points += f"\n[personakit]\nfiller{number} = filler_{number}:Filler\n"
            points += f"\n[llm]\nfiller{number} = filler_{number}\n"
        (info / "entry_points.txt").write_text(points, "utf-8")
