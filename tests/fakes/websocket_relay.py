"""The relay behind a real server: `python -m tests.fakes.websocket_relay uvicorn|front|granian PORT`.

`/{upstream port}/{rest}?limit=value...` is relayed to the upstream's `/{rest}`; limits are those of
`WebSocketLimits`, and `deny_after` messages, `deny_minute` and `minute_s` stand for charges. A GET of
`/outcomes` tells how the WebSockets since the last GET ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import uvicorn

from gateway.core.errors import MalformedRequest, QuotaExceeded, TiergateError, UpstreamTimeout
from gateway.core.websocket import check_websocket, parse_subprotocols
from gateway.upstream import ExchangeRequest, Upstream
from gateway.upstream.errors import ClientLeft
from gateway.upstream.websocket import WebSocketLimits, WebSocketRequest, relay_websocket
from gateway.upstream.websocket_refusal import refuse_websocket

_OURS = (b"host", b"connection", b"upgrade", b"sec-websocket-")
_FRONT = "gateway.web.websocket_protocol:FrontWebSocket"
_outcomes: list[dict[str, Any]] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        body = json.dumps(_outcomes).encode()
        _outcomes.clear()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
    else:
        try:
            await _relay(scope, receive, send)
        except TiergateError as error:
            _outcomes.append({"error": error.code})
            status = 504 if isinstance(error, UpstreamTimeout) else 400 if isinstance(error, MalformedRequest) else 502
            fields = [(b"content-type", b"application/problem+json"), (b"tiergate-decision", b"d1")]
            body = json.dumps({"code": error.code}).encode()
            await refuse_websocket(send, status, fields, body, extensions=scope["extensions"])
        except ClientLeft:
            _outcomes.append({"error": "client-left"})
        except asyncio.CancelledError:
            _outcomes.append({"error": "cancelled"})
            raise


async def _relay(scope: Any, receive: Any, send: Any) -> None:
    check_websocket(scope["headers"], scope["http_version"])
    options = dict(parse_qsl(scope["query_string"].decode()))
    _, port, rest = scope["raw_path"].decode().split("/", 2)
    seen = 0

    def charge(_size: int) -> None:
        nonlocal seen
        seen += 1
        if "deny_after" in options and seen > int(options["deny_after"]):
            raise QuotaExceeded("No more.", retry_after_s=1, violated=("messages",), of_key=False)

    def minute() -> None:
        if "deny_minute" in options:
            raise QuotaExceeded("No more.", retry_after_s=1, violated=("minutes",), of_key=False)

    names = WebSocketLimits.__dataclass_fields__
    outcome = await relay_websocket(
        WebSocketRequest(
            exchange=ExchangeRequest(
                "GET",
                f"/{rest}?".encode() + scope["query_string"],
                [b"%b: %b" % pair for pair in scope["headers"] if not pair[0].startswith(_OURS)],
                host=b"upstream.example",
            ),
            subprotocols=parse_subprotocols(scope["headers"]),
            extensions=scope["extensions"],
        ),
        receive,
        send,
        upstream=Upstream(f"http://127.0.0.1:{port}"),
        on_start=lambda head: [*head.lines, b"tiergate-decision: d1"],
        on_message=charge,
        on_minute=minute,
        limits=WebSocketLimits(
            **{name: (int if "bytes" in name else float)(value) for name, value in options.items() if name in names}
        ),
    )
    _outcomes.append(asdict(outcome))


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def main(server: str, port: str) -> None:
    if server == "granian":
        granian = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "asyncio", "--host", "127.0.0.1"]
        os.execv(
            sys.executable, [*granian, "--port", port, "--log-level", "warning", "tests.fakes.websocket_relay:app"]
        )
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        http="gateway.web.front:FrontProtocol" if server == "front" else "auto",
        ws=_FRONT if server == "front" else "websockets-sansio",
        ws_max_size=2 * 1024 * 1024,
        ws_ping_interval=1.0,
        ws_ping_timeout=30.0,
        log_level="info" if server == "front" else "warning",
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
