"""An app that is served inside the gateway, and does what its path says."""

from __future__ import annotations

import json
from typing import Any

from gateway.app import protect


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
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
