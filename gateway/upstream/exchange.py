"""One request and its response, moved both ways between a caller and one upstream connection.

What arrives is passed on in the same turn of the event loop: the caller and the connection call
in here, and `run` only waits for the end. In order: enough of the body is read before a
connection is taken, so that a small body travels with its head in one write and a caller who
sends slowly holds nothing; the rest is written as it comes, while the response is awaited. A
response that comes before the request's end is relayed at once; if it is not a success, the
upload stops there.

A caller that leaves ends the exchange; only where what is behind the body is still needed, the rest is read
without it (`reading_on`).

Nothing is retried after a response byte, or when a body could have been sent. As long as no
connection was made nothing was sent, and the exchange can be had with another upstream.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any

from gateway.core.errors import (
    BodyTooLarge,
    RequestTimeout,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.core.http_body import CHUNKED, LAST_CHUNK, write_chunk
from gateway.upstream.body_size import BodySize
from gateway.upstream.errors import (
    ClientFaulty,
    ClientLeft,
    DiedUnanswered,
    ExchangeBroken,
    ExchangeCancelled,
    NotConnected,
)
from gateway.upstream.reading_on import ReadingOn
from gateway.upstream.values import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.upstream.connection import Connection, Failure
    from gateway.upstream.parties import Caller, Servers
    from gateway.upstream.pool import Pool
    from gateway.upstream.response_head import OnStart, ResponseHead
    from gateway.upstream.upstream import Upstream
    from gateway.upstream.values import Ended, ExchangeRequest, UpstreamTimeouts

HOLD_BYTES = 262_144
"""Of a body, these many bytes wait here before its caller is paused."""
FIRST_BYTES = 65_536
"""A body of known length is gathered up to here before a connection is taken for it."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
_LENGTH_EXPECTED = frozenset({"POST", "PUT", "PATCH"})
_FIRST_NOT_SUCCESS = 300
_TOO_LONG = "The exchange took longer than it may."


class Exchange:
    """A single use of `run`.

    Args:
        request: What to ask.
        on_start: Maps the response's head to the field lines to send.
        max_body: Most bytes of request body.
        needs_end: Whether trailer fields are needed although the caller has left; asked when it has.

    Raises:
        BodyTooLarge: The announced length exceeds it.
    """

    __slots__ = (
        "_began_at",
        "_caller",
        "_chunked",
        "_connection",
        "_count",
        "_deadline",
        "_failure",
        "_framing",
        "_head",
        "_loop",
        "_needs_end",
        "_on_start",
        "_parts",
        "_pool",
        "_reading_on",
        "_request",
        "_response_bytes",
        "_size",
        "_stopped",
        "_timeouts",
        "_trailers",
        "_wait",
        "tick_s",
    )

    def __init__(
        self,
        request: ExchangeRequest,
        *,
        on_start: OnStart,
        max_body: int,
        needs_end: Callable[[], bool] | None = None,
    ) -> None:
        self._request = request
        self._framing = request.body_framing
        self._on_start = on_start
        self._needs_end = needs_end
        self._reading_on: ReadingOn | None = None
        self._count = BodySize(request.body_framing, max_body)
        self._parts: list[bytes] = []
        self._size = 0
        self._response_bytes = 0
        self._chunked = False
        self._stopped = False
        self._began_at = 0.0
        self._deadline = 0.0
        self._failure: Exception | None = None
        self._trailers: Sequence[bytes] | None = None
        self._head: ResponseHead | None = None
        self._connection: Connection | None = None
        self._pool: Pool | None = None
        self._wait: asyncio.Future[Any] | None = None
        self.tick_s = 0.0
        """How often its deadlines have to be looked at. Set when it has a connection."""

    async def run(self, caller: Caller, servers: Servers) -> Outcome:
        """Relay one request and its response.

        Args:
            caller: Who asks, and gets the response.
            servers: Who may answer; each one that was asked is reported on.

        Returns:
            How it ended: `complete`, or `client-left` if the caller went away after the response had begun.

        Raises:
            BodyTooLarge, UpstreamUnreachable, UpstreamBusy, UpstreamTimeout, UpstreamInvalid: Nothing was sent.
            ClientLeft: The caller went away before the response began.
            ExchangeBroken: The response had begun and cannot be finished.
        """
        self._loop = caller.loop
        self._caller = caller
        caller.attach(self)
        try:
            try:
                await self._ask_any(servers)
            except (ClientLeft, OSError, UpstreamTimeout, UpstreamInvalid, UpstreamUnreachable) as error:
                if self._head is None:
                    raise
                if isinstance(error, OSError) and self._connection is not None:
                    self._reads_on(self._connection)
                return self._cut_by(error) if self._reading_on is None else await self._read_on(self._reading_on, error)
        except asyncio.CancelledError:
            if self._head is None:
                raise
            raise ExchangeCancelled(self._outcome("upstream-broke")) from None
        finally:
            caller.detach()
            self._let_go()
            if self._pool is not None:
                self._pool.lingering.discard(self)
        return self._outcome("complete")

    # Getting there.

    async def _gather(self, timeouts: UpstreamTimeouts) -> None:
        """Wait for the body, or for so much of it that it cannot travel in one piece."""
        self._caller.start_body()
        while not self._has_enough():
            try:
                async with asyncio.timeout(min(timeouts.idle_s, self._left_s(timeouts))):
                    await self._waiting(self._loop.create_future())
            except TimeoutError:
                raise ClientFaulty("The caller stopped sending its body.", RequestTimeout) from None

    def _left_s(self, timeouts: UpstreamTimeouts) -> float:
        """What is left of the time for the whole exchange."""
        return inf if timeouts.total_s is None else self._began_at + timeouts.total_s - self._loop.time()

    def _has_enough(self) -> bool:
        if self._count.complete:
            return True
        return self._size > 0 if self._framing == CHUNKED else self._size >= FIRST_BYTES

    async def _ask_any(self, servers: Servers) -> None:
        began_at = self._began_at = self._loop.time()
        candidates = servers.candidates(began_at)
        asked, last = candidates[0], candidates[-1]
        try:
            if self._framing is not None:
                await self._gather(self._request.timeouts or asked.timeouts)
            for asked in candidates:
                try:
                    await self._ask(asked)
                except (NotConnected, UpstreamBusy) as error:
                    if asked is last:
                        raise
                    servers.report(asked, error, began_at=began_at, now=self._loop.time())
                else:
                    break
        except BaseException as error:
            fell_silent = self._head is not None and isinstance(error, UpstreamTimeout)  # a stream may: it had answered
            servers.report(asked, None if fell_silent else error, began_at=began_at, now=self._loop.time())
            raise
        servers.report(asked, None, began_at=began_at, now=self._loop.time())

    async def _ask(self, upstream: Upstream) -> None:
        """Send the request and relay the response; once more if a kept connection was dead."""
        pool = self._pool = upstream.pool
        timeouts = self._timeouts = self._request.timeouts or upstream.timeouts
        self.tick_s = timeouts.tick_s
        retry = False
        while True:
            if self._failure is not None:  # the caller left while it was admitted: nobody is troubled with its call
                raise self._failure
            connection = None if retry else pool.take_idle()
            if connection is None:
                connection = await self._connected(pool, timeouts, new_only=retry)
            can_retry = not retry and connection.used and not self._size and self._count.complete
            done = self._begin(upstream, connection, timeouts)
            try:
                if self._caller.waits:
                    await self._caller.until(done)
                else:
                    await done
            except DiedUnanswered:
                if not can_retry or self._request.method not in _IDEMPOTENT:
                    raise
                retry = True
            else:
                return

    async def _connected(self, pool: Pool, timeouts: UpstreamTimeouts, *, new_only: bool) -> Connection:
        waiter, within_s = pool.request(new_only=new_only, connect_s=timeouts.connect_s)
        connecting, left_s = within_s > timeouts.pool_wait_s, self._left_s(timeouts)
        self._caller.watch()
        try:
            async with asyncio.timeout(min(within_s, left_s)):
                await self._waiting(waiter)
            return waiter.result()
        except TimeoutError:
            if left_s < within_s:
                raise UpstreamTimeout(_TOO_LONG) from None
            if connecting:
                raise NotConnected("The upstream does not accept connections.") from None
            raise UpstreamBusy("Every connection to the API is in use.") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().abort()
            raise
        finally:
            waiter.cancel()

    async def _waiting(self, future: asyncio.Future[Any]) -> None:
        """Wait for `future`, which `_end` ends early."""
        if self._failure is not None:
            raise self._failure
        self._wait = future
        try:
            await future
        finally:
            self._wait = None

    def _begin(self, upstream: Upstream, connection: Connection, timeouts: UpstreamTimeouts) -> asyncio.Future[None]:
        """Write what there is of the request."""
        framing, body = self._framing, b""
        if self._size or framing == CHUNKED:
            if framing == CHUNKED and self._count.complete:
                # All of it has come: a plain length says the same, and more servers understand it.
                framing = self._size if self._size or self._request.method in _LENGTH_EXPECTED else None
            self._chunked = framing == CHUNKED
            body = self._buffered()
        data = upstream.request_head(self._request, framing) + body
        now = self._loop.time()
        self._deadline = now + (timeouts.first_byte_s if self._count.complete else timeouts.idle_s)
        self._connection = connection
        done: asyncio.Future[None] = self._loop.create_future()
        self._wait = done
        if self._failure is not None:
            done.set_exception(self._failure)
        if self._pool is not None:
            self._pool.look_every(self.tick_s)
        connection.begin(self, data, to_head=self._request.method == "HEAD", complete=self._count.complete)
        if not self._count.complete and not connection.writing_paused:
            self._caller.release()
        return done

    def _buffered(self) -> bytes:
        """What of the body waits here, in its framing."""
        data = b"".join(self._parts)
        self._parts = []
        self._size = 0
        if not self._chunked:
            return data
        framed = write_chunk(data)
        return framed + LAST_CHUNK if self._count.complete else framed

    # What the caller does.

    def body(self, data: bytes, *, ended: bool) -> None:
        """A part of the request's body has come."""
        if self._framing is None:
            return
        try:
            self._count.add(len(data), ended=ended)
        except BodyTooLarge as error:
            self._refuse_body(error)
            return
        except ClientFaulty as fault:
            self._end(fault)
            return
        if self._connection is None:
            self._keep(data)
        elif not self._stopped:
            self._pass_on(self._connection, data)

    def left(self) -> None:
        """The caller has gone."""
        self._end(ClientLeft("The caller left before the exchange was complete."))

    def fault(self, error: ClientFaulty) -> None:
        """The caller sent what no caller may send."""
        self._end(error)

    def blocked(self) -> None:
        """The caller does not take what was sent."""
        if self._connection is not None:
            self._connection.pause()

    def unblocked(self) -> None:
        """It does again."""
        if self._pool is not None:  # before that nothing of this exchange was sent to it
            self.touch()
        if self._connection is not None:
            self._connection.resume()

    def touch(self) -> None:
        """Something goes on: idleness begins anew."""
        if self._head is not None or not self._count.complete:
            self._deadline = self._loop.time() + self._timeouts.idle_s

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
        if self._size > HOLD_BYTES:
            self._caller.hold()
        if self._wait is not None and self._pool is None and not self._wait.done():
            self._wait.set_result(None)

    def _pass_on(self, connection: Connection, data: bytes) -> None:
        if self._chunked:
            data = write_chunk(data)
            if self._count.complete:
                data += LAST_CHUNK
        if data:
            connection.write(data)
        if self._count.complete:
            connection.request_sent = True
            if self._head is None:
                self._deadline = self._loop.time() + self._timeouts.first_byte_s
                return
        elif connection.writing_paused:
            self._caller.hold()
        self.touch()

    def _refuse_body(self, error: BodyTooLarge) -> None:
        if self._connection is None:
            self._end(error)
            return
        told = f"{error} A part had been passed on before that showed, so the call stays charged."
        self._end(ClientFaulty(told, BodyTooLarge))

    # What the upstream does.

    def received(self, head: ResponseHead | None, data: bytes, *, ended: bool) -> None:
        """A part of the response has come."""
        lines: list[bytes] = []
        if head is not None:
            self._head = head
            if not self._count.complete and head.status >= _FIRST_NOT_SUCCESS:
                self._stopped = True
                self._caller.release()
            try:
                lines = self._on_start(head)
            except Exception as error:  # noqa: BLE001 - `run` raises it; here it would be lost in the event loop
                self._head = None
                self._end(error)
                return
        self._deadline = self._loop.time() + self._timeouts.idle_s
        self._response_bytes += len(data)
        if ended:
            self._trailers = self._trailers or ()
            self._let_go()
            if self._caller.waits and self._pool is not None:
                self._pool.lingering.add(self)
        if head is not None:
            self._caller.respond(head, lines, data, ended=ended)
        elif data or ended:
            self._caller.send_part(data, ended=ended)
        if ended and self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def trailed(self, lines: list[bytes]) -> None:
        """Trailer fields have come, with the end of the response."""
        self._trailers = lines

    def failed(self, error: Failure) -> None:
        """The connection broke."""
        self._connection = None
        if self._wait is not None and not self._wait.done():
            self._wait.set_exception(error)

    def writable(self) -> None:
        """The upstream takes more of the request."""
        if not self._count.complete:
            self._caller.release()
            self.touch()

    # Deadlines.

    def tick(self, now: float) -> None:
        """Look at the deadlines, and watch for the caller's leaving from the first look on."""
        if self._connection is not None:
            self._caller.watch()
        total_s = self._timeouts.total_s
        took_too_long = total_s is not None and now >= self._began_at + total_s
        if not took_too_long and now < self._deadline:
            return
        if self._caller.is_stuck:
            self._end(ClientFaulty("The caller did not take the response in time."))
        elif self._connection is not None and self._waits_for_caller(self._connection):
            self._end(ClientFaulty("The caller did not send its body in time.", RequestTimeout))
        else:
            self._end(UpstreamTimeout(_TOO_LONG if took_too_long else "The upstream did not go on in time."))

    def _waits_for_caller(self, connection: Connection) -> bool:
        return not self._count.complete and not self._stopped and not connection.writing_paused

    # The end.

    def _end(self, error: Exception) -> None:
        """Whatever is waited for is not waited for any longer."""
        if self._failure is not None:
            return
        self._failure = error
        if self._connection is not None and not (isinstance(error, ClientLeft) and self._reads_on(self._connection)):
            self._connection.owner = None
            self._connection.abort()
        if self._wait is not None and not self._wait.done():
            self._wait.set_exception(error)
        if self._caller.is_stuck:
            self._caller.cut(error)

    def _reads_on(self, connection: Connection) -> bool:
        """Read the response on without its caller, if that is needed: only behind a chunked body come fields."""
        if (
            self._needs_end is None
            or self._head is None
            or self._head.framing != CHUNKED
            or self._timeouts.read_on_s <= 0
            or not self._count.complete
            or not self._needs_end()
        ):
            return False
        ends_at = None if self._timeouts.total_s is None else self._began_at + self._timeouts.total_s
        self._reading_on = ReadingOn(self._loop, connection, self._timeouts, ends_at)
        return True

    async def _read_on(self, reading: ReadingOn, error: Exception) -> Outcome:
        """Wait for what is behind the body of a response whose caller has left.

        An upstream that fails meanwhile ends it as it would have ended it with the caller.

        Raises:
            ExchangeBroken: The caller is still there, but does not read: it has to be cut.
        """
        self._caller.detach()
        if self._pool is not None:
            self._pool.look_every(reading.tick_s)
        await reading.done
        self._trailers = reading.trailers
        ended: Ended = "client-left"
        if reading.failure is not None:
            ended = "timeout" if isinstance(reading.failure, UpstreamTimeout) else "upstream-broke"
        if isinstance(error, ClientFaulty):
            raise ExchangeBroken(str(error), self._outcome(ended)) from error
        return self._outcome(ended)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._pool is not None:
            self._pool.give_back(connection)

    def _cut_by(self, error: Exception) -> Outcome:
        """What ended a response that had begun.

        Raises:
            ExchangeBroken: Unless the caller just went away. ASGI servers may say that with an OSError.
        """
        if isinstance(error, ClientLeft | OSError) and not isinstance(error, ClientFaulty):
            return self._outcome("client-left")
        ended: Ended = "upstream-broke"
        if isinstance(error, ClientFaulty):
            ended = "client-left"
        elif isinstance(error, UpstreamTimeout):
            ended = "timeout"
        raise ExchangeBroken(str(error), self._outcome(ended)) from error

    def _outcome(self, ended: Ended) -> Outcome:
        status = self._head.status if self._head is not None else 0
        return Outcome(status, self._response_bytes, self._count.read_bytes, ended, self._trailers)
