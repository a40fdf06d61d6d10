"""The upstream of the runs over sockets: keeps every request it reads, and answers with its name or as told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Self

from tests.fuzz.oracle import Request, read_requests
from tests.fuzz.world import echo_of


def good_answer(request: Request) -> bytes:
    """Names the request."""
    name = echo_of(request.method, request.target, request.body)
    body = b"" if request.method == b"HEAD" else name
    return b"HTTP/1.1 200 OK\r\nx-echo: %b\r\ncontent-length: %d\r\n\r\n%b" % (name, len(name), body)


def answers_well(_transport: asyncio.Transport, _request: Request) -> bool:
    """The script that answers nothing itself."""
    return False


class Recorder:
    """Use as an async context manager."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        """Read whole."""
        self.parts: list[bytes] = []
        """What was left of a connection that ended within a request."""
        self.bad: list[str] = []
        """What no strict reader reads."""
        self.script: Callable[[asyncio.Transport, Request], bool] = answers_well
        """Answers a request, or leaves it to be answered well."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._open):
            connection.transport.abort()
        await asyncio.sleep(0)

    def clear(self) -> None:
        self.requests.clear()
        self.parts.clear()
        self.bad.clear()


class _Connection(asyncio.Protocol):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._data = b""
        self._answered = 0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._recorder._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why is of no interest
        self._recorder._open.discard(self)
        if self._data:
            self._recorder.parts.append(self._data)

    def data_received(self, data: bytes) -> None:
        self._data += data
        reading = read_requests(self._data)
        if reading.end == "bad":
            self._recorder.bad.append(f"{reading.why}: {self._data[:200]!r}")
            self.transport.abort()
            return
        for request in reading.requests[self._answered :]:
            self._answered += 1
            self._recorder.requests.append(request)
            if not self._recorder.script(self.transport, request):
                self.transport.write(good_answer(request))
        if reading.end == "done":
            self._data = b""
            self._answered = 0
