"""WebSockets at the metered edge: a handshake is a call, and what comes after it is charged as policy says.

A handshake is judged, charged, recorded and answered like a GET of its path (`metered`); only the
answer takes another way, and the exchange is a relay (`websocket_session`). Browsers cannot choose
its header fields, so its key may also come as a subprotocol, `core.websocket.parse_offer`; from here
on it is a field like any other key, so nothing else can pass it on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.core.cors import may_connect
from gateway.core.errors import OriginNotAllowed, TiergateError, UpgradeRefused
from gateway.core.forwarding import HANDSHAKE_PREFIX
from gateway.core.request_gate import check_request
from gateway.core.target import canonical_path, check_length
from gateway.core.trace import request_id
from gateway.core.websocket import check_websocket, parse_offer
from gateway.upstream.websocket_refusal import refuse_websocket
from gateway.web.asgi import Receive, Scope, Send
from gateway.web.metered import Metered
from gateway.web.proxying import ReverseProxy
from gateway.web.reserved import ReservedPaths
from gateway.web.runtime import Runtime
from gateway.web.sending import send_problem
from gateway.web.websocket_session import WebSocketSession

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.planned import Plan

_SCHEMES = {"ws": "http", "wss": "https"}


class WebSocketEdge:
    """Answers WebSocket handshakes, whichever server took them.

    Args:
        runtime: Returns the opened parts.
        reserved: The paths that are not proxied.
        proxy: How calls are forwarded. None: there is no upstream, so every WebSocket is refused.
    """

    def __init__(self, runtime: Callable[[], Runtime], *, reserved: ReservedPaths, proxy: ReverseProxy | None) -> None:
        self._runtime = runtime
        self._reserved = reserved
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection of the type `websocket`."""
        runtime = self._runtime()
        answer = _Answer(scope, send)
        call = _as_call(scope)
        try:
            check_request("GET", call["raw_path"], call["headers"], call["http_version"])
            check_websocket(scope["headers"], scope["http_version"])
            offer = parse_offer(scope["headers"])
            check_length(call["raw_path"], call["query_string"])
            path = self._locate(runtime, call["raw_path"])
            if self._proxy is None:
                raise UpgradeRefused("The API behind this gateway has no WebSockets.")
        except TiergateError as error:
            runtime.metrics.decided("-", "-", error.code).n += 1
            await send_problem(runtime, call, answer, error, None, [])
            return
        call["headers"] += [(b"x-api-key", key) for key in offer.keys]
        peer = call["client"][0] if call.get("client") else None
        trusted, address = runtime.rules.proxies.known_peer(peer)
        if trusted:
            address = runtime.rules.proxies.client_address(call["headers"], peer)
        session = WebSocketSession(runtime, self._proxy, offer, send)
        metered = _MeteredHandshake(runtime, session, call, path, address)
        if trusted:
            metered.request_id = (request_id(call["headers"], trusted) or b"").decode("ascii")
        await metered.run(receive, answer)

    def _locate(self, runtime: Runtime, raw_path: bytes) -> str:
        path = canonical_path(raw_path, keeps_encoded_slashes=runtime.policy.current.takes_encoded_slashes)
        if self._reserved.owns(path):
            raise UpgradeRefused("The gateway itself speaks no WebSocket.")
        return path


class _MeteredHandshake(Metered):
    """As any call, but for what only a WebSocket can be refused for. Nothing is charged before it is asked."""

    __slots__ = ()

    def _gate(self, account: Account, plan: Plan) -> None:
        if plan.route.forward.websocket is None:
            raise UpgradeRefused("This part of the API has no WebSockets.")
        cors = self.attempt.policy.cors_for(plan.route)
        if cors is not None and not may_connect(cors, self._scope["headers"]):
            raise OriginNotAllowed("This WebSocket was opened by a page of a site that may not.")
        super()._gate(account, plan)


class _Answer:
    """ASGI `send` for an HTTP response in place of a WebSocket. A caller that has gone is not told."""

    __slots__ = ("_scope", "_send", "_start")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: dict[str, Any] = {}

    async def __call__(self, message: dict[str, Any]) -> None:
        """Keep the head until the body has come; ours come in one piece."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        start = self._start
        with suppress(OSError):
            await refuse_websocket(
                self._send,
                start["status"],
                start["headers"],
                message["body"],
                extensions=self._scope.get("extensions"),
            )


def refuse_upgrade(scope: Scope) -> None:
    """Refuse a request that wants a WebSocket although its server did not take it for a handshake.

    Raises:
        MalformedRequest, WebSocketVersionRefused: It is none.
        UpgradeRefused: It is one.
    """
    check_websocket(scope["headers"], scope["http_version"], method=scope["method"])
    raise UpgradeRefused("This gateway was started without WebSockets.")


def _as_call(scope: Scope) -> Scope:
    """The GET that a handshake is, without the fields of the handshake."""
    headers = [pair for pair in scope["headers"] if not pair[0].startswith(HANDSHAKE_PREFIX)]
    return {**scope, "method": "GET", "scheme": _SCHEMES.get(scope["scheme"], scope["scheme"]), "headers": headers}
