"""The other forwarder: the seller's own ASGI app, behind the same edge, in the same process.

    from gateway.app import protect
    app = protect(app)      # any ASGI app: Litestar, FastAPI, Starlette, ...

The app sees who calls in the same `X-Tiergate-*` fields that an upstream would get, and in
`scope["state"]["tiergate"]`; like an upstream it sees no API key and no cookie of ours. The cap
on bodies holds here too, and what is billed of calls that end badly is as before an upstream.
Its startup and shutdown run inside the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from gateway.assertions import ASSERTION_FIELD
from gateway.core.errors import BodyTooLarge
from gateway.core.forwarding import headers_inside
from gateway.core.http_head import pairs_of
from gateway.core.request_gate import body_framing
from gateway.upstream import BodySize, ClientFaulty, ClientLeft, ExchangeBroken, OnStart, Outcome, ResponseHead
from gateway.upstream.values import Ended
from gateway.web.asgi import ASGIApp, Headers, Receive, Scope, Send
from gateway.web.front import CALLER, Cycle
from gateway.web.metered import Metered
from gateway.web.refusals import InternalError
from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)


class InsideApp:
    """Hands admitted requests to an ASGI app of this process.

    Args:
        app: The seller's app.
        runtime: Returns the opened parts.
    """

    def __init__(self, app: ASGIApp, runtime: Callable[[], Runtime]) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, metered: Metered, scope: Scope, receive: Receive, send: Send) -> Outcome:
        """Let the app answer. An app that raises or goes silent counts as an upstream that does."""
        attempt, plan = metered.attempt, metered.plan
        if plan is None or attempt.plan is None or attempt.account is None:
            raise AssertionError("only an admitted request is forwarded")
        request_id = metered.request_id or attempt.decision_id
        identity = [
            *plan.identity,
            (b"x-tiergate-decision", attempt.decision_id.encode()),
            (b"x-request-id", request_id.encode()),
        ]
        assertion = self._runtime().assertions.field_for(attempt.account, attempt.plan, attempt.policy, attempt.now)
        if assertion is not None:
            identity.append((ASSERTION_FIELD, assertion))
        framing = body_framing(scope["headers"], scope["http_version"])
        caller = scope.get("extensions", {}).get(CALLER)
        call = _Call(receive, send, metered.on_start, BodySize(framing, plan.max_body), caller)
        inner = {
            **scope,
            "headers": headers_inside(scope["headers"], identity=identity),
            "state": {
                **scope.get("state", {}),
                "tiergate": {name.decode(): value.decode() for name, value in identity},
            },
            "extensions": {name: value for name, value in scope.get("extensions", {}).items() if name != CALLER},
        }
        crash: Exception | None = None
        try:
            await self._app(inner, call.receive, call.send)
        except Exception as error:  # noqa: BLE001 - what it means depends on how far the call came
            crash = error
        return call.conclude(crash, attempt.decision_id)


class _Call:
    """One call, as the app sees it."""

    __slots__ = ("_body", "_caller", "_complete", "_fault", "_on_start", "_receive", "_send", "_sent_bytes", "_status")

    def __init__(self, receive: Receive, send: Send, on_start: OnStart, body: BodySize, caller: Cycle | None) -> None:
        self._caller = caller
        self._receive = receive
        self._send = send
        self._on_start = on_start
        self._body = body
        self._status: int | None = None
        self._sent_bytes = 0
        self._complete = False
        self._fault: ClientLeft | None = None

    async def receive(self) -> Any:
        """The next part of the body; a caller that sends what it may not has left, as the app is told."""
        if self._fault is None:
            try:
                return await self._next()
            except BodyTooLarge as error:
                told = f"{error} The call had begun before that showed, so it stays charged."
                self._fault = ClientFaulty(told, BodyTooLarge)
            except ClientLeft as left:
                self._fault = left
        return {"type": "http.disconnect"}

    async def _next(self) -> Any:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("The caller left before the response was complete.")
        if not self._body.complete:
            self._body.add(len(message.get("body", b"")), ended=not message.get("more_body", False))
        return message

    async def send(self, message: Any) -> None:
        """Pass the response on, unless the caller is to be told of its own fault instead.

        Raises:
            OSError: The caller has left in the middle of it, as ASGI 2.4 has it: an app that makes a stream and does
                not listen would make it for ever. Servers other than our own do not say.
        """
        if message["type"] == "http.response.start":
            if self._fault is not None:
                return
            self._status = message["status"]
            message = {**message, "headers": self._started(message["status"], message.get("headers", ()))}
        elif self._status is None and self._fault is not None:
            return
        elif self._caller is not None and self._caller.disconnected and not self._complete:
            self._fault = self._fault or ClientLeft("The caller left before the response was complete.")
            raise OSError("the caller has left")
        await self._send(message)
        if message["type"] != "http.response.start":
            self._sent_bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)

    def _started(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        head = ResponseHead(status, "1.1")
        head.lines = [b"%b: %b" % pair for pair in headers]
        names = {name.lower() for name, _ in headers}
        head.has_date, head.has_ratelimit = b"date" in names, b"ratelimit" in names
        return pairs_of(self._on_start(head))

    def conclude(self, crash: Exception | None, decision_id: str) -> Outcome:
        """Say how the call ended, in the words of an exchange.

        Raises:
            InternalError: The app did not answer.
            ClientLeft: Nor did it have to.
            ExchangeBroken: Its response cannot be finished.
        """
        if self._complete:
            if crash is not None:
                log.error(
                    "the app inside the gateway raised after its response", decision_id=decision_id, exc_info=crash
                )
        elif self._status is None:
            if self._fault is not None:
                raise self._fault
            log.error("the app inside the gateway did not answer", decision_id=decision_id, exc_info=crash)
            raise InternalError from crash
        elif self._fault is None:
            raise self._broken("The app broke its response off.", "upstream-broke") from crash
        elif isinstance(self._fault, ClientFaulty):
            raise self._broken(str(self._fault), "client-left") from crash
        return self._outcome("complete" if self._complete else "client-left")

    def _broken(self, message: str, ended: Ended) -> ExchangeBroken:
        return ExchangeBroken(message, self._outcome(ended))

    def _outcome(self, ended: Ended) -> Outcome:
        return Outcome(
            status=self._status or 0,
            response_bytes=self._sent_bytes,
            request_bytes=self._body.read_bytes,
            ended=ended,
        )


@asynccontextmanager
async def lifespan_of(app: ASGIApp) -> AsyncIterator[None]:
    """Run an ASGI app's startup now and its shutdown at the end; an app without lifespan is left alone.

    Raises:
        RuntimeError: The app's startup failed; its message says why.
    """
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(_run_lifespan(app, inbox, outbox))
    await inbox.put({"type": "lifespan.startup"})
    answer = await outbox.get()
    if answer["type"] == "lifespan.startup.failed":
        await task
        raise RuntimeError(f"the app behind the gateway did not start: {answer.get('message', '')}")
    try:
        yield
    finally:
        if not task.done():
            await inbox.put({"type": "lifespan.shutdown"})
            await outbox.get()
            await task


async def _run_lifespan(
    app: ASGIApp, inbox: asyncio.Queue[dict[str, str]], outbox: asyncio.Queue[dict[str, str]]
) -> None:
    started = False

    async def send(message: dict[str, str]) -> None:
        nonlocal started
        started = started or message["type"] == "lifespan.startup.complete"
        await outbox.put(message)

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, send)
    except Exception as error:  # noqa: BLE001 - an app that does not know lifespan raises whatever it likes
        await outbox.put(
            {"type": "lifespan.unsupported" if not started else "lifespan.shutdown.failed", "message": str(error)}
        )
    else:
        await outbox.put({"type": "lifespan.unsupported"})
