"""An HTTP server that does exactly what its script says, byte for byte.

Each accepted connection runs the next script (the last one again when they run out). A script
reads and writes raw bytes, so it can lie, stall, truncate and hang up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

from tests.fakes.listener import Listener


@dataclass(frozen=True)
class RawRequest:
    """A request as it came."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:]
        return [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines if line)]

    def field(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, values
        return values[0] if values else None


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: RawUpstream) -> None:
        self.reader = reader
        self.writer = writer
        self._upstream = upstream

    async def head(self) -> RawRequest:
        """Read a request's head only."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        request = RawRequest(head[:-4], b"")
        self._upstream.requests.append(request)
        return request

    async def request(self) -> RawRequest:
        """Read a whole request."""
        request = await self.head()
        body = b""
        if (length := request.field(b"content-length")) is not None:
            body = await self.reader.readexactly(int(length))
        elif request.field(b"transfer-encoding") is not None:
            body = await self._chunks()
        request = self._upstream.requests[-1] = RawRequest(request.head, body)
        return request

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError if the other side has hung up, on each event loop: uvloop has another error for it."""
        if self.writer.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Hang up with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def own_socket(self) -> socket.socket:
        """A second handle on the connection's socket, to do things behind the event loop's back."""
        return socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))

    async def until_closed(self) -> bytes:
        """Read until the gateway hangs up; returns what it still sent."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


Script = Callable[[Peer], Awaitable[None]]


def answering(*answers: bytes) -> Script:
    """Read a request, send an answer, and so on; the last answer repeats until the gateway hangs up."""

    async def script(peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            number = 0
            while True:
                await peer.request()
                await peer.send(answers[min(number, len(answers) - 1)])
                number += 1

    return script


class RawUpstream(Listener):
    """The server. Use it as an async context manager."""

    def __init__(self, *scripts: Script, ssl_context: object = None) -> None:
        super().__init__(self._run, ssl=ssl_context, limit=2**20)
        self._scripts = scripts
        self._scheme = "https" if ssl_context is not None else "http"
        self.requests: list[RawRequest] = []
        self.accepted = 0
        self.failures: list[Exception] = []

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self.port}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if self.failures and error is None:
            raise self.failures[0]

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
        self.accepted += 1
        try:
            await script(Peer(reader, writer, self))
        except Exception as error:  # noqa: BLE001 - reported when the server stops
            self.failures.append(error)
        finally:
            writer.transport.abort()
