"""What does it cost to render a persona?"""

from __future__ import annotations

import jinja2

from benchmarks.harness import ratios, sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Side, contest

SIDES = [
    Side("Jinja2", "jinja:render", "jinja2", ("jinja2",)),
    Side("Jinja2, sandboxed", "jinja:sandboxed", "jinja2", ("jinja2",)),
    Side("**personakit**", "ours:render", "personakit", ("personakit",)),
    Side("llm", "llm:render", "llm", ("llm",)),
    Side("Banks", "banks:render", "banks", ("banks",), share=0.2),
    Side("Haystack", "haystack:render", "haystack", ("haystack-ai",), share=0.2),
    Side("Prompty", "prompty:render", "prompty", ("prompty",), share=0.1),
    Side("LangChain", "langchain:render", "langchain", ("langchain-core",), share=0.1),
    Side(
        "Semantic Kernel",
        "semantic_kernel:render",
        "semantic-kernel",
        ("semantic-kernel",),
        share=0.1,
    ),
]
NOTE = """\
A text with six variables, a loop and a condition, whose values differ each time; everything that \
can be made once is made once. Jinja2 is a compiled template and nothing else. personakit checks \
the variables' types, ranges and names and makes both messages. llm's templates have neither loop \
nor condition, which Python does here."""

CONSTRUCTS = """\
A persona with one template and values that differ each time, beside the compiled template alone, \
which is 1. personakit checks and copies the values, measures what the template does, and makes \
both messages."""
OURS = ("ours:render", "personakit", ("personakit",))
GROWTH = (1, 10, 100)
GROWN = """\
µs of CPU for a persona of so many variables, each a whole number with a minimum that the text has \
once; and for one of six variables and twice as many messages, questions and answers in turn."""


def ask(bench: Bench) -> list[Table]:
    """Compare personakit with Jinja2 and with what else has templates."""
    job = {
        "template": sample.TEMPLATE,
        "values": sample.VALUES,
        "prompt": sample.PROMPT,
        "expect": sample.TEXT,
        "persona": sample.persona(),
    }
    effort = Effort(bench.pick(15, 5), bench.pick(2000, 500))
    found = contest(bench, SIDES, job, effort)
    return [
        ratios.by_cost("Render: one persona", found, "Jinja2", note=NOTE),
        _constructs(bench),
        _growth(bench),
    ]


def _constructs(bench: Bench) -> Table:
    """Return what a render with each construct costs, beside plain Jinja2."""
    rows: list[list[Cell]] = []
    missing: dict[str, str] = {}
    for name in sample.CONSTRUCTS:
        template, values, persona = sample.construct(name)
        job = {
            "template": template,
            "values": values,
            "prompt": sample.PROMPT,
            "persona": persona,
            "expect": jinja2.Environment().from_string(template).render(values),
            "varies": "v",
        }
        sides = [SIDES[0], Side("**personakit**", *OURS)]
        found = contest(bench, sides, job, Effort(bench.pick(15, 5), bench.pick(500, 100)))
        plain, ours = (found[side.name] for side in sides)
        cost = ratios.ratio(ours.cpu, plain.cpu)
        rows.append([name, cost, plain.cpu * ratios.MICRO, ours.cpu * ratios.MICRO])
        missing |= ratios.missing(found)
    columns = ["Construct", "CPU", "Jinja2 µs", "personakit µs"]
    return Table("Render: constructs", columns, rows, CONSTRUCTS, missing=missing)


def _growth(bench: Bench) -> Table:
    """Return what a render costs with ever more variables and messages."""
    sides = []
    for count in GROWTH:
        text, values, expect = sample.grown(count)
        more = {"persona": text, "values": values, "expect": expect, "varies": "v0"}
        sides.append(Side(f"{count} variables", *OURS, more))
        sides.append(Side(f"{2 * count} messages", *OURS, {"persona": sample.persona(2 * count)}))
    job = {"values": sample.VALUES, "prompt": sample.PROMPT, "expect": sample.TEXT}
    found = contest(bench, sides, job, Effort(bench.pick(9, 3), bench.pick(300, 100)))
    columns = ["Growth", *(str(count) for count in GROWTH), "one more"]
    rows: list[list[Cell]] = []
    for what, times in (("variables", 1), ("messages", 2)):
        costs = [found[f"{times * n} {what}"].cpu * ratios.MICRO for n in GROWTH]
        one = (costs[-1] - costs[0]) / (times * (GROWTH[-1] - GROWTH[0]))
        rows.append([what if times == 1 else f"{what}, times {times}", *costs, one])
    return Table("Render: how it grows", columns, rows, GROWN, missing=ratios.missing(found))
