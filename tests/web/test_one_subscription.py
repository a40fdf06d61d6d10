"""A customer pays for one subscription at a time, also while one that is over grants more than the one that runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from gateway.ledger import migrate

pytestmark = pytest.mark.slow

CHECKOUT = "/api/v1/create-checkout"
CHANGE = "/api/v1/subscription/change"
POLICY = """\
version: 1
default_tier: free
lifecycle:
  canceled: {keep: 3d, then: free}
tiers:
  free: {limits: [1_000 per second]}
  pro: {limits: [1_000 per second]}
  enterprise: {limits: [1_000 per second]}
plans:
  pro: {tier: pro, price: lookup_key pro_monthly}
  yearly: {tier: pro, price: lookup_key pro_yearly}
  enterprise: {tier: enterprise, price: lookup_key enterprise_monthly}
routes:
  - {match: "* /v1/**"}
"""


@pytest.fixture(scope="module")
def kept(any_cache, start_shared, tmp_path_factory, stage):
    """A gateway whose policy keeps the tier of what was cancelled for three days."""
    directory = tmp_path_factory.mktemp("policies")
    (directory / "policy.yaml").write_text(POLICY)
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        ledger_url = f"sqlite:///{folder}/ledger.sqlite3"
        migrate(ledger_url)
        with any_cache(Path(folder)) as cache_url:
            yield start_shared(
                TIERGATE_UPSTREAM_URL=stage.add("kept").url,
                TIERGATE_POLICY_DIR=str(directory),
                TIERGATE_LEDGER_URL=ledger_url,
                TIERGATE_REDIS_URL=cache_url,
                TIERGATE_DATA_DIR=folder,
            )


@pytest.fixture
def bought_beneath(kept, sandbox, until):
    """Whose enterprise was cancelled and still holds, and who bought pro beneath it."""
    customer_id, _, client = kept.subscribed("enterprise")
    row = kept.admin.get(f"/_tiergate/admin/customers/{customer_id}").json()["customer"]
    stripe_customer = row["stripe_customer_id"]
    (enterprise,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": stripe_customer})["data"]
    sandbox.ask("DELETE", f"/v1/subscriptions/{enterprise['id']}")
    until(lambda: client.get("/api/v1/subscription").json()["status"] == "canceled")
    told = client.post(CHECKOUT, json={"plan_id": "pro"}).raise_for_status().json()
    assert sandbox.pay(told["checkout_url"]).status_code == 303
    assert client.get("/api/v1/subscription").json()["tier"] == "enterprise"
    return client, stripe_customer


def test_no_second_subscription_is_sold_beneath_one_that_is_over_and_still_holds(bought_beneath, sandbox):
    client, stripe_customer = bought_beneath
    answer = client.post(CHECKOUT, json={"plan_id": "pro"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already-subscribed")
    assert len(sandbox.ask("GET", "/v1/subscriptions", params={"customer": stripe_customer})["data"]) == 1


def test_the_subscription_that_runs_is_the_one_that_is_changed(bought_beneath, sandbox):
    client, stripe_customer = bought_beneath
    portal = client.post("/api/v1/portal-session", json={"flow": "subscription_cancel"})
    assert portal.status_code == 200, portal.text
    changed = client.post(CHANGE, json={"plan_id": "yearly", "preview": False})
    assert changed.status_code == 200, changed.text
    (running,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": stripe_customer})["data"]
    assert running["items"]["data"][0]["price"]["lookup_key"] == "pro_yearly"
