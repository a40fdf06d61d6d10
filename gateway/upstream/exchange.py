"""One request and its response, streamed both ways between ASGI and one upstream connection.

In order: the first part of the body is read before a connection is taken, so that a small body
travels with its head in one write and a caller who sends nothing holds nothing; the rest of a
longer body is sent by a task while the response is awaited. A response that comes before the
request's end is relayed at once; if it is not a success, the upload stops there.

Nothing is retried after a response byte, or when a body could have been sent. As long as no
connection was made nothing was sent, and the exchange can be had with another upstream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gateway.core.errors import (
    MalformedRequest,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.core.request_gate import CHUNKED
from gateway.upstream.errors import ClientFaulty, ClientLeft, DiedUnanswered, ExchangeBroken
from gateway.upstream.upload import RequestBody, Upload, chunk, watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.core.forwarding import Headers
    from gateway.upstream.connection import Connection
    from gateway.upstream.pool import Pool, Waiter
    from gateway.upstream.response_head import ResponseHead

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]
    OnStart = Callable[[int, Headers], Headers]

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
_LENGTH_EXPECTED = frozenset({"POST", "PUT", "PATCH"})
_FIRST_NOT_SUCCESS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTimeouts:
    """How long an exchange waits for what."""

    connect_s: float = 5.0
    """To connect, DNS and TLS included; then UpstreamUnreachable."""
    first_byte_s: float = 60.0
    """From the end of the request to the end of the response's head; then UpstreamTimeout."""
    idle_s: float = 60.0
    """Without progress in either body, whoever is to blame; then the exchange is broken off."""
    total_s: float | None = None
    """For the whole exchange. None: streams may last."""
    pool_wait_s: float = 5.0
    """For a connection, when all are busy; then UpstreamBusy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRequest:
    """What to ask the upstream."""

    method: str
    target: bytes
    """Path and query as they came; sent byte for byte behind the upstream's path prefix."""
    headers: Headers
    """End-to-end fields (`core.forwarding`). Without Host the upstream's own is sent. No framing."""
    body_framing: int | None = None
    """Announced length, `CHUNKED`, or None for no body (`core.request_gate.body_framing`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an exchange ended."""

    status: int
    response_bytes: int
    """Payload handed to the server in front of us."""
    request_bytes: int
    """Payload read from the caller."""
    ended: Literal["complete", "client-left", "upstream-broke", "timeout"]


class Exchange:
    """A single use of `run`."""

    __slots__ = (
        "_began_at",
        "_blocked_send",
        "_body",
        "_chunked",
        "_connection",
        "_deadline",
        "_expired",
        "_head",
        "_host",
        "_on_start",
        "_pool",
        "_prefix",
        "_receive",
        "_request",
        "_response_bytes",
        "_send",
        "_side_task",
        "_timeouts",
        "_upload",
        "_waiting_for_caller",
    )

    def __init__(  # noqa: PLR0913 - what one exchange consists of
        self,
        request: ExchangeRequest,
        body: RequestBody | None,
        receive: Receive,
        send: Send,
        *,
        on_start: OnStart,
        pool: Pool,
        timeouts: UpstreamTimeouts,
        prefix: bytes,
        host: bytes,
    ) -> None:
        self._request = request
        self._body = body
        self._receive = receive
        self._send = send
        self._on_start = on_start
        self._pool = pool
        self._timeouts = timeouts
        self._prefix = prefix
        self._host = host
        self._chunked = False
        self._upload: Upload | None = None
        self._side_task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._head: ResponseHead | None = None
        self._response_bytes = 0
        self._began_at = 0.0
        self._deadline = 0.0
        self._waiting_for_caller = False
        self._blocked_send: asyncio.Task[Any] | None = None
        self._expired: Exception | None = None

    async def run(self) -> Outcome:
        """Relay one request and its response.

        Raises:
            TiergateError, ClientLeft: Nothing was sent.
            ExchangeBroken: The response cannot be finished.
        """
        part, framing = await self._first_part()
        head_bytes = self._request_head(framing)
        try:
            self._head = await self._ask(head_bytes, part)
            return await self._relay(self._head)
        finally:
            if self._side_task is not None:
                self._side_task.cancel()
            if self._connection is not None:
                self._pool.give_back(self._connection)

    # The request.

    async def _first_part(self) -> tuple[bytes, int | None]:
        """The beginning of the body, and how the body will be delimited."""
        framing, body = self._request.body_framing, self._body
        if body is None:
            return b"", framing
        part = await body.begin(self._timeouts.idle_s)
        if framing == CHUNKED and body.complete:
            # All of it has come: a plain length says the same, and more servers understand it.
            return part, len(part) if part or self._request.method in _LENGTH_EXPECTED else None
        return part, framing

    def _request_head(self, framing: int | None) -> bytes:
        request = self._request
        lines = [b"%s %b%b HTTP/1.1" % (request.method.encode("ascii"), self._prefix, request.target)]
        if not any(name == b"host" for name, _ in request.headers):
            lines.append(b"host: " + self._host)
        lines += [name + b": " + value for name, value in request.headers]
        if framing == CHUNKED:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        elif framing is not None:
            lines.append(b"content-length: %d" % framing)
        data = b"\r\n".join(lines)
        if data.count(b"\n") != len(lines) - 1 or data.count(b"\r") != len(lines) - 1 or data.count(b"\0"):
            raise MalformedRequest("A header holds a line break.")
        return data + b"\r\n\r\n"

    async def _ask(self, head_bytes: bytes, part: bytes) -> ResponseHead:
        """Send the request and wait for the response's head, once more if a kept connection was dead."""
        body = self._body
        complete = body is None or body.complete
        if part:
            head_bytes += chunk(part) if self._chunked else part
        retry = False
        while True:
            connection = None if retry else self._pool.take_idle()
            if connection is None:
                connection = await self._wait_for_connection(new_only=retry)
            self._connection = connection
            was_used = connection.used
            now = asyncio.get_running_loop().time()
            if not self._began_at:
                self._began_at = now
            self._deadline = now + self._timeouts.first_byte_s
            connection.begin(self, head_bytes, to_head=self._request.method == "HEAD", complete=complete)
            if body is not None and not complete:
                self._upload = Upload(body, connection, self, self._receive, chunked=self._chunked)
                self._side_task = asyncio.create_task(self._upload.run(), name="upstream upload")
            try:
                return await connection.head()
            except DiedUnanswered:
                if retry or not was_used or part or not complete or self._request.method not in _IDEMPOTENT:
                    raise
                self._stop_side_task()
                self._pool.give_back(connection)
                self._connection = None
                retry = True

    async def _wait_for_connection(self, *, new_only: bool) -> Connection:
        waiter, within_s = self._pool.request(new_only=new_only)
        watcher: asyncio.Task[None] | None = None
        if self._body is None or self._body.complete:
            watcher = asyncio.create_task(_leave(self._receive, waiter), name="upstream wait")
        try:
            async with asyncio.timeout(within_s):
                return await waiter
        except TimeoutError:
            raise UpstreamBusy("Every connection to the API is in use.") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().abort()
            raise
        finally:
            waiter.cancel()
            if watcher is not None:
                watcher.cancel()

    # The response.

    async def _relay(self, head: ResponseHead) -> Outcome:
        connection = self._connection
        assert connection is not None  # noqa: S101 - for the type checker: `_ask` has set it
        if self._upload is not None and head.status >= _FIRST_NOT_SUCCESS:
            self._upload.stop()
        send = self._send
        start = {
            "type": "http.response.start",
            "status": head.status,
            "headers": self._on_start(head.status, head.headers),
        }
        try:
            await send(start)
            while not connection.complete:
                if connection.has_data:
                    data = connection.take()
                    self._response_bytes += len(data)
                    await self._send_part(data, more=True)
                else:
                    self._touch(self._timeouts.idle_s)
                    await connection.wait_body()
            await self._finish(connection)
        except ClientLeft as error:
            if isinstance(error, ClientFaulty):
                raise ExchangeBroken(str(error), self._outcome("client-left")) from error
            return self._outcome("client-left")
        except OSError:  # what ASGI servers may raise from `send` when the caller has gone
            return self._outcome("client-left")
        except UpstreamTimeout as error:
            raise ExchangeBroken(str(error), self._outcome("timeout")) from error
        except (UpstreamInvalid, UpstreamUnreachable) as error:
            raise ExchangeBroken(str(error), self._outcome("upstream-broke")) from error
        return self._outcome("complete")

    async def _finish(self, connection: Connection) -> None:
        """Return the connection, then send what is left: the upstream is done, however slowly the caller reads."""
        data = connection.take()
        self._stop_side_task()
        self._connection = None
        self._pool.give_back(connection)
        first = not self._response_bytes
        self._response_bytes += len(data)
        if first:
            await self._send({"type": "http.response.body", "body": data})
            return
        self._pool.lingering.add(self)
        try:
            await self._send_part(data, more=False)
        finally:
            self._pool.lingering.discard(self)

    async def _send_part(self, data: bytes, *, more: bool) -> None:
        """Hand payload to the server; a caller that does not read for `idle_s` is cut off."""
        self._touch(self._timeouts.idle_s)
        task = self._blocked_send = asyncio.current_task()
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except asyncio.CancelledError:
            if self._expired is not None and task is not None and task.uncancel() == 0:
                raise self._expired from None
            raise
        finally:
            self._blocked_send = None

    def _outcome(self, ended: Literal["complete", "client-left", "upstream-broke", "timeout"]) -> Outcome:
        return Outcome(
            status=self._head.status if self._head is not None else 0,
            response_bytes=self._response_bytes,
            request_bytes=self._body.read_bytes if self._body is not None else 0,
            ended=ended,
        )

    def _stop_side_task(self) -> None:
        if self._side_task is not None:
            self._side_task.cancel()
            self._side_task = None

    # Deadlines.

    def tick(self, now: float) -> None:
        """Look at the deadlines, and watch for the caller's leaving from the first look on."""
        if self._connection is not None and self._side_task is None:
            self._side_task = asyncio.create_task(watch(self._receive, self._connection), name="upstream watch")
        total_s = self._timeouts.total_s
        if total_s is not None and now >= self._began_at + total_s:
            self._expire(UpstreamTimeout("The exchange took longer than it may."))
        elif now < self._deadline:
            return
        elif self._waiting_for_caller:
            self._expire(ClientFaulty("The caller stopped sending its body."))
        elif self._blocked_send is not None:
            self._expire(ClientFaulty("The caller stopped reading."))
        else:
            self._expire(UpstreamTimeout("The upstream did not go on in time."))

    def _expire(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.fail(error)
        if self._blocked_send is not None and self._expired is None:
            self._blocked_send.cancel()
        self._expired = error

    def waits_for_caller(self) -> None:
        """The upload waits for the caller."""
        self._waiting_for_caller = True
        self._touch(self._timeouts.idle_s)

    def waits_for_upstream(self) -> None:
        """The upload waits for the upstream to take more, or is done."""
        self._waiting_for_caller = False
        complete = self._body is not None and self._body.complete and self._head is None
        self._touch(self._timeouts.first_byte_s if complete else self._timeouts.idle_s)

    def _touch(self, within_s: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + within_s


async def _leave(receive: Receive, waiter: Waiter) -> None:
    """Fail `waiter` when the caller leaves."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except Exception as error:  # noqa: BLE001 - whoever waits raises it
        failure: Exception = error
    else:
        failure = ClientLeft("The caller left before the upstream was asked.")
    if not waiter.done():
        waiter.set_exception(failure)
