"""A provider that refuses almost everything at first does not keep a batch slow for ever."""

from __future__ import annotations

import asyncio

from personakit.rate import Controller


def test_a_window_of_one_request_grows_when_the_provider_accepts_more() -> None:
    now = 0.0

    async def grow() -> list[int]:
        nonlocal now
        controller = Controller(clock=lambda: now)
        permits = [await controller.permit() for _ in range(controller.concurrency)]
        now += 0.05
        for permit in permits[1:]:
            permit.refused(0.0)
        permits[0].answered()
        sizes = [controller.concurrency]
        for _ in range(240):
            permits = [await controller.permit() for _ in range(controller.concurrency)]
            now += 0.5
            for permit in permits:
                permit.answered()
            sizes.append(controller.concurrency)
        return sizes

    sizes = asyncio.run(grow())
    assert sizes[0] == 1
    assert sizes[-1] > 8
