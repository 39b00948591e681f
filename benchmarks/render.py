"""What does it cost to render a persona?"""

from __future__ import annotations

from benchmarks.harness import ratios, sample
from benchmarks.harness.bench import Bench, Table
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
    return [ratios.by_cost("Render: one persona", found, "Jinja2", note=NOTE)]
