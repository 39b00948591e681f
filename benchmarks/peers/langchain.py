"""LangChain with its openai package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Job = dict[str, Any]


def _template(job: Job) -> Any:
    from langchain_core.prompts import ChatPromptTemplate

    return ChatPromptTemplate.from_messages(
        [("system", job["template"]), ("user", "{{ prompt }}")], template_format="jinja2"
    )


def render(job: Job) -> Callable[[], str]:
    """Format a Jinja2 message template that is made once."""
    made = _template(job)
    fresh = {"prompt": job["prompt"]}, job["fresh"]

    def once() -> str:
        said = made.format_messages(**fresh[0], **fresh[1]())
        return str(said[0].content)

    return once


def _model(job: Job) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="test-model", base_url=job["base_url"], api_key="key")


def call(job: Job) -> Callable[[], str]:
    """Call with ready messages."""
    model, messages = _model(job), job["messages"]

    def once() -> str:
        return str(model.invoke(messages).content)

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    model, messages = _model(job), job["messages"]

    async def once() -> str:
        return str((await model.ainvoke(messages)).content)

    return once


def abatch(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """Send many with its own way to do so."""
    return _batched(_model(job), job["messages"])


def abatch_rendered(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """As `abatch`, each rendered from the template that `render` formats."""
    return _batched(_template(job) | _model(job), {**job["variables"], "prompt": job["prompt"]})


def _batched(chain: Any, given: Any) -> Callable[[int, int], Awaitable[list[str]]]:
    async def many(times: int, at_once: int) -> list[str]:
        config = {"max_concurrency": at_once}
        return [str(said.content) for said in await chain.abatch([given] * times, config)]

    return many


def batch(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """Answer the rows of a table with `abatch`, a line of JSON each."""
    import csv
    import json
    import os
    from pathlib import Path

    from langchain_core.prompts import ChatPromptTemplate

    chain = ChatPromptTemplate([("system", job["system"]), ("user", "{review}")]) | _model(job)
    folder = Path(job["tables"])

    async def many(times: int, at_once: int) -> list[str]:
        with (folder / f"{times}.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
        answers = await chain.abatch(rows, {"max_concurrency": at_once})
        with (folder / f"{os.getpid()}.jsonl").open("w", encoding="utf-8") as out:
            for row, said in zip(rows, answers, strict=True):
                out.write(json.dumps({"id": row["id"], "text": said.content}) + "\n")
        return [str(said.content) for said in answers]

    return many
