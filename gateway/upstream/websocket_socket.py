"""One WebSocket connection to the upstream, on a transport of our own: bytes in, bytes out.

Reading pauses while more than `HIGH_WATER` bytes wait for the caller, so at most that, one read
and one message in the making are held. Pings are answered, but while the upstream does not read,
only the last one: pongs must not pile up (RFC 6455 section 5.5.3 allows it).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.core.errors import UpstreamInvalid
from gateway.upstream.errors import DiedUnanswered
from gateway.upstream.websocket_frames import Frames
from gateway.upstream.websocket_handshake import Handshake, Refusal, Switched

if TYPE_CHECKING:
    from collections.abc import Iterable

HIGH_WATER = 65_536
"""Bytes that may wait for the caller before the upstream is no longer read."""


class UpstreamSocket(asyncio.Protocol):
    """A protocol instance on one transport; first an HTTP exchange, then frames."""

    def __init__(self, handshake: Handshake, *, max_message_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before anything else is called
        self._handshake = handshake
        self._answer: Switched | Refusal | None = None
        self._error: Exception | None = None
        self.frames = Frames(max_message_bytes)
        """How the connection ended is read here, once `receive` has returned None."""
        self._got_eof = False
        self._reading_paused = False
        self._writing_paused = False
        self._late_pong = b""
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self.heard_at = 0.0
        """Loop time at which the last bytes came."""
        self.is_silent = False
        """Nothing has come since the last ping."""

    # What the relay calls.

    async def ask(self, head: bytes) -> Switched | Refusal:
        """Send the request and wait for the answer.

        Raises:
            UpstreamUnreachable, UpstreamInvalid: There is none, or no good one.
        """
        self._write((head,))
        while self._answer is None:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._answer

    async def receive(self) -> str | bytes | None:
        """The next message, text or binary; None when the connection has ended."""
        frames = self.frames
        while True:
            message = frames.take()
            self._reply()
            if message is not None:
                return message
            if frames.ended or self._got_eof:
                return None
            self._resume()
            await self._wait()

    def send(self, data: bytes, *, is_text: bool) -> None:
        """Write a message, if the connection still takes one. Follow it with `drained`."""
        self.frames.send(data, is_text=is_text)
        self._write(self.frames.outgoing())

    async def drained(self) -> None:
        """Wait until the upstream takes more, or never will."""
        while self._writing_paused and not self._gone.is_set():
            if self._drain is None or self._drain.done():
                self._drain = self._loop.create_future()
            await self._drain

    def ping(self) -> bool:
        """Ask the upstream for a sign of life, unless it is not reading anyway; whether it was asked."""
        if self._writing_paused or not self.frames.is_open:
            return False
        self.frames.ping()
        self._write(self.frames.outgoing())
        self.is_silent = True
        return True

    @property
    def is_read(self) -> bool:
        """Whether bytes that come are looked at; if not, silence means nothing."""
        return not self._reading_paused

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, unless that is done. 1005 sends a close frame without a code."""
        self.frames.close(code, reason)
        self._write(self.frames.outgoing())

    async def finish(self, within_s: float) -> None:
        """Wait for the closing handshake and the connection's end, then cut it. Messages are dropped."""
        self.frames.drop()
        self._resume()
        try:
            async with asyncio.timeout(within_s):
                await self._gone.wait()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close now, dropping what is buffered."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up (and TLS is done)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        self.heard_at = self._loop.time()
        self.is_silent = False
        frames = self.frames
        if not isinstance(self._answer, Switched):
            self._read_answer(data)
        elif frames.ended:
            frames.skip(data)
        else:
            frames.feed(data)
            self._reply()
            if frames.held > HIGH_WATER and not self._reading_paused and not frames.ended:
                self._reading_paused = True
                self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The upstream will send no more; the transport closes by itself."""
        self._got_eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by either side. What had come before can still be received."""
        if self._answer is None and self._error is None:
            self._read_loss(exc)
        self._got_eof = True
        self._gone.set()
        self.resume_writing()
        self._wake()

    def pause_writing(self) -> None:
        """The upstream does not keep up."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._writing_paused = False
        if self._late_pong:
            pong, self._late_pong = self._late_pong, b""
            self._write((pong,))
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # Inside.

    def _read_answer(self, data: bytes) -> None:
        if self._answer is not None or self._error is not None:
            return
        try:
            self._answer = self._handshake.feed(data)
        except UpstreamInvalid as error:
            self._error = error
        if isinstance(self._answer, Switched):
            self.frames.feed(self._handshake.surplus)
            self._reply()
        elif self._answer is not None or self._error is not None:
            self.abort()

    def _read_loss(self, exc: Exception | None) -> None:
        if not self._handshake.answered:
            self._error = DiedUnanswered("The upstream closed the connection without an answer.")
        elif exc is not None or not self._got_eof:
            self._error = UpstreamInvalid("The upstream closed the connection in the middle of its response.")
        else:
            try:
                self._answer = self._handshake.closed()
            except UpstreamInvalid as error:
                self._error = error
        if self._error is not None:
            self._error.__cause__ = exc

    def _reply(self) -> None:
        """Pongs, and the answer to a close."""
        writes = self.frames.outgoing()
        if writes and self._writing_paused and self.frames.is_open:
            self._late_pong = writes[-1]
        elif writes:
            self._write(writes)

    def _write(self, pieces: Iterable[bytes]) -> None:
        if not self._transport.is_closing():
            for piece in pieces:
                self._transport.write(piece)

    def _resume(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.heard_at = self._loop.time()
            self._transport.resume_reading()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
