"""A caller's WebSocket, as an ASGI app sees it, and frames for upstreams that are written out byte by byte."""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.utils import accept_key, apply_mask

from gateway.upstream import ExchangeRequest, Upstream
from gateway.upstream.websocket import WebSocketLimits, WebSocketOutcome, WebSocketRequest, relay_websocket
from tests.fakes.raw_upstream import Peer, RawRequest

TEXT, BINARY, CLOSE, PING, PONG, CONT = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0
QUICK = WebSocketLimits(connect_s=30, first_byte_s=30, close_s=5, ping_s=None)


def asking(target: bytes = b"/", *lines: bytes, **more: Any) -> WebSocketRequest:
    """A request with the Host `up`."""
    return WebSocketRequest(exchange=ExchangeRequest("GET", target, list(lines), host=b"up"), **more)


class WebSocketCaller:
    """`receive` and `send` of one connection; everything sent is kept."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        self.reading = asyncio.Event()
        self.reading.set()
        self.accepted = asyncio.Event()
        self.got: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.events: list[dict[str, Any]] = []
        self.received = 0
        self.kept_messages = True

    def say(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._events.put_nowait({"type": "websocket.receive", kind: message})

    def leave(self, code: int = 1000, reason: str = "") -> None:
        self._events.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    @property
    def close(self) -> tuple[int, str] | None:
        """What the caller was told at the end."""
        found = [event for event in self.events if event["type"] == "websocket.close"]
        assert len(found) <= 1, found
        return (found[0]["code"], found[0]["reason"]) if found else None

    @property
    def refusal(self) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
        if [event["type"] for event in self.events] != [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]:
            return None
        return self.events[0]["status"], self.events[0]["headers"], self.events[1]["body"]

    async def receive(self) -> dict[str, Any]:
        event = await self._events.get()
        self.received += 1
        return event

    async def send(self, event: dict[str, Any]) -> None:
        await self.reading.wait()
        if event["type"] == "websocket.send":
            if self.kept_messages:
                self.got.put_nowait(event.get("text") if "text" in event else event["bytes"])
            return
        self.events.append(event)
        if event["type"] == "websocket.accept":
            self.accepted.set()

    async def relay(
        self, to: int | Upstream, limits: WebSocketLimits = QUICK, request: WebSocketRequest | None = None, **hooks: Any
    ) -> WebSocketOutcome:
        """Relay to a port on loopback, or to another upstream."""
        extensions = {"websocket.http.response": {}}
        return await relay_websocket(
            request or asking(extensions=extensions),
            self.receive,
            self.send,
            upstream=Upstream(f"http://127.0.0.1:{to}") if isinstance(to, int) else to,
            on_start=lambda head: head.lines,
            limits=limits,
            **hooks,
        )


def switch(request: RawRequest, *fields: bytes) -> bytes:
    """A good 101, and more fields."""
    key = request.field(b"sec-websocket-key")
    assert key is not None
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode(),
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def switched(peer: Peer, *fields: bytes) -> None:
    """Take the handshake."""
    await peer.send(switch(await peer.head(), *fields))


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """A frame as servers send them; `first` holds FIN and the reserved bits."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([first | opcode]) + length + payload


async def read_frame(peer: Peer) -> tuple[int, bytes]:
    """A whole frame from the gateway, which masks as clients must."""
    first, second = await peer.reader.readexactly(2)
    assert first & 0x80, "the gateway does not fragment"
    assert second & 0x80, "not masked"
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await peer.reader.readexactly(2 if size == 126 else 8), "big")
    mask = await peer.reader.readexactly(4)
    return first & 0x0F, bytes(apply_mask(await peer.reader.readexactly(size), mask))


async def read_close(peer: Peer) -> int:
    """Skip to the close frame; its code, or 1005."""
    while True:
        opcode, payload = await asyncio.wait_for(read_frame(peer), 20)
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big") if payload else 1005
