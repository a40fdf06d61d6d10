"""The caller's end of a connection: writes bytes as told, reads answers as strictly as they may be read.

An answer that a lenient client would accept and a strict one would not is a fault of the gateway,
so reading one raises `NotHttp`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

PATIENCE_S = 30.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_BYTE_BY_BYTE_BELOW = 1200
_PAUSES = 6
_PAUSE_S = 0.001


class NotHttp(AssertionError):
    """What came is not one well-formed answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One answer."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes
    cut: bool
    """The connection ended before it did."""
    to_close: bool
    """Its end was the connection's end."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


class Caller:
    """One connection. On a bare socket: a stream forgets what it has read when the other end resets."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._data = b""

    async def send(self, data: bytes, *, in_pieces: bool = False) -> None:
        """Write; what the other end no longer takes is dropped."""
        with suppress(ConnectionError):
            for piece, pause in _pieces(data) if in_pieces else ((data, False),):
                await self._loop.sock_sendall(self._sock, piece)
                if in_pieces:
                    await asyncio.sleep(_PAUSE_S if pause else 0)

    def end(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def answer(self, method: bytes) -> Received | None:
        """The next answer to a request of that method; None if the connection ends before it."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._until(b"\r\n\r\n")
            if head is None:
                if self._data:
                    raise NotHttp(f"ends within a head: {self._data!r}")
                return None
            status, fields = _parse_head(head)
            body, cut, to_close = await self._body(method, status, fields)
            return Received(status=status, fields=fields, body=body, cut=cut, to_close=to_close)

    async def _more(self) -> bool:
        """Whether something has come before the end."""
        try:
            data = await self._loop.sock_recv(self._sock, 65_536)
        except ConnectionError:
            return False
        self._data += data
        return bool(data)

    async def _until(self, mark: bytes) -> bytes | None:
        """All up to the mark, with it; None if the connection ends before."""
        while mark not in self._data:
            if not await self._more():
                return None
        found, _, self._data = self._data.partition(mark)
        return found + mark

    async def _exactly(self, length: int) -> bytes:
        """So many bytes, or fewer if the connection ends."""
        while len(self._data) < length and await self._more():
            pass
        data, self._data = self._data[:length], self._data[length:]
        return data

    async def _body(
        self, method: bytes, status: int, fields: tuple[tuple[bytes, bytes], ...]
    ) -> tuple[bytes, bool, bool]:
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
            raise NotHttp(f"framed ambiguously: {fields}")
        if status < 200 or status in (204, 304) or method == b"HEAD":
            return b"", False, False
        if codings:
            return *await self._chunks(), False
        if not lengths:
            while await self._more():
                pass
            body, self._data = self._data, b""
            return body, False, True
        length = int(lengths[0])
        body = await self._exactly(length)
        return body, len(body) < length, False

    async def _chunks(self) -> tuple[bytes, bool]:
        """The payload, and whether it breaks off."""
        body = b""
        while (line := await self._until(b"\r\n")) is not None:
            size = int(line, 16)
            data = await self._exactly(size + 2)
            body += data[:size]
            if len(data) < size + 2:
                return body, True
            if data[size:] != b"\r\n":
                raise NotHttp("trailer fields" if size == 0 else "a chunk is longer than its size")
            if size == 0:
                return body, False
        return body, True


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    """A connection to the gateway."""
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003 - the signature is the library's
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield Caller(sock)


def _pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Byte by byte, with time to be read alone where lines end; large data in some parts."""
    if len(data) > _BYTE_BY_BYTE_BELOW:
        step = len(data) // 7 + 1
        yield from ((data[at : at + step], True) for at in range(0, len(data), step))
        return
    pauses = 0
    for at in range(len(data)):
        byte = data[at : at + 1]
        pause = pauses < _PAUSES and (byte in b"\r\n:" or data[at + 1 : at + 2] == b"\r")
        pauses += pause
        yield byte, pause


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    lines = head[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise NotHttp(f"status line: {lines[0]!r}")
    fields = []
    for line in lines[1:]:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise NotHttp(f"field: {line!r}")
        fields.append((found[1].lower(), found[2].rstrip(b" \t")))
    return int(match[1]), tuple(fields)
