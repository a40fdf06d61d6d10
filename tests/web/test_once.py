"""Calls with an Idempotency-Key, over raw sockets, on two gateways that share cache and ledger."""

from __future__ import annotations

import contextlib
import re
import secrets

import pytest

from gateway.clock import write_clock_offset
from gateway.core.once import BUSY_S
from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

WINDOW_S = 3600
POLICY = """\
idempotency: {window: 1h, repeats: 4}
routes:
  - {match: POST /v1/off/**, idempotency: off}
  - {match: "* /v1/**", cost: 10}
"""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("once")


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """Seconds that have passed, and a way to let some pass."""
    path = tmp_path_factory.mktemp("clock") / "clock"
    passed = [0.0]

    def advance(seconds):
        passed[0] += seconds
        write_clock_offset(path, passed[0])

    advance(0)
    advance.path = path
    return advance


@pytest.fixture(scope="module")
def settings(api, clock, tmp_path_factory):
    policies = write_policy(tmp_path_factory.mktemp("policies"), POLICY)
    return {
        "TIERGATE_UPSTREAM_URL": api.url,
        "TIERGATE_POLICY_DIR": str(policies),
        "TIERGATE_SIMULATED_CLOCK": str(clock.path),
    }


@pytest.fixture(scope="module")
def first(start_shared, settings):
    return start_shared(**settings)


@pytest.fixture(scope="module")
def second(start_shared, settings):
    return start_shared(**settings)


class Caller:
    """One customer, who calls either gateway."""

    def __init__(self, gateway, until):
        self.gateway = gateway
        self.until = until
        _, _, self.client = gateway.customer()
        self.key = self.client.headers["authorization"]

    def post(self, gateway, once, path="/v1/x", body=b"abc", method="POST", *more):
        with RawCaller(gateway.url) as caller:
            return caller.ask(*self.lines(once, path, body, method), *more, body=body)

    def lines(self, once, path="/v1/x", body=b"abc", method="POST"):
        fields = [f"Idempotency-Key: {once}"] if once is not None else []
        return [f"{method} {path}", f"Authorization: {self.key}", f"Content-Length: {len(body)}", *fields]

    def repeat(self, gateway, once, **about):
        """The answer to a repeat: that the first has ended may still be on its way."""
        answers = []

        def came_through():
            answers[:] = [self.post(gateway, once, **about)]
            return answers[0].status != 409

        self.until(came_through)
        return answers[0]

    def used(self):
        rows = self.client.get("/api/v1/usage").raise_for_status().json()["limits"]
        return next(row["used"] for row in rows if row["name"] == "period")


@pytest.fixture
def ada(first, until):
    return Caller(first, until)


@pytest.fixture
def once():
    return f'"{secrets.token_hex(8)}"'


def test_a_repeat_is_forwarded_and_not_charged_on_any_worker(first, second, ada, api, once):
    before = len(api.paths)
    charged = ada.post(first, once)
    assert charged.status == 200
    assert charged.get("tiergate-repeat") is None
    for gateway in (second, first, second):
        repeated = ada.repeat(gateway, once)
        assert repeated.status == 200
        assert repeated.get("tiergate-repeat") == "?1"
        assert '"period";r=990' in repeated.get("ratelimit")
        assert dict(repeated.json()["fields"])["idempotency-key"] == once
    assert ada.used() == 10
    assert len(api.paths) == before + 4


def test_a_bare_key_and_a_quoted_one_are_the_same(first, second, ada, once):
    ada.post(first, once)
    assert ada.repeat(second, once.strip('"')).get("tiergate-repeat") == "?1"


def test_another_customer_may_use_the_same_key(first, ada, until, once):
    bob = Caller(first, until)
    ada.post(first, once)
    assert bob.post(first, once).get("tiergate-repeat") is None
    assert (ada.used(), bob.used()) == (10, 10)


@pytest.mark.parametrize(
    "other", [{"path": "/v1/y"}, {"path": "/v1/x?a=1"}, {"body": b"abcd"}, {"method": "PATCH"}], ids=str
)
def test_another_call_under_the_same_key_is_refused_and_not_charged(first, second, ada, api, once, other):
    ada.post(first, once)
    before = len(api.paths)
    refused = ada.repeat(second, once, **other)
    assert (refused.status, refused.code) == (422, "idempotency-key-reused")
    assert ada.used() == 10
    assert len(api.paths) == before


def test_a_repeat_while_the_first_is_in_flight_is_refused_with_a_time_to_come_back(first, second, ada, api, once):
    with RawCaller(first.url) as slow:
        slow.send(request(*ada.lines(once, "/v1/a/silence"), body=b"abc"))
        ada.until(lambda: "/v1/a/silence" in api.busy)
        refused = ada.post(second, once, "/v1/a/silence")
        assert (refused.status, refused.code, refused.get("retry-after")) == (409, "idempotency-key-in-flight", "1")
        reused = ada.post(second, once, "/v1/b/silence")
        assert (reused.status, reused.code) == (422, "idempotency-key-reused")
    ada.until(lambda: "/v1/a/silence" not in api.busy)
    assert ada.used() == 10


def test_of_two_at_the_same_moment_one_passes(first, second, ada, once):
    # No more than one and its 4 repeats: on a busy machine each may come after the one before has ended.
    callers = [RawCaller(gateway.url) for gateway in (first, second, first, second, first)]
    with contextlib.ExitStack() as stack:
        for caller in callers:
            stack.enter_context(caller)
            caller.send(request(*ada.lines(once), body=b"abc"))
        statuses = [caller.read().status for caller in callers]
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert ada.used() == 10


def test_a_call_that_was_not_billed_frees_its_key(first, second, ada, once):
    assert ada.post(first, once, "/v1/failure").status == 500
    ada.until(lambda: ada.used() == 0)  # what is given back frees the key, in the same moment
    again = ada.post(second, once, "/v1/failure")
    assert (again.status, again.get("tiergate-repeat")) == (500, None)
    ada.until(lambda: ada.used() == 0)
    assert ada.post(first, once, "/v1/x").status == 200  # a new call, charged
    assert ada.used() == 10


def test_a_call_that_was_refused_does_not_take_its_key(first, ada, once):
    refused = ada.post(first, once, "/v1/x", b"abc", "POST", "X-API-Key: tg_other")
    assert refused.status == 400
    assert ada.post(first, once, "/v1/y").status == 200


@pytest.mark.parametrize("key", ['""', '"a', "a b", "a" * 256, "a,b", "é"])
def test_a_key_that_is_none_is_refused(first, ada, key):
    with RawCaller(first.url) as caller:
        refused = caller.ask(*ada.lines(key), body=b"abc")
    assert (refused.status, refused.code) == (400, "idempotency-key-invalid")
    assert ada.used() == 0


def test_two_keys_are_refused(first, ada, once):
    with RawCaller(first.url) as caller:
        refused = caller.ask(*ada.lines(once), f"Idempotency-Key: {once}", body=b"abc")
    assert (refused.status, refused.code) == (400, "idempotency-key-invalid")


def test_where_it_is_off_and_on_a_get_the_key_is_just_a_field(first, ada, once):
    for method, path in (("POST", "/v1/off/x"), ("GET", "/v1/x")):
        before = ada.used()
        cost = 1 if method == "POST" else 10
        for key in (once, once, "a,b"):
            answer = ada.post(first, key, path, b"", method)
            assert answer.status == 200
            assert dict(answer.json()["fields"])["idempotency-key"] == key
        assert ada.used() - before == 3 * cost


def test_a_repeat_beyond_those_that_are_paid_for_is_charged(first, ada, once):
    ada.post(first, once)
    for _ in range(4):
        assert ada.repeat(first, once).get("tiergate-repeat") == "?1"
    assert ada.repeat(first, once).get("tiergate-repeat") is None
    assert ada.used() == 20


def test_a_repeat_passes_when_the_quota_is_used_up(first, ada, once):
    for _ in range(99):
        ada.post(first, None)
    ada.post(first, once)
    assert ada.post(first, None).code == "quota-exceeded"
    assert ada.repeat(first, once).status == 200
    assert ada.used() == 1000


def test_a_body_without_a_length_is_never_a_repeat(first, ada, once):
    chunked = ["POST /v1/x", f"Authorization: {ada.key}", f"Idempotency-Key: {once}", "Transfer-Encoding: chunked"]
    for number, body in enumerate((b"1\r\na\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n")):
        with RawCaller(first.url) as caller:
            caller.send(request(*chunked, body=body))
            answer = caller.read()
        assert (answer.status, answer.get("tiergate-repeat")) == (200, None)
        assert ada.used() == 10 * (number + 1)
    assert ada.post(first, once, "/v1/other").status == 200


def test_the_api_sees_the_key_that_was_looked_at_and_no_other(first, ada, once):
    with RawCaller(first.url) as caller:
        hidden = caller.ask(*ada.lines(once), "Connection: Idempotency-Key", body=b"abc")
    assert (hidden.status, hidden.code) == (400, "idempotency-key-invalid")
    assert ada.used() == 0
    with RawCaller(first.url) as caller:
        answer = caller.ask(*ada.lines(once), "Idempotency_Key: another", body=b"abc")
    sent = dict(answer.json()["fields"])
    assert (sent["idempotency-key"], "idempotency_key" in sent) == (once, False)


def test_after_the_window_the_key_is_new(first, second, ada, clock, once):
    ada.post(first, once)
    ada.repeat(second, once)
    clock(WINDOW_S)
    charged = ada.post(second, once, "/v1/other")
    assert (charged.status, charged.get("tiergate-repeat")) == (200, None)
    assert ada.used() == 20


def test_a_revoked_key_is_told_nothing_about_its_calls(first, second, ada, once):
    ada.post(first, once)
    ada.repeat(second, once)
    keys = ada.client.get("/api/v1/api-keys").raise_for_status().json()["keys"]
    ada.client.delete(f"/api/v1/api-keys/{keys[0]['key_id']}").raise_for_status()
    for path in ("/v1/x", "/v1/y"):
        refused = ada.post(second, once, path)
        assert (refused.status, refused.code) == (401, "invalid-api-key")


def test_what_repeats_are_let_through_is_counted(first, ada, once):
    about = {"route": "* /v1/**", "tier": "free"}
    before = first.metric("tiergate_decisions_total", verdict="repeat", **about)
    ada.post(first, once)
    ada.repeat(first, once)
    assert first.metric("tiergate_decisions_total", verdict="repeat", **about) == before + 1


def test_a_call_of_a_killed_gateway_is_charged_once(*, start_gateway, settings, second, until, api, clock, once):
    doomed = start_gateway(**settings)
    ada = Caller(second, until)
    with RawCaller(doomed.url) as caller:
        caller.send(request(*ada.lines(once, "/v1/k/silence"), body=b"abc"))
        until(lambda: "/v1/k/silence" in api.busy)
        doomed.process.kill()
        doomed.process.wait()
    until(lambda: "/v1/k/silence" not in api.busy)
    assert ada.post(second, once, "/v1/k/silence").status == 409
    clock(BUSY_S + 1)
    with RawCaller(second.url) as caller:
        caller.send(request(*ada.lines(once, "/v1/k/silence"), body=b"abc"))
        until(lambda: "/v1/k/silence" in api.busy)
        assert ada.used() == 10


@pytest.mark.slow
def test_a_call_that_goes_on_for_longer_than_a_lost_one_is_waited_for_is_forwarded_once(
    *, first, second, until, api, clock, ada, once
):
    path = "/v1/long/silence"

    def wait_s():
        refused = ada.post(second, once, path)
        assert (refused.status, refused.code) == (409, "idempotency-key-in-flight")
        assert 1 <= int(refused.get("retry-after")) <= 5, "it may end at any moment"
        return int(re.search(r"(\d+) s", refused.json()["detail"])[1])

    with RawCaller(first.url) as caller:
        caller.send(request(*ada.lines(once, path), body=b"abc"))
        until(lambda: path in api.busy)
        clock(BUSY_S // 2)  # the other half is time for its worker, which speaks every 10 s
        until(lambda: wait_s() > BUSY_S // 2, patience_s=40)  # it has said that the call goes on
        clock(BUSY_S // 2)
        assert wait_s() <= BUSY_S
    until(lambda: path not in api.busy)
    assert api.paths.count(path) == 1
