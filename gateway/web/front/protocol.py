"""One connection of a caller: requests are read, checked, served one after the other, and bounded.

A request is served once its head has come whole; what follows it waits, and is not read beyond a
bound, until the response is complete and the caller keeps up with what was written of it. Whatever
is ambiguous is refused here, before an app or an upstream reads it a second time. After a refusal,
or a response that came before its request's end, nothing more is read from the connection.

A WebSocket handshake that is exactly one is handed to uvicorn's WebSocket protocol, another is
refused; any other Upgrade is an offer that is not taken up (RFC 9110 section 7.8).

Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from gateway.core.errors import (
    HeadersTooLarge,
    MalformedRequest,
    RequestTimeout,
    TargetRejected,
    TargetTooLong,
    TiergateError,
    UpgradeRefused,
    WorkerFull,
)
from gateway.core.http_body import BodyInvalid, BodyReader, body_reader
from gateway.core.http_head import END_OF_HEAD, RequestLine
from gateway.core.target import MAX_TARGET_BYTES
from gateway.core.websocket import MAX_PARSED_FIELDS, MAX_PARSED_LINE, check_websocket, is_parsed_by_server
from gateway.web.front.cycle import CALLER, STATUS_LINES, Cycle
from gateway.web.front.options import FrontOptions
from gateway.web.front.request import HeaderBlock, read_request_head
from gateway.web.front.sweeper import sweeper_of

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

_PIPELINED_BYTES = 65_536
"""Of requests behind the one that is served."""
_LINGER_BYTES = 67_108_864
_LINE_SLACK = 64
"""Method and version beside the target in a request line."""
_FIRST_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~0123456789\r")
_LEAVING = getattr(select, "POLLRDHUP", None)
"""Linux has it. Elsewhere a caller that is not read is noticed to be gone when it is read again."""
_NO_LINGER = struct.pack("ii", 1, 0)
"""A socket closed with this sends a reset in place of an end (POSIX, SO_LINGER)."""
_ASGI = {"version": "3.0", "spec_version": "2.4"}
_DEFAULTS = FrontOptions()


class FrontProtocol(asyncio.Protocol):
    """One connection. For uvicorn: `http="gateway.web.front:FrontProtocol"`."""

    __slots__ = (
        "_app",
        "_app_state",
        "_body",
        "_buffer",
        "_client",
        "_config",
        "_cycle",
        "_deadline",
        "_discarded",
        "_discards",
        "_drain",
        "_linger_ends_at",
        "_options",
        "_reading_paused",
        "_scheme",
        "_server",
        "_state",
        "_stuck_since",
        "_sweeper",
        "_transport",
        "is_writing_paused",
        "loop",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._app = config.loaded_app
        self._app_state = app_state
        self._state = server_state
        self.loop = _loop or asyncio.get_running_loop()
        options = self._options = _options_of(self._app)
        if options.app is not None:
            self._app = options.app
        shortest_s = min(options.head_timeout_s, options.keep_alive_s, options.write_timeout_s, options.linger_s)
        self._sweeper = sweeper_of(server_state, self.loop, shortest_s)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before anything else is called
        self._scheme = "http"
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._cycle: Cycle | None = None
        self._body: BodyReader | None = None
        """Of the request that is served; None once it has come in full."""
        self._buffer = b""
        self._deadline = 0.0
        self._discards = False
        self._discarded = 0
        self._linger_ends_at = 0.0
        self._drain: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._stuck_since = 0.0
        self.is_writing_paused = False
        """The caller does not take what was written."""

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._scheme = "https" if transport.get_extra_info("sslcontext") is not None else "http"
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))
        sock = transport.get_extra_info("socket")
        if sock is not None and self._server is not None:  # event loops forget it for listeners of no named protocol
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes
        self._sweeper.add(self)
        self._deadline = self.loop.time() + self._options.head_timeout_s
        if len(self._sweeper) > self._options.max_connections:
            self.refuse(WorkerFull("This worker has as many connections as it may have."))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why is of no use: it is gone
        """The connection is closed, by either side."""
        self._state.connections.discard(self)
        self._sweeper.discard(self)
        self._wake_drain()
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.left()

    def data_received(self, data: bytes) -> None:
        """Bytes from the caller."""
        if self._discards:
            self._discarded += len(data)
            self._deadline = min(self.loop.time() + self._options.linger_idle_s, self._linger_ends_at)
            if self._discarded > _LINGER_BYTES:
                self._transport.abort()
        elif self._body is not None:
            self._read_body(self._body, data)
        elif self._cycle is not None or self.is_writing_paused:
            self._buffer += data
            if len(self._buffer) > _PIPELINED_BYTES:
                self.hold()
        else:
            self._read_head(self._buffer + data if self._buffer else data)

    def eof_received(self) -> None:
        """The caller will send no more. It is taken as gone: a caller that dies looks the same."""

    def pause_writing(self) -> None:
        """The caller does not keep up."""
        self.is_writing_paused = True
        self._stuck_since = self.loop.time()
        if self._cycle is not None:
            self._cycle.blocked()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_writing_paused = False
        self._wake_drain()
        if self._cycle is not None:
            self._cycle.unblocked()
        else:
            lasts_s = self._options.linger_s if self._discards else self._options.keep_alive_s
            self._deadline = max(self._deadline, self.loop.time() + lasts_s)
            self._next()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Serve what has begun, then close."""
        if self._cycle is None:
            self._transport.close()
        else:
            self._cycle.keep_alive = False

    # What the sweeper calls.

    def look(self, now: float) -> None:
        """Is a deadline over, or the caller gone?"""
        self.notice_leaving()
        if self.is_writing_paused:
            if now - self._stuck_since > self._options.write_timeout_s:
                self._transport.abort()
        elif now < self._deadline:
            return
        elif self._cycle is not None:
            if self._body is not None and not self._reading_paused:
                self._cycle.stalled()
        elif self._buffer and not self._discards:
            self.refuse(RequestTimeout("The request's head did not arrive in time."))
        else:
            self._transport.abort() if self._discards else self._transport.close()

    # What a cycle calls.

    def write(self, data: bytes) -> None:
        """To the caller."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the caller keeps up, or has gone."""
        if self.is_writing_paused and not self._transport.is_closing():
            if self._drain is None:
                self._drain = self.loop.create_future()
            await self._drain

    def hold(self) -> None:
        """Read no more for now."""
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on."""
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def notice_leaving(self) -> None:
        """Ask the kernel whether the caller has gone, while nothing is read that would tell."""
        if self._reading_paused and _LEAVING is not None and not self._transport.is_closing():
            poll = select.poll()
            poll.register(self._transport.get_extra_info("socket").fileno(), _LEAVING)
            if poll.poll(0):
                self._transport.abort()

    def cut(self, *, reset: bool = False) -> None:
        """End the connection in the middle of a response.

        Args:
            reset: By a reset, for a response whose end would be the connection's.
        """
        sock = self._transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def refuse(self, error: TiergateError, *, to_head: bool = False) -> None:
        """Answer what was refused before an app saw it, or without one, and close.

        Args:
            to_head: It is a HEAD request, so its answer has no body.
        """
        status, headers, body = self._options.refuse(error)
        connection = b"connection: close, upgrade" if (b"upgrade", b"websocket") in headers else b"connection: close"
        lines = [STATUS_LINES[status], *(b"%b: %b" % field for field in headers), connection, b"\r\n"]
        self._transport.write(b"\r\n".join(lines) + (b"" if to_head else body))
        self._close_slowly(self._options.linger_s)

    def forget_task(self, task: asyncio.Task[None] | None) -> None:
        """A cycle's task ends: nobody waits for it at a shutdown any more."""
        self._state.tasks.discard(cast("asyncio.Task[None]", task))

    def done(self, served: object, *, keep_alive: bool, body_ended: bool) -> None:
        """The response is complete."""
        if self._cycle is not served:
            return
        self._cycle = None
        self._state.total_requests += 1
        if not body_ended:
            self._close_slowly(self._options.linger_body_s)
        elif not keep_alive:
            self._close_slowly(self._options.linger_s)
        else:
            self._deadline = self.loop.time() + self._options.keep_alive_s
            if self._buffer:
                self.loop.call_soon(self._next)
            else:
                self.release()

    # Inside.

    def _next(self) -> None:
        """Serve the request that came behind the last one, unless that one's answer is still to be taken."""
        if self._cycle or self._discards or self.is_writing_paused or self._transport.is_closing():
            return
        data, self._buffer = self._buffer, b""
        if data:
            self._read_head(data)
        self.release()

    def _read_head(self, data: bytes) -> None:
        if data[:2] == b"\r\n":  # RFC 9112 section 2.2: an empty line before a request is ignored
            data = data[2:]
        end = data.find(END_OF_HEAD)
        try:
            if end < 0 or end > self._options.max_head_bytes:
                self._keep_unfinished(data)
                return
            first, block = read_request_head(data[:end])
            if block.wants_websocket:
                self._check_handshake(first, block, is_alone=len(data) == end + len(END_OF_HEAD))
        except TiergateError as error:
            self._buffer = b""
            self.refuse(error, to_head=data[:5] == b"HEAD ")
            return
        self._buffer = b""
        if block.wants_websocket:
            self._hand_over(data)
        else:
            self._serve(first, block, data[end + len(END_OF_HEAD) :])

    def _keep_unfinished(self, data: bytes) -> None:
        """Wait for the rest of a head, unless nothing to come could make it a good one."""
        if data and data[0] not in _FIRST_BYTES:
            raise MalformedRequest("This is not HTTP.")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise MalformedRequest("A line ends in a bare line feed.")
        if b"\r\n" not in data and len(data) > MAX_TARGET_BYTES + _LINE_SLACK:
            raise TargetTooLong(f"Path and query are longer than {MAX_TARGET_BYTES:,} bytes.")
        if len(data) > self._options.max_head_bytes:
            raise HeadersTooLarge(
                f"Request line and header fields are longer than {self._options.max_head_bytes:,} bytes."
            )
        if data and not self._buffer:
            self._deadline = self.loop.time() + self._options.head_timeout_s
        self._buffer = data

    def _serve(self, first: RequestLine, block: HeaderBlock, rest: bytes) -> None:
        cycle = self._cycle = Cycle(self, first, block)
        method, raw_path, query, http_version = first
        path = raw_path.decode("latin-1")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": http_version,
            "method": method,
            "scheme": self._scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": block.headers,
            "client": self._client,
            "server": self._server,
            "state": self._app_state.copy() if self._app_state else {},
            "extensions": {CALLER: cycle},
        }
        task = cycle.task = self.loop.create_task(cycle.run(self._app, scope))
        self._state.tasks.add(task)
        if block.framing is not None:
            body = body_reader(block.framing)
            if body.complete:
                cycle.body(b"", ended=True)
                self._buffer = rest
            else:
                self._body = body
                self._deadline = self.loop.time() + self._options.body_timeout_s
                if rest:
                    self._read_body(body, rest)
        else:
            self._buffer = rest

    def _read_body(self, body: BodyReader, data: bytes) -> None:
        cycle = self._cycle
        try:
            data = body.feed(data)
        except BodyInvalid as invalid:
            self._body = None
            self._discards = True
            if cycle is not None:
                cycle.broken(str(invalid))
            return
        if body.complete:
            self._body = None
            self._buffer, body.rest = body.rest, b""
        self._deadline = self.loop.time() + self._options.body_timeout_s
        if cycle is not None and (data or body.complete):
            cycle.body(data, ended=body.complete)

    def _check_handshake(self, first: RequestLine, block: HeaderBlock, *, is_alone: bool) -> None:
        """Only what uvicorn's WebSocket protocol will take, and what starts no second conversation, goes there."""
        if self._config.ws_protocol_class is None:
            raise UpgradeRefused("This gateway was started without WebSockets.")
        method, raw_path, query, http_version = first
        check_websocket(block.headers, http_version, method=method)
        if not (raw_path.isascii() and query.isascii()):
            raise TargetRejected("The target holds a byte that no URI can hold.")
        if not is_alone:
            raise MalformedRequest("A WebSocket's frames come after the answer to its handshake.")
        if not is_parsed_by_server(raw_path + b"?" + query, block.lines):
            raise HeadersTooLarge(
                f"A WebSocket handshake has {MAX_PARSED_FIELDS} header fields at most, none above"
                f" {MAX_PARSED_LINE:,} bytes."
            )

    def _hand_over(self, data: bytes) -> None:
        """Go on in the WebSocket protocol, from the request's first byte."""
        self._state.connections.discard(self)
        self._sweeper.discard(self)
        protocol = cast("Any", self._config.ws_protocol_class)(
            config=self._config, server_state=self._state, app_state=self._app_state
        )
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        protocol.data_received(data)

    def _close_slowly(self, within_s: float) -> None:
        """Close after what was written has arrived, although the caller may still be sending.

        Closing at once would answer its bytes with a reset, which can overtake the response.
        """
        self._cycle = None
        self._body = None
        self._buffer = b""
        self._discards = True
        now = self.loop.time()
        self._deadline = now + min(self._options.linger_idle_s, within_s)
        self._linger_ends_at = now + within_s
        self.release()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _wake_drain(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)


def _options_of(app: Any) -> FrontOptions:
    """What the app says of itself; uvicorn may have wrapped it (in its proxy headers, in its log)."""
    while app is not None:
        options = getattr(getattr(app, "state", None), "front", None)
        if isinstance(options, FrontOptions):
            return options
        app = getattr(app, "app", None)
    return _DEFAULTS


def _address(name: object) -> tuple[str, int] | None:
    """Host and port of a socket's name; None of a unix socket's."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
