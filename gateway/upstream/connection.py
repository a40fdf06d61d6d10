"""One connection to the upstream: write a request, read exactly one response, be reused or closed.

Law: a connection is reused only if the request was sent in full, the response was complete and
framed unambiguously, the upstream agreed, and *nothing* followed the response, then or since.

One exchange uses it at a time. The exchange waits here for the head, then for pieces of body;
`fail` ends whichever wait is on. Reading pauses while more than `HIGH_WATER` bytes wait for the
caller, so an exchange holds at most that much plus one read, whatever the body's size.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

from gateway.core.errors import UpstreamInvalid, UpstreamUnreachable
from gateway.upstream.errors import DiedUnanswered
from gateway.upstream.response_body import body_reader
from gateway.upstream.response_head import MAX_HEAD_BYTES, ResponseHead, check_unfinished_head, parse_response_head

if TYPE_CHECKING:
    import socket

    from gateway.upstream.response_body import ResponseBody

HIGH_WATER = 262_144
"""Payload bytes that may wait for the caller before the upstream is no longer read."""

_END_OF_HEAD = b"\r\n\r\n"
_MAX_INTERIM = 16
_POLL = getattr(select, "poll", None)


class Owner(Protocol):
    """The exchange that uses a connection."""

    def tick(self, now: float) -> None:
        """Called a few times a second while it uses the connection, to look at its deadlines."""
        ...


class ConnectionPool(Protocol):
    """Who is told that a connection has gone."""

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""
        ...


class Connection(asyncio.Protocol):
    """A protocol instance on one transport."""

    __slots__ = (
        "_body",
        "_buffered",
        "_closed",
        "_drain",
        "_got_eof",
        "_head",
        "_head_data",
        "_interim",
        "_keep_alive",
        "_loop",
        "_pool",
        "_probe",
        "_reading_paused",
        "_size",
        "_to_head",
        "_transport",
        "_waiter",
        "_writing_paused",
        "error",
        "expires_at",
        "keep_alive_s",
        "owner",
        "request_sent",
        "used",
    )  # fmt: skip

    def __init__(self, pool: ConnectionPool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before anything else is called
        self._probe: select.poll | None = None
        self._closed = False
        self._got_eof = False
        self._writing_paused = False
        self._drain: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._head_data = b""
        self._head: ResponseHead | None = None
        self._body: ResponseBody | None = None
        self._buffered: list[bytes] = []
        self._size = 0
        self._interim = 0
        self._to_head = False
        self._keep_alive = False
        self.keep_alive_s: int | None = None
        """What the last response said about idle time."""
        self.owner: Owner | None = None
        """The exchange in progress; None while idle."""
        self.error: BaseException | None = None
        """Why the exchange cannot go on."""
        self.expires_at = 0.0
        """Loop time at which an idle connection is closed."""
        self.used = False
        """Whether a request has been written to it before."""
        self.request_sent = False
        """Whether the whole request has been written. The exchange sets it."""

    # What the exchange calls.

    def begin(self, owner: Owner, data: bytes, *, to_head: bool, complete: bool) -> None:
        """Write the beginning of a request, or all of it.

        Args:
            owner: The exchange.
            data: Request head, and what is known of the body.
            to_head: It is a HEAD request, so its response has no body.
            complete: Nothing of the request is missing.
        """
        self.owner = owner
        self.error = None
        self._head = None
        self._body = None
        self._head_data = b""
        self._interim = 0
        self._to_head = to_head
        self._keep_alive = False
        self.request_sent = complete
        self.used = True
        if self._size:
            self._buffered = []
            self._size = 0
        if self._closed:
            self.error = DiedUnanswered("The upstream closed the connection.")
        else:
            self._transport.write(data)

    async def head(self) -> ResponseHead:
        """Wait for the response's head.

        Raises:
            UpstreamUnreachable, UpstreamInvalid: There is none.
        """
        while self._head is None:
            if self.error is not None:
                raise self.error
            await self._wait()
        return self._head

    @property
    def answered(self) -> bool:
        """Whether a response has begun to arrive."""
        return self._head is not None or bool(self._head_data) or self._interim > 0

    @property
    def complete(self) -> bool:
        """Whether the response has come in full."""
        return self._body is not None and self._body.complete

    @property
    def has_data(self) -> bool:
        """Whether payload waits to be taken."""
        return self._size > 0

    async def wait_body(self) -> None:
        """Wait until payload or the response's end has come.

        Raises:
            UpstreamUnreachable, UpstreamInvalid: It broke off. What had come before can still be taken.
        """
        while not self._size and not self.complete:
            if self.error is not None:
                raise self.error
            await self._wait()

    def take(self) -> bytes:
        """The payload that has come, and let more come."""
        pieces = self._buffered
        self._buffered = []
        self._size = 0
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, data: bytes) -> None:
        """More of the request. Follow it with `drained`."""
        if not self._closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the upstream takes more of the request, or will take no more at all."""
        while self._writing_paused and not self._closed and self.error is None:
            if self._drain is None or self._drain.done():
                self._drain = self._loop.create_future()
            await self._drain

    def release_writer(self) -> None:
        """End a wait in `drained`: the rest of the request will not be sent."""
        self._writing_paused = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the exchange with `error`, unless it has ended, and close."""
        if self.error is None and not self.complete:
            self.error = error
        self.abort()
        self._wake()

    def finish(self) -> bool:
        """Let go of the exchange; whether the connection may be used again."""
        self.owner = None
        body = self._body
        if (
            body is None
            or not body.complete
            or body.surplus
            or not self._keep_alive
            or not self.request_sent
            or self._closed
            or self._got_eof
            or self._writing_paused
            or self._reading_paused
        ):
            self.abort()
            return False
        return True

    def is_quiet(self) -> bool:
        """Ask the kernel whether the idle connection is still open and nothing has arrived on it.

        The event loop may not have looked since; a close or a stray answer that is already
        here must not meet the next request.
        """
        return (
            not self._closed and not self._transport.is_closing() and (self._probe is None or not self._probe.poll(0))
        )

    def abort(self) -> None:
        """Close now, dropping what is buffered."""
        if not self._closed:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up (and TLS is done)."""
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and _POLL is not None:
            self._probe = _POLL()
            self._probe.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if self.owner is None or self.error is not None:
            self.abort()  # nobody asked: whatever this is, it must not answer the next request
            return
        try:
            if self._body is None:
                data = self._read_head(data)
            if data and self._body is not None:
                self._read_body(self._body, data)
        except UpstreamInvalid as error:
            self.fail(error)
            return
        if self._body is not None:
            self._wake()

    def eof_received(self) -> bool:
        """The upstream will send no more; the transport closes by itself."""
        self._got_eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by either side."""
        self._closed = True
        if self._body is not None and not self._body.complete and exc is None and self._got_eof and self._body.closed():
            self._body.complete = True
        if self.error is None and not self.complete:
            self.error = self._loss(exc)
        self.release_writer()
        self._wake()
        self._pool.gone(self)

    def pause_writing(self) -> None:
        """The upstream does not keep up with the upload."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.release_writer()

    # Inside.

    def _read_head(self, data: bytes) -> bytes:
        """Read heads until the final one; returns what follows it, or b"" if it has not come yet."""
        data = self._head_data + data if self._head_data else data
        while True:
            end = data.find(_END_OF_HEAD)
            if end < 0 or end > MAX_HEAD_BYTES:
                check_unfinished_head(data)
                self._head_data = data
                return b""
            end += len(_END_OF_HEAD)
            head = parse_response_head(data[:end], to_head=self._to_head)
            data = data[end:]
            if not head.is_interim:
                break
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise UpstreamInvalid("The upstream sent interim responses without end.")
        self._head_data = b""
        self._head = head
        self._keep_alive = head.keep_alive
        self.keep_alive_s = head.keep_alive_s
        self._body = body_reader(head.framing)
        return data

    def _read_body(self, body: ResponseBody, data: bytes) -> None:
        if body.complete:
            body.surplus = True
            self.abort()
            return
        payload = body.feed(data)
        if payload:
            self._buffered.append(payload)
            self._size += len(payload)
            if self._size > HIGH_WATER and not self._reading_paused and not body.complete:
                self._reading_paused = True
                self._transport.pause_reading()

    def _loss(self, exc: Exception | None) -> UpstreamUnreachable | UpstreamInvalid:
        if not self.answered:
            error: UpstreamUnreachable | UpstreamInvalid = DiedUnanswered(
                "The upstream closed the connection without an answer."
            )
        else:
            error = UpstreamInvalid("The upstream closed the connection in the middle of its response.")
        error.__cause__ = exc
        return error

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
