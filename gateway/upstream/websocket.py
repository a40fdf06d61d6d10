"""Relaying one WebSocket between an ASGI server and the upstream, message by message.

Two handshakes, two connections: frames, masks, pings, compression and fragments are each hop's
own, and only what applications see travels: messages, subprotocol, close code and reason. A
message is held whole, so a hop costs at most a few messages of memory each way; whoever does not
read is not read for either.

What a side is told when the other ends it: `websocket_ending`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.core.errors import TiergateError, UpstreamTimeout
from gateway.core.http_head import pairs_of
from gateway.core.websocket import ABNORMAL, GOING_AWAY, short_reason
from gateway.upstream.errors import ClientLeft, NotConnected
from gateway.upstream.websocket_ending import SHUTDOWN, Ending, close_of, denied, left, too_big, upstream_ended
from gateway.upstream.websocket_handshake import Handshake, Refusal, Switched, WebSocketRequest
from gateway.upstream.websocket_limits import Tally, WebSocketLimits, WebSocketOutcome
from gateway.upstream.websocket_refusal import refuse_websocket
from gateway.upstream.websocket_socket import UpstreamSocket
from gateway.upstream.websocket_watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.core.forwarding import Headers
    from gateway.upstream.response_head import OnStart
    from gateway.upstream.upstream import Upstream

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]
    OnMessage = Callable[[int], Awaitable[None] | None]
    OnMinute = Callable[[], Awaitable[None] | None]

__all__ = ["WebSocketLimits", "WebSocketOutcome", "WebSocketRequest", "relay_websocket"]


async def relay_websocket(  # noqa: PLR0913 - what there is to say of one connection
    request: WebSocketRequest,
    receive: Receive,
    send: Send,
    *,
    upstream: Upstream,
    on_start: OnStart,
    on_message: OnMessage | None = None,
    on_minute: OnMinute | None = None,
    limits: WebSocketLimits | None = None,
    tally: Tally | None = None,
) -> WebSocketOutcome:
    """Open a WebSocket to the upstream, accept the caller's, and pass messages until one side ends it.

    Args:
        request: What to ask.
        receive: ASGI `receive` of the caller's connection, whether or not `websocket.connect` has been taken.
        send: ASGI `send`; nothing may have been sent.
        upstream: Who is asked; its pool is not used.
        on_start: Maps the head of the upstream's 101, or of its refusal, to the field lines to send. Called once.
        on_message: Called with each message's size in bytes before it is passed to the upstream. A
            TiergateError ends the connection: 1008, or 1013 for a Failed, with the error's code as reason.
        on_minute: The same, whenever a minute has passed since the accept.
        limits: Bounds and time-outs.
        tally: Counts what passes, for whoever wants to look meanwhile. A new one.

    Returns:
        How it went. With a `status` other than 101 the upstream has refused, and the caller was told the same.

    Raises:
        UpstreamUnreachable (NotConnected: another may be tried), UpstreamTimeout, UpstreamInvalid,
            MalformedRequest: Nothing was sent; answer with `refuse_websocket`.
        ClientLeft: The caller left before it was accepted.

    Cancel it to close both sides: 1012 to the caller, 1001 to the upstream.
    """
    relay = _Relay(receive, send, on_message, limits or WebSocketLimits(), tally or Tally())
    try:
        socket, answer = await relay.open(request, upstream)
        lines = on_start(answer.head)
        if isinstance(answer, Refusal):
            await _pass_refusal(send, answer, lines, request.extensions)
            return WebSocketOutcome(
                status=answer.head.status, ended_by="upstream", cause="refused", bytes_down=len(answer.body)
            )
        await relay.accept(socket, answer.subprotocol or request.fallback, pairs_of(lines))
        return await relay.run(socket, on_minute)
    finally:
        relay.drop()


class _Relay:
    """A single use of `open`, `accept` and `run`."""

    __slots__ = ("_first", "_limits", "_loop", "_on_message", "_receive", "_send", "_socket", "_tally")

    def __init__(
        self, receive: Receive, send: Send, on_message: OnMessage | None, limits: WebSocketLimits, tally: Tally
    ) -> None:
        self._receive = receive
        self._send = send
        self._on_message = on_message
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._tally = tally
        self._socket: UpstreamSocket | None = None
        self._first: asyncio.Task[Any] = self._loop.create_task(
            _after_connect(receive), name="upstream websocket caller"
        )

    # Opening.

    async def open(self, request: WebSocketRequest, upstream: Upstream) -> tuple[UpstreamSocket, Switched | Refusal]:
        """Ask the upstream, and give up if the caller leaves meanwhile (which not every server tells)."""
        opening = self._loop.create_task(self._ask(request, upstream), name="upstream websocket handshake")
        try:
            await asyncio.wait({opening, self._first}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done() and self._first.result()["type"] == "websocket.disconnect":
                raise ClientLeft("The caller left before the upstream had accepted.")
            return await opening
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _ask(self, request: WebSocketRequest, upstream: Upstream) -> tuple[UpstreamSocket, Switched | Refusal]:
        limits = self._limits
        handshake = Handshake(request.subprotocols, limits.max_refusal_bytes)
        head = handshake.request_head(request.exchange, upstream)
        socket = self._socket = UpstreamSocket(handshake, max_message_bytes=limits.max_message_bytes)
        try:
            async with asyncio.timeout(limits.connect_s):
                await upstream.dialer.dial(lambda: socket)
        except OSError as error:  # a TimeoutError is one
            raise NotConnected("The upstream does not accept connections.") from error
        try:
            async with asyncio.timeout(limits.first_byte_s):
                return socket, await socket.ask(head)
        except TimeoutError:
            raise UpstreamTimeout("The upstream did not answer the WebSocket handshake in time.") from None

    async def accept(self, socket: UpstreamSocket, subprotocol: str | None, headers: Headers) -> None:
        """Accept the caller's connection."""
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        except OSError as error:  # what ASGI servers may raise from `send` when the caller has gone
            socket.close(GOING_AWAY)
            await socket.finish(self._limits.close_s)
            raise ClientLeft("The caller left before it was accepted.") from error

    def drop(self) -> None:
        """Leave nothing open."""
        self._first.cancel()
        if self._socket is not None:
            self._socket.abort()

    # Relaying.

    async def run(self, socket: UpstreamSocket, on_minute: OnMinute | None) -> WebSocketOutcome:
        """Pass messages both ways until the end, and end both sides."""
        began_at = self._tally.active_at = self._loop.time()
        up = self._loop.create_task(self._pass_up(socket), name="upstream websocket up")
        down = self._loop.create_task(self._pass_down(socket), name="upstream websocket down")
        watching = Watch(socket, self._tally, self._limits, on_minute).run()
        watch = self._loop.create_task(watching, name="upstream websocket watch")
        ending = SHUTDOWN
        try:
            ending = await self._first_ending(up, down, watch)
        finally:
            for task in (up, down, watch):
                task.cancel()
            await asyncio.gather(up, down, watch, return_exceptions=True)
            await self._end(socket, ending)
        return self._outcome(ending, self._loop.time() - began_at)

    async def _first_ending(
        self, up: asyncio.Task[Ending], down: asyncio.Task[Ending | None], watch: asyncio.Task[Ending]
    ) -> Ending:
        await asyncio.wait((up, down, watch), return_when=asyncio.FIRST_COMPLETED)
        if down.done() and not up.done() and not watch.done() and down.result() is None:
            # The caller is gone; `up` still has what it sent before, and its close.
            await asyncio.wait((up, watch), return_when=asyncio.FIRST_COMPLETED, timeout=self._limits.close_s)
        for task in (up, down, watch):
            if task.done() and (ending := task.result()) is not None:
                return ending
        return left(ABNORMAL, "")

    async def _pass_up(self, socket: UpstreamSocket) -> Ending:
        """Messages from the caller, until it leaves or must be stopped."""
        tally, limits = self._tally, self._limits
        event = await self._first
        while event["type"] != "websocket.disconnect":
            text = event.get("text")
            data: bytes = event["bytes"] if text is None else text.encode()
            if len(data) > limits.max_message_bytes:
                return too_big()
            if self._on_message is not None:
                try:
                    charging = self._on_message(len(data))
                    if charging is not None:
                        await charging
                except TiergateError as error:
                    return denied(error)
            socket.send(data, is_text=text is not None)
            tally.messages_up += 1
            tally.bytes_up += len(data)
            tally.active_at = tally.upstream_slow_since = self._loop.time()
            await socket.drained()
            tally.upstream_slow_since = None
            event = await self._receive()
        return left(*close_of(event))

    async def _pass_down(self, socket: UpstreamSocket) -> Ending | None:
        """Messages from the upstream, until it ends; None if the caller takes no more."""
        tally = self._tally
        while (message := await socket.receive()) is not None:
            tally.active_at = tally.caller_slow_since = self._loop.time()
            try:
                if isinstance(message, str):
                    await self._send({"type": "websocket.send", "text": message})
                else:
                    await self._send({"type": "websocket.send", "bytes": message})
            except (OSError, RuntimeError):  # servers raise either when the caller has gone
                return None
            finally:
                tally.caller_slow_since = None
            tally.messages_down += 1
            tally.bytes_down += (
                len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
            )
        frames = socket.frames
        return upstream_ended(frames.close_code, frames.close_reason, frames.fault)

    # Ending.

    async def _end(self, socket: UpstreamSocket, ending: Ending) -> None:
        if ending.to_upstream is not None:
            socket.close(*ending.to_upstream)
        if ending.to_caller is None:
            await socket.finish(self._limits.close_s)
        else:
            await asyncio.gather(self._close_caller(*ending.to_caller), socket.finish(self._limits.close_s))

    async def _close_caller(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._send({"type": "websocket.close", "code": code, "reason": short_reason(reason)})
        except (OSError, RuntimeError):
            pass  # it has gone, or does not read: the server cuts it

    def _outcome(self, ending: Ending, duration_s: float) -> WebSocketOutcome:
        tally = self._tally
        return WebSocketOutcome(
            status=101,
            ended_by=ending.by,
            cause=ending.cause,
            code=ending.code,
            code_to_caller=ending.to_caller[0] if ending.to_caller is not None else None,
            code_to_upstream=ending.to_upstream[0] if ending.to_upstream is not None else None,
            messages_up=tally.messages_up,
            bytes_up=tally.bytes_up,
            messages_down=tally.messages_down,
            bytes_down=tally.bytes_down,
            duration_s=duration_s,
        )


async def _pass_refusal(send: Send, refusal: Refusal, lines: list[bytes], extensions: Mapping[str, Any]) -> None:
    """Tell the caller what the upstream has answered."""
    headers = pairs_of(lines)
    if not refusal.is_whole:
        headers = [pair for pair in headers if not pair[0].startswith(b"content-")]
    await refuse_websocket(send, refusal.head.status, headers, refusal.body, extensions=extensions)


async def _after_connect(receive: Receive) -> Any:
    """The first event that says something."""
    while (event := await receive())["type"] == "websocket.connect":
        pass
    return event
