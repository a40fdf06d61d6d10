"""`python -m benchmarks.upstream_server PORT`: bodies of fixed size, an upload, and a stream of events.

An event's data is the instant it was sent, in nanoseconds of the monotonic clock, which all
processes of a machine share: so who receives it knows how long it was under way.
"""

from __future__ import annotations

import asyncio
import re
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


UPLOADS = {"/v1/upload": 1024 * 1024}
"""Paths that are sent a body of so many bytes, by POST. All others are asked by GET."""


def method_of(path: str) -> str:
    """How a path is asked."""
    return "POST" if path in UPLOADS else "GET"


BODIES = {
    "/v1/1kb": _json_of(1024),
    "/v1/100kb": _json_of(100 * 1024),
    "/v1/10mb": _json_of(10 * 1024 * 1024),
    **{path: b'{"received":%d}' % size for path, size in UPLOADS.items()},
}
"""What is answered, by path. An upload is answered when it has been read whole."""

_ANSWERS = {
    path: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
    % (_COOKIES, len(body), body)
    for path, body in BODIES.items()
}
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_WRONG_LENGTH = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_streams: set[asyncio.Transport] = set()


class _Server(asyncio.Protocol):
    """Answers GETs without a body, and POSTs with a Content-Length. Not a web server: it believes its callers."""

    def __init__(self) -> None:
        self._buffer = b""
        self._head = b""
        self._length = self._left = 0
        """Of the request's body: its bytes, and those that have not come yet."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def connection_lost(self, _error: Exception | None) -> None:
        if self._transport is not None:
            _streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._left or (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            if not self._left:
                self._head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
                length = _LENGTH.search(self._head)
                self._length = self._left = int(length[1]) if length else 0
            come = min(self._left, len(self._buffer))
            self._left, self._buffer = self._left - come, self._buffer[come:]
            if self._left:
                return
            self._answer()

    def _answer(self) -> None:
        if self._transport is None:
            return
        path = self._head.split(b" ", 2)[1].decode()
        if path == "/v1/stream":
            self._transport.write(_STREAM_HEAD)
            _streams.add(self._transport)
            return
        is_whole = self._length == UPLOADS.get(path, 0)
        self._transport.write(_ANSWERS.get(path, _NOT_FOUND) if is_whole else _WRONG_LENGTH)
        if not is_whole or b"\r\nconnection: close" in self._head.lower():
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
