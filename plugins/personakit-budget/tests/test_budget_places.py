"""A budget counts everything that a run pays, wherever it stands in the list."""

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from personakit_budget import Budget
from personakit_budget.ledger import Ledger

import personakit
from personakit import (
    BackendError,
    Blocked,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    Suspended,
    Timeout,
    Tool,
    ToolCall,
    Usage,
    hookimpl,
)
from personakit.testing import (
    MODES,
    MemoryJournals,
    check_replay,
    in_mode,
    persona,
    runner,
)

LATER = time.time() + 86400  # reservations have expired by then, and count no more


def used(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the numbers of settled calls and of their tokens by persona."""
    spent = Ledger(folder).by_persona(0, LATER)
    return {name: (one.calls, one.tokens) for name, one in spent.items()}


TEN = Response("ten", usage=Usage(6, 4, 10))


class Translate:
    """Pays a second call to another persona."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request)
        asked = await send.run(persona("Translate.", name="translator"), response.text)
        return response.replace(text=asked.text)


class Summary:
    """Pays a call before the run."""

    @hookimpl
    async def run(self, request: Request, send: Send) -> Response:
        short = await send.run(persona("Summarise.", name="summary"), "long")
        return await send.live(request.with_system(short.text))


class Again:
    """Sends again after a failure."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        while True:
            try:
                return await send(request)
            except BackendError:
                continue


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", range(4))
def test_it_counts_in_every_place(mode: str, at: int, tmp_path: Path) -> None:
    budget = Budget(day_tokens=1000, folder=str(tmp_path))
    plugins: list[Any] = [Summary(), Translate(), Again()]
    plugins.insert(at, budget)
    running, upstream = runner([TEN, RateLimited("slow", status=429), TEN], plugins=plugins)
    response = in_mode(mode, running, persona(), "?")
    assert len(upstream.requests) == 6  # each answer of Summary is translated, too
    assert used(tmp_path) == {"test": (5, 50)}
    assert response.spent.usage == Usage(30, 20, 50)
    assert response.metadata["budget"] == {"tokens": 50, "usd": None, "left": {"day_tokens": 950}}


@pytest.mark.parametrize("at", range(2))
def test_it_refuses_in_every_place(at: int, tmp_path: Path) -> None:
    plugins: list[Any] = [Translate()]
    plugins.insert(at, Budget(run_tokens=32, folder=str(tmp_path)))
    running, upstream = runner([TEN], plugins=plugins)
    with pytest.raises(Blocked, match="the limit run_tokens of this run is 32 tokens; 10 tokens"):
        running.run(persona(), "?", parameters={"max_tokens": 2})
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_64_runs_at_once_pay_what_the_ledger_says(is_async: bool, tmp_path: Path) -> None:
    lock, turn, counted = threading.Lock(), itertools.count(), [0]

    def answer(request: Request) -> Response:
        with lock:
            number = next(turn)
            if number % 5 == 2:
                raise RateLimited("slow", status=429)
            counted[0] += 10 + number % 3
        usage = Usage(6, 4 + number % 3, 10 + number % 3)
        return Response("ten", usage=usage)

    plugins = [Budget(day_tokens=10**6, folder=str(tmp_path)), Summary(), Translate(), Again()]
    running, _ = runner([answer], plugins=plugins)
    if is_async:

        async def many() -> list[Response]:
            return await asyncio.gather(*(running.arun(persona(), "?") for _ in range(64)))

        responses = asyncio.run(many())
    else:
        with ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(lambda _: running.run(persona(), "?"), range(64)))
    spent = [response.spent.usage for response in responses]
    assert sum(usage.total_tokens for usage in spent if usage) == counted[0]
    assert used(tmp_path) == {"test": (5 * 64, counted[0])}


@pytest.mark.parametrize("mode", MODES)
def test_the_runs_that_a_tool_starts_belong_to_its_run(mode: str, tmp_path: Path) -> None:
    def ask() -> str:
        """Ask another persona."""
        return running.run(persona("Other.", name="other"), "?").text

    call = TEN.replace(text="", tool_calls=(ToolCall("1", "ask"),))
    running, _ = runner([call, TEN] * 5, plugins=[Budget(run_tokens=160, folder=str(tmp_path))])
    with pytest.raises(Blocked, match="this run is 160 tokens; 40 tokens are used"):
        in_mode(mode, running, persona(), "?", tools=[Tool.of(ask)])
    assert used(tmp_path) == {"test": (2, 20), "other": (2, 20)}


@pytest.mark.parametrize("mode", MODES)
def test_two_instances_with_one_ledger_count_once(mode: str, tmp_path: Path) -> None:
    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Send) -> Response:
            await send.run(other, "?")
            return await send.live(request)

    other = persona("Other.", name="other", plugins=[{"budget": {"day_tokens": 1000}}])
    options = {"budget": {"folder": str(tmp_path), "day_tokens": 900}}
    running, _ = runner([TEN], plugins=[Asks(), "budget"], plugin_options=options)
    response = in_mode(mode, running, persona(), "?")
    assert used(tmp_path) == {"test": (2, 20)}
    assert response.metadata["budget"]["tokens"] == 20
    # The limits of the inner one hold as well.
    other = persona("Other.", name="other", plugins=[{"budget": {"day_tokens": 25}}])
    with pytest.raises(Blocked, match="the limit day_tokens of all personas is 25"):
        in_mode(mode, running, persona(), "?")


@pytest.mark.parametrize("mode", MODES)
def test_a_lost_answer_counts_its_prompt(mode: str, tmp_path: Path) -> None:
    plugins = [Budget(day_tokens=1000, folder=str(tmp_path))]
    for error, calls in ((Timeout("late"), 1), (RateLimited("slow", status=429), 1)):
        running, _ = runner([error], plugins=plugins)
        with pytest.raises(type(error)):
            in_mode(mode, running, persona(), "?")
        ((count, tokens),) = used(tmp_path).values()
        assert count == calls
        assert tokens > 10


class Asks:
    @hookimpl
    async def tool(self, call: ToolCall) -> None:
        await personakit.ask("Look?", choices=["yes", "no"])


def look(word: str = "") -> str:
    """Look a word up."""
    return f"found {word}"


LOOKS = Response("", (ToolCall("1", "look"),), usage=Usage(40, 20, 60))


def test_it_obeys_the_rule_of_replay(tmp_path: Path) -> None:
    def made() -> Budget:
        return Budget(run_tokens=10_000, day_tokens=100_000, folder=str(tmp_path))

    response = check_replay(made, answers=[LOOKS, "Done."], tools=[look])
    assert response.usage is not None
    assert response.metadata["budget"]["tokens"] == response.usage.total_tokens


def test_a_resumed_run_pays_from_the_limit_of_the_run(tmp_path: Path) -> None:
    journals = MemoryJournals()

    def made() -> Runner:
        budget = Budget(run_tokens=200, folder=str(tmp_path))
        return runner([LOOKS], plugins=[budget, Asks()], journals=journals)[0]

    with pytest.raises(Suspended) as caught:
        made().run(persona(), "Hi", tools=[look], parameters={"max_tokens": 20})
    with pytest.raises(Blocked, match="run_tokens of this run is 200 tokens; 60 tokens are used"):
        made().resume(caught.value, "yes", tools=[look])
