"""The yardstick of servers: an aiohttp server that passes requests on with an aiohttp client.

It runs in an environment with aiohttp alone (``python passthrough.py UPSTREAM PORT``),
and does nothing else: no keys, no checks, no log.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientSession, TCPConnector, web

SKIPPED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


async def main(upstream: str, port: int) -> None:
    """Serve until standard input ends."""
    session = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)

    async def passed(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in SKIPPED
        }
        async with session.post(upstream + request.path, data=body, headers=headers) as reply:
            kind = reply.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                whole = await reply.read()
                return web.Response(status=reply.status, body=whole, headers={"content-type": kind})
            streamed = web.StreamResponse(status=reply.status, headers={"content-type": kind})
            await streamed.prepare(request)
            async for part in reply.content.iter_any():
                await streamed.write(part)
            await streamed.write_eof()
            return streamed

    app = web.Application(client_max_size=2**25)
    app.router.add_post("/{path:.*}", passed)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()
    await session.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
