"""A plan with overage, bought and exceeded: what the buyer is told, what it can cap, and what Stripe is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.web.page_steps import sign_in
from tests.web.policy_files import write_policy

USAGE, CAP = "/api/v1/usage", "/api/v1/spend-cap"
TIERS = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second, 2 requests per billing period]
  pro:
    limits: [1_000 per second, 3 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key api_overage, cap: 6 units}
  enterprise:
    limits: [1_000 per second, 5 requests per billing period]
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  enterprise-monthly: {tier: enterprise, price: lookup_key enterprise_monthly}
"""


@pytest.fixture
def sells_overage(start_gateway, apart, tmp_path: Path):
    directory = write_policy(tmp_path, 'routes:\n  - match: "* /v1/**"\n', tiers=TIERS)
    return start_gateway(**apart, TIERGATE_POLICY_DIR=str(directory), TIERGATE_METER_REPORT_INTERVAL_S="1")


def told(answer):
    fields = answer.headers
    return fields["ratelimit-policy"], fields["ratelimit"], fields.get("tiergate-warning")


def counted(sandbox, customer_id):
    (cus,) = [
        one["id"]
        for one in sandbox.ask("GET", "/v1/customers", params={"limit": 100})["data"]
        if one["metadata"].get("tiergate_customer_id") == customer_id
    ]
    now = int(time.time()) // 60 * 60
    times = {"customer": cus, "start_time": now - 3600, "end_time": now + 3600}
    found = sandbox.ask("GET", "/v1/billing/meters/mtr_api_overage/event_summaries", params=times)["data"]
    return sum(one["aggregated_value"] for one in found)


@pytest.mark.slow
def test_a_buyer_exceeds_its_quota_is_told_so_and_is_billed_for_it_once(sells_overage, sandbox, until):
    customer_id, _, client = sells_overage.subscribed()
    for left in (2, 1):
        policy, state, warning = told(client.get("/v1/echo"))
        assert '"period";q=3;' in policy
        assert '"period-overage";q=6;' in policy
        assert f'"period";r={left};' in state
        assert '"period-overage";r=6;' in state
        assert warning is None
    for beyond in (6, 5, 4):
        _, state, warning = told(client.get("/v1/echo"))
        assert '"period";r=0;' in state
        assert f'"period-overage";r={beyond};' in state
        assert "What the plan includes of requests is used up" in warning
    (one,) = client.get(USAGE).json()["overages"]
    assert (one["included"], one["used"], one["allowed"], one["ceiling"]) == (3, 2, 6, 9)
    assert (one["bound"], one["cost"], one["currency"]) == ("policy", 1, "usd")
    until(lambda: counted(sandbox, customer_id) == 2)
    for _ in range(4):
        assert client.get("/v1/echo").status_code == 200
    refused = client.get("/v1/echo")
    assert (refused.status_code, refused.json()["code"]) == (429, "overage-cap-reached")
    assert "the plan's cap of 6 units" in refused.json()["detail"]
    assert "account" in refused.json()["links"]
    until(lambda: counted(sandbox, customer_id) == 6)
    why = sells_overage.admin.get(f"/_tiergate/why/{refused.headers['tiergate-decision']}").json()
    assert [limit["name"] for limit in why["limits"]] == ["second", "period", "period-overage"]
    assert sells_overage.metric("tiergate_overage_units_total", meter="requests") == 6


@pytest.mark.slow
def test_a_spend_cap_of_the_customer_holds_with_the_next_call(sells_overage):
    _, _, client = sells_overage.subscribed()
    (cap,) = client.get(CAP).json()["spend_caps"]
    assert (cap["meter"], cap["amount"], cap["set_by"], cap["units"]) == ("requests", None, None, 6)
    (cap,) = client.put(CAP, json={"amount": 0}).raise_for_status().json()["spend_caps"]
    assert (cap["amount_text"], cap["set_by"], cap["units"], cap["bound"]) == ("0.00 USD", "customer", 0, "spend-cap")
    for _ in range(3):
        answer = client.get("/v1/echo")
        assert answer.status_code == 200
    assert "period-overage" not in answer.headers["ratelimit"]
    refused = client.get("/v1/echo")
    assert (refused.status_code, refused.json()["code"]) == (429, "overage-cap-reached")
    assert "the spend cap of 0.00 USD" in refused.json()["detail"]
    client.put(CAP, json={"amount": 100, "currency": "USD"}).raise_for_status()
    assert client.get("/v1/echo").status_code == 200
    (cap,) = client.delete(CAP).raise_for_status().json()["spend_caps"]
    assert (cap["amount"], cap["bound"]) == (None, "policy")


@pytest.mark.slow
def test_there_is_no_cap_where_there_is_no_overage_and_none_of_another_currency(sells_overage):
    customer_id, user_id, client = sells_overage.customer()
    assert client.get(CAP).json()["spend_caps"] == []
    refused = client.put(CAP, json={"amount": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "no-overage")
    _, user_id, client = sells_overage.subscribed()
    refused = client.put(CAP, json={"amount": 1, "currency": "eur"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-spend-cap")
    assert client.put(CAP, json={"amount": -1}).status_code == 400
    assert client.put(CAP, json={"amount": 1, "meter": "tokens"}).status_code == 409
    by_server = sells_overage.server.put(CAP, json={"amount": 700, "user_id": user_id})
    assert by_server.json()["spend_caps"][0]["amount"] == 700
    foreign = client.put(CAP, json={"amount": 1, "customer_id": customer_id})
    assert foreign.status_code in {403, 404}


@pytest.mark.slow
def test_a_change_to_a_plan_without_overage_takes_the_metered_item_and_back_adds_it(sells_overage, until):
    _, _, client = sells_overage.subscribed()
    assert client.get(USAGE).json()["overages"]
    change = {"plan_id": "enterprise-monthly", "preview": False}
    client.post("/api/v1/subscription/change", json=change).raise_for_status()
    until(lambda: client.get(USAGE).json()["overages"] == [])
    back = {"plan_id": "pro-monthly", "preview": False, "when": "now"}
    client.post("/api/v1/subscription/change", json=back).raise_for_status()
    until(lambda: len(client.get(USAGE).json()["overages"]) == 1)
    later = {"plan_id": "enterprise-monthly", "preview": True}
    client.post("/api/v1/subscription/change", json=later).raise_for_status()


@pytest.mark.slow
def test_the_account_page_shows_what_is_beyond_the_plan_and_sets_the_cap(sells_overage):
    _, _, client = sells_overage.subscribed()
    browser = sign_in(sells_overage, client.headers["authorization"].removeprefix("Bearer "))
    for _ in range(4):
        assert client.get("/v1/echo").status_code == 200
    page = browser.get("/_tiergate/account").text
    assert "Requests beyond the plan" in page
    assert "1 of 6 used" in page
    assert "At most 0.01 USD so far" in page
    form = {"meter": "requests", "amount": "0.00"}
    answer = browser.post("/_tiergate/account/spend-cap", data=form, follow_redirects=True)
    assert "The spend cap is set" in answer.text
    assert client.get("/v1/echo").json()["code"] == "overage-cap-reached"
    wrong = browser.post("/_tiergate/account/spend-cap", data={"meter": "requests", "amount": "much"})
    assert wrong.status_code == 400
    gone = browser.post("/_tiergate/account/spend-cap", data={"meter": "requests", "amount": ""}, follow_redirects=True)
    assert "Your spend cap is removed" in gone.text
    assert client.get("/v1/echo").status_code == 200
