"""The gate, under requests that leave."""

from __future__ import annotations

import asyncio

from personakit.server.callers.gate import Gate


def test_a_request_that_leaves_as_a_place_becomes_free_is_only_cancelled() -> None:
    async def main() -> None:
        gate = Gate(1, 5)
        await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.leave()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] is None
        gate.leave()
        await asyncio.wait_for(gate.enter(), 1)

    asyncio.run(main())
