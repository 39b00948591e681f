"""Are the answers of the embedded model any good, and with which sampling most often?

Twelve packaged personas answer one prompt each with twenty seeds, and a program judges the answers.
A seed gives the same answer each time, however many are answered at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.envs import CACHE
from benchmarks.harness.judged import Demand, repeated_lines, repeated_phrases

LONGEST = 400
"""Tokens; what has not ended by then never does."""
AT_ONCE = 8
LIGHT = {
    "min_p": 0.5,
    "repeat_penalty": 1.05,
    "repeat_last_n": 64,
    "dry_multiplier": 0.8,
    "dry_allowed_length": 5,
    "dry_penalty_last_n": 64,
}
NO_BREAKER = {"dry_penalty_last_n": 2048, "dry_sequence_breakers": ("<|im_end|>",)}
END = "logit_bias"
"""The token that ends an answer has the number 2; a bias favours it."""

CONFIGURATIONS: dict[str, Mapping[str, Any]] = {
    "`min_p` 0.5, DRY after 5 tokens, 64 tokens back": LIGHT,
    "`min_p` 0.2, DRY after 2, no breaker": {
        **LIGHT, **NO_BREAKER, "min_p": 0.2, "repeat_penalty": 1.0, "dry_allowed_length": 2,
    },
    "**`min_p` 0.5, DRY after 8, no breaker, end +2**": {
        **LIGHT, **NO_BREAKER, "dry_allowed_length": 8, END: {"2": 2.0},
    },
}  # fmt: skip
"""The row in bold is the plugin's default."""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt for a persona, and what its answer must be like."""

    persona: str
    prompt: str
    demand: Demand
    variables: Mapping[str, Any] = field(default_factory=dict)


DIFF = """\
--- a/shop/price.py
+++ b/shop/price.py
@@ -10,3 +10,3 @@ def total(lines):
-    return sum(line.price for line in lines)
+    return sum(line.price * line.quantity for line in lines)
"""
TEXT = """\
The town library closes for repairs from 3 March to 14 April. The roof leaks, and the heating is \
forty years old. Books can be returned at the town hall on weekdays. Loans are extended until \
30 April without a fee. During the repairs, a bus with 2,000 books stops at the market each \
Saturday from 9 to 13. The repairs cost 410,000 euros, of which the region pays half.
"""

TASKS = (
    Task("explainer", "Why is the sky blue?", Demand(words=(40, 250), has=[r"light"])),
    Task(
        "chef",
        "A quick vegan dinner for two",
        Demand(words=(40, 300), has=[r"^\W*1\.", r"^\W*2\."], lacks=["please tell me", "chicken"]),
        {"guests": 2, "diet": "vegan"},
    ),
    Task(
        "email-writer",
        "Ask Ben to send the sales figures by Friday. The meeting is on Monday.",
        Demand(words=(15, 190), has=[r"\ASubject: \S", r"\bBen\b", r"^\W*Ann\b", "Friday"]),
        {"sender": "Ann"},
    ),
    Task("summarizer", TEXT, Demand(words=(15, 100), has=["library"])),
    Task(
        "translator",
        "The meeting is on Monday at nine. Please bring your own cup.",
        Demand("French", (5, 30), lacks=["meeting"]),
    ),
    Task(
        "tutor",
        "How do I solve 2x + 3 = 11?",
        Demand(words=(8, 150), has=[r"\?\W*\Z"]),
        {"subject": "mathematics"},
    ),
    Task(
        "commit-message",
        DIFF,
        Demand(words=(3, 80), has=[r"\A(feat|fix|refactor|perf|chore)(\([\w/.-]+\))?: .{5,60}$"]),
    ),
    Task(
        "brainstormer",
        "How can a small bakery sell yesterday's bread?",
        Demand(words=(30, 300), has=[r"^\W*1\.", r"^\W*5\.", "bread"], lacks=[r"^\W*7\."]),
        {"ideas": 5},
    ),
    Task(
        "language-partner",
        "Hola, me gusta cocinar.",
        Demand("Spanish", (5, 120), has=[r"\?"]),
    ),
    Task(
        "support-agent",
        "The app shows a white screen after the update.",
        Demand(words=(15, 200), has=["app|screen|update"], lacks=["password"]),
        {"company": "Nordlicht"},
    ),
    Task(
        "travel-planner",
        "Plan two days in Lisbon in May.",
        Demand(words=(40, 300), has=["Lisbon", "morning", "afternoon", "evening"]),
        {"days": 2},
    ),
    Task(
        "ux-writer",
        "The password that the user typed is too short.",
        Demand(words=(8, 90), has=[r"^1\.", r"^2\.", "^Why:"]),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and its faults; a good one has none."""

    persona: str
    seed: int
    text: str
    ended: bool
    repeats: bool
    faults: list[str]

    @property
    def bad(self) -> bool:
        """Whether anything is wrong with it."""
        return not self.ended or self.repeats or bool(self.faults)


def ask(bench: Bench) -> list[Table]:
    """Ask the embedded model with every configuration of its sampling."""
    os.environ["PERSONAKIT_LOCAL_PARALLEL"] = str(AT_ONCE)
    answers = {
        name: trial(sampling, bench.pick(20, 2), name) for name, sampling in CONFIGURATIONS.items()
    }
    return tables(answers)


def trial(sampling: Mapping[str, Any], seeds: int, name: str) -> list[Answer]:
    """Return the judged answers of every task with some seeds; keep them in a file, to be read."""
    import openai
    from personakit_local import connect

    from personakit import Runner

    endpoint = connect("")
    assert endpoint.api_key is not None
    with (
        Runner() as runner,
        openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key.reveal()) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def answer(task: Task, seed: int) -> Answer:
            request = runner.render(task.persona, task.prompt, variables=task.variables)
            body = {
                "messages": [
                    {"role": message.role, "content": message.text} for message in request.messages
                ],
                "temperature": request.parameters["temperature"],
                "max_tokens": LONGEST,
                "seed": seed,
                **sampling,
            }
            reply = client.post("/chat/completions", body={"model": "m", **body}, cast_to=object)
            choice: Any = reply["choices"][0]  # type: ignore[index]
            text = choice["message"]["content"]
            return Answer(
                task.persona,
                seed,
                text,
                choice["finish_reason"] == "stop",
                bool(repeated_lines(text) or repeated_phrases(text)),
                task.demand.faults(text),
            )

        jobs = [pool.submit(answer, task, seed) for task in TASKS for seed in range(1, seeds + 1)]
        answers = [job.result() for job in jobs]
    folder = CACHE / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({name: getattr(it, name) for name in Answer.__slots__}) for it in answers]
    file = re.sub(r"\W+", "-", name.strip("*` "))
    (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return answers


def tables(trials: Mapping[str, list[Answer]]) -> list[Table]:
    """Return how many answers are bad with each configuration, and of which personas."""
    return [_table(trials), _by_persona(trials)]


def _table(trials: Mapping[str, list[Answer]]) -> Table:
    rows: list[list[Cell]] = [
        [
            name,
            str(sum(not it.ended for it in answers)),
            str(sum(it.repeats for it in answers)),
            str(sum(not it.ended or it.repeats for it in answers)),
            str(sum(bool(it.faults) for it in answers)),
            str(sum(it.bad for it in answers)),
        ]
        for name, answers in trials.items()
    ]
    columns = ["Sampling", "no end", "repeats", "either", "persona's checks", "bad"]
    number = len(next(iter(trials.values())))
    return Table(f"Answers: bad ones of {number}", columns, rows)


def _by_persona(trials: Mapping[str, list[Answer]]) -> Table:
    rows: list[list[Cell]] = [
        [
            task.persona,
            *(
                str(sum(it.bad for it in answers if it.persona == task.persona))
                for answers in trials.values()
            ),
        ]
        for task in TASKS
    ]
    return Table("Answers: bad ones of each persona", ["Persona", *trials], rows)
