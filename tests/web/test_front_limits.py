"""What a connection may do, through a whole gateway, byte by byte."""

from __future__ import annotations

import time

import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

ROUTES = 'routes: [{match: "* /v1/**"}]\n'


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def strict(start_shared, tmp_path_factory, api):
    return start_shared(
        TIERGATE_UPSTREAM_URL=api.url,
        TIERGATE_POLICY_DIR=str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES)),
        TIERGATE_HEADER_TIMEOUT_S="3",
        TIERGATE_KEEP_ALIVE_S="3",
        TIERGATE_MAX_BODY_BYTES="10000000",
    )


@pytest.fixture(scope="module")
def key(strict):
    return f"X-API-Key: {strict.customer()[2].headers['authorization'].partition(' ')[2]}"


@pytest.fixture
def caller(strict):
    with RawCaller(strict.url) as made:
        yield made


def test_a_head_that_does_not_come_in_time_is_a_408_and_the_connections_end(strict, caller, key):
    before = strict.metric("tiergate_decisions_total", route="-", tier="-", verdict="request-timeout")
    assert caller.ask("GET /v1/x", key).status == 200
    told = caller.send(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n").read()
    assert (told.status, told.code, told.get("connection")) == (408, "request-timeout", "close")
    assert caller.rest() == b""
    assert strict.metric("tiergate_decisions_total", route="-", tier="-", verdict="request-timeout") == before + 1


def test_a_connection_without_requests_is_closed_without_a_word(caller, key):
    assert caller.ask("GET /v1/x", key).status == 200
    assert caller.rest() == b""


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (request("GET /v1/x", *[f"X-{n}: {'x' * 7000}" for n in range(10)]), 431, "headers-too-large"),
        (request("GET /v1/x", *[f"X-{n}: x" for n in range(257)]), 431, "headers-too-large"),
        (request("GET /v1/" + "x" * 8192), 414, "target-too-long"),
        (b"GET /v1/" + b"x" * 9000, 414, "target-too-long"),
        (request("GET /v1/x", "Expect: a-miracle"), 417, "expectation-failed"),
    ],
    ids=["long fields", "many fields", "a long target", "an endless target", "an unknown expectation"],
)
def test_what_is_too_much_is_refused_with_a_problem_of_its_own(caller, data, status, code):
    told = caller.send(data).read()
    assert (told.status, told.code) == (status, code)
    assert told.get("content-type") == "application/problem+json"


def test_a_caller_who_waits_to_be_asked_for_its_body_is_asked_once_it_is_admitted(caller, key):
    caller.send(request("POST /v1/x", key, "Expect: 100-continue", "Content-Length: 5"))
    assert caller.read_head().status == 100
    answer = caller.send(b"hello").read()
    assert (answer.status, answer.json()["body"]) == (200, "hello")
    assert caller.ask("GET /v1/x", key).status == 200


def test_a_caller_who_waits_to_be_asked_and_is_refused_never_sends_its_body(caller):
    told = caller.ask("POST /v1/x", "Expect: 100-continue", "Content-Length: 5")
    assert (told.status, told.get("connection")) == (401, "close")
    assert caller.rest() == b""


def test_a_caller_of_http_1_0_gets_a_stream_that_ends_with_the_connection(stage, api, caller, key):
    caller.send(request("GET /v1/stream HTTP/1.0", key))
    head = caller.read_head()
    assert (head.status, head.get("transfer-encoding"), head.get("connection")) == (200, None, "close")
    assert caller.read_some().startswith(b"data: ")
    stage.call(api.ends.set)
    assert b"\r\n0\r\n" not in caller.rest()
    stage.call(api.ends.clear)


def test_a_caller_of_http_1_0_may_keep_its_connection(caller, key):
    for _ in range(2):
        answer = caller.ask("GET /v1/x HTTP/1.0", key, "Connection: keep-alive")
        assert (answer.status, answer.get("connection")) == (200, "keep-alive")


def test_requests_behind_each_other_are_answered_in_order_whoever_answers(caller, key):
    asked = [
        request("GET /v1/1", key),
        request("GET /_tiergate/health"),
        request("POST /v1/2", key, "Content-Length: 5", body=b"hello"),
        request("GET /v1/3"),
        request("POST /v1/4", key, "Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n"),
        request("GET /api/v1/plans"),
        request("GET /v1/5", key, "Connection: close"),
        request("GET /v1/never", key),
    ]
    caller.send(b"".join(asked))
    answers = [caller.read() for _ in range(7)]
    assert [answer.status for answer in answers] == [200, 200, 200, 401, 200, 200, 200]
    told = [answer.json() for answer in answers]
    assert [each.get("line", "-").split(" ")[-2:][0] for each in told] == [
        "/v1/1",
        "-",
        "/v1/2",
        "-",
        "/v1/4",
        "-",
        "/v1/5",
    ]
    assert (told[2]["body"], told[4]["body"]) == ("hello", "hi")
    assert caller.rest() == b""


def test_an_upload_that_is_refused_early_is_answered_and_then_closed_although_it_goes_on(caller):
    caller.send(request("POST /v1/x", "Content-Length: 9000000"))
    for _ in range(8):
        caller.send(b"x" * 100_000)
    told = caller.read()
    assert (told.status, told.code, told.get("connection")) == (401, "invalid-api-key", "close")
    caller.send(b"x" * 100_000)
    assert caller.socket.recv(1) == b""  # an end, not a reset


def test_nobody_fills_the_gateways_memory_with_requests_behind_answers_that_are_not_read(api, strict, key):
    """Each of these answers fits into buffers; all of them together must not."""
    before = len(api.paths)
    with RawCaller(strict.url) as caller:
        caller.send(request("GET /v1/hundred-kb", key) * 400)
        served = -1
        while served != len(api.paths):
            served = len(api.paths)
            time.sleep(0.3)
        assert served - before < 200
        for _ in range(400):
            assert len(caller.read().body) == 100_000
    assert len(api.paths) - before == 400
