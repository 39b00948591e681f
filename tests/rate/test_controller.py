"""When a controller lets a request go, and what it learns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers.providers import clock, in_virtual_time
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit.rate import Controller

OPENAI = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-reset-requests": "100ms",
}


async def passed(controller: Controller, count: int) -> list[float]:
    """Return when each of some requests may go; each is answered at once."""
    times = []
    for _ in range(count):
        permit = await controller.permit()
        times.append(clock())
        permit.answered()
    return times


def test_a_refusal_stops_all_requests_until_its_time() -> None:
    async def main() -> float:
        controller = Controller(clock=clock, concurrency=8)
        first, second = await controller.permit(), await controller.permit()
        first.refused(12.5)
        second.answered()
        assert controller.learnt().waits == 12.5
        assert controller.learnt().refused == 1
        last = asyncio.create_task(controller.permit())
        await asyncio.sleep(0)
        (await last).answered()
        return clock()

    assert in_virtual_time(main) == 12.5


@pytest.mark.parametrize(("rpm", "gap"), [(60, 1.0), (600, 0.1), (30, 2.0)])
def test_the_users_own_limit_is_kept_evenly(rpm: float, gap: float) -> None:
    times = in_virtual_time(lambda: passed(Controller(clock=clock, requests=rpm), 50))
    first = max(1, round(rpm / 60))
    after = [late - early for early, late in zip(times[first:], times[first + 1 :], strict=False)]
    assert all(abs(each - gap) < 1e-6 for each in after)
    assert times[:first] == [0.0] * first


def test_tokens_a_minute_count_prompt_and_answer() -> None:
    async def main() -> float:
        controller = Controller(clock=clock, tokens=6000)
        for _ in range(21):
            permit = await controller.permit(50)
            permit.answered(300)
        return clock()

    # 20 requests of 300 tokens are a minute of the limit.
    assert 55 <= in_virtual_time(main) <= 65


@pytest.mark.parametrize(
    ("headers", "requests"),
    [
        (OPENAI, 600.0),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "25",
                "anthropic-ratelimit-requests-reset": "30s",
            },
            50.0,
        ),
        ({**OPENAI, "x-ratelimit-limit-requests": "many"}, None),
        ({**OPENAI, "x-ratelimit-remaining-requests": "-1"}, None),
        ({"x-ratelimit-limit-requests": "600"}, None),
        ({**OPENAI, "x-ratelimit-reset-requests": "soon"}, None),
        ({}, None),
    ],
)
def test_limits_are_learnt_from_headers(headers: dict[str, str], requests: float | None) -> None:
    async def main() -> Any:
        controller = Controller(clock=clock)
        (await controller.permit()).answered(10, headers)
        return controller.learnt().requests

    found = in_virtual_time(main)
    assert found == (requests if requests is None else pytest.approx(requests, rel=0.01))


def test_a_cancelled_request_gives_its_place_back() -> None:
    async def main() -> int:
        controller = Controller(clock=clock, concurrency=1)
        held = await controller.permit()
        tasks = [asyncio.create_task(controller.permit()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        held.answered()  # the second one may go, and is cancelled before it knows
        tasks[1].cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        (await asyncio.wait_for(tasks[2], 5)).answered()
        return controller.learnt().in_flight

    assert in_virtual_time(main) == 0


def test_an_overloaded_provider_gets_fewer_requests_at_once() -> None:
    async def main() -> tuple[int, int]:
        controller = Controller(clock=clock)
        before = controller.concurrency
        permits = [await controller.permit() for _ in range(before)]
        permits[0].failed(overloaded=True)
        return before, controller.concurrency

    before, after = in_virtual_time(main)
    assert after < before


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["answered", "refused", "failed", "overloaded", "unsent", "cancelled"]),
            st.floats(0, 3),
        ),
        max_size=60,
    ),
    concurrency=st.one_of(st.none(), st.integers(1, 5)),
)
@settings(deadline=None, max_examples=60)
def test_never_more_at_once_than_the_window_and_every_place_comes_back(
    steps: list[tuple[str, float]], concurrency: int | None
) -> None:
    async def one(controller: Controller, kind: str, seconds: float, over: list[int]) -> None:
        permit = await controller.permit(10)
        learnt = controller.learnt()
        if concurrency is not None and learnt.in_flight > concurrency:
            over.append(learnt.in_flight)
        await asyncio.sleep(seconds)
        if kind == "answered":
            permit.answered(20)
        elif kind == "refused":
            permit.refused(seconds)
        elif kind == "unsent":
            permit.unsent()
        else:
            permit.failed(overloaded=kind == "overloaded")

    async def main() -> tuple[int, list[int]]:
        controller, over = Controller(clock=clock, concurrency=concurrency), list[int]()
        tasks = []
        for kind, seconds in steps:
            task = asyncio.create_task(one(controller, kind, seconds, over))
            if kind == "cancelled":
                await asyncio.sleep(0)
                if not controller.learnt().in_flight:
                    task.cancel()
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        return controller.learnt().in_flight, over

    assert in_virtual_time(main) == (0, [])
