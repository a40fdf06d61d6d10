"""An API that speaks WebSocket, on the `websockets` library's own server: what it does is in the path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol


class WebSocketUpstream:
    """Its connections in the order they came; a test may act on them directly."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.connections: list[ServerConnection] = []
        self.arrived = asyncio.Event()

    async def last(self) -> ServerConnection:
        async with asyncio.timeout(60):
            await self.arrived.wait()
        return self.connections[-1]

    async def ended(self) -> tuple[int | None, str | None]:
        connection = await self.last()
        await asyncio.wait_for(connection.wait_closed(), 60)
        return connection.close_code, connection.close_reason

    def answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if request.path.startswith("/refuse"):
            fields = Headers([("Content-Type", "text/plain"), ("X-Reason", "none"), ("Set-Cookie", "a=1")])
            fields["Set-Cookie"] = "b=2"
            return Response(HTTPStatus.FORBIDDEN.value, "Forbidden", fields, b"not here")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.arrived.set()
        path = connection.request.path if connection.request is not None else ""
        if path.startswith("/manual"):
            await connection.wait_closed()
            return
        try:
            async for message in connection:
                if message == "goodbye":
                    await connection.close(4123, "as you wish é")
                    return
                await connection.send(message)
        except ConnectionClosed:
            pass


@asynccontextmanager
async def websocket_upstream(**options: Any) -> AsyncIterator[WebSocketUpstream]:
    upstream = WebSocketUpstream()
    settings: dict[str, Any] = {"select_subprotocol": _choose, "max_size": None, **options}
    server: Server
    async with serve(upstream.handle, "127.0.0.1", 0, process_request=upstream.answer, **settings) as server:
        upstream.port = next(iter(server.sockets)).getsockname()[1]
        yield upstream


def _choose(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((name for name in ("graphql", "chat") if name in offered), None)
