"""A batch whose plugin falls back to another provider."""

from __future__ import annotations

from pathlib import Path

from personakit import (
    Config,
    Persona,
    Provider,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    hookimpl,
)
from personakit.batch import Batch
from personakit.testing import Upstream

SOURCE = "system: s\nvariables: {text: {}}\nprompt: '{{ text }}'\n"
ROWS = [{"text": "hard"}, *({"text": f"easy {number}"} for number in range(20))]


class Fallback:
    """Sends what is hard to another provider."""

    name = "fallback"

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        is_hard = "hard" in str(request.messages)
        return await send(request.replace(model="other/large") if is_hard else request)


def test_a_refusal_of_one_provider_does_not_stop_the_requests_to_another(tmp_path: Path) -> None:
    refusals = [RateLimited("slow down", status=429, retry_after=0.5)]

    def answer(request: Request) -> str:
        if request.model == "other/large" and refusals:
            raise refusals.pop()
        return "yes"

    upstream = Upstream([answer])
    url = "http://127.0.0.1:9/v1"
    providers = {name: Provider(name, url) for name in ("one", "other")}
    config = Config(path=(), environ={}, providers=providers)
    with Runner(config, backend=upstream, plugins=[Fallback()], log=False) as runner:
        persona = Persona.parse(SOURCE, "p.yaml")
        out = tmp_path / "out.jsonl"
        batch = Batch(persona, ROWS, out=out, runner=runner, model="one/small", concurrency=2)
        results = list(batch.run())
    assert [result.ok for result in results] == [True] * 21
    assert results[-1].row.variables == {"text": "hard"}
    assert len(upstream.requests) == 22
