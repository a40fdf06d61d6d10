"""What is sold in a currency that the subscription does not pay: not offered on the pages, refused over HTTP."""

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
  pro: {title: Pro, tier: pro, price: lookup_key pro_monthly, add_ons: [parcel, sign]}
  company: {title: Company, tier: company, price: lookup_key enterprise_monthly}
  europe: {title: In Europe, tier: company, price: lookup_key europe_monthly}
add_ons:
  parcel: {title: A parcel, price: lookup_key parcel_eur, features: [parcels]}
  sign: {title: Signing in, price: lookup_key sign_usd, features: [signing]}
routes:
  - {match: "* /v1/**"}
"""


def on_sale(sandbox, name, currency, lookup_key):
    product = sandbox.ask("POST", "/v1/products", data={"name": name})
    price = {"product": product["id"], "currency": currency, "unit_amount": 45_000, "lookup_key": lookup_key}
    sandbox.ask("POST", "/v1/prices", data=price | {"recurring[interval]": "month"})


def test_a_plan_in_another_currency_is_neither_offered_nor_made(apart, start_shared, sandbox, tmp_path, until):
    on_sale(sandbox, "Europe", "eur", "europe_monthly")
    on_sale(sandbox, "Parcel", "eur", "parcel_eur")
    on_sale(sandbox, "Sign", "usd", "sign_usd")
    (tmp_path / "policy.yaml").write_text(POLICY)
    gateway = start_shared(TIERGATE_POLICY_DIR=str(tmp_path), **apart)
    _, _, client = gateway.customer()
    [offered] = [one for one in client.get("/api/v1/plans").json()["plans"] if one["plan_id"] == "pro"]
    assert offered["add_ons"] == ["sign"]
    priced = gateway.browser().get("/_tiergate/pricing").text
    assert ("Signing in" in priced, "A parcel" in priced) == (True, False)
    beside = client.post("/api/v1/create-checkout", json={"plan_id": "pro", "add_ons": ["parcel"]})
    assert (beside.status_code, beside.json()["code"]) == (409, "currency-differs")
    assert "sold in EUR" in beside.json()["detail"]
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro"}).raise_for_status().json()
    gateway.sandbox.pay(told["checkout_url"])
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "good")
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    page = browser.get("/_tiergate/account").text
    assert "Company" in page
    assert "In Europe" not in page
    assert ("Signing in" in page, "A parcel" in page) == (True, False)
    for preview in (True, False):
        more = client.post("/api/v1/subscription/change", json={"add_ons": ["parcel"], "preview": preview})
        assert (more.status_code, more.json()["code"]) == (409, "currency-differs")
    refused = client.post("/api/v1/subscription/change", json={"plan_id": "europe", "preview": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "currency-differs")
    assert "pays USD" in refused.json()["detail"]
    assert "In Europe" in gateway.browser().get("/_tiergate/pricing").text, "somebody new may buy it"
