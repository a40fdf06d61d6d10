"""`python -m benchmarks.upstream_server PORT`: bodies of fixed size, and a stream of events.

An event's data is the instant it was sent, in nanoseconds of the monotonic clock, which all
processes of a machine share: so who receives it knows how long it was under way.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import uvloop

EVENT_EVERY_S = 0.1
_COOKIES = b"Set-Cookie: session=0123456789abcdef; Path=/; HttpOnly\r\nSet-Cookie: theme=dark; Path=/\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def _json_of(size: int) -> bytes:
    frame = b'{"data":""}'
    return b'{"data":"' + b"x" * (size - len(frame)) + b'"}'


BODIES = {"/v1/1kb": _json_of(1024), "/v1/100kb": _json_of(100 * 1024), "/v1/10mb": _json_of(10 * 1024 * 1024)}


_ANSWERS = {
    path: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
    % (_COOKIES, len(body), body)
    for path, body in BODIES.items()
}
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_streams: set[asyncio.Transport] = set()


class _Server(asyncio.Protocol):
    """Answers GETs without a body. Not a web server: it believes its callers."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def connection_lost(self, _error: Exception | None) -> None:
        if self._transport is not None:
            _streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            path = head.split(b" ", 2)[1].decode()
            if path == "/v1/stream":
                self._transport.write(_STREAM_HEAD)
                _streams.add(self._transport)
                continue
            self._transport.write(_ANSWERS.get(path, _NOT_FOUND))
            if b"\r\nconnection: close" in head.lower():
                self._transport.close()


async def _send_events() -> None:
    due = time.monotonic()
    while True:
        due = max(due + EVENT_EVERY_S, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        for transport in tuple(_streams):
            event = b"data: %d\n\n" % time.monotonic_ns()
            transport.write(b"%x\r\n%b\r\n" % (len(event), event))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", port, backlog=4096)
    async with server:
        await _send_events()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
