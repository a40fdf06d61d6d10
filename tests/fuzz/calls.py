"""A caller's connections over real sockets, and the canary that shows whether one still answers rightly.

On bare sockets: a stream forgets what it has read when the other end resets.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tests.fuzz.oracle import Request
from tests.fuzz.oracle_responses import Response, read_response
from tests.fuzz.world import echo_of

PATIENCE_S = 10.0


class Call:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.is_over = False
        """The other end has closed."""
        self.was_reset = False

    async def send(self, *pieces: bytes) -> None:
        """Write; what the other end no longer takes is dropped."""
        with suppress(ConnectionError):
            for piece in pieces:
                await self._loop.sock_sendall(self._sock, piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0)

    def end(self) -> None:
        """Send no more."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def more(self, patience_s: float = PATIENCE_S) -> bytes:
        """What comes next; b"" at the end.

        Raises:
            TimeoutError: Nothing comes.
        """
        try:
            async with asyncio.timeout(patience_s):
                data = await self._loop.sock_recv(self._sock, 65_536)
        except ConnectionError:
            self.was_reset = True
            data = b""
        self.is_over = self.is_over or not data
        return data

    async def all(self) -> bytes | None:
        """What comes until the end; None if there is no end."""
        out = b""
        try:
            while data := await self.more():
                out += data
        except TimeoutError:
            return None
        return out

    async def answers(self, requests: Sequence[Request]) -> bytes:
        """What comes until so many requests are answered, or the end comes."""
        out, read = b"", 0
        for request in requests:
            while (answer := read_response(out[read:], request.method, ended=False)).end not in ("whole", "bad"):
                data = await self.more()
                if not data:
                    return out
                out += data
            read = len(out) - len(answer.rest)
        return out

    async def answer(self, method: bytes) -> tuple[Response, bytes]:
        """The next answer to a request of that method, and its bytes."""
        out = b""
        while (answer := read_response(out, method, ended=False)).end not in ("whole", "bad"):
            data = await self.more()
            if not data:
                return read_response(out, method, ended=not self.was_reset), out
            out += data
        return answer, out


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Call]:
    """A connection to a port on loopback."""
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003 - the signature is the library's
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield Call(sock)


class Canary:
    """A plain request that is like no other."""

    def __init__(self, number: int, key: bytes) -> None:
        self.target = b"/v1/canary-%d" % number
        self.request = (
            b"GET %b HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nUser-Agent: canary\r\nConnection: close\r\n\r\n"
            % (self.target, key)
        )

    def split_off(self, out: bytes) -> tuple[bytes, str | None]:
        """What came before its answer, which is the last; and what is wrong with that."""
        name = echo_of(b"GET", self.target, b"")
        at = out.rfind(b"HTTP/1.1 ", 0, max(out.rfind(b"\r\n\r\n"), 0) + 1)
        answer = read_response(out[max(at, 0) :], b"GET", ended=True)
        if answer.end != "whole" or answer.body != name or answer.rest or answer.persists:
            return out, f"the canary got another's answer: {out[-200:]!r}"
        return out[:at], None
