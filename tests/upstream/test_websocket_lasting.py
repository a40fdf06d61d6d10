"""WebSockets that stay open for minutes, busy ones and ones on which nothing but pings pass."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.fakes.websocket_server import serving
from tests.fakes.websocket_upstream import websocket_upstream

_LASTS_S = 120.0
_EACH = 20


@pytest.mark.slow
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_websockets_last_for_minutes():
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(websocket_upstream(ping_interval=5, ping_timeout=20))
        clients = []
        for name in ("front", "uvicorn", "granian"):
            server = stack.enter_context(serving(name))
            for _ in range(_EACH):
                options = {"ping_interval": 7, "ping_timeout": 20}
                opening = server.open(upstream.port, client=options, ping_s=3, pong_s=20, minute_s=10)
                clients.append(await stack.enter_async_context(opening))
        until = asyncio.get_running_loop().time() + _LASTS_S
        busy, quiet = clients[::2], clients[1::2]
        sent = 0
        while asyncio.get_running_loop().time() < until:
            for client in busy:
                await client.send(f"{sent}")
                assert await asyncio.wait_for(client.recv(), 20) == f"{sent}"
            sent += 1
            await asyncio.sleep(1)
        for client in quiet:
            await client.send("still here")
            assert await asyncio.wait_for(client.recv(), 20) == "still here"
        assert all(client.latency > 0 for client in clients), "the server answered the client's pings"
        assert all(connection.latency > 0 for connection in upstream.connections), "the relay answered the upstream's"
