"""Answering a WebSocket handshake with an HTTP response instead of a WebSocket.

ASGI's denial extension (`websocket.http.response`) carries status, fields and body. Servers take
it differently: Granian 2.8 takes one body message only, and a field that stands there twice kills
its worker process, so there repetitions are joined, as RFC 9110 section 5.3 allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.core.forwarding import Headers

    Send = Callable[[Any], Awaitable[None]]

DENIAL = "websocket.http.response"
_OF_GRANIAN = "http.response.pathsend"
_FIRST_FINAL = 200


async def refuse_websocket(
    send: Send, status: int, headers: Headers, body: bytes, *, extensions: Mapping[str, Any] | None
) -> int:
    """Refuse a handshake that has not been accepted. Returns the status that the caller sees.

    Args:
        send: ASGI `send`.
        status: 200 or more.
        headers: Names in lower case. A Content-Length is left to the server.
        body: All of it.
        extensions: `scope["extensions"]`. A server without the denial extension answers 403, empty.
    """
    if not extensions or DENIAL not in extensions or status < _FIRST_FINAL:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return 403
    headers = [pair for pair in headers if pair[0] != b"content-length"]
    if _OF_GRANIAN in extensions:
        headers = _joined(headers)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
    return status


def _joined(headers: Headers) -> Headers:
    """Each name once. Cookies cannot be joined: the first one stays."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in fields:
            fields[name] = value
        elif name != b"set-cookie":
            fields[name] += b", " + value
    return list(fields.items())
