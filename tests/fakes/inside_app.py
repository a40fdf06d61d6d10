"""An app that is served inside the gateway, and does what its path says."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gateway.app import protect

FRAMED: dict[str, tuple[int, list[tuple[bytes, bytes]], list[bytes]]] = {
    "too-long": (200, [(b"content-length", b"3")], [b"four"]),
    "too-short": (200, [(b"content-length", b"9")], [b"four"]),
    "too-long-later": (200, [(b"content-length", b"5")], [b"four", b"four"]),
    "too-short-later": (200, [(b"content-length", b"9")], [b"four", b"four"]),
    "whole": (200, [], [b"hello"]),
    "parts": (200, [], [b"he", b"", b"llo"]),
    "says-chunked": (200, [(b"transfer-encoding", b"chunked")], [b"he", b"llo"]),
    "says-close": (200, [(b"connection", b"close"), (b"content-length", b"5")], [b"hello"]),
    "no-content": (204, [], [b""]),
    "priced": (200, [(b"X-Tokens", b"42"), (b"content-length", b"5")], [b"hello"]),
    "cookies": (200, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"0")], [b""]),
    "splits-the-head": (200, [(b"x-a", b"1\r\nx-b: 2")], [b"hello"]),
}
"""By path: status, fields and parts of a response."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: C901 - one branch for each manner
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["path"].rpartition("/")[2]
    if name == "silent":
        return
    if name == "raises":
        raise RuntimeError(name)
    if name == "answers-500-and-raises":  # as Starlette does
        await _answer(send, 500, b"sorry")
        raise RuntimeError(name)
    if name == "answers-and-raises":  # as a background task does
        await _answer(send, 204, b"")
        raise RuntimeError(name)
    if name in {"raises-after-payload", "raises-before-payload"}:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if name == "raises-after-payload":
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise RuntimeError(name)
    if name in FRAMED:
        await _answer_framed(send, *FRAMED[name])
        return
    if name in {"events", "deaf-events"}:
        await _send_events(receive if name == "events" else None, send)
        return
    body = await _read(receive)
    if body is None:  # the caller has left
        await _answer(send, 200, b"nobody reads this")
        return
    seen = {
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body_bytes": len(body),
        "caller": scope["state"]["tiergate"],
    }
    await _answer(send, 200, json.dumps(seen).encode())


async def _answer(send: Any, status: int, body: bytes) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]}
        if body
        else {"type": "http.response.start", "status": status, "headers": []}
    )
    await send({"type": "http.response.body", "body": body})


async def _answer_framed(send: Any, status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for number, part in enumerate(parts, 1):
        await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})


async def _send_events(receive: Any, send: Any) -> None:
    """Events without end: until the caller leaves, or, of an app that does not listen, until sending fails."""
    leaving = asyncio.ensure_future(_wait_for_leaving(receive))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    try:
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await asyncio.wait({leaving}, timeout=0.02)
    finally:
        print("events have ended", flush=True)  # noqa: T201 - for the test, which reads the log
        leaving.cancel()


async def _wait_for_leaving(receive: Any) -> None:
    while receive is None or (await receive())["type"] != "http.disconnect":
        if receive is None:
            await asyncio.Event().wait()


async def _read(receive: Any) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


def create() -> Any:
    return protect(app)
