"""What tests of WebSockets share: a policy that sells them, and a client."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

POLICY = """\
version: 1
meters: {messages: {}, slow: {}, minutes: {}, bytes: {settle: response bytes per 1B}}
default_tier: free
tiers:
  free:
    limits:
      - 1_000 per second burst 1_000
      - 100 requests per billing period
      - 5 messages per billing period
      - 2 slow per second burst 2
      - 1_000 minutes per billing period
      - 1_000 bytes per billing period
routes:
  - {match: GET /settled, cost: {bytes: 9}}
  - {match: GET /told, cost: {bytes: 9}, settle: {bytes: response header X-Bytes}}
  - {match: GET /sized, cost: {bytes: request header X-Size at most 50}, settle: {bytes: off}}
  - {match: GET /chat, websocket: {max_message: 64KiB}}
  - {match: GET /counted, websocket: {cost_per_message: {messages: 1}}}
  - {match: GET /paced, websocket: {cost_per_message: {slow: 1}}}
  - {match: GET /timed, websocket: {cost_per_minute: {minutes: 7}}}
  - {match: GET /none, websocket: refuse}
  - {match: GET /v2/**, rewrite: strip /v2, request_headers: {set: {X-Set: by-policy}, remove: [X-Drop]},
     response_headers: {set: {X-Answered: by-policy}}}
  - {match: GET /pages, cors: {origins: ["https://app.example"]}}
  - {match: GET /short, timeout: {idle: 2s}}
  - {match: GET /brief, timeout: {total: 3s}}
  - {match: "* /**"}
"""


def open_socket(
    url: str, path: str, key: str | None = None, *, offers: tuple[str, ...] = (), fields: dict[str, str] | None = None
) -> ClientConnection:
    """Open a WebSocket at a gateway; the key travels in a field."""
    headers = dict(fields or {})
    if key is not None:
        headers["X-API-Key"] = key
    return connect(
        url.replace("http://", "ws://") + path,
        additional_headers=headers,
        subprotocols=[Subprotocol(name) for name in offers] or None,
        proxy=None,
        open_timeout=30,
        close_timeout=30,
        max_size=None,
    )


def refused(url: str, path: str, key: str | None = None, **more: Any) -> tuple[int, dict[str, Any], Any]:
    """Status, problem and fields of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as answer, open_socket(url, path, key, **more):
        pass
    response = answer.value.response
    is_problem = response.headers.get("Content-Type") == "application/problem+json"
    return response.status_code, json.loads(response.body) if is_problem else {}, response.headers


def closed(socket: ClientConnection) -> tuple[int, str]:
    """How the gateway ends it."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=60)
    code, reason = socket.protocol.close_code, socket.protocol.close_reason
    assert code is not None
    return code, reason or ""


def key_of(client: httpx.Client) -> str:
    return client.headers["authorization"].partition(" ")[2]


def used(client: httpx.Client, meter: str = "requests") -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return int(next(row["used"] for row in rows if row["meter"] == meter and row["used"] is not None))
