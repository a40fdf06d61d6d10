"""Two gateways with leases on one cache, as processes of their own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.web.policy_files import write_policy

LIMIT = 1500
TIERS = f"""\
version: 1
default_tier: free
tiers:
  free:
    limits: [5_000 per second, {LIMIT} requests per billing period]
plans: {{}}
"""
ROUTES = """\
routes:
  - {match: "* /v1/**"}
"""
REFUSALS = 20
"""One after the other, 50 ms apart: nobody can hold anything any more."""


@pytest.fixture(scope="module")
def pair(start_shared, tmp_path_factory, stage):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS)
    changes = {
        "TIERGATE_UPSTREAM_URL": stage.add("api").url,
        "TIERGATE_POLICY_DIR": str(directory),
        "TIERGATE_LEASES": "on",
    }
    return start_shared(**changes), start_shared(**changes)


def use_up(client):
    """Calls let through until there is nothing left, and the decision that was made last of them."""
    admitted = refused = 0
    last = ""
    while refused < REFUSALS:
        response = client.get("/v1/x")
        if response.status_code == 200:
            admitted, refused = admitted + 1, 0
            last = response.headers["tiergate-decision"]
        else:
            assert response.status_code == 429, response.text
            refused += 1
            time.sleep(0.05)
    return admitted, last


@pytest.mark.slow
def test_a_quota_is_let_through_to_the_last_unit_by_both_together(pair):
    one, two = pair
    _, _, client = one.customer()
    other = two.bearer(client.headers["authorization"].partition(" ")[2])
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(use_up, (client, other)))
    assert sum(admitted for admitted, _ in done) == LIMIT
    assert sum(gateway.metric("tiergate_lease_calls_total", fate="admitted") for gateway in pair) > 0
    assert sum(gateway.metric("tiergate_lease_calls_total", fate="lost") for gateway in pair) == 0


@pytest.mark.slow
def test_the_record_says_that_a_call_was_leased_and_a_revoked_key_gets_in_nowhere(pair, until):
    one, two = pair
    customer_id, _, client = one.customer()
    other = two.bearer(client.headers["authorization"].partition(" ")[2])

    def leased():
        decisions = [other.get("/v1/x").headers["tiergate-decision"] for _ in range(60)]
        return two.admin.get(f"/_tiergate/why/{decisions[-1]}").json().get("leased")

    until(leased)
    until(lambda: leased() and two.metric("tiergate_lease_calls_left") > 0)
    keys = one.admin.get(f"/_tiergate/admin/customers/{customer_id}/keys").raise_for_status().json()["keys"]
    path = f"/_tiergate/admin/customers/{customer_id}/keys/{keys[0]['key_id']}"
    one.admin.delete(path).raise_for_status()
    assert client.get("/v1/x").status_code == 401
    until(lambda: other.get("/v1/x").status_code == 401)
