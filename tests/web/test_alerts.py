"""Real workers, a real receiver: the seller is told of a customer's quota once, and can check who says so."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

SECRET = b"a secret of twenty-four b"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Fails at first, then takes everything. Remembers what is about one customer: others have left theirs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        about = self.server.about  # type: ignore[attr-defined]
        is_wanted = about is not None and about in body
        if is_wanted:
            self.server.got.append((dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(500 if is_wanted and len(self.server.got) == 1 else 204)  # type: ignore[attr-defined]
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.about = [], None  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_two_workers_and_a_restart_tell_the_seller_once_under_one_id(start_gateway, receiver, until):
    settings = {
        "TIERGATE_ALERT_URL": f"http://127.0.0.1:{receiver.server_port}/hooks",
        "TIERGATE_ALERT_SECRET": "whsec_" + base64.b64encode(SECRET).decode(),
    }
    first, second = start_gateway(**settings), start_gateway(**settings)
    _, user_id, client = first.customer(limits=["4 per day"])
    receiver.about = user_id.encode()
    other = second.bearer(client.headers["authorization"].removeprefix("Bearer "))
    client.get("/v1/echo").raise_for_status()
    other.get("/v1/echo").raise_for_status()
    until(lambda: len(receiver.got) >= 1)
    until(lambda: second.metric("tiergate_alerts", status="pending") >= 1 or len(receiver.got) >= 2)
    first.process.kill()
    first.process.wait(timeout=20)
    start_gateway(**settings)
    until(lambda: len(receiver.got) >= 2, patience_s=40)
    (refused, taken) = receiver.got[:2]
    assert (refused[0]["webhook-id"], refused[1]) == (taken[0]["webhook-id"], taken[1])
    headers, body = taken
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in headers["webhook-signature"].split(" ")
    data = json.loads(body)["data"]
    assert (data["user_id"], data["limit_name"], data["percent"]) == (user_id, "key-day", 50)
    other.get("/v1/echo").raise_for_status()
    other.get("/v1/echo").raise_for_status()
    until(lambda: len(receiver.got) >= 3)
    assert json.loads(receiver.got[2][1])["data"]["percent"] in {80, 100}
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
