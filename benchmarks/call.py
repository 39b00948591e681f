"""What does a call cost, beside calling openai by hand?"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import ratios, sample
from benchmarks.harness.bench import Bench, Table
from benchmarks.harness.contest import Effort, Side, contest
from benchmarks.harness.server import answer_of

BY_HAND = "openai by hand"
OURS = ("personakit", "openai")
SYNC = [
    Side(BY_HAND, "openai_client:call", "openai", ("openai",)),
    Side("openai by hand, client.post", "openai_client:post", "openai", ("openai",)),
    Side("**personakit**", "ours:call", "personakit", OURS),
    Side("**personakit**, three plugins", "ours:call", "personakit", OURS, {"layers": "three"}),
    Side("**personakit**, Responses API", "ours:call", "personakit", OURS, {"api": "responses"}),
    Side("LangChain", "langchain:call", "langchain", ("langchain-openai",)),
    Side("LiteLLM", "litellm:call", "litellm", ("litellm",)),
    Side("Haystack", "haystack:call", "haystack", ("haystack-ai",)),
    Side("Pydantic AI", "pydantic_ai:call", "pydantic-ai", ("pydantic-ai-slim",)),
    Side(
        "Semantic Kernel (async)", "semantic_kernel:acall", "semantic-kernel", ("semantic-kernel",)
    ),
]
TWO_ONLY = [
    Side("Prompty", "prompty:call", "prompty", ("prompty",), share=0.5),
    Side("llm", "llm:call", "llm", ("llm",), share=0.3),
]
AIOHTTP = {"aiohttp": True}
ASYNC = [
    Side(BY_HAND, "openai_client:acall", "openai", ("openai",)),
    Side("openai by hand, aiohttp", "openai_client:acall", "openai-aiohttp", ("openai",), AIOHTTP),
    Side(
        "openai by hand, aiohttp, client.post",
        "openai_client:apost",
        "openai-aiohttp",
        ("openai",),
        AIOHTTP,
    ),
    Side("**personakit**", "ours:acall", "personakit", OURS),
    Side("**personakit**, aiohttp", "ours:acall", "personakit-aiohttp", OURS, AIOHTTP),
    Side("raw aiohttp", "openai_client:raw", "openai-aiohttp", ("aiohttp",)),
]
NOTE = """\
personakit renders a persona with six variables, a loop and a condition for each call, sends it \
and checks the answer; all others send messages that are ready, which is the least they can do \
(Prompty renders, too). One client, kept alive; the server is on loopback and answers at once. 1 \
is the openai client as its documentation has it."""


def job_of(bench: Bench, messages: int, *options: str) -> dict[str, Any]:
    """Return what the adapters get."""
    ready = sample.messages(messages)
    return {
        "base_url": bench.server.url(*options),
        "messages": ready,
        "said": [[said["role"], said["content"]] for said in ready],
        "template": sample.TEMPLATE,
        "variables": sample.VALUES,
        "prompt": sample.PROMPT,
        "persona": sample.persona(messages),
        "expect": answer_of(1),
    }


def ask(bench: Bench) -> list[Table]:
    """Compare calls one after the other, with few and many messages, and many at once."""
    effort = Effort(bench.pick(11, 3), bench.pick(100, 40))
    two = contest(bench, [*SYNC, *TWO_ONLY], job_of(bench, 2), effort)
    twenty = contest(bench, SYNC, job_of(bench, 20), effort)
    tables = [
        ratios.by_cost("Call: 2 messages, one after the other", two, BY_HAND, note=NOTE),
        ratios.by_cost("Call: 20 messages, one after the other", twenty, BY_HAND),
    ]
    for at_once in (64, 256):
        effort = Effort(bench.pick(7, 3), bench.pick(1000, 512), at_once)
        found = contest(bench, ASYNC, job_of(bench, 2), effort)
        tables.append(ratios.by_cost(f"Call: 2 messages, {at_once} at once", found, BY_HAND))
    return tables
