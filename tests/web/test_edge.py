"""The metered edge over raw sockets: nothing gets past it, and what passes is right."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from gateway.cli.ports import free_port
from gateway.core.keys import KeyCodec

pytestmark = pytest.mark.slow

UPSTREAM_MARK = b'"raw_path"'
"""Only the sample API's echo writes this."""


@pytest.fixture
def send(gateway):
    """Send raw bytes on a connection of its own; returns all that comes back."""
    place = urlsplit(gateway.url)

    def send_raw(data: bytes, *, read_until_close: bool = True) -> bytes:
        with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
            connection.sendall(data)
            answer = b""
            while chunk := connection.recv(65_536):
                answer += chunk
                if not read_until_close and b"\r\n\r\n" in answer:
                    break
            return answer

    return send_raw


@pytest.fixture
def key(gateway):
    _, _, client = gateway.customer()
    return client.headers["authorization"].partition(" ")[2]


def request(method="GET", target="/v1/echo", *fields, body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: api.test", "Connection: close", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read(answer: bytes):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return int(lines[0].split(" ")[1]), [(name.lower(), value) for name, value in fields], body


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "target",
    ["/", "/v1/echo", "/v1/echo/", "/docs", "/api/v1", "/api/v1/plans/", "/schema", "/v1/echo?key=x", "/favicon.ico"],
)
def test_nothing_reaches_the_upstream_without_a_key(send, method, target):
    answer = send(request(method, target, "Content-Length: 0"))
    assert read(answer)[0] == 401
    assert UPSTREAM_MARK not in answer


@pytest.mark.parametrize(
    "target",
    [
        "//_tiergate/health",
        "/%5Ftiergate/health",
        "/_tiergat%65/health",
        "/_TIERGATE/health",
        "/v1/../_tiergate/health",
        "/v1/%2e%2e/x",
        "/v1/a%2Fb",
        "/v1/a%5Cb",
        "/v1/a\\b",
        "/v1//b",
        "/v1/%00",
        "/v1/%",
        "/v1/%zz",
        "/v1/a;b",
        "/api/v1/web%68ook",
        "/api%2Fv1/plans",
    ],
)
def test_a_target_with_a_second_reading_is_refused_before_the_key_is_looked_at(send, key, target):
    status, _, body = read(send(request("GET", target, f"X-API-Key: {key}")))
    assert status == 400
    if body.startswith(b"{"):
        assert json.loads(body)["code"] == "ambiguous-target"


@pytest.mark.parametrize("target", ["/v1/echo/" + "a" * 8192, "/v1/echo?q=" + "a" * 8192, "/_tiergate/" + "a" * 8192])
def test_a_target_that_is_too_long_is_refused_before_the_key_is_looked_at(send, target):
    status, _, body = read(send(request("GET", target)))
    assert (status, json.loads(body)["code"]) == (414, "target-too-long")


def test_the_longest_target_passes(send, key):
    target = "/v1/echo?q="
    target += "a" * (8192 - len(target))
    assert read(send(request("GET", target, f"X-API-Key: {key}")))[0] == 200


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Content-Length: +3",),
        ("Host: other.test",),
    ],
)
def test_framing_or_a_host_with_a_second_reading_is_refused(send, key, fields):
    answer = send(request("POST", "/v1/echo", f"X-API-Key: {key}", *fields, body=b"0\r\n\r\n"))
    assert read(answer)[0] == 400
    assert UPSTREAM_MARK not in answer


def test_the_upstream_gets_the_identity_and_never_the_key_or_a_forged_identity(gateway):
    customer_id, user_id, client = gateway.customer()
    key = client.headers["authorization"].partition(" ")[2]
    answer = client.post(
        "/v1/echo?a=%2fb&c",
        headers={"x-api-key": key, "X-Tiergate-Tier": "enterprise", "X_Tiergate_User": "mallory", "X-Custom": "kept"},
        content=b"hello",
    )
    seen = answer.json()
    fields = {name.lower(): value for name, value in seen["headers"]}
    assert key not in answer.text
    assert fields["x-tiergate-customer"] == customer_id
    assert fields["x-tiergate-user"] == user_id
    assert fields["x-tiergate-tier"] == "free"
    assert "mallory" not in answer.text
    assert (fields["x-custom"], seen["body"], seen["query"]) == ("kept", "hello", "a=%2fb&c")


def test_a_response_carries_one_date_the_limits_and_its_decision(gateway):
    _, _, client = gateway.customer()
    answer = client.get("/v1/echo")
    assert len(answer.headers.get_list("date")) == 1
    assert answer.headers.get_list("via") == ["1.1 tiergate"]
    assert answer.headers["ratelimit-policy"].startswith('"second";q=20;w=2, "period";q=100;w=')
    assert '"period";r=99;t=' in answer.headers["ratelimit"]
    assert answer.headers["tiergate-decision"].startswith("dec_")


def test_a_refusal_is_a_problem_that_says_what_why_and_what_next(gateway):
    _, _, client = gateway.customer()
    answer = client.post("/v1/render/a")
    problem = answer.json()
    assert answer.status_code == problem["status"] == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["code"] == "feature-not-in-tier"
    assert problem["offered_by"] == ["pro", "enterprise"]
    assert problem["decision_id"] == answer.headers["tiergate-decision"]
    assert problem["links"]["upgrade"].startswith(gateway.url)
    assert problem["type"].startswith(gateway.url)


@pytest.fixture
def keys_that_do_not_open(gateway, world):
    """One of each kind; "missing" is None."""
    codec = KeyCodec(world["TIERGATE_KEY_PEPPER"].encode(), "test")
    customer_id, _, revoked = gateway.customer()
    key_id = dict(revoked.get("/v1/echo").json()["headers"])["x-tiergate-key"]
    gateway.admin.delete(f"/_tiergate/admin/customers/{customer_id}/keys/{key_id}").raise_for_status()
    for lives_s in (2, 4, 8, 16, 32):  # long enough to be used before it expires, which depends on the machine
        ends_at = int(time.time()) + lives_s
        _, _, expired = gateway.customer(expires_at=ends_at)
        if expired.get("/v1/echo").status_code == 200:
            break
    time.sleep(max(0, ends_at - time.time()))
    return {
        "missing": None,
        "malformed": "tg_test_wrong",
        "of nobody": codec.mint("A" * 12, "b" * 26).text,
        "never issued": codec.mint(customer_id, "b" * 26).text,
        "revoked": revoked.headers["authorization"].partition(" ")[2],
        "expired": expired.headers["authorization"].partition(" ")[2],
    }


@pytest.mark.parametrize("path", ["/v1/echo", "/api/v1/usage"])
def test_every_key_that_does_not_open_gets_the_same_answer(gateway, keys_that_do_not_open, path):
    told = {}
    for kind, key in keys_that_do_not_open.items():
        if key is None and path.startswith("/api"):
            continue  # there, other credentials are welcome too
        answer = gateway.browser().get(path, headers={} if key is None else {"x-api-key": key})
        problem = answer.json()
        for one_of_its_own in ("decision_id", "request_id"):
            problem.pop(one_of_its_own, None)
        problem["links"].pop("why", None)
        fields = set(answer.headers) - {"content-length"}
        told[kind] = (answer.status_code, answer.headers["www-authenticate"], fields, problem)
    first = told["malformed"]
    assert first[0] == 401
    assert told == dict.fromkeys(told, first)


def test_what_a_keys_own_limit_forbids_for_good_is_no_matter_of_waiting(gateway):
    _, _, client = gateway.customer(limits=["3 requests per day"])
    answer = client.get("/v1/large")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (403, "cost-above-limit")
    assert "'key-day'" in problem["detail"]
    assert "retry-after" not in answer.headers
    assert "upgrade" not in problem["links"]
    assert problem["links"]["keys"].startswith(f"{gateway.url}/_tiergate/account#")


@pytest.mark.parametrize("limit", ["2 requests per day", "1 per minute burst 2"])
def test_a_keys_own_limit_leads_to_the_keys_and_not_to_an_upgrade(gateway, limit):
    _, _, client = gateway.customer(limits=[limit])
    for _ in range(2):
        assert client.get("/v1/echo").status_code == 200
    answer = client.get("/v1/echo")
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
    assert "upgrade" not in answer.json()["links"]
    assert "keys" in answer.json()["links"]


def test_two_different_keys_are_refused_instead_of_guessed(gateway):
    _, _, first = gateway.customer()
    _, _, second = gateway.customer()
    other = second.headers["authorization"].partition(" ")[2]
    answer = first.get("/v1/echo", headers={"x-api-key": other})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")


def test_a_head_request_gets_the_fields_and_no_body(send, key):
    status, fields, body = read(send(request("HEAD", "/v1/echo", f"X-API-Key: {key}")))
    assert (status, body) == (200, b"")
    status, fields, body = read(send(request("HEAD", "/v1/echo")))
    assert (status, body) == (401, b"")
    assert dict(fields)["content-type"] == "application/problem+json"


def test_events_reach_the_caller_as_they_are_made(gateway):
    _, _, client = gateway.customer()
    with client.stream("GET", "/v1/stream?n=3") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        pieces = list(answer.iter_raw())
    assert len(pieces) >= 3


def test_a_large_answer_comes_through_whole(gateway):
    _, _, client = gateway.customer()
    assert len(client.get("/v1/large?bytes=5000000").content) == 5_000_000


def test_a_body_above_the_cap_is_refused_and_not_charged(start_gateway):
    gateway = start_gateway(TIERGATE_MAX_BODY_BYTES="1000")
    _, _, client = gateway.customer()
    refused = client.post("/v1/echo", content=b"x" * 1001)
    assert (refused.status_code, refused.json()["code"]) == (413, "body-too-large")
    assert '"period";r=99;' in client.post("/v1/echo", content=b"x" * 1000).headers["ratelimit"]


def test_an_upstream_error_is_passed_on_and_costs_no_quota(gateway):
    _, _, client = gateway.customer()
    failed = client.get("/v1/error?status=503")
    assert failed.status_code == 503
    assert '"second";r=19;' in failed.headers["ratelimit"]
    assert '"period";r=100;' in failed.headers["ratelimit"]
    assert '"period";r=99;' in client.get("/v1/echo").headers["ratelimit"]


def test_calls_that_fail_are_paced_like_all_others(gateway):
    _, _, client = gateway.customer()
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: client.get("/v1/error?status=503").status_code, range(60)))
    passed_most = 20 + 10 * (time.monotonic() - started)
    assert set(statuses) == {503, 429}
    assert statuses.count(503) <= passed_most


def test_an_upstream_that_is_down_is_a_502_that_costs_nothing(start_gateway, until):
    gateway = start_gateway(TIERGATE_UPSTREAM_URL=f"http://127.0.0.1:{free_port()}")
    _, _, client = gateway.customer()
    failed = client.get("/v1/echo")
    assert (failed.status_code, failed.json()["code"]) == (502, "upstream-unreachable")
    rows = {row["name"]: row for row in client.get("/api/v1/usage").json()["limits"]}
    assert rows["period"]["used"] == 0
    why = f"/_tiergate/why/{failed.json()['decision_id']}"
    until(lambda: client.get(why).json().get("refunded") is True)


def test_an_upstream_that_is_too_slow_is_a_504(start_gateway):
    gateway = start_gateway(TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S="0.3")
    _, _, client = gateway.customer()
    slow = client.get("/v1/slow?seconds=5")
    assert (slow.status_code, slow.json()["code"]) == (504, "upstream-timeout")


def test_an_upstream_whose_connections_are_all_taken_is_a_503_that_costs_no_quota(start_gateway):
    gateway = start_gateway(TIERGATE_UPSTREAM_MAX_CONNECTIONS="1")
    _, _, client = gateway.customer()
    _, _, other = gateway.customer()
    with other.stream("GET", "/v1/stream?n=1000"):
        busy = client.get("/v1/echo")
    assert (busy.status_code, busy.json()["code"]) == (503, "upstream-busy")
    assert int(busy.headers["retry-after"]) >= 1
    assert '"period";r=100;' in busy.headers["ratelimit"]


def test_several_upstreams_share_the_work_and_a_dead_one_is_passed_over(start_gateway, sandbox):
    with socket.socket() as deaf:  # bound for as long as the test lasts, so that nobody else gets the port
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        gateway = start_gateway(TIERGATE_UPSTREAM_URL=f"http://127.0.0.1:{port},{sandbox.upstream_url}")
        _, _, client = gateway.customer()
        assert [client.get("/v1/echo").status_code for _ in range(6)] == [200] * 6
        for sent in (b"hello", [b"hel", b"lo"]):
            answers = [client.post("/v1/echo", content=sent) for _ in range(4)]
            assert [answer.json()["body"] for answer in answers] == ["hello"] * 4


@pytest.mark.parametrize("body", [b"", b"hello"], ids=["no body", "a body"])
def test_an_offer_to_switch_to_http_2_is_ignored(send, key, body):
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    fields = (*offer, f"X-API-Key: {key}", *([f"Content-Length: {len(body)}"] if body else []))
    status, _, answer = read(send(request("POST" if body else "GET", "/v1/echo", *fields, body=body)))
    assert status == 200
    seen = json.loads(answer)
    assert seen["body"].encode() == body
    assert not {"upgrade", "http2-settings", "connection"} & {name for name, _ in seen["headers"]}


def test_an_unknown_reserved_path_is_ours_to_refuse(gateway):
    _, _, client = gateway.customer()
    answer = client.get("/_tiergate/nope")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert "ratelimit" not in answer.headers


def test_our_cookies_do_not_reach_the_upstream(send, key):
    cookie = "Cookie: a=1; tiergate_session=secret; tiergate_claim_0123456789abcdef=secret; b=2"
    seen = json.loads(read(send(request("GET", "/v1/echo", f"X-API-Key: {key}", cookie)))[2])
    assert [value for name, value in seen["headers"] if name == "cookie"] == ["a=1; b=2"]


@pytest.mark.parametrize("field", ["X-API-Key: {}", "Authorization: Bearer {}"])
def test_no_cache_may_give_to_one_key_what_another_got(send, key, field):
    _, fields, _ = read(send(request("GET", "/v1/echo", field.format(key))))
    varies = {each.strip() for name, value in fields if name == "vary" for each in value.split(",")}
    assert {"authorization", "x-api-key"} <= varies
