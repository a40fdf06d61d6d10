"""The other exchange: the seller's own ASGI app, behind the same edge, in the same process.

    from gateway.app import protect
    app = protect(app)      # any ASGI app: Litestar, FastAPI, Starlette, ...

The app sees who calls in the same `X-Tiergate-*` fields that an upstream would get, and in
`scope["state"]["tiergate"]`; like an upstream it sees no API key and no cookie of ours. Its
startup and shutdown run inside the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.admission import Attempt
from gateway.core.forwarding import IDENTITY_PREFIX, without_credentials
from gateway.web.asgi import ASGIApp, OnStart, Receive, Scope, Send
from gateway.web.proxying import identity_fields


class InsideApp:
    """Hands admitted requests to an ASGI app of this process.

    Args:
        app: The seller's app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, *, attempt: Attempt, request_id: str, on_start: OnStart
    ) -> int:
        """Let the app answer. Returns the status that it sent; an app that raises is a 500 for billing."""
        status = 500

        async def send_with_fields(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": on_start(status, list(message.get("headers", ())))}
            await send(message)

        identity = identity_fields(attempt, request_id)
        names = {name for name, _ in identity}
        headers = [
            (name, value)
            for name, value in without_credentials(scope["headers"])
            if name not in names and not name.replace(b"_", b"-").startswith(IDENTITY_PREFIX)
        ]
        state = {**scope.get("state", {}), "tiergate": {name.decode(): value.decode() for name, value in identity}}
        await self._app({**scope, "headers": [*headers, *identity], "state": state}, receive, send_with_fields)
        return status


@asynccontextmanager
async def lifespan_of(app: ASGIApp) -> AsyncIterator[None]:
    """Run an ASGI app's startup now and its shutdown at the end; an app without lifespan is left alone.

    Raises:
        RuntimeError: The app's startup failed; its message says why.
    """
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(_run_lifespan(app, inbox, outbox))
    await inbox.put({"type": "lifespan.startup"})
    answer = await outbox.get()
    if answer["type"] == "lifespan.startup.failed":
        await task
        raise RuntimeError(f"the app behind the gateway did not start: {answer.get('message', '')}")
    try:
        yield
    finally:
        if not task.done():
            await inbox.put({"type": "lifespan.shutdown"})
            await outbox.get()
            await task


async def _run_lifespan(
    app: ASGIApp, inbox: asyncio.Queue[dict[str, str]], outbox: asyncio.Queue[dict[str, str]]
) -> None:
    started = False

    async def send(message: dict[str, str]) -> None:
        nonlocal started
        started = started or message["type"] == "lifespan.startup.complete"
        await outbox.put(message)

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, send)
    except Exception as error:  # noqa: BLE001 - an app that does not know lifespan raises whatever it likes
        await outbox.put(
            {"type": "lifespan.unsupported" if not started else "lifespan.shutdown.failed", "message": str(error)}
        )
    else:
        await outbox.put({"type": "lifespan.unsupported"})
