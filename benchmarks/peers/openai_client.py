"""The openai package by itself: as it comes, with its aiohttp client, and through its `post`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

Job = dict[str, Any]


def call(job: Job) -> Callable[[], str]:
    """Call `chat.completions.create` with ready messages."""
    from openai import OpenAI

    create, messages = (
        OpenAI(base_url=job["base_url"], api_key="key").chat.completions.create,
        job["messages"],
    )

    def once() -> str:
        return create(model="test-model", messages=messages).choices[0].message.content or ""

    return once


def post(job: Job) -> Callable[[], str]:
    """Call the client's `post` and take the JSON as it comes."""
    from openai import OpenAI

    client = OpenAI(base_url=job["base_url"], api_key="key")
    body = {"model": "test-model", "messages": job["messages"]}

    def once() -> str:
        reply: Any = client.post("/chat/completions", cast_to=object, body=body)
        text: str = reply["choices"][0]["message"]["content"]
        return text

    return once


def _client(job: Job) -> Any:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http: dict[str, Any] = {"http_client": DefaultAioHttpClient()} if job.get("aiohttp") else {}
    return AsyncOpenAI(base_url=job["base_url"], api_key="key", **http)


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    client, messages = _client(job), job["messages"]

    async def once() -> str:
        reply = await client.chat.completions.create(model="test-model", messages=messages)
        text: str = reply.choices[0].message.content
        return text

    return once


def apost(job: Job) -> Callable[[], Awaitable[str]]:
    """As `post`, awaited."""
    client = _client(job)
    body = {"model": "test-model", "messages": job["messages"]}

    async def once() -> str:
        reply: Any = await client.post("/chat/completions", cast_to=object, body=body)
        text: str = reply["choices"][0]["message"]["content"]
        return text

    return once


def stream(job: Job) -> Callable[[], Iterator[str]]:
    """Read a stream as the client gives it."""
    from openai import OpenAI

    client = OpenAI(base_url=job["base_url"], api_key="key")

    def once() -> Iterator[str]:
        events = client.chat.completions.create(
            model="test-model", messages=job["messages"], stream=True
        )
        for event in events:
            yield event.choices[0].delta.content or ""

    return once


def astream(job: Job) -> Callable[[], AsyncIterator[str]]:
    """As `stream`, for `async for`."""
    client = _client(job)

    async def once() -> AsyncIterator[str]:
        events = await client.chat.completions.create(
            model="test-model", messages=job["messages"], stream=True
        )
        async for event in events:
            yield event.choices[0].delta.content or ""

    return once


def raw(job: Job) -> Callable[[], Awaitable[str]]:
    """Call with aiohttp alone: no retries, no checks."""
    import json

    import aiohttp

    body = {"model": "test-model", "messages": job["messages"]}
    address = job["base_url"] + "/chat/completions"
    session: list[aiohttp.ClientSession] = []

    async def once() -> str:
        if not session:
            session.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        async with session[0].post(address, json=body) as reply:
            text: str = json.loads(await reply.read())["choices"][0]["message"]["content"]
            return text

    return once


def batch(job: Job) -> Callable[[int, int], Awaitable[list[str]]]:
    """Answer the rows of a table as most do it: a task a row, a semaphore, a line of JSON each."""
    import asyncio
    import csv
    import json
    import os
    from pathlib import Path

    client, folder = _client(job), Path(job["tables"])

    async def many(times: int, at_once: int) -> list[str]:
        turn = asyncio.Semaphore(at_once)

        async def one(row: dict[str, str]) -> str:
            async with turn:
                reply = await client.chat.completions.create(
                    model="test-model",
                    messages=[
                        {"role": "system", "content": job["system"].format(**row)},
                        {"role": "user", "content": row["review"]},
                    ],
                )
            choice = reply.choices[0]
            line = {
                "id": row["id"],
                "text": choice.message.content,
                "finish_reason": choice.finish_reason,
                "tokens": reply.usage.total_tokens,
            }
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            return str(line["text"])

        with (
            (folder / f"{times}.csv").open(encoding="utf-8", newline="") as table,
            (folder / f"{os.getpid()}.jsonl").open("w", encoding="utf-8") as out,
        ):
            return await asyncio.gather(*(one(row) for row in csv.DictReader(table)))

    return many
