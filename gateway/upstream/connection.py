"""One connection to the upstream: write a request, read exactly one response, be reused or closed.

Law: a connection is reused only if the request was sent in full, the response was complete and
framed unambiguously, the upstream agreed, and *nothing* followed the response, then or since.

One exchange owns it at a time and is told what comes, in the order it comes, in the same turn of
the event loop: nothing is stored here, so memory is bounded by whoever takes the bytes on, and
pauses this connection when it cannot.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

from gateway.core.errors import TiergateError, UpstreamInvalid, UpstreamUnreachable
from gateway.core.http_body import BodyInvalid, BodyReader, ChunkedBody, SizedBody, body_reader
from gateway.core.http_head import END_OF_HEAD
from gateway.upstream.errors import ClientLeft, DiedUnanswered
from gateway.upstream.response_head import MAX_HEAD_BYTES, ResponseHead, check_unfinished_head, parse_response_head

if TYPE_CHECKING:
    import socket

_MAX_INTERIM = 16
_POLL = getattr(select, "poll", None)

_WHOLE = SizedBody(0)
"""A body that has come, with nothing behind it. Shared: nothing is ever fed to it."""

Failure = TiergateError | ClientLeft
"""Why an exchange cannot go on."""


class Owner(Protocol):
    """The exchange that uses a connection."""

    tick_s: float
    """How often its deadlines have to be looked at, in seconds."""

    def received(self, head: ResponseHead | None, data: bytes, *, ended: bool) -> None:
        """A part of the response: its head, first and once; payload, perhaps none; whether that was all."""
        ...

    def trailed(self, lines: list[bytes]) -> None:
        """Trailer fields have come. Called before the end is told."""
        ...

    def failed(self, error: Failure) -> None:
        """There will be no more of it, and the connection is closed."""
        ...

    def writable(self) -> None:
        """The upstream takes more of the request again, or never will."""
        ...

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
        "_closed",
        "_got_eof",
        "_head",
        "_head_data",
        "_interim",
        "_pool",
        "_probe",
        "_reading_paused",
        "_to_head",
        "_transport",
        "expires_at",
        "keep_alive_s",
        "owner",
        "request_sent",
        "used",
        "writing_paused",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before anything else is called
        self._probe: select.poll | None = None
        self._closed = False
        self._got_eof = False
        self._reading_paused = False
        self._head_data = b""
        self._head: ResponseHead | None = None
        self._body: BodyReader | None = None
        self._interim = 0
        self._to_head = False
        self.keep_alive_s: int | None = None
        """What the last response said about idle time."""
        self.owner: Owner | None = None
        """The exchange in progress; None while idle."""
        self.expires_at = 0.0
        """Loop time at which an idle connection is closed."""
        self.used = False
        """Whether a request has been written to it before."""
        self.request_sent = False
        """Whether the whole request has been written. The exchange sets it."""
        self.writing_paused = False
        """The upstream does not keep up with the upload: write no more until `writable` is called."""

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
        self._head = None
        self._body = None
        self._interim = 0
        self._to_head = to_head
        self.request_sent = complete
        self.used = True
        if self._closed:
            self._fail(DiedUnanswered("The upstream closed the connection."))
        else:
            self._transport.write(data)

    @property
    def answered(self) -> bool:
        """Whether a response has begun to arrive."""
        return self._head is not None or bool(self._head_data) or self._interim > 0

    def write(self, data: bytes) -> None:
        """More of the request."""
        if not self._closed:
            self._transport.write(data)

    def pause(self) -> None:
        """Read no more of the response for now."""
        if not self._reading_paused and not self._closed:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._reading_paused and not self._closed:
            self._reading_paused = False
            self._transport.resume_reading()

    def finish(self) -> bool:
        """Let go of the exchange; whether the connection may be used again."""
        self.owner = None
        head, body = self._head, self._body
        if (
            head is None
            or body is None
            or not body.complete
            or body.rest
            or not head.keep_alive
            or not self.request_sent
            or self._closed
            or self._got_eof
            or self.writing_paused
        ):
            self.abort()
            return False
        if self._reading_paused:
            self.resume()
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
        owner = self.owner
        if owner is None:
            self.abort()  # nobody asked: whatever this is, it must not answer the next request
            return
        head: ResponseHead | None = None
        try:
            body = self._body
            if body is None:
                found = self._read_head(data)
                if found is None:
                    return
                head, data = found
                self._head = head
                self.keep_alive_s = head.keep_alive_s
                if head.framing == len(data):  # all of it came at once, as most answers do
                    self._body = _WHOLE
                    owner.received(head, data, ended=True)
                    return
                body = self._body = body_reader(head.framing)
            elif body.complete:
                self.abort()  # more than one answer: `finish` has seen to it, or will
                return
            if data:
                data = body.feed(data) if not body.complete else self._surplus(body, data)
        except BodyInvalid as error:
            self._fail(_with_cause(UpstreamInvalid("The upstream broke the framing of its response's body."), error))
            return
        except UpstreamInvalid as error:
            self._fail(error)
            return
        if body.complete and isinstance(body, ChunkedBody) and body.trailers:
            owner.trailed(body.trailers)
        owner.received(head, data, ended=body.complete)

    def eof_received(self) -> bool:
        """The upstream will send no more; the transport closes by itself."""
        self._got_eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by either side."""
        self._closed = True
        owner, body = self.owner, self._body
        if owner is not None:
            if body is not None and not body.complete and exc is None and self._got_eof and body.closed():
                body.complete = True
                owner.received(None, b"", ended=True)
            elif body is None or not body.complete:
                self._fail(self._loss(exc))
        if self.writing_paused:
            self.resume_writing()
        self._pool.gone(self)

    def pause_writing(self) -> None:
        """The upstream does not keep up with the upload."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.writing_paused = False
        if self.owner is not None:
            self.owner.writable()

    # Inside.

    def _read_head(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Read heads until the final one; with what follows it. None if it has not come yet."""
        if self._head_data:
            data = self._head_data + data
            self._head_data = b""
        while True:
            end = data.find(END_OF_HEAD)
            if end < 0 or end > MAX_HEAD_BYTES:
                check_unfinished_head(data)
                self._head_data = data
                return None
            head = parse_response_head(data[:end], to_head=self._to_head)
            data = data[end + len(END_OF_HEAD) :]
            if not head.is_interim:
                return head, data
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise UpstreamInvalid("The upstream sent interim responses without end.")

    def _surplus(self, body: BodyReader, data: bytes) -> bytes:
        """Bytes after a response without a body: nobody asked for them."""
        body.rest = data
        return b""

    def _fail(self, error: Failure) -> None:
        owner, self.owner = self.owner, None
        self.abort()
        if owner is not None:
            owner.failed(error)

    def _loss(self, exc: Exception | None) -> UpstreamUnreachable | UpstreamInvalid:
        if not self.answered:
            return _with_cause(DiedUnanswered("The upstream closed the connection without an answer."), exc)
        return _with_cause(UpstreamInvalid("The upstream closed the connection in the middle of its response."), exc)


def _with_cause(
    error: UpstreamUnreachable | UpstreamInvalid, cause: Exception | None
) -> UpstreamUnreachable | UpstreamInvalid:
    error.__cause__ = cause
    return error
