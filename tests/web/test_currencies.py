"""A plan in a currency that the subscription does not pay: not offered on the account page, refused over HTTP."""

from __future__ import annotations

import pytest

from tests.web.page_steps import sign_in

pytestmark = pytest.mark.slow

POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second]
  pro:
    limits: [2_000 per second]
  company:
    limits: [3_000 per second]
plans:
  pro: {title: Pro, tier: pro, price: lookup_key pro_monthly}
  company: {title: Company, tier: company, price: lookup_key enterprise_monthly}
  europe: {title: In Europe, tier: company, price: lookup_key europe_monthly}
routes:
  - {match: "* /v1/**"}
"""


def test_a_plan_in_another_currency_is_neither_offered_nor_made(apart, start_shared, sandbox, tmp_path, until):
    product = sandbox.ask("POST", "/v1/products", data={"name": "Europe"})
    price = {"product": product["id"], "currency": "eur", "unit_amount": 45_000, "lookup_key": "europe_monthly"}
    sandbox.ask("POST", "/v1/prices", data=price | {"recurring[interval]": "month"})
    (tmp_path / "policy.yaml").write_text(POLICY)
    gateway = start_shared(TIERGATE_POLICY_DIR=str(tmp_path), **apart)
    _, _, client = gateway.customer()
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro"}).raise_for_status().json()
    gateway.sandbox.pay(told["checkout_url"])
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "good")
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    page = browser.get("/_tiergate/account").text
    assert "Company" in page
    assert "In Europe" not in page
    refused = client.post("/api/v1/subscription/change", json={"plan_id": "europe", "preview": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "currency-differs")
    assert "pays USD" in refused.json()["detail"]
    assert "In Europe" in gateway.browser().get("/_tiergate/pricing").text, "somebody new may buy it"
