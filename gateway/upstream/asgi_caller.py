"""The caller's side of an exchange where a server in front offers plain ASGI only.

Writing to an ASGI caller means waiting, so what is to be sent queues here, bounded by pausing
the upstream, and `until` sends it. ASGI tells that a caller has left only to who calls
`receive`: a body is read by a task that goes on after its end; an exchange without a body
starts that task only when it takes a while, so that quick requests need no second one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.core.http_head import pairs_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.upstream.parties import Listener
    from gateway.upstream.response_head import ResponseHead

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

HIGH_WATER = 262_144
"""Payload bytes that may wait for the caller before the upstream is no longer read."""


class AsgiCaller:
    """One ASGI request.

    Args:
        receive: ASGI `receive`.
        send: ASGI `send`.
    """

    __slots__ = (
        "_cut",
        "_exchange",
        "_held",
        "_messages",
        "_paused",
        "_reader",
        "_receive",
        "_send",
        "_sender",
        "_size",
        "_wake",
        "loop",
    )

    waits = True

    def __init__(self, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._exchange: Listener | None = None
        self._messages: deque[dict[str, Any]] = deque()
        self._size = 0
        self._paused = False
        self._wake: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[Any] | None = None
        self._cut: Exception | None = None
        self._reader: asyncio.Task[None] | None = None
        self._held: asyncio.Event | None = None

    # What the exchange calls.

    def attach(self, listener: Listener) -> None:
        """Where to tell what the caller does."""
        self._exchange = listener

    def detach(self) -> None:
        """Tell no more."""
        self._exchange = None
        if self._reader is not None:
            self._reader.cancel()

    def start_body(self) -> None:
        """Read the body, and go on until the caller leaves."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="upstream caller")

    watch = start_body

    def hold(self) -> None:
        """Read no more of it for now."""
        self._held = self._held or asyncio.Event()
        self._held.clear()

    def release(self) -> None:
        """Read on."""
        if self._held is not None:
            self._held.set()

    def respond(self, head: ResponseHead, lines: list[bytes], data: bytes, *, ended: bool) -> None:
        """Begin the response."""
        headers = pairs_of(lines)
        self._put({"type": "http.response.start", "status": head.status, "headers": headers})
        if data or ended:
            self.send_part(data, ended=ended)

    def send_part(self, data: bytes, *, ended: bool) -> None:
        """Go on with it."""
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused and self._exchange is not None:
            self._paused = True
            self._exchange.blocked()
        self._put({"type": "http.response.body", "body": data, "more_body": not ended})

    @property
    def is_stuck(self) -> bool:
        """Whether a send is under way: whoever looks while it is sees a caller that does not read."""
        return self._sender is not None

    def cut(self, error: Exception) -> None:
        """Wait for a stuck caller no longer: `until` raises `error`."""
        if self._sender is not None and self._cut is None:
            self._cut = error
            self._sender.cancel()

    async def until(self, done: asyncio.Future[None]) -> None:
        """Send until the exchange ends."""
        done.add_done_callback(self._stop_waiting)
        while True:
            while self._messages:
                await self._send_out(self._messages.popleft())
            if done.done():
                return done.result()
            self._wake = done.get_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    # Inside.

    def _put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._stop_waiting()

    def _stop_waiting(self, _done: object = None) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _send_out(self, message: dict[str, Any]) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.touch()
        task = self._sender = asyncio.current_task()
        try:
            await self._send(message)
        except asyncio.CancelledError:
            if self._cut is not None and task is not None and task.uncancel() == 0:
                raise self._cut from None
            raise
        finally:
            self._sender = None
        self._size -= len(message.get("body", b""))
        if self._paused and self._size <= HIGH_WATER and exchange is not None:
            self._paused = False
            exchange.unblocked()

    async def _read(self) -> None:
        """Tell the exchange what the caller sends, and that it has left."""
        complete = False
        while (exchange := self._exchange) is not None:
            message = await self._receive()
            if message["type"] != "http.request":
                exchange.left()
                return
            if not complete:
                complete = not message.get("more_body", False)
                exchange.body(message.get("body", b""), ended=complete)
            if self._held is not None:
                await self._held.wait()
