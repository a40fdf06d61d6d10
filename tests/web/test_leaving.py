"""Callers who leave, at every moment of a call: the upstream is told at once, the charge is as documented, no alarm."""

from __future__ import annotations

import contextlib

import httpx
import psutil
import pytest

from tests.caches import line_to
from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

ROUTES = 'routes: [{match: "* /v1/**"}]\n'
NEVER_S = "3600"
"""No pause of the upstream ends a call here: what ends it is that its caller has left."""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def line(stage, world):
    """The way to the cache."""
    made = line_to(world["TIERGATE_REDIS_URL"])
    stage.do(made.open())
    yield made
    stage.do(made.close())


@pytest.fixture
def hanging(stage, line):
    """Within it nothing passes on the way to the cache."""

    @contextlib.contextmanager
    def hang():
        stage.call(line.hang)
        try:
            yield
        finally:
            stage.call(line.heal)

    return hang()


@pytest.fixture(scope="module")
def left_by(start_shared, tmp_path_factory, api, line):
    gateway = start_shared(
        TIERGATE_UPSTREAM_URL=api.url,
        TIERGATE_POLICY_DIR=str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES)),
        TIERGATE_REDIS_URL=line.url,
        TIERGATE_CACHE_DEADLINE_MS="5000",
        TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S=NEVER_S,
        TIERGATE_UPSTREAM_IDLE_TIMEOUT_S=NEVER_S,
        TIERGATE_MAX_BODY_BYTES="1000000000",
        TIERGATE_MAX_IN_FLIGHT_PER_CUSTOMER="1",
    )
    yield gateway
    alarms = [text for text in gateway.log.read_text().splitlines() if '"error"' in text or "Traceback" in text]
    assert alarms == []


@pytest.fixture
def client(left_by):
    return left_by.customer()[2]


@pytest.fixture
def call(client):
    """Begins a call, on a connection of its own."""
    callers = []

    def begin(line: str, *fields: str, body: bytes = b"") -> RawCaller:
        caller = RawCaller(str(client.base_url))
        callers.append(caller)
        return caller.send(request(line, f"Authorization: {client.headers['authorization']}", *fields, body=body))

    yield begin
    for caller in callers:
        caller.socket.close()


@pytest.fixture
def leaves(api, until):
    """The caller goes, and the upstream has to notice."""

    def leave(caller: RawCaller, path: str, *, with_reset: bool = False) -> None:
        until(lambda: path in api.busy)
        if with_reset:
            caller.reset()
        else:
            caller.socket.close()
        until(lambda: path not in api.busy)

    return leave


def used(client: httpx.Client) -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


@pytest.mark.parametrize("with_reset", [False, True], ids=["with an end", "with a reset"])
def test_before_the_response(client, call, leaves, with_reset):
    leaves(call("GET /v1/before/silence"), "/v1/before/silence", with_reset=with_reset)
    assert used(client) == 1


@pytest.mark.parametrize("with_reset", [False, True], ids=["with an end", "with a reset"])
def test_in_the_middle_of_a_stream(client, call, leaves, with_reset):
    caller = call("GET /v1/middle/stream")
    assert caller.read_head().status == 200
    leaves(caller, "/v1/middle/stream", with_reset=with_reset)
    assert used(client) == 1


def test_while_a_stream_says_nothing(client, call, leaves):
    caller = call("GET /v1/quiet/part")
    assert caller.read_head().status == 200
    leaves(caller, "/v1/quiet/part")
    assert used(client) == 1


def test_without_having_read_a_large_answer(client, call, leaves):
    leaves(call("GET /v1/unread/large"), "/v1/unread/large")
    assert used(client) == 1


def test_in_an_upload_of_which_the_upstream_has_a_part(client, call, leaves):
    caller = call("POST /v1/upload/silence", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n")
    leaves(caller, "/v1/upload/silence")
    assert used(client) == 1


def test_in_an_upload_that_the_upstream_does_not_take(client, call, api, stage, until):
    """Nothing more is read from such a caller, and its leaving has to be noticed all the same.

    With a reset: an orderly end waits behind all that was sent, and nobody can know of it.
    """
    caller = call("POST /v1/stubborn", "Content-Length: 100000000")
    caller.socket.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        caller.send(b"x" * 100_000_000)
    until(lambda: api.busy == ["/v1/stubborn"])
    assert client.get("/v1/x").status_code == 429
    caller.reset()
    until(lambda: client.get("/v1/x").status_code == 200)
    assert used(client) == 2
    stage.call(api.ends.set)
    until(lambda: not api.busy)
    stage.call(api.ends.clear)


def test_in_an_upload_before_anybody_was_asked(client, call, api, until):
    before = api.accepted, len(api.requests)
    call("POST /v1/x", "Content-Length: 1000", body=b"part").socket.close()
    until(lambda: used(client) == 1)
    assert client.get("/v1/x").status_code == 200
    assert len(api.requests) == before[1] + 1


def test_with_requests_waiting_behind_the_one_that_is_answered(client, call, leaves, api):
    caller = call("GET /v1/many/silence")
    for _ in range(50):
        caller.send(request("GET /v1/never", f"X: {'x' * 8000}"))
    leaves(caller, "/v1/many/silence", with_reset=True)
    assert "/v1/never" not in api.paths
    assert used(client) == 1


def pass_turns(gateway):
    """What the gateway could go on with by now, it has gone on with then: each answer is a turn of its loop."""
    for _ in range(10):
        assert gateway.sandbox.http.get(f"{gateway.url}/_tiergate/health").status_code == 200


def peers_of(pid: int) -> set[tuple[str, int]]:
    """Who is connected to a process."""
    return {tuple(one.raddr) for one in psutil.Process(pid).net_connections("tcp") if one.raddr}


def test_while_the_call_is_being_admitted(left_by, client, call, api, hanging, until):
    """It may be charged, as any call that its caller ends; the upstream is not troubled with it."""
    assert client.get("/v1/x").status_code == 200  # so that a connection to the upstream is there
    before = len(api.requests)
    with hanging:
        caller = call("GET /v1/admitted")
        ours = caller.socket.getsockname()
        pass_turns(left_by)
        caller.socket.close()
        until(lambda: ours not in peers_of(left_by.process.pid))
        pass_turns(left_by)
    until(lambda: used(client) == 2)
    assert len(api.requests) == before
    assert client.get("/v1/x").status_code == 200
