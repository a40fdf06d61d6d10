"""A sample API to put a gateway in front of: echo, slow, stream, error, large, render. Plain ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LONGEST_S = 120.0
_MOST_EVENTS = 10_000
_MOST_BYTES = 1 << 30
_CHUNK = 65_536
_EVENT_EVERY_S = 0.2
_STATUSES = range(200, 600)
_BODILESS = frozenset({204, 304})


class _BadQuery(ValueError):
    """A query parameter that cannot be; the text says which."""


async def upstream_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The sample API."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["type"] != "http":
        return
    path = scope["path"]
    handler = _ROUTES.get(path)
    if handler is None and path.startswith("/v1/render/"):
        handler = _render
    try:
        await (handler or _not_found)(scope, receive, send)
    except _BadQuery as error:
        await _send_json(send, 400, {"error": str(error)})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send_json(send: Send, status: int, body: Any) -> None:
    content = json.dumps(body, indent=2).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return b"".join(parts)


def _query(scope: Scope, name: str, default: float, most: float) -> float:
    values = parse_qs(scope["query_string"].decode("latin-1")).get(name)
    try:
        value = float(values[-1]) if values else default
    except ValueError:
        raise _BadQuery(f"{name} must be a number") from None
    if not 0 <= value <= most:
        raise _BadQuery(f"{name} must be from 0 to {most:g}")
    return value


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What arrived, exactly: header names and order as the server saw them."""
    body = await _read_body(receive)
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope.get("raw_path", b"").decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "http_version": scope["http_version"],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("utf-8", "replace"),
        "body_bytes": len(body),
    }
    await _send_json(send, 200, seen)


async def _slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers after `seconds`."""
    seconds = _query(scope, "seconds", 1.0, _LONGEST_S)
    await _read_body(receive)
    await asyncio.sleep(seconds)
    await _send_json(send, 200, {"slept_s": seconds})


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    """`n` server-sent events, one each 200 ms; stops when the client leaves."""
    count = int(_query(scope, "n", 10, _MOST_EVENTS))
    await _read_body(receive)
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    left = asyncio.ensure_future(receive())
    try:
        for number in range(1, count + 1):
            event = f"id: {number}\ndata: {json.dumps({'number': number, 'of': count})}\n\n"
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            done, _ = await asyncio.wait({left}, timeout=_EVENT_EVERY_S if number < count else 0)
            if done:
                return
        await send({"type": "http.response.body", "body": b""})
    finally:
        left.cancel()


async def _error(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with `status`."""
    status = int(_query(scope, "status", 500, _STATUSES[-1]))
    if status not in _STATUSES:
        raise _BadQuery("status must be from 200 to 599")
    await _read_body(receive)
    if status in _BODILESS:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await _send_json(send, status, {"error": f"you asked for {status}"})


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    """A body of `bytes` bytes, in chunks, of known length."""
    left = int(_query(scope, "bytes", 1_000_000, _MOST_BYTES))
    await _read_body(receive)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(left).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while left > 0:
        size = min(left, _CHUNK)
        left -= size
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": left > 0})
    if left == 0 and headers[1][1] == b"0":
        await send({"type": "http.response.body", "body": b""})


async def _render(scope: Scope, receive: Receive, send: Send) -> None:
    """Something that sounds expensive; for routes with a cost or a feature of their own."""
    await _read_body(receive)
    await _send_json(send, 200, {"rendered": scope["path"].removeprefix("/v1/render/")})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await _read_body(receive)
    await _send_json(send, 404, {"error": f"no such path: {scope['path']}"})


_ROUTES = {
    "/v1/echo": _echo,
    "/v1/slow": _slow,
    "/v1/stream": _stream,
    "/v1/error": _error,
    "/v1/large": _large,
}
