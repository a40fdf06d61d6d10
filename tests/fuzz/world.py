"""The gateway's wire code without sockets: our server protocol, header rules and exchange, and a scripted upstream.

What is left out of the whole gateway is who may call, and what it costs.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from uvicorn.server import ServerState

from gateway.core.errors import BodyTooLarge, TiergateError
from gateway.core.forwarding import HeaderRules
from gateway.core.target import canonical_path, check_length
from gateway.upstream import ClientFaulty, ClientLeft, Exchange, ExchangeRequest, Upstream, UpstreamTimeouts
from gateway.web.front import CALLER, FrontProtocol
from gateway.web.reserved import ReservedPaths
from tests.fakes.alone import Alone
from tests.fuzz.oracle import Request, read_requests
from tests.fuzz.plumbing import FakeTransport
from tests.fuzz.rules import MAX_BODY_BYTES

Answer = Callable[["FakeServer", Request], None]
"""What a scripted server does with a request that has come."""


def echo_of(method: bytes, target: bytes, body: bytes) -> bytes:
    """A name for a request, short enough for a header."""
    return hashlib.sha1(b"%b %b %b" % (method, target, body)).hexdigest().encode()


class FakeServer:
    """The upstream's end of one connection."""

    def __init__(self, connection: Any, dialer: FakeDialer) -> None:
        self._dialer = dialer
        self.transport = FakeTransport(connection, on_write=self._written)
        self.answered = 0
        connection.connection_made(self.transport)

    def _written(self) -> None:
        reading = read_requests(bytes(self.transport.written))
        due = list(reading.requests)
        if self._dialer.answers_early and reading.part is not None:
            due.append(reading.part)
        for request in due[self.answered :]:
            self.answered += 1
            self._dialer.answer(self, request)


@dataclass(slots=True)
class FakeDialer:
    """Opens connections to scripted servers."""

    answer: Answer
    answers_early: bool = False
    servers: list[FakeServer] = field(default_factory=list)

    async def dial(self, factory: Callable[[], Any]) -> Any:
        connection = factory()
        self.servers.append(FakeServer(connection, self))
        return connection

    def requests(self) -> list[Request]:
        """All that was read whole, connection by connection."""
        return [
            request for server in self.servers for request in read_requests(bytes(server.transport.written)).requests
        ]


def answer_with_echo(server: FakeServer, request: Request) -> None:
    """A good answer that names the request that it answers."""
    name = echo_of(request.method, request.target, request.body)
    body = b"" if request.method == b"HEAD" else name
    server.transport.bring(b"HTTP/1.1 200 OK\r\nx-echo: %b\r\ncontent-length: %d\r\n\r\n%b" % (name, len(name), body))


class Relay:
    """An ASGI app: what lies between the server protocol and the exchange, without accounts."""

    def __init__(self) -> None:
        self.rules = HeaderRules()
        self.reserved = ReservedPaths("/api/v1")
        self.upstream: Upstream | None = None
        self.reads_itself = False
        """Answers by itself, through ASGI."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            check_length(scope["raw_path"], scope["query_string"])
            path = canonical_path(scope["raw_path"])
            ours = self.reserved.owns(path)
        except TiergateError as error:
            await _tell(send, 400, error.code.encode())
            return
        if ours:
            await _tell(send, 404, b"ours")
        elif self.reads_itself:
            await self._read(scope, receive, send)
        else:
            await self._relay(scope, receive, send)

    async def _read(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                name = echo_of(scope["method"].encode(), _target(scope), body)
                await _tell(send, 200, name, [(b"x-echo", name)])
                return

    async def _relay(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - the cycle is the caller
        cycle = scope["extensions"][CALLER]
        assert self.upstream is not None
        forwarded = self.rules.forward(
            scope["headers"],
            cycle.block.lines,
            peer=scope["client"][0],
            scheme="http",
            http_version=scope["http_version"],
            notes=cycle.block.notes,
        )
        try:
            exchange = Exchange(
                ExchangeRequest(
                    method=scope["method"],
                    target=_target(scope),
                    lines=list(forwarded.lines),
                    host=forwarded.host or None,
                    body_framing=cycle.block.framing,
                    timeouts=None,
                ),
                on_start=lambda head: head.lines,
                max_body=MAX_BODY_BYTES,
            )
            await exchange.run(cycle, Alone(self.upstream))
        except ClientFaulty as fault:
            await _tell(send, 400, fault.refusal.code.encode())
        except BodyTooLarge as error:
            await _tell(send, 413, error.code.encode())
        except TiergateError as error:
            await _tell(send, 502, error.code.encode())
        except ClientLeft:
            pass


def _target(scope: Any) -> bytes:
    query: bytes = scope["query_string"]
    raw_path: bytes = scope["raw_path"]
    return raw_path + b"?" + query if query else raw_path


async def _tell(send: Any, status: int, body: bytes, fields: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *(fields or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        formatted = logging.Formatter().format(record)
        self.records.append(formatted)


class World:
    """Use as a context manager within a running loop; `reset` before each run."""

    def __init__(self) -> None:
        self.relay = Relay()
        self._config = uvicorn.Config(
            self.relay,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            http=FrontProtocol,
        )
        self._config.load()
        self._state = ServerState()
        self.dialer = FakeDialer(answer_with_echo)
        self._log = _Kept()
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        logging.getLogger("uvicorn.error").addHandler(self._log)
        logging.getLogger("uvicorn.error").propagate = False
        asyncio.get_running_loop().set_exception_handler(self._failed)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("uvicorn.error").removeHandler(self._log)
        logging.getLogger("uvicorn.error").propagate = True
        asyncio.get_running_loop().set_exception_handler(None)

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def reset(
        self, answer: Answer = answer_with_echo, *, answers_early: bool = False, reads_itself: bool = False
    ) -> None:
        """Another upstream, with that script."""
        self.dialer = FakeDialer(answer, answers_early)
        hour = 3600.0
        upstream = Upstream(
            "http://upstream.test",
            timeouts=UpstreamTimeouts(connect_s=hour, first_byte_s=hour, idle_s=hour, pool_wait_s=hour),
            keepalive_s=hour,
        )
        upstream.pool._dialer = self.dialer  # type: ignore[assignment]
        self.relay.upstream = upstream
        self.relay.reads_itself = reads_itself
        self._log.records.clear()
        self.errors.clear()

    def connect(self, *, is_slow: bool = False) -> FakeTransport:
        """A caller's connection."""
        protocol = FrontProtocol(self._config, self._state, {})
        transport = FakeTransport(protocol, is_slow=is_slow)
        protocol.connection_made(transport)
        return transport

    async def close(self) -> None:
        """End what is still open."""
        if self.relay.upstream is not None:
            await self.relay.upstream.aclose()

    @property
    def fault(self) -> str | None:
        """What was logged or lost in the event loop first."""
        left = [f"{len(self._state.connections)} connections are left"] if self._state.connections else []
        left += [f"{len(self._state.tasks)} tasks are left"] if self._state.tasks else []
        return next(iter([*self.errors, *self._log.records, *left]), None)
