"""The whole way: a persona file, the runner, the embedded model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
