"""Limits on calls at once, over all gateways of one cache."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.fakes.websocket_thread import websocket_api
from tests.web.policy_files import TIERS, write_policy
from tests.web.sockets import closed, key_of, open_socket, refused

pytestmark = pytest.mark.slow

THREE = TIERS.replace("1_000 per second,", "1_000 per second, 3 concurrent,")
ROUTES = """\
routes:
  - {match: "* /v1/**"}
"""
SOCKETS = """\
routes:
  - {match: GET /counted, websocket: {cost_per_message: 1}}
  - {match: "* /**"}
"""
PATIENCE_S = 60.0
"""More than twice as long as a place is kept for a worker that says nothing."""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, api):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=THREE)
    return {"TIERGATE_UPSTREAM_URL": api.url, "TIERGATE_POLICY_DIR": str(directory)}


@pytest.fixture(scope="module")
def one(start_shared, settings):
    return start_shared(**settings)


@pytest.fixture(scope="module")
def other(start_shared, settings):
    """Another worker on the same ledger and cache."""
    return start_shared(**settings)


@pytest.fixture
def hold(api, until):
    """Keeps calls in progress until they are let go."""
    held: list[RawCaller] = []

    def begin(gateway, client: httpx.Client, count: int = 1) -> list[RawCaller]:
        before = len(api.busy)
        made = [RawCaller(gateway.url) for _ in range(count)]
        held.extend(made)
        for caller in made:
            caller.send(request("GET /v1/silence", f"Authorization: {client.headers['authorization']}"))
        until(lambda: len(api.busy) == before + count)
        return made

    yield begin
    for caller in held:
        caller.socket.close()
    until(lambda: not api.busy)


def limit_row(client: httpx.Client, name: str = "concurrent") -> dict[str, object]:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row for row in rows if row["name"] == name)


def test_as_many_calls_as_the_tier_says_are_in_progress_over_all_gateways(one, other, hold, api, until):
    _, _, client = one.customer()
    same = other.bearer(key_of(client))
    first = client.get("/v1/x")
    assert '"concurrent";q=3;qu="concurrent-requests"' in first.headers["ratelimit-policy"]
    assert '"concurrent";r=2,' in first.headers["ratelimit"] + ","
    until(lambda: limit_row(client)["used"] == 0 and not api.busy)
    held = hold(one, client, 2) + hold(other, client, 1)
    for asked in (client, same):
        answer = asked.get("/v1/x")
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (429, "too-many-concurrent")
        assert problem["violated-policies"] == ["concurrent"]
        assert "'concurrent'" in problem["detail"]
        assert answer.headers["retry-after"] == "1"
        assert '"concurrent";r=0,' in answer.headers["ratelimit"]
    row = limit_row(same)
    assert (row["kind"], row["used"], row["remaining"], row["limit"]) == ("concurrency", 3, 0, 3)
    assert (row["words"], row["window_s"], row["window_ends_at"]) == ("3 concurrent", 0, None)
    assert limit_row(client, "period")["used"] == 4
    until(lambda: [gateway.metric("tiergate_calls_at_once_places") for gateway in (one, other)] == [2, 1])
    held[0].socket.close()
    until(lambda: same.get("/v1/x").status_code == 200)


def test_a_key_has_its_own_places_besides_those_of_the_account(one, hold, api, until):
    customer_id, _, client = one.customer()
    keys = f"/_tiergate/admin/customers/{customer_id}/keys"
    issued = one.admin.post(keys, json={"name": "narrow", "limits": ["1 concurrent"]}).raise_for_status().json()
    narrow = one.bearer(issued["key"])
    assert issued["limits"] == ["1 concurrent"]
    hold(one, narrow)
    answer = narrow.get("/v1/x")
    assert (answer.status_code, answer.json()["violated-policies"]) == (429, ["key-concurrent"])
    assert answer.json()["links"]["keys"]
    assert client.get("/v1/x").status_code == 200
    until(lambda: len(api.busy) == 1)
    hold(one, client, 2)
    answer = narrow.get("/v1/x")
    assert answer.json()["violated-policies"] == ["concurrent", "key-concurrent"]
    assert client.get("/v1/x").json()["violated-policies"] == ["concurrent"]
    assert limit_row(client, "key-concurrent")["used"] == 1


def test_every_violated_limit_is_named_and_the_longest_wait_is_told(one, hold):
    _, _, client = one.customer(limits=["1 concurrent", "1 requests per day", "1 per 40 minutes"])
    hold(one, client)
    answer = client.get("/v1/x")
    assert answer.json()["code"] == "quota-exceeded"
    assert answer.json()["violated-policies"] == ["key-concurrent", "key-day", "key-40-minutes"]
    assert int(answer.headers["retry-after"]) > 1


def test_an_open_websocket_is_one_call_in_progress_however_much_it_sends(start_gateway, tmp_path, until):
    tiers = TIERS.replace("1_000 per second,", "1_000 per second, 1 concurrent,")
    directory = write_policy(tmp_path, SOCKETS, tiers=tiers)
    with websocket_api() as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        gateway = start_gateway(TIERGATE_UPSTREAM_URL=url, TIERGATE_POLICY_DIR=str(directory))
        _, _, client = gateway.customer()
        with open_socket(gateway.url, "/counted", key_of(client)) as opened:
            for _ in range(3):
                opened.send("hello")
                assert opened.recv(timeout=10) == "hello"
            assert refused(gateway.url, "/counted", key_of(client))[1]["code"] == "too-many-concurrent"
            assert limit_row(client)["used"] == 1
            opened.close()
            assert closed(opened)[0] == 1000
        until(lambda: limit_row(client)["used"] == 0)
        assert client.get("/counted").status_code == 426


@pytest.mark.slow
def test_the_places_of_a_worker_that_was_killed_come_back_and_those_of_the_living_stay(
    one, start_gateway, settings, hold, until
):
    killed = start_gateway(**settings)
    _, _, client = one.customer()
    hold(killed, client, 2)
    lasting = hold(one, client, 1)
    assert client.get("/v1/x").status_code == 429
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    assert limit_row(client)["used"] == 3  # nobody can tell so soon
    until(lambda: limit_row(client)["used"] == 1, PATIENCE_S)
    hold(one, client, 2)
    assert client.get("/v1/x").status_code == 429
    lasting[0].socket.close()
    until(lambda: limit_row(client)["used"] == 2)
