"""The timer of a deadline leaves no cancellation behind in the task that it ended a wait of."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from personakit.backend.requests.limit import Limit
from personakit.base import deadline


async def stubborn() -> str:
    """Return a text when it is cancelled."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(10)
    return "late"


async def failing() -> str:
    """Raise another error when it is cancelled."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        raise ValueError("broken") from None
    return ""


def test_a_wait_that_outlives_its_timer_leaves_no_cancellation() -> None:
    async def main() -> int:
        with deadline.within(0.01):
            assert await Limit().of(stubborn) == "late"
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_a_wait_that_fails_on_its_timer_leaves_no_cancellation() -> None:
    async def main() -> int:
        with deadline.within(0.01), pytest.raises(ValueError, match="broken"):
            await Limit().of(failing)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_the_timer_ends_a_wait() -> None:
    async def main() -> int:
        with deadline.within(0.01), pytest.raises(TimeoutError, match="deadline"):
            await Limit().of(lambda: asyncio.sleep(10))
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0
