"""The API that stands behind the judged gateway: one path for each thing that a judge looks at.

Run as a program it listens on two free ports of loopback, prints their addresses as one line of JSON,
and ends when its standard input does. The second port answers in raw bytes what no ASGI server sends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import socket
import sys
from typing import Any
from urllib.parse import parse_qs

import uvicorn

TEXT = b"".join(b"%06d the quick brown fox jumps over the lazy dog\n" % number for number in range(1000))
TAG = b'"fox-1"'
MODIFIED = b"Sat, 01 Nov 2025 10:00:00 GMT"
TRAILING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
)
_PART = b"x" * 65_536
_TEXT_TYPE = (b"content-type", b"text/plain; charset=utf-8")
_KEPT = [(b"etag", TAG), (b"last-modified", MODIFIED), (b"cache-control", b"max-age=60")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Plain ASGI."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await _echo_messages(receive, send)
        return
    if scope["type"] == "http":
        handler = _ROUTES.get(scope["path"], _echo)
        await handler(scope, receive, send)


async def _answer(send: Any, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = [] if status in {204, 304} else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *length]})
    await send({"type": "http.response.body", "body": body})


async def _parts_of(receive: Any) -> Any:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the caller has left")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _read(receive: Any) -> bytes:
    return b"".join([part async for part in _parts_of(receive)])


async def _json(send: Any, told: Any, *fields: tuple[bytes, bytes]) -> None:
    await _answer(send, 200, [(b"content-type", b"application/json"), *fields], json.dumps(told).encode())


async def _echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Everything as it arrived."""
    body = await _read(receive)
    seen = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": base64.b64encode(body).decode(),
    }
    await _json(send, seen)


async def _text(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A text that can be asked for in part, and again only if it changed."""
    await _read(receive)
    asked = dict(scope["headers"])
    if asked.get(b"if-none-match") == TAG:
        await _answer(send, 304, _KEPT, b"")
        return
    span = asked.get(b"range", b"")
    if span.startswith(b"bytes=") and b"," not in span:
        first, _, last = span[6:].partition(b"-")
        at, end = (int(first), min(int(last or len(TEXT)), len(TEXT) - 1)) if first else (len(TEXT) - int(last), None)
        end = len(TEXT) - 1 if end is None else end
        if at >= len(TEXT):
            where = (b"content-range", b"bytes */%d" % len(TEXT))
            await _answer(send, 416, [_TEXT_TYPE, where], b"no such part\n")
            return
        where = (b"content-range", b"bytes %d-%d/%d" % (at, end, len(TEXT)))
        await _answer(send, 206, [_TEXT_TYPE, *_KEPT, where], TEXT[at : end + 1])
        return
    await _answer(send, 200, [_TEXT_TYPE, *_KEPT, (b"accept-ranges", b"bytes")], TEXT)


async def _packed(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The text, compressed for those who take it."""
    await _read(receive)
    varies = (b"vary", b"Accept-Encoding")
    if b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
        await _answer(send, 200, [_TEXT_TYPE, varies, (b"content-encoding", b"gzip")], gzip.compress(TEXT))
        return
    await _answer(send, 200, [_TEXT_TYPE, varies], TEXT)


async def _chunks(_: dict[str, Any], receive: Any, send: Any) -> None:
    """A body of unknown length."""
    await _read(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [_TEXT_TYPE]})
    for at in range(0, len(TEXT), 10_000):
        await send({"type": "http.response.body", "body": TEXT[at : at + 10_000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _events(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`n` events, 200 ms apart."""
    await _read(receive)
    count = _number(scope, "n", 5)
    fields = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for number in range(1, count + 1):
        event = b"id: %d\ndata: event %d\n\n" % (number, number)
        await send({"type": "http.response.body", "body": event, "more_body": True})
        if number < count:
            await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b""})


async def _big(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`bytes` bytes of known length."""
    await _read(receive)
    left = _number(scope, "bytes", 1_000_000)
    fields = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % left)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while left > len(_PART):
        await send({"type": "http.response.body", "body": _PART, "more_body": True})
        left -= len(_PART)
    await send({"type": "http.response.body", "body": _PART[:left]})


async def _sink(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """How much came, and its SHA-256."""
    count, digest = 0, hashlib.sha256()
    async for part in _parts_of(receive):
        count += len(part)
        digest.update(part)
    framing = sorted({name.decode() for name, _ in scope["headers"]} & {"content-length", "transfer-encoding"})
    await _json(send, {"bytes": count, "sha256": digest.hexdigest(), "framing": framing})


async def _cookies(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Sets two, and tells those that came, one item for each line."""
    await _read(receive)
    came = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    set_them = [(b"set-cookie", b"first=1; Path=/; HttpOnly"), (b"set-cookie", b"second=2; Path=/; SameSite=Lax")]
    await _json(send, {"cookies": came}, *set_them)


async def _busy(_: dict[str, Any], receive: Any, send: Any) -> None:
    """Not now."""
    await _read(receive)
    await _answer(send, 503, [_TEXT_TYPE, (b"retry-after", b"2"), (b"cache-control", b"no-store")], b"later\n")


_endings: list[str] = []
"""How the calls of `/v1/hang` ended, oldest first."""


async def _hang(_: dict[str, Any], receive: Any, send: Any) -> None:
    """Begins a response and never ends it."""
    await _read(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [_TEXT_TYPE]})
    await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
    await receive()
    _endings.append("the caller left")


async def _hung(_: dict[str, Any], receive: Any, send: Any) -> None:
    await _read(receive)
    await _json(send, {"endings": _endings})


def _frame(flags: int, data: bytes) -> bytes:
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


_GRPC_WEB = (b"content-type", b"application/grpc-web+proto")
_GOOD_END = b"grpc-status: 0\r\ngrpc-message: \r\n"
_TRAILER = 0x80


async def _grpc_unary(_: dict[str, Any], receive: Any, send: Any) -> None:
    """gRPC-Web: one message back, then the trailers in the body."""
    body = await _read(receive)
    await _answer(send, 200, [_GRPC_WEB], body + _frame(_TRAILER, _GOOD_END))


async def _grpc_stream(_: dict[str, Any], receive: Any, send: Any) -> None:
    """gRPC-Web: three messages, 100 ms apart, then the trailers in the body."""
    body = await _read(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [_GRPC_WEB]})
    for _ in range(3):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": _frame(_TRAILER, _GOOD_END)})


async def _page(_: dict[str, Any], receive: Any, send: Any) -> None:
    """A page of another origin than the gateway's."""
    await _read(receive)
    await _answer(send, 200, [(b"content-type", b"text/html; charset=utf-8")], b"<!doctype html><title>page</title>")


async def _echo_messages(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


def _number(scope: dict[str, Any], name: str, default: int) -> int:
    return int(parse_qs(scope["query_string"].decode()).get(name, [str(default)])[-1])


_ROUTES = {
    "/v1/text": _text,
    "/v1/packed": _packed,
    "/v1/chunks": _chunks,
    "/v1/events": _events,
    "/v1/big": _big,
    "/v1/sink": _sink,
    "/v1/cookies": _cookies,
    "/v1/busy": _busy,
    "/v1/hang": _hang,
    "/v1/hung": _hung,
    "/grpc/judge.Echo/Unary": _grpc_unary,
    "/grpc/judge.Echo/Stream": _grpc_stream,
    "/page": _page,
    "/v1/page": _page,
}


async def _serve_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(TRAILING)
            await writer.drain()
    writer.close()


async def serve() -> None:
    """Until standard input ends."""
    raw = await asyncio.start_server(_serve_raw, "127.0.0.1", 0)
    # Its protocol is named, so that asyncio sends what is written at once; else each answer waits 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        told = {
            "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "raw_url": f"http://127.0.0.1:{raw.sockets[0].getsockname()[1]}",
        }
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([listener]))
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.should_exit = True
        await running
        raw.close()


if __name__ == "__main__":
    asyncio.run(serve())
