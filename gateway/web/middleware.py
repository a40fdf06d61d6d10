"""The metered edge: pure ASGI, in front of everything.

Reserved paths go on to the app's router; every other path is metered, so there is no list
of exclusions to get wrong. An admitted request is handed to a *forwarder*: by default the
reverse proxy, or the wrapped app itself when Tiergate runs inside the seller's own service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.core.cors import asked_method, call_lines, preflight_lines
from gateway.core.errors import TiergateError
from gateway.core.http_head import pairs_of
from gateway.core.request_gate import check_request, wants_websocket
from gateway.core.target import canonical_path, check_length
from gateway.core.trace import request_id
from gateway.web.asgi import ASGIApp, Headers, Receive, Scope, Send
from gateway.web.front import CALLER
from gateway.web.metered import Forwarder, Metered
from gateway.web.problems import problem_response
from gateway.web.reserved import ReservedPaths
from gateway.web.runtime import Runtime
from gateway.web.sending import date_field, send_problem
from gateway.web.unread import Unread, ends_unread
from gateway.web.websockets import refuse_upgrade

if TYPE_CHECKING:
    from gateway.core.policy import Policy
    from gateway.core.route import Route

_MAX_REMEMBERED = 4096
_NO_CONTENT = 204


class Edge:
    """ASGI middleware that identifies, decides, charges, forwards, and gives back.

    Args:
        app: What serves the reserved paths, and lifespan.
        runtime: Returns the opened parts; called once per request, never before startup.
        reserved: The paths that `app` serves itself.
        forward: What happens to admitted requests.
        websockets: What answers WebSocket handshakes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        runtime: Callable[[], Runtime],
        reserved: ReservedPaths,
        forward: Forwarder,
        websockets: ASGIApp,
    ) -> None:
        self._app = app
        self._runtime = runtime
        self._reserved = reserved
        self._forward = forward
        self._websockets = websockets
        self._paths: dict[tuple[bytes, bool], tuple[str, bool]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await (self._websockets if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        unread = await self._answer(scope, receive, send)
        if unread is not None:
            await unread.finish()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Unread | None:
        """One request, to the end of its call. What its connection still has to do is returned."""
        runtime = self._runtime()
        policy = runtime.policy.current
        unread: Unread | None = None
        try:
            if CALLER not in scope.get("extensions", ()):
                # A copy: some servers append trailer fields to their own list later, unchecked. What such a server
                # (stock uvicorn) has merged before this line, because all came at once, looks like a header and
                # passes as one; under our own front (web/front) no trailer field gets here.
                version = "1.0" if scope["http_version"] == "1" else scope["http_version"]  # as Granian says it
                scope = {**scope, "headers": list(scope["headers"]), "http_version": version}
                check_request(scope["method"], scope["raw_path"], scope["headers"], scope["http_version"])
                unread = ends_unread(scope, receive, send)
                if unread is not None:
                    receive, send = unread.receive, unread.send
                if wants_websocket(scope["headers"], scope["http_version"]):
                    refuse_upgrade(scope)
            raw_path, query = scope["raw_path"], scope["query_string"]
            located = self._paths.get((raw_path, policy.takes_encoded_slashes))
            if located is None or query:
                check_length(raw_path, query)
            path, ours = located or self._locate(raw_path, keeps_encoded_slashes=policy.takes_encoded_slashes)
        except TiergateError as error:
            runtime.metrics.decided("-", "-", error.code).n += 1
            readable = call_lines(policy.cors, scope["headers"]) if policy.cors is not None else []
            await send_problem(runtime, scope, send, error, None, pairs_of(readable))
            return unread
        if ours:
            await self._app(scope, receive, _with_date(send))
            return unread
        peer = scope["client"][0] if scope.get("client") else None
        rules = runtime.rules
        trusted, address = rules.proxies.known_peer(peer)
        if trusted:
            address = rules.proxies.client_address(scope["headers"], peer)
        metered = Metered(runtime, self._forward, scope, path, address)
        if trusted:
            metered.request_id = (request_id(scope["headers"], trusted) or b"").decode("ascii")
        if policy.has_cors and await _answers_preflight(policy, metered, scope, send):
            runtime.metrics.decided("-", "-", "preflight").n += 1
            return unread
        await metered.run(receive, send)
        return unread

    def _locate(self, raw_path: bytes, *, keeps_encoded_slashes: bool) -> tuple[str, bool]:
        """The path that policy matches, and whether it is ours.

        Raises:
            TargetRejected: It has more than one reading.
        """
        path = canonical_path(raw_path, keeps_encoded_slashes=keeps_encoded_slashes)
        located = (path, self._reserved.owns(path))
        if len(self._paths) >= _MAX_REMEMBERED:
            self._paths.clear()
        self._paths[raw_path, keeps_encoded_slashes] = located
        return located


async def _answers_preflight(policy: Policy, metered: Metered, scope: Scope, send: Send) -> bool:
    """Cross-origin: answer a preflight, and prepare any other response for its browser."""
    asked = asked_method(scope["method"], scope["headers"])
    route = _find_route(policy, asked if asked is not None else scope["method"], metered.attempt.path)
    cors = policy.cors_for(route) if route is not None else policy.cors
    if cors is None:
        return False
    if asked is None:
        metered.allow_origins(cors)
        return False
    fields: Headers = [*pairs_of(preflight_lines(cors, asked, scope["headers"])), date_field.current()]
    await send({"type": "http.response.start", "status": _NO_CONTENT, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
    return True


def _find_route(policy: Policy, method: str, path: str) -> Route | None:
    try:
        return policy.find_route(method, path)
    except TiergateError:
        return None


def refuse_early(runtime: Runtime, error: TiergateError) -> tuple[int, Headers, bytes]:
    """The answer to what no app gets to see: status, fields, body. Counted as any decision."""
    runtime.metrics.decided("-", "-", error.code).n += 1
    status, headers, body = problem_response(error, runtime.site)
    return status, [*headers, date_field.current()], body


def _with_date(send: Send) -> Send:
    async def send_with_date(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            message = {**message, "headers": [*headers, *date_field.missing(headers)]}
        await send(message)

    return send_with_date
