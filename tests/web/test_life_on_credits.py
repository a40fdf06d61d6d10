"""A tier that has a quota of nothing and lives on credits, over real sockets."""

from __future__ import annotations

import pytest

from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

TIERS = """\
version: 1
default_tier: free
meters: {tokens: {}}
tiers:
  free:
    limits: [0 tokens per billing period]
plans: {}
"""
ROUTES = """\
routes:
  - {match: GET /v1/echo, cost: {tokens: 10}}
  - {match: "POST /v1/**", cost: {tokens: request json n at most 50}}
"""
ADMIN = "/_tiergate/admin"


@pytest.fixture(scope="module")
def gateway(start_shared, tmp_path_factory):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS)
    return start_shared(TIERGATE_POLICY_DIR=str(directory))


def grant(gateway, customer_id, units):
    order = {"units": units, "meter": "tokens"}
    gateway.admin.post(f"{ADMIN}/customers/{customer_id}/credits", json=order).raise_for_status()


def told(answer):
    return answer.status_code, answer.json()["code"]


def test_a_call_waits_for_credits_and_is_let_in_by_the_next_grant(gateway):
    customer_id, _, client = gateway.customer()
    assert told(client.get("/v1/echo")) == (429, "quota-exceeded")
    grant(gateway, customer_id, 25)
    answers = [client.get("/v1/echo") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert '"tokens-period";r=15;' in answers[0].headers["ratelimit"]
    assert told(client.post("/v1/echo", json={"n": 6})) == (429, "quota-exceeded")
    assert client.post("/v1/echo", json={"n": 5}).status_code == 200


def test_small_grants_do_not_keep_a_call_from_the_large_one_behind_them(gateway):
    customer_id, _, client = gateway.customer()
    for units in (*[1] * 9, 1000):
        grant(gateway, customer_id, units)
    assert client.get("/v1/echo").status_code == 200
    usage = client.get("/api/v1/usage").json()
    assert sum(one["left"] for one in usage["credits"]) == 999
