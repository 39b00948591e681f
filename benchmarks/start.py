"""How long until a command or an import is done, and until the first answer?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import Missing
from benchmarks.harness.process import Ended, run
from benchmarks.harness.server import answer_of

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
Whole processes, from exec to exit, files in the page cache, byte code compiled. 1 is {PASS} of the \
same environment. An import is `python -c "import …"`; of personakit, with its `Runner`."""
FIRST = """\
From exec to exit, an answer printed: `personakit run` with a persona of six variables, and the \
shortest script that sends the same messages with openai alone. 1 is the script."""

Commands = Mapping[str, tuple[str, ...]]


def ask(bench: Bench) -> list[Table]:
    """Start commands and imports, and the first answer."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(sample.persona(), "utf-8")
        environ = bench.envs.environ(
            PERSONAKIT_PATH=folder,
            HOME=folder,
            OPENAI_BASE_URL=bench.server.url(),
            OPENAI_API_KEY="key",
            PERSONAKIT_MODEL="openai/test-model",
        )

        def once(command: tuple[str, ...]) -> Ended:
            return run(command, environ, folder)

        start = _compare(bench, _starts(bench), once, bench.pick(15, 5))
        asked = _compare(bench, _first(bench), once, bench.pick(15, 5), answer_of(1).strip())
    return [
        _table("Start: commands and imports", start, PASS, NOTE),
        _table("First answer: the whole process", asked, BY_HAND, FIRST),
    ]


def _starts(bench: Bench) -> dict[str, Callable[[], tuple[str, ...]]]:
    """Return the commands by name; one of an environment that cannot be made raises."""
    values = [f"{k}={v}" for k, v in sample.VALUES.items() if k != "topics"]
    render = ("render", "bench", sample.PROMPT, *(w for v in values for w in ("-v", v)))

    def ours(*words: str) -> Callable[[], tuple[str, ...]]:
        return lambda: (bench.envs.python("personakit"), "-m", "personakit", *words)

    def line(env: str, code: str) -> Callable[[], tuple[str, ...]]:
        return lambda: (bench.envs.python(env), "-c", code)

    commands: dict[str, Callable[[], tuple[str, ...]]] = {
        PASS: line("personakit", "pass"),
        "**`personakit --version`**": ours("--version"),
        "**`personakit list`**": ours("list"),
        "**`personakit render`**": ours(*render),
    }
    for words in ("--version", "templates list"):
        commands[f"`llm {words}`"] = lambda w=words: (  # type: ignore[misc]
            bench.envs.script("llm", "llm"),
            *w.split(),
        )
    for name, (env, code) in IMPORTS.items():
        bold = "**" if name == "personakit" else ""
        commands[f"{bold}import: {name}{bold}"] = line(env, code)
    return commands


def _first(bench: Bench) -> dict[str, Callable[[], tuple[str, ...]]]:
    words = ("run", "bench", sample.PROMPT, "-v", "location=Lyon")
    found = {
        BY_HAND: lambda: (bench.envs.python("openai"), "-c", ASK),
        f"{BY_HAND}, aiohttp installed": lambda: (bench.envs.python("openai-aiohttp"), "-c", ASK),
    }
    for name, env in (("", "personakit"), (", aiohttp extra", "personakit-aiohttp")):
        for how in ("--no-stream", "--stream"):
            command = lambda e=env, h=how: (bench.envs.python(e), "-m", "personakit", *words, h)  # type: ignore[misc]  # noqa: E731
            found[f"**`personakit run {how}`**{name}"] = command
    return found


def _compare(
    bench: Bench,
    commands: Mapping[str, Callable[[], tuple[str, ...]]],
    once: Callable[[tuple[str, ...]], Ended],
    rounds: int,
    expect: str = "",
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Return the medians of CPU and time by name, and why others are missing."""
    ready: dict[str, tuple[str, ...]] = {}
    missing: dict[str, str] = {}
    for name, command in commands.items():
        try:
            ready[name] = command()
            ended = once(ready[name])
            if ended.code or expect not in ended.out:
                raise Missing(f"it ended with {ended.code}: {ended.out[-200:]}")
        except Missing as why:
            missing[name] = str(why)
            ready.pop(name, None)
    took: dict[str, list[Ended]] = {name: [] for name in ready}
    for number in range(rounds):
        for name in ready if number % 2 == 0 else reversed(ready):
            took[name].append(once(ready[name]))
    medians = {
        name: (statistics.median(e.cpu for e in all_), statistics.median(e.wall for e in all_))
        for name, all_ in took.items()
    }
    return medians, missing


def _table(
    title: str,
    found: tuple[dict[str, tuple[float, float]], dict[str, str]],
    base: str,
    note: str,
) -> Table:
    medians, missing = found
    one = medians[base]
    rows: list[list[Cell]] = [
        [name, cpu / one[0], wall / one[1], cpu * 1000, wall * 1000]
        for name, (cpu, wall) in sorted(medians.items(), key=lambda pair: pair[1][1])
    ]
    columns = ["", "CPU", "time", "CPU ms", "time ms"]
    return Table(title, columns, rows, note, 2, missing)
