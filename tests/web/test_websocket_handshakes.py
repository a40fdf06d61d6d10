"""WebSocket handshakes over raw sockets: only what is exactly one is answered with 101, and all else is told why."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.fakes.websocket_thread import websocket_api
from tests.web.sockets import POLICY, key_of

pytestmark = pytest.mark.slow

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
VERSION = "Sec-WebSocket-Version: 13"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
GOOD = (*UPGRADE, VERSION, KEY)


@pytest.fixture(scope="module")
def api():
    with websocket_api() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(start_gateway_once, api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    (folder / "policy.yaml").write_text(POLICY)
    return start_gateway_once(TIERGATE_UPSTREAM_URL=f"http://127.0.0.1:{api.port}", TIERGATE_POLICY_DIR=str(folder))


@pytest.fixture
def key(gateway):
    _, _, client = gateway.customer()
    return key_of(client)


@pytest.fixture
def served(gateway, api, key):
    return gateway, api, key


def ask(gateway, *fields: str, start: str = "GET /chat HTTP/1.1", behind: bytes = b"") -> tuple[int, str, bytes]:
    """Status, head and body of the answer; a WebSocket that was opened is left at once."""
    place = urlsplit(gateway.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall("\r\n".join([start, "Host: api.test", *fields, "", ""]).encode("latin-1") + behind)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            if b" 101 " in answer and b"\r\n\r\n" in answer:
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode("latin-1").lower(), body


def test_a_handshake_is_answered_with_the_gateways_fields(gateway, key):
    status, head, _ = ask(gateway, *GOOD, f"X-API-Key: {key}")
    assert status == 101
    assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
    assert "\r\ntiergate-decision: dec_" in head
    assert head.count("\r\ndate: ") == 1
    assert head.count("\r\nserver: ") == 1  # the upstream's
    assert "sec-websocket-extensions" not in head


GET = "GET /chat HTTP/1.1"
MALFORMED, TOO_LARGE = (400, "malformed-request"), (431, "headers-too-large")
AMBIGUOUS, NOT_HERE = (400, "ambiguous-target"), (501, "upgrade-not-supported")


@pytest.mark.parametrize(
    ("start", "fields", "behind", "expected"),
    [
        pytest.param("POST /chat HTTP/1.1", GOOD, b"", MALFORMED, id="post"),
        pytest.param(GET, (*GOOD, "Content-Length: 5"), b"hello", MALFORMED, id="body"),
        pytest.param(GET, (*UPGRADE, VERSION), b"", MALFORMED, id="no-key"),
        pytest.param(GET, (UPGRADE[1], VERSION, KEY), b"", MALFORMED, id="not-listed"),
        pytest.param(GET, (*GOOD, "Upgrade: h2c"), b"", MALFORMED, id="two-upgrades"),
        pytest.param(GET, (UPGRADE[0], "Upgrade: h2c, websocket", VERSION, KEY), b"", MALFORMED, id="choice"),
        pytest.param(GET, GOOD, b"\x81\x85", MALFORMED, id="frames-behind"),
        pytest.param(GET, GOOD, b"GET / HTTP/1.1\r\n\r\n", MALFORMED, id="pipelined"),
        pytest.param(GET, (*GOOD, f"X: {'v' * 9000}"), b"", TOO_LARGE, id="long-field"),
        pytest.param(GET, (*GOOD, "X:" + " " * 9000 + "v"), b"", TOO_LARGE, id="spaces"),
        pytest.param(GET, (*GOOD, *["X: v"] * 130), b"", TOO_LARGE, id="fields"),
        pytest.param(GET, (*GOOD, "Sec-WebSocket-Protocol: a, a"), b"", MALFORMED, id="offered-twice"),
        pytest.param("GET /chat?\xe9 HTTP/1.1", GOOD, b"", AMBIGUOUS, id="not-ascii"),
        pytest.param("GET http://x/chat HTTP/1.1", GOOD, b"", AMBIGUOUS, id="absolute-form"),
        pytest.param("GET /_tiergate/health HTTP/1.1", GOOD, b"", NOT_HERE, id="reserved"),
    ],
)
def test_what_is_no_handshake_is_refused(served, start, fields, behind, expected):
    gateway, api, key = served
    before = len(api.requests)
    status, _, body = ask(gateway, *fields, f"X-API-Key: {key}", start=start, behind=behind)
    assert (status, json.loads(body)["code"]) == expected
    assert len(api.requests) == before


def test_another_version_is_told_which_one_is_spoken(gateway, key):
    status, head, body = ask(gateway, *UPGRADE, "Sec-WebSocket-Version: 8", KEY, f"X-API-Key: {key}")
    assert (status, json.loads(body)["code"]) == (426, "websocket-version-not-supported")
    assert "\r\nsec-websocket-version: 13\r\n" in head
    assert "\r\nupgrade: websocket\r\n" in head
    assert "\r\nconnection: close, upgrade" in head


def test_http_1_0_has_no_upgrade(gateway, key):
    """RFC 9110 section 7.8: a server ignores it. What the upstream gets is a plain GET."""
    status, _, _ = ask(gateway, *GOOD, f"X-API-Key: {key}", start="GET /chat HTTP/1.0")
    assert status == 426  # the upstream's own answer to a plain GET


def test_a_key_among_the_subprotocols_of_a_plain_request_goes_nowhere(gateway, api, key):
    status, _, body = ask(gateway, f"Sec-WebSocket-Protocol: tiergate.key.{key}", "Connection: close")
    assert (status, json.loads(body)["code"]) == (401, "invalid-api-key")
    status, _, _ = ask(gateway, f"Sec-WebSocket-Protocol: tiergate.key.{key}", f"X-API-Key: {key}", "Connection: close")
    assert status == 426
    assert all(key not in str(request.headers) for request in api.requests)
