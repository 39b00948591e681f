"""LiteLLM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Job = dict[str, Any]


def _arguments(job: Job) -> dict[str, Any]:
    return {
        "model": "openai/test-model",
        "messages": job["messages"],
        "api_base": job["base_url"],
        "api_key": "key",
    }


def call(job: Job) -> Callable[[], str]:
    """Call with ready messages."""
    import litellm

    arguments = _arguments(job)

    def once() -> str:
        return str(litellm.completion(**arguments).choices[0].message.content)

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    import litellm

    arguments = _arguments(job)

    async def once() -> str:
        return str((await litellm.acompletion(**arguments)).choices[0].message.content)

    return once


def batch(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """Answer the rows of a table with `batch_completion`, in threads, a line of JSON each."""
    import csv
    import json
    import os
    from pathlib import Path

    import litellm

    arguments, folder = _arguments({**job, "messages": []}), Path(job["tables"])

    async def many(times: int, at_once: int) -> list[str]:
        with (folder / f"{times}.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
        messages = [
            [
                {"role": "system", "content": job["system"].format(**row)},
                {"role": "user", "content": row["review"]},
            ]
            for row in rows
        ]
        given = {**arguments, "messages": messages, "max_workers": at_once}
        texts = [str(a.choices[0].message.content) for a in litellm.batch_completion(**given)]
        with (folder / f"{os.getpid()}.jsonl").open("w", encoding="utf-8") as out:
            for row, text in zip(rows, texts, strict=True):
                out.write(json.dumps({"id": row["id"], "text": text}) + "\n")
        return texts

    return many
