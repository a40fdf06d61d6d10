"""Our own WebSocket protocol for uvicorn: its Sans-I/O one, with what a caller can make it hold or do bounded.

- What has arrived is parsed a slice at a time and only while the app keeps up: one read of tiny
  frames would otherwise become tens of thousands of queued messages.
- The parts of a message are joined as they come; empty ones cost nothing.
- While the caller does not read, only the last ping is answered (RFC 6455 section 5.5.3).
- A caller that takes nothing more is cut: after a lost ping at once, after the app's end when
  `CLOSE_S` have passed. uvicorn would wait for it with its buffers, forever.
- Nothing is logged per connection: those lines hold the query, and a key may stand in it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from gateway.core.websocket import MAX_MESSAGE

CLOSE_S = 5.0
"""How long a caller may take for its part of the closing handshake."""
_SLICE = 4096
_MOST_EARLY = 65_536
_CALLERS_FAULTS = frozenset(
    {
        "Invalid UTF-8 sequence received from client.",
        "ASGI callable returned without completing handshake.",  # said of every refusal, though it is complete
    }
)

_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)
_log.addFilter(lambda record: record.msg not in _CALLERS_FAULTS)


class FrontWebSocket(WebSocketsSansIOProtocol):
    """One connection. For uvicorn: `ws="gateway.web.websocket_protocol:FrontWebSocket"`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _log
        self.conn.logger = _log
        self.conn.debug = False
        self.close_timeout = CLOSE_S
        self._raw = b""
        self._joined: bytearray | None = None
        self._late_pong = b""
        self._cut: asyncio.TimerHandle | None = None

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Bytes from the caller. What comes before it was accepted waits, so that no pong precedes the 101."""
        self._raw += data
        self._feed()
        if not self.handshake_complete and len(self._raw) > _MOST_EARLY:
            self.transport.abort()

    def resume_writing(self) -> None:
        """The caller reads again."""
        super().resume_writing()
        if self._late_pong:
            pong, self._late_pong = self._late_pong, b""
            self.transport.write(pong)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by either side."""
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    # What the frames are.

    def handle_connect(self, event: Request) -> None:
        """The handshake. Names of fields come as they were spelled, and ASGI has them in lower case."""
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["headers"] = [(name.lower(), value) for name, value in self.scope["headers"]]
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[MAX_MESSAGE] = self._bound_messages

    def handle_cont(self, event: Frame) -> None:
        """A further part of a message."""
        if self._joined is None:
            self._joined = bytearray(self.frames[0])
        self._joined += event.data
        if event.fin:
            self.frames, self._joined = [bytes(self._joined)], None
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        """The library has written the pong."""
        output = self.conn.data_to_send()
        if not self.writable.is_set() and self.conn.state is State.OPEN and output:
            self._late_pong = output[-1]
        else:
            self.transport.write(b"".join(output))

    def keepalive_timeout(self) -> None:
        """A ping of ours has not been answered."""
        super().keepalive_timeout()
        self.transport.abort()

    # What the app calls.

    async def run_asgi(self) -> None:
        """The app, then the end of the connection."""
        await super().run_asgi()
        if not self.disconnected:
            self._cut = self.loop.call_later(CLOSE_S, self.transport.abort)

    async def receive(self) -> Any:
        """The next event."""
        message = await super().receive()
        self._feed()
        return message

    async def send(self, message: Any) -> None:
        """An event for the caller."""
        await super().send(message)
        self._feed()

    # Inside.

    def _bound_messages(self, size: int) -> None:
        self.conn.max_message_size = min(size, self.config.ws_max_size)

    def _feed(self) -> None:
        while self._raw and not self.read_paused and (self.handshake_complete or not self.handshake_initiated):
            part, self._raw = self._raw[:_SLICE], self._raw[_SLICE:]
            super().data_received(part)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.close()
