"""What the openai client gets from the embedded model, whole and streamed, sync and async."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest

from personakit import Config, Endpoint, Persona, Runner

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam as Message

CHEF = "Act as a chef whose name is Florent. You propose healthy, easy, quick, economical recipes."
ALONE: list[Message] = [{"role": "system", "content": CHEF}]
GREETED: list[Message] = [*ALONE, {"role": "user", "content": "Please begin."}]
FIXED: dict[str, Any] = {"model": "m", "temperature": 0.9, "seed": 7}


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=endpoint.base_url, api_key=key_of(endpoint)) as client:
        yield client


@asynccontextmanager
async def opened(endpoint: Endpoint) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=key_of(endpoint)) as client:
        yield client


def test_a_system_message_alone_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(messages=ALONE, max_tokens=2084, **FIXED)
    choice = answer.choices[0]
    assert choice.finish_reason in ("stop", "length")
    assert len((choice.message.content or "").split()) > 3
    greeted = client.chat.completions.create(messages=GREETED, max_tokens=1, **FIXED)
    assert answer.usage is not None
    assert greeted.usage is not None
    assert answer.usage.prompt_tokens == greeted.usage.prompt_tokens
    assert answer.model == "smollm2-135m-instruct"


def test_the_last_few_shot_answer_is_not_continued(client: openai.OpenAI) -> None:
    shots: list[Message] = [*GREETED, {"role": "assistant", "content": "Bonjour, I am Florent"}]
    answer = client.chat.completions.create(messages=shots, max_tokens=8, **FIXED)
    assert not (answer.choices[0].message.content or "").startswith("Bonjour, I am Florent")


def test_a_stream_is_the_whole_answer_in_pieces(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(messages=GREETED, max_tokens=24, **FIXED)
    with client.chat.completions.create(
        messages=GREETED,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
        **FIXED,
    ) as stream:
        chunks = list(stream)
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 24


def test_several_are_answered_at_once(endpoint: Endpoint) -> None:
    events: list[tuple[str, int]] = []

    async def tell(client: openai.AsyncOpenAI, number: int) -> None:
        stream = await client.chat.completions.create(
            messages=[{"role": "user", "content": f"Count to {number}."}],
            max_tokens=24,
            stream=True,
            extra_body={"ignore_eos": True},
            **FIXED,
        )
        async with stream:
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    events.append(("text", number))
        events.append(("end", number))

    async def main() -> None:
        async with opened(endpoint) as client:
            await asyncio.gather(*(tell(client, number) for number in range(3)))

    asyncio.run(main())
    first_end = next(at for at, (kind, _) in enumerate(events) if kind == "end")
    assert {number for kind, number in events[:first_end] if kind == "text"} == {0, 1, 2}


def test_more_than_there_are_slots(endpoint: Endpoint) -> None:
    async def main() -> list[int]:
        async with opened(endpoint) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(messages=GREETED, max_tokens=2, **FIXED)
                    for _ in range(20)
                )
            )
        return [answer.usage.completion_tokens for answer in answers if answer.usage]

    assert len(asyncio.run(main())) == 20


def test_a_left_stream_frees_its_slot(client: openai.OpenAI, endpoint: Endpoint) -> None:
    with client.chat.completions.create(
        messages=GREETED, max_tokens=3000, stream=True, extra_body={"ignore_eos": True}, **FIXED
    ) as stream:
        next(iter(stream))
    end = time.monotonic() + 60
    while any(slot["is_processing"] for slot in get(endpoint, "/slots", key_of(endpoint))):
        assert time.monotonic() < end
        time.sleep(0.02)


def key_of(endpoint: Endpoint) -> str:
    assert endpoint.api_key is not None
    return endpoint.api_key.reveal()


def get(endpoint: Endpoint, path: str, key: str | None) -> Any:
    url = endpoint.base_url.removesuffix("/v1") + path
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as reply:
        return json.load(reply)


@pytest.mark.parametrize("path", ["/v1/models", "/slots", "/props"])
@pytest.mark.parametrize("key", [None, "wrong"])
def test_the_key_is_required(endpoint: Endpoint, path: str, key: str | None) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(endpoint, path, key)
    assert caught.value.code == 401
    caught.value.close()


def test_a_wrong_key_is_an_authentication_error(endpoint: Endpoint) -> None:
    with (
        openai.OpenAI(base_url=endpoint.base_url, api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(messages=GREETED, **FIXED)


def test_four_requests_of_the_full_context_fit(endpoint: Endpoint) -> None:
    slots = get(endpoint, "/slots", key_of(endpoint))
    assert [slot["n_ctx"] for slot in slots] == [4096] * 4


def test_a_prompt_that_does_not_fit_is_refused(client: openai.OpenAI) -> None:
    long: list[Message] = [{"role": "user", "content": "word " * 5000}]
    with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
        client.chat.completions.create(messages=long, max_tokens=1, **FIXED)


def test_an_answer_of_the_embedded_model_has_a_limit_of_its_own() -> None:
    running = Runner(Config(model="local", path=()))
    lists = Persona.parse("{name: lists, system: Count from one to one thousand.}", "lists.yaml")
    response = running.run(lists, "1, 2, 3, 4, 5,", parameters={"max_tokens": 2000})
    assert response.usage is not None
    assert response.usage.completion_tokens <= 400
    assert running.run(lists, "1, 2,", parameters={"max_tokens": 3}).finish_reason == "length"
    running.close()
