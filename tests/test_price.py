"""Usage and cost: counted by the upstream, priced by genai-prices, only when somebody asks."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from personakit import (
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    Usage,
    hookimpl,
    price,
)
from personakit.base import dollars
from personakit.providers import BUILT_IN
from personakit.testing import MODES, Server, in_mode, persona, runner

MINI = "openai/gpt-4o-mini"  # $0.15 and $0.60 for a million tokens, cached ones $0.075
TOOK = Usage(1000, 100, 1100)


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        (MINI, TOOK, 0.00021),
        ("gpt-4o-mini", TOOK, 0.00021),
        (f"{MINI}-2024-07-18", TOOK, 0.00021),
        (MINI, Usage(1000, 100, 1100, cached_tokens=500), 0.0001725),
        (MINI, Usage(1000, 100, 1100, cached_tokens=5000), 0.000135),
        (MINI, Usage(1000, 100, 1100, reasoning_tokens=50), 0.00021),
        (MINI, Usage(), 0.0),
        ("openrouter/openai/gpt-4o-mini", TOOK, 0.00021),
        ("openai/nonesuch", TOOK, None),
        ("nonesuch/gpt-4o-mini", TOOK, None),
        ("ollama/llama3.2", TOOK, None),
        ("local", TOOK, None),
        ("", TOOK, None),
        (MINI, Usage(-1, 100, 99), None),
    ],
)
def test_what_a_call_costs(model: str, usage: Usage, cost: float | None) -> None:
    found = price(model, usage)
    assert found == (cost if cost is None else pytest.approx(cost, rel=1e-9))


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "deepseek", "x-ai"])
def test_costs_are_those_of_the_package_for_all_kinds_of_prices(provider: str) -> None:
    """Flat ones and tiers, with caches and without, of all models of a provider."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price
    from genai_prices.data_snapshot import get_snapshot

    (models,) = (each.models for each in get_snapshot().providers if each.id == provider)
    for model in models:
        for prompt, answer, read, write in (
            (10, 3, 0, 0), (90_000, 11, 70_001, 0), (300_001, 5_000, 1, 200_001), (0, 0, 0, 0),
        ):  # fmt: skip
            tokens = Tokens(
                input_tokens=prompt, output_tokens=answer, cache_read_tokens=read,
                cache_write_tokens=write,
            )  # fmt: skip
            try:
                wanted = float(calc_price(tokens, model.id, provider_id=provider).total_price)
            except (LookupError, ValueError):
                wanted = None
            usage = Usage(
                prompt, answer, prompt + answer, cached_tokens=read, cache_write_tokens=write
            )
            assert price(f"{provider}/{model.id}", usage) == wanted, (model.id, usage)


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-5-mini", "azure/gpt-4o", "anthropic/claude-sonnet-4-5", "cerebras/llama3.1-8b",
        "deepseek/deepseek-chat", "fireworks/accounts/fireworks/models/deepseek-v3p2",
        "gemini/gemini-2.5-flash", "groq/llama-3.3-70b-versatile", "mistral/mistral-large-latest",
        "huggingface/MiniMaxAI/MiniMax-M2:novita",
        "openrouter/google/gemini-2.5-flash", "perplexity/sonar",
        "together/meta-llama/Llama-3.3-70B-Instruct-Turbo", "xai/grok-4",
    ],
)  # fmt: skip
def test_the_names_of_providers_are_known_to_the_prices(model: str) -> None:
    assert model.partition("/")[0] in BUILT_IN
    assert (price(model, TOOK) or 0) > 0


def test_what_was_not_counted_has_no_price() -> None:
    assert price("openai/gpt-4o-mini", Response("Hi").usage) is None


@pytest.mark.parametrize("mode", MODES)
def test_every_response_has_its_cost(mode: str) -> None:
    answer = Response("ok", finish_reason="stop", usage=TOOK)
    running, _ = runner([answer])
    response = in_mode(mode, running, persona(), "Hi", model=MINI)
    assert response.cost == pytest.approx(0.00021)
    assert in_mode(mode, running, persona(), "Hi", model="test/model").cost is None
    running, _ = runner([Response("ok", finish_reason="stop")])
    assert in_mode(mode, running, persona(), "Hi", model=MINI).cost is None


def test_a_cost_that_is_known_is_not_looked_up() -> None:
    running, _ = runner([Response("ok", usage=TOOK, cost=7.0)])
    assert running.run(persona(), "Hi", model=MINI).cost == 7.0
    running, _ = runner([Response("ok", usage=TOOK, cost=0.0)])
    assert running.run(persona(), "Hi", model=MINI).cost == 0.0


def test_the_model_that_answered_counts_where_the_name_says_nothing() -> None:
    answer = Response("ok", usage=TOOK, model="gpt-4o-mini-2024-07-18")
    running, _ = runner([answer])
    response = running.run(persona(), "Hi", model="azure/my-deployment")
    assert response.cost == price("azure/gpt-4o-mini-2024-07-18", TOOK)
    assert response.cost is not None


def test_a_response_is_a_value_with_and_without_its_cost() -> None:
    request = Request(MINI)
    response = Response("ok", usage=TOOK, request=request)
    other = response.replace(text="other")
    assert other.replace(text="ok") == response
    assert other.cost == pytest.approx(0.00021)
    assert response.replace(cost=1.0).cost == 1.0
    assert response.replace(cost=1.0) != response
    assert dataclasses.replace(response, text="x").cost == pytest.approx(0.00021)
    assert dataclasses.asdict(Response("ok"))["cost"] is None
    for copied in (pickle.loads(pickle.dumps(response)), copy.deepcopy(response)):
        assert copied == response
    assert "cost=0.0" in repr(response)
    with pytest.raises(AttributeError, match="'Response' object has no attribute 'price'"):
        _ = response.price  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        response.cost = 1.0  # type: ignore[misc]


class Offer:
    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(Tool("look", lambda: "seen"))


CALL = (ToolCall("1", "look"),)


@pytest.mark.parametrize("mode", MODES)
def test_the_cost_of_a_run_is_that_of_its_rounds(mode: str) -> None:
    first = Response("", CALL, "tool_calls", usage=TOOK)
    last = Response("ok", usage=Usage(2000, 100, 2100, 1000, 50))
    running, _ = runner([first, last], plugins=[Offer()])
    response = in_mode(mode, running, persona(), "Hi", model=MINI)
    assert response.usage == Usage(3000, 200, 3200, 1000, 50)
    assert response.cost == pytest.approx(0.00021 + 0.000285)
    assert response.replace(text="other").cost == response.cost


def test_rounds_whose_cost_is_unknown_make_no_sum() -> None:
    first = Response("", CALL, "tool_calls", usage=TOOK)
    running, _ = runner([first, Response("ok")], plugins=[Offer()])
    assert running.run(persona(), "Hi", model=MINI).cost is None
    first = Response("", CALL, "tool_calls", cost=1.0)
    running, _ = runner([first, Response("ok", cost=2.0)], plugins=[Offer()])
    assert running.run(persona(), "Hi", model=MINI).cost == 3.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("details", "counted"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4},
          "completion_tokens_details": {"reasoning_tokens": 2}}, Usage(5, 3, 8, 4, 2)),
        ({"prompt_tokens_details": None}, Usage(5, 3, 8)),
        ({"prompt_tokens_details": {"cached_tokens": None}}, Usage(5, 3, 8)),
        ({"prompt_tokens_details": {"cached_tokens": "4"}}, Usage(5, 3, 8, 4)),
        ({"prompt_tokens_details": {"cached_tokens": "few"}}, Usage(5, 3, 8)),
        ({"completion_tokens_details": []}, Usage(5, 3, 8)),
    ],
)  # fmt: skip
def test_details_are_counted(mode: str, details: dict[str, Any], counted: Usage) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, **details}
    message = {"role": "assistant", "content": "ok"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "1", "model": "m", "choices": [choice], "usage": usage}
    with Server([body]) as server:
        running = Runner(server.config())
        assert in_mode(mode, running, persona(), "Hi").usage == counted
        running.close()


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "cost unknown"), (0, "$0"), (1e-9, "<$0.000001"), (0.000004, "$0.000004"),
        (0.00018, "$0.000180"), (0.0123, "$0.0123"), (12.5, "$12.5000"),
    ],
)  # fmt: skip
def test_a_tiny_cost_is_not_shown_as_zero(cost: float | None, text: str) -> None:
    assert dollars(cost) == text


def test_prices_are_loaded_when_a_cost_is_asked_for(tmp_path: Path) -> None:
    code = """if True:
        import json, sys
        from personakit import Response, Usage, hookimpl
        from personakit.testing import persona, runner
        answer = Response("{}", usage=Usage(1000, 100, 1100))
        running, _ = runner([answer])
        found = []
        for who in (persona(), persona(output={"type": "object"})):
            response = running.run(who, "Hi", model="openai/gpt-4o-mini")
            found.append("genai_prices" in sys.modules)
        print(json.dumps([*found, response.cost is not None, "genai_prices" in sys.modules]))
    """
    environ = {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**environ, "PERSONAKIT_PLUGINS": ""},
    )  # fmt: skip
    assert json.loads(done.stdout) == [False, False, True, True]
