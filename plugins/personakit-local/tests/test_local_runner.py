"""The whole way: a persona file, the runner, the embedded model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import openai
import pytest
from openai.types import Completion
from personakit_local.sampling import SAMPLING

from personakit import Endpoint, PersonakitError, Runner

PERSONA = """\
name: cook
model: local
parameters: {temperature: 0.9, max_tokens: 24, seed: 7}
variables:
  cook: Florent
system: |
  Act as a chef whose name is {{ cook }}. You propose healthy, easy, quick, economical recipes.
"""


@pytest.fixture
def runner(endpoint: Endpoint, tmp_path: Path) -> Iterator[Runner]:
    (tmp_path / "cook.yaml").write_text(PERSONA)
    runner = Runner(path=[tmp_path])
    yield runner
    runner.close()


def test_sync_async_and_streamed_say_the_same(runner: Runner) -> None:
    whole = runner.run("cook")
    streamed = list(runner.stream("cook"))

    async def main() -> tuple[str, str]:
        try:
            answer = await runner.arun("cook")
            pieces = [piece async for piece in runner.astream("cook")]
            return answer.text, "".join(pieces)
        finally:
            await runner.aclose()

    assert whole.text
    assert whole.usage is not None
    assert whole.model == "smollm2-135m-instruct"
    assert len(streamed) > 3
    assert {"".join(streamed), *asyncio.run(main())} == {whole.text}


def test_the_event_loop_runs_on_while_a_model_starts(
    weights: Path, runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "other.gguf").symlink_to(weights)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    async def main() -> float:
        await runner.arun("cook", "Hello!", parameters={"max_tokens": 1})
        watcher = asyncio.create_task(watch())
        began = time.perf_counter()
        model = f"local/{tmp_path}/other.gguf"
        await runner.arun("cook", "Hello!", model=model, parameters={"max_tokens": 1})
        took = time.perf_counter() - began
        watcher.cancel()
        await runner.aclose()
        return took

    assert longest < asyncio.run(main())


def test_a_wrong_model_is_refused_in_words(runner: Runner) -> None:
    with pytest.raises(PersonakitError, match="unknown local model 'llama3'"):
        runner.run("cook", model="local/llama3")


def test_a_seed_repeats_an_answer_and_a_runs_parameters_replace_the_samplings(
    runner: Runner, endpoint: Endpoint
) -> None:
    assert endpoint.defaults == SAMPLING
    first = runner.run("cook", "Hello!").text
    assert runner.run("cook", "Hello!").text == first
    # A bias of its own replaces the one that favours the end: here the end cannot come.
    endless = {"logit_bias": {"2": -100}, "max_tokens": 60}
    assert runner.run("cook", "Hello!", parameters=endless).finish_reason == "length"


def test_the_server_applies_the_samplings_breaker(endpoint: Endpoint) -> None:
    line = "red green blue yellow pink\n"
    body = {"prompt": line * 20, "max_tokens": 60, "temperature": 0}
    breakers = {"dry_sequence_breakers": ["\n"]}
    assert endpoint.api_key is not None
    with openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key.reveal()) as client:

        def repeated(more: Mapping[str, object]) -> int:
            answer = client.post("/completions", body={**body, **more}, cast_to=Completion)
            return answer.choices[0].text.count(line)

        with_line_breaks, without = repeated({**SAMPLING, **breakers}), repeated(SAMPLING)
    assert with_line_breaks > 3 > without


def test_the_responses_api_says_what_chat_completions_do(runner: Runner, tmp_path: Path) -> None:
    usual = PERSONA.replace("temperature: 0.9", "temperature: 0").replace(", seed: 7", "")
    (tmp_path / "cook.yaml").write_text(usual)
    (tmp_path / "other.yaml").write_text(usual.replace("name: cook", "name: other\napi: responses"))
    chat = runner.run("cook", "A soup?")
    whole = runner.run("other", "A soup?")
    stream = runner.stream("other", "A soup?")
    streamed = list(stream)

    async def main() -> list[str]:
        try:
            answer = await runner.arun("other", "A soup?")
            pieces = [piece async for piece in runner.astream("other", "A soup?")]
            return [answer.text, "".join(pieces)]
        finally:
            await runner.aclose()

    assert whole.raw["object"] == "response"
    assert (whole.text, whole.finish_reason) == (chat.text, chat.finish_reason)
    assert len(streamed) > 3
    assert ["".join(streamed), *asyncio.run(main())] == [whole.text] * 3
    # What is in the cache of the server differs.
    counts = [
        answer.usage and answer.usage.total_tokens for answer in (chat, whole, stream.response)
    ]
    assert counts[0]
    assert counts == [counts[0]] * 3
