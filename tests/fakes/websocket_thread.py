"""The WebSocket API of `websocket_upstream` on an event loop of its own, for tests that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.websocket_upstream import WebSocketUpstream, websocket_upstream

_PATIENCE_S = 60.0


@contextmanager
def websocket_api() -> Iterator[WebSocketUpstream]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = websocket_upstream()
    upstream = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(_PATIENCE_S)
    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(_PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE_S)
        loop.close()
