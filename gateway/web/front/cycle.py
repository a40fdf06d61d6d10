"""One request on a connection, from its head to the end of its response.

To an ASGI app it is `receive` and `send`; to an exchange it is the caller itself, and what the
upstream sends is written in the turn of the event loop in which it came. Law: what was begun
and cannot be finished cuts the connection, so that a part is never taken for the whole.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gateway.core.errors import BodyTooLarge, MalformedRequest, RequestTimeout
from gateway.core.http_body import CHUNKED, LAST_CHUNK, write_chunk
from gateway.upstream import ClientFaulty, ClientLeft, ExchangeBroken

if TYPE_CHECKING:
    from gateway.core.http_head import RequestLine
    from gateway.upstream import Listener, ResponseHead
    from gateway.web.asgi import ASGIApp, Scope
    from gateway.web.front.line import Line
    from gateway.web.front.request import HeaderBlock

CALLER = "tiergate.caller"
"""Key in `scope["extensions"]`: the cycle, for an exchange that can use it. Its request's head has been checked."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY = frozenset({204, 304})
_HOLD_BYTES = 65_536
"""Of a body that the app does not take."""

log = logging.getLogger("uvicorn.error")


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class Cycle:
    """A request that is being answered."""

    __slots__ = (
        "_body_ended",
        "_chunked",
        "_end_told",
        "_ends_with_connection",
        "_event",
        "_exchange",
        "_fault",
        "_http_version",
        "_left",
        "_line",
        "_method",
        "_no_body",
        "_parts",
        "_size",
        "_start",
        "_started",
        "_wants_asking",
        "block",
        "complete",
        "disconnected",
        "keep_alive",
        "loop",
        "task",
    )

    waits = False

    def __init__(self, line: Line, first: RequestLine, block: HeaderBlock) -> None:
        self._line = line
        self.loop = line.loop
        self._method = first.method
        self._http_version = first.http_version
        self.block = block
        """The request's fields."""
        self.keep_alive = block.keep_alive
        """Whether another request may follow on this connection."""
        self.task: asyncio.Task[None] | None = None
        """Runs `run`."""
        self.complete = False
        """The response has been written in full."""
        self.disconnected = False
        self._body_ended = block.framing is None
        self._wants_asking = block.expects_continue and block.framing is not None
        self._parts: list[bytes] = []
        self._size = 0
        self._end_told = False
        self._fault: ClientFaulty | None = None
        self._event: asyncio.Event | None = None
        self._exchange: Listener | None = None
        self._start: Any = None
        self._started = False
        self._chunked = False
        self._left: int | None = None
        """Bytes that an app has announced and not sent yet."""
        self._no_body = False
        self._ends_with_connection = False
        """The response has no other end."""

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the app answer."""
        try:
            await app(scope, self.receive, self.send)
        except ExchangeBroken:
            self._cut()
        except asyncio.CancelledError:
            self._cut()
            raise
        except Exception:
            if not self.disconnected:
                log.exception("the app failed")
            self._give_up()
        else:
            if not self.complete:
                self._give_up()
        finally:
            self._line.forget_task(self.task)

    def _give_up(self) -> None:
        """The app will not finish its response."""
        if self.disconnected or self.complete:
            return
        if self._started:
            self._cut()
            return
        self.keep_alive = False
        if self._fault is not None:
            self.complete = True
            self._line.refuse(self._fault.refusal, to_head=self._method == "HEAD")
        else:
            self._write(500, [b"content-type: text/plain"], b"Internal Server Error\n", framing=None, ended=True)

    def _cut(self) -> None:
        self._line.cut(reset=self._ends_with_connection)

    # What the connection tells.

    def body(self, data: bytes, *, ended: bool) -> None:
        """A part of the request's body."""
        self._wants_asking = False
        self._body_ended = ended
        if self._exchange is not None:
            self._exchange.body(data, ended=ended)
            return
        if data:
            self._parts.append(data)
            self._size += len(data)
            if self._size > _HOLD_BYTES:
                self.hold()
        self._wake()

    def broken(self, error: str) -> None:
        """The body's framing is broken."""
        self.keep_alive = False
        self._fault = ClientFaulty(error, MalformedRequest)
        if self._exchange is not None:
            self._exchange.fault(self._fault)
        self._wake()

    def stalled(self) -> None:
        """The body has stopped coming. An exchange looks at that itself."""
        if self._exchange is None and self._fault is None:
            self.keep_alive = False
            self._fault = ClientFaulty("The request's body stopped arriving.", RequestTimeout)
            self._wake()

    def left(self) -> None:
        """The caller has gone."""
        self.disconnected = True
        if self._exchange is not None:
            self._exchange.left()
        self._wake()

    def blocked(self) -> None:
        """The caller does not take what was written."""
        if self._exchange is not None:
            self._exchange.blocked()

    def unblocked(self) -> None:
        """It does again."""
        if self._exchange is not None:
            self._exchange.unblocked()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # ASGI.

    async def receive(self) -> dict[str, Any]:
        """The next part of the body, or the news that the caller has gone."""
        self._ask()
        while not self.disconnected and not self.complete and self._fault is None:
            if self._parts or (self._body_ended and not self._end_told):
                data = b"".join(self._parts)
                self._parts, self._size = [], 0
                self.release()
                self._end_told = self._body_ended  # told once; from then on only leaving is news
                return {"type": "http.request", "body": data, "more_body": not self._body_ended}
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """A part of the response."""
        if self.disconnected or self.complete:
            return
        if self._fault is not None and not self._started:  # whatever the app says, it has not read the request
            self._give_up()
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        data, ended = message.get("body", b""), not message.get("more_body", False)
        lines: list[bytes] = [] if self._started else self._lines_of(self._start)
        if self._left is not None and not self._no_body:
            self._left -= len(data)
            if self._left < 0 or (ended and self._left):
                raise RuntimeError("the app's response is not as long as its Content-Length")
        if self._started:
            self.send_part(data, ended=ended)
        else:
            self._write(self._start["status"], lines, data, framing=self._left, ended=ended)
        await self._line.drained()

    def _lines_of(self, start: Any) -> list[bytes]:
        """The fields of an app's response, of which framing and the connection are ours."""
        lines = []
        self._no_body = self._method == "HEAD" or start["status"] in _NO_BODY
        for name, value in start.get("headers", ()):
            lowered = name.lower()
            if lowered == b"content-length":
                self._left = int(value)
            if lowered == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
            elif lowered != b"transfer-encoding":
                lines.append(b"%b: %b" % (name, value))
        if any(b"\r" in line or b"\n" in line for line in lines):
            raise RuntimeError("a header field of the app's response holds a line break")
        return lines

    @property
    def has_whole_body(self) -> bool:
        """Whether all of the request's body has come."""
        return self._body_ended

    async def whole_body(self, most: int) -> bytes:
        """The request's body, when all of it has come; it stays where it is, for whoever answers.

        Raises:
            BodyTooLarge: It has more than `most` bytes, which are at most `_HOLD_BYTES`.
            ClientLeft: The caller has gone, or, as ClientFaulty, does not send it as it may.
        """
        self._ask()
        while self._size <= most and not self._body_ended:
            if self._fault is not None:
                raise self._fault
            if self.disconnected:
                raise ClientLeft("The caller left before its body had come.")
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self._size > most:
            raise BodyTooLarge(f"The request body is larger than is read for its price: {most:,} bytes.")
        self._parts = [b"".join(self._parts)] if self._parts else []
        return self._parts[0] if self._parts else b""

    # What an exchange calls.

    def attach(self, listener: Listener) -> None:
        """Where to tell what the caller does."""
        self._exchange = listener
        if self.disconnected:
            listener.left()
        elif self._fault is not None:
            listener.fault(self._fault)
        elif self.block.framing is not None and (self._parts or self._body_ended):
            parts, self._parts, self._size = b"".join(self._parts), [], 0
            listener.body(parts, ended=self._body_ended)
            self.release()

    def detach(self) -> None:
        """Tell no more."""
        self._exchange = None

    def start_body(self) -> None:
        """The body is wanted."""
        self._ask()

    def watch(self) -> None:
        """A connection tells by itself when its caller leaves, while it is read."""
        self._line.notice_leaving()

    def hold(self) -> None:
        """Read no more of the body for now."""
        self._line.hold()

    def release(self) -> None:
        """Read on."""
        self._line.release()

    @property
    def is_stuck(self) -> bool:
        """Whether the caller does not take what was written."""
        return self._line.is_writing_paused

    def cut(self, error: Exception) -> None:
        """Nobody waits in here."""

    async def until(self, done: asyncio.Future[None]) -> None:
        """Writing here never waits."""
        await done

    def respond(self, head: ResponseHead, lines: list[bytes], data: bytes, *, ended: bool) -> None:
        """Begin the response."""
        framing = head.framing
        self._write(head.status, lines, data, framing=None if framing == CHUNKED else framing, ended=ended)

    def send_part(self, data: bytes, *, ended: bool) -> None:
        """Go on with it."""
        if self._no_body:
            data = b""
        elif self._chunked:
            data = write_chunk(data)
            if ended:
                data += LAST_CHUNK
        if data:
            self._line.write(data)
        if ended:
            self._finish()

    # Inside.

    def _ask(self) -> None:
        if self._wants_asking and not self._started:
            self._wants_asking = False
            self._line.write(_CONTINUE)

    def _write(self, status: int, lines: list[bytes], data: bytes, *, framing: int | None, ended: bool) -> None:
        """The response's head, and what is there of its body.

        Args:
            framing: The length that `lines` announce; None if they announce none.
        """
        self._started = True
        out = [STATUS_LINES[status], *lines]
        if self._method == "HEAD" or status in _NO_BODY:
            self._no_body = True
            data = b""
        elif framing is None:
            if ended:
                out.append(b"content-length: %d" % len(data))
            elif self._http_version == "1.1":
                self._chunked = True
                out.append(b"transfer-encoding: chunked")
                data = write_chunk(data)
            else:
                self.keep_alive = False
                self._ends_with_connection = True
        if not self._body_ended:
            self.keep_alive = False  # what is still to come of the body would be taken for a request
        if not self.keep_alive:
            out.append(b"connection: close")
        elif self._http_version == "1.0":
            out.append(b"connection: keep-alive")
        out.append(b"\r\n")
        self._line.write(b"\r\n".join(out) + data)
        if ended:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        if self._event is not None:
            self._event.set()
        self._line.done(self, keep_alive=self.keep_alive, body_ended=self._body_ended)
