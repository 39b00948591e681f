"""An answer is freed when nobody needs it any more, not when the garbage collector runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from personakit import Runner, testing
from personakit.messages import Request


@pytest.fixture
def collects_nothing() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held(prompt: str) -> int:
    """Return how many requests with a prompt are in memory."""
    requests = [each for each in gc.get_objects() if type(each) is Request]
    return sum(request.messages[-1].text == prompt for request in requests)


@pytest.mark.usefixtures("collects_nothing")
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streamed", [False, True])
def test_no_circle_of_references_holds_an_answer(api: str, *, streamed: bool) -> None:
    prompt = f"Do not hold me: {api} {streamed}"
    answer = {"object": "response", "status": "completed", "output": [], "model": "m"}
    said = {"type": "message", "content": [{"type": "output_text", "text": "Hello!"}]}
    with testing.Server([{**answer, "output": [said]} if api == "responses" else "Hello!"]) as up:
        runner = Runner(up.config())
        persona = testing.persona(api=api)
        for _ in range(3):
            if streamed:
                assert "".join(runner.stream(persona, prompt)) == "Hello!"
            else:
                response = runner.run(persona, prompt)
                assert response.text == "Hello!"
                assert held(prompt)
                del response
        assert held(prompt) == 0
        runner.close()
