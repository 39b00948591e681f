"""How long until a command or an import is done, and until the first answer?"""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import Missing
from benchmarks.harness.process import Ended, run
from benchmarks.harness.server import answer_of

OURS = ("personakit", "-m", "personakit")
PASS = "`python -c pass`"
BY_HAND = "openai by hand"
ASK = f"""
from openai import OpenAI
client = OpenAI()
reply = client.chat.completions.create(
    model="test-model",
    messages=[
        {{"role": "system", "content": {sample.TEXT!r}}},
        {{"role": "user", "content": {sample.PROMPT!r}}},
    ],
)
print(reply.choices[0].message.content)
"""
IMPORTS = {
    "jinja2": ("jinja2", "import jinja2"),
    "personakit": ("personakit", "import personakit; personakit.Runner"),
    "openai": ("openai", "import openai"),
    "Banks": ("banks", "import banks"),
    "Prompty": ("prompty", "import prompty"),
    "Pydantic AI": ("pydantic-ai", "import pydantic_ai.models.openai"),
    "LangChain": ("langchain", "import langchain_openai"),
    "LiteLLM": ("litellm", "import litellm"),
    "Haystack": ("haystack", "import haystack.components.generators.chat.openai"),
    "Semantic Kernel": ("semantic-kernel", "import semantic_kernel.connectors.ai.open_ai"),
}
NOTE = f"""\
Whole processes, from exec to exit, files in the page cache, byte code compiled. 1 is {PASS}. An \
import is `python -c "import …"`; of personakit, with its `Runner`."""
FIRST = """\
From exec to exit, an answer printed: `personakit run` with a persona of six variables, and the \
shortest script that sends the same messages with openai alone. 1 is the script."""

Commands = dict[str, tuple[str, ...]]
"""An environment and what its interpreter gets, by name."""
Medians = dict[str, tuple[float, float]]
"""Seconds of CPU and of time, by name."""


def ask(bench: Bench) -> list[Table]:
    """Start commands and imports, and the first answer."""
    rounds, expect = bench.pick(15, 5), answer_of(1).strip()
    return [
        _table("Start: commands and imports", compare(bench, _starts(), rounds), PASS, NOTE),
        _table(
            "First answer: the whole process",
            compare(bench, _first(), rounds, expect),
            BY_HAND,
            FIRST,
        ),
    ]


def _starts() -> Commands:
    values = [f"{name}={value}" for name, value in sample.VALUES.items() if name != "topics"]
    render = ("render", "bench", sample.PROMPT, *(word for v in values for word in ("-v", v)))
    commands: Commands = {
        PASS: ("personakit", "-c", "pass"),
        "**`personakit --version`**": (*OURS, "--version"),
        "**`personakit list`**": (*OURS, "list"),
        "**`personakit render`**": (*OURS, *render),
        "`llm --version`": ("llm", "-m", "llm", "--version"),
        "`llm templates list`": ("llm", "-m", "llm", "templates", "list"),
    }
    for name, (env, code) in IMPORTS.items():
        bold = "**" if name == "personakit" else ""
        commands[f"{bold}import: {name}{bold}"] = (env, "-c", code)
    return commands


def _first() -> Commands:
    words = ("-m", "personakit", "run", "bench", sample.PROMPT, "-v", "location=Lyon")
    return {
        BY_HAND: ("openai", "-c", ASK),
        f"{BY_HAND}, aiohttp installed": ("openai-aiohttp", "-c", ASK),
        "**`personakit run --no-stream`**": ("personakit", *words, "--no-stream"),
        "**`personakit run --stream`**": ("personakit", *words, "--stream"),
        "**`personakit run`**, aiohttp extra": ("personakit-aiohttp", *words),
    }


def compare(
    bench: Bench, commands: Commands, rounds: int, expect: str = ""
) -> tuple[Medians, dict[str, str]]:
    """Return what commands that print `expect` take, and why others are missing."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(sample.persona(), "utf-8")
        environ = bench.envs.environ(
            PERSONAKIT_PATH=folder,
            HOME=folder,
            OPENAI_BASE_URL=bench.server.url(),
            OPENAI_API_KEY="key",
            PERSONAKIT_MODEL="openai/test-model",
        )
        took: dict[str, list[Ended]] = {name: [] for name in commands}
        missing: dict[str, str] = {}
        for number in itertools.chain([-1], bench.rounds(rounds)):  # -1 finds nothing in memory
            for name in list(took) if number % 2 == 0 else reversed(took.copy()):
                env, *words = commands[name]
                try:
                    ended = run((bench.envs.python(env), *words), environ, folder)
                    if ended.code or expect not in ended.out:
                        raise Missing(f"it ended with {ended.code}: {ended.out[-200:]}")
                except Missing as why:
                    missing[name] = str(why)
                    del took[name]
                else:
                    took[name] += [ended] if number >= 0 else []
    middle = statistics.median
    return {
        name: (middle(ended.cpu for ended in every), middle(ended.wall for ended in every))
        for name, every in took.items()
    }, missing


def _table(title: str, found: tuple[Medians, dict[str, str]], base: str, note: str) -> Table:
    medians, missing = found
    one = medians[base]
    rows: list[list[Cell]] = [
        [name, cpu / one[0], wall / one[1], cpu * 1000, wall * 1000]
        for name, (cpu, wall) in sorted(medians.items(), key=lambda pair: pair[1])
    ]
    columns = [title.partition(":")[0], "CPU", "time", "CPU ms", "time ms"]
    return Table(title, columns, rows, note, 1, missing)
