"""What is sold beside a tier, through a running gateway: seats and add-ons, from the list of plans to the limits."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.web.page_steps import signed_up

pytestmark = pytest.mark.slow

CHECKOUT = "/api/v1/create-checkout"
POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second]
  team:
    limits: [1_000 per second, 10 requests per seat per billing period]
plans:
  team: {tier: team, price: lookup_key pro_monthly, seats: 2 to 9, add_ons: [pack, sso]}
  coded: {tier: team, price: lookup_key coded_monthly, promotion_codes: yes, tax: automatic}
  couponed: {tier: team, price: lookup_key couponed_monthly, coupon: EVERYBODY}
  solo: {tier: team, price: lookup_key enterprise_monthly}
  tried: {tier: team, price: lookup_key pro_yearly, trial: 14d}
  cardless:
    tier: team
    price: lookup_key cardless_monthly
    trial: {for: 7d, without_card: pause}
    billing_address: required
add_ons:
  pack: {title: A pack, price: lookup_key pack_monthly, limits: [5 requests per billing period]}
  sso: {price: lookup_key sso_monthly, features: [sso]}
routes:
  - {match: GET /v1/get, requires: sso}
  - {match: "* /v1/**"}
"""


@pytest.fixture(scope="module")
def seated(apart, start_shared, sandbox, tmp_path_factory, stage):
    for name, amount in (("pack", 500), ("sso", 900), ("cardless", 700), ("coded", 1000), ("couponed", 1000)):
        product = sandbox.ask("POST", "/v1/products", data={"name": name.title()})
        price = {"product": product["id"], "currency": "usd", "unit_amount": amount, "lookup_key": f"{name}_monthly"}
        sandbox.ask("POST", "/v1/prices", data=price | {"recurring[interval]": "month"})
    for coupon in ("EVERYBODY", "SOME"):
        sandbox.ask("POST", "/v1/coupons", data={"id": coupon, "percent_off": "25", "duration": "once"})
    code = {"promotion[type]": "coupon", "promotion[coupon]": "SOME", "code": "HELLO"}
    sandbox.ask("POST", "/v1/promotion_codes", data=code)
    directory = tmp_path_factory.mktemp("policies")
    (directory / "policy.yaml").write_text(POLICY)
    return start_shared(TIERGATE_UPSTREAM_URL=stage.add("api").url, TIERGATE_POLICY_DIR=str(directory), **apart)


def bought(gateway, until, **order):
    """A customer who paid for that, as the gateway knows it."""
    _, _, client = gateway.customer()
    told = client.post(CHECKOUT, json={"plan_id": "team", **order})
    assert told.status_code == 200, told.text
    assert gateway.sandbox.pay(told.json()["checkout_url"]).status_code == 303
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "good")
    return client


def test_seats_and_add_ons_are_bought_and_move_the_limits(seated, until):
    client = bought(seated, until, seats=3, add_ons=["pack", "sso"])
    subscription = client.get("/api/v1/subscription").json()
    assert (subscription["plan_id"], subscription["seats"]) == ("team", 3)
    assert subscription["add_ons"] == [{"add_on": "pack", "count": 1}, {"add_on": "sso", "count": 1}]
    answer = client.get("/v1/get")
    assert answer.status_code == 200
    assert '"period";q=35;' in answer.headers["ratelimit-policy"]


def test_the_least_number_of_seats_is_sold_unless_somebody_says_more(seated, until):
    client = bought(seated, until)
    assert client.get("/api/v1/subscription").json()["seats"] == 2
    assert client.get("/v1/get").json()["code"] == "feature-not-in-tier"
    assert '"period";q=20;' in client.get("/v1/x").headers["ratelimit-policy"]


def test_another_number_of_seats_moves_the_limit_and_keeps_the_count(seated, sandbox, until):
    client = bought(seated, until, seats=2)
    for _ in range(20):
        assert client.get("/v1/x").status_code == 200
    assert client.get("/v1/x").json()["code"] == "quota-exceeded"
    customer = stripe_customer_of(seated, client)
    (subscription,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": customer})["data"]
    item = subscription["items"]["data"][0]["id"]
    change = {"items[0][id]": item, "items[0][quantity]": 30}
    sandbox.ask("POST", f"/v1/subscriptions/{subscription['id']}", data=change)
    until(lambda: client.get("/api/v1/subscription").json()["seats"] == 30)
    answer = client.get("/v1/x")
    assert answer.status_code == 200
    assert '"period";r=279;' in answer.headers["ratelimit"]


@pytest.mark.parametrize(
    ("order", "code", "said"),
    [
        ({"seats": 1}, "seats-not-sold", "2 to 9"),
        ({"seats": 10}, "seats-not-sold", "2 to 9"),
        ({"seats": -3}, "seats-not-sold", "2 to 9"),
        ({"plan_id": "solo", "seats": 2}, "seats-not-sold", "not sold by the seat"),
        ({"add_ons": ["packs"]}, "add-on-not-sold", "Did you mean 'pack'?"),
        ({"add_ons": ["pack", "pack"]}, "add-on-not-sold", "named twice"),
        ({"plan_id": "solo", "add_ons": ["pack"]}, "add-on-not-sold", "Its add-ons are: none"),
    ],
)
def test_what_policy_does_not_sell_is_refused_with_what_it_sells(seated, new_user, order, code, said):
    asked = {"plan_id": "team", "user_id": new_user(), **order}
    answer = seated.server.post(CHECKOUT, json=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert said in answer.json()["detail"]
    assert (
        seated.admin.get("/_tiergate/admin/customers", params={"user_id": asked["user_id"]}).json()["customers"] == []
    )


@pytest.mark.parametrize("order", [{"seats": "three"}, {"seats": 2.5}, {"add_ons": "pack"}, {"add_ons": [7]}])
def test_a_count_that_is_none_is_not_an_order(seated, new_user, order):
    answer = seated.server.post(CHECKOUT, json={"plan_id": "team", "user_id": new_user(), **order})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_the_list_of_plans_shows_seats_and_add_ons_with_their_prices(seated):
    told = httpx.get(f"{seated.url}/api/v1/plans", timeout=60).json()
    plans = {plan["plan_id"]: plan for plan in told["plans"]}
    assert (plans["team"]["seats"], plans["team"]["add_ons"]) == ({"least": 2, "most": 9}, ["pack", "sso"])
    assert (plans["solo"]["seats"], plans["solo"]["add_ons"]) == (None, [])
    assert plans["team"]["limits"][1] == "10 requests per seat per billing period"
    assert [(one["add_on"], one["title"], one["price"]["text"]) for one in told["add_ons"]] == [
        ("pack", "A pack", "5.00 USD"),
        ("sso", "Sso", "9.00 USD"),
    ]
    assert told["add_ons"][0]["limits"] == ["5 requests per billing period"]


def test_the_buyer_chooses_seats_and_add_ons_on_the_pricing_page_and_again_at_the_checkout(seated, until):
    browser = seated.browser()
    page = browser.get("/_tiergate/pricing").text
    assert 'name="seats" type="number" min="2" max="9" value="2"' in page
    assert "A pack, 5.00 USD per month" in page
    assert "5 requests per billing period more" in page
    form = {"plan_id": "team", "seats": "4", "add_on:pack": "yes"}
    told = browser.post("/_tiergate/pricing", data=form)
    assert told.status_code == 303
    url = told.headers["location"]
    shown = seated.sandbox.http.get(url).text
    (field,) = re.findall(r'name="(quantity_li_[^"]+)"', shown)
    assert "4 &times; Pro" in shown
    assert "Due today: $121.00" in shown
    updated = seated.sandbox.http.post(url, data={field: "5", "act": "update"}).text
    assert "Due today: $150.00" in updated
    refused = seated.sandbox.http.post(url, data={field: "10", "card_number": "4242424242424242"})
    assert refused.status_code == 402
    assert "between 2 and 9" in refused.text
    paid = seated.sandbox.http.post(url, data={field: "7", "card_number": "4242424242424242", "email": "a@example.com"})
    assert paid.status_code == 303
    text = browser.get(paid.headers["location"].removeprefix(seated.url)).text
    (key,) = re.findall(r"tg_(?:test|live)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}", text)[:1]
    client = seated.bearer(key)
    until(lambda: client.get("/api/v1/subscription").json()["seats"] == 7)
    assert '"period";q=75;' in client.get("/v1/x").headers["ratelimit-policy"]


@pytest.mark.parametrize("seats", ["", "two", "1", "99999999999999999999"])
def test_a_number_of_seats_that_is_not_sold_is_refused_on_the_page(seated, seats):
    answer = seated.browser().post("/_tiergate/pricing", data={"plan_id": "team", "seats": seats})
    assert answer.status_code == 422
    assert "2 to 9" in answer.text


def test_a_plan_without_seats_asks_for_none(gateway):
    _, _, _ = signed_up(gateway)
    assert 'name="seats"' not in gateway.browser().get("/_tiergate/pricing").text


def trial_days(gateway, client, plan_id="tried"):
    """What the page of a new checkout offers, as Stripe would have it: days free, or none."""
    told = client.post(CHECKOUT, json={"plan_id": plan_id})
    assert told.status_code == 200, told.text
    url = told.json()["checkout_url"]
    found = re.search(r"\((\d+) days free\)", gateway.sandbox.http.get(url).text)
    return url, int(found[1]) if found else 0


def stripe_customer_of(gateway, client):
    user_id = client.get("/api/v1/subscription").json()["user_id"]
    (row,) = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    return row["stripe_customer_id"]


def test_a_trial_is_had_once_also_after_it_was_cancelled(seated, sandbox, until):
    _, _, client = seated.customer()
    url, days = trial_days(seated, client)
    assert days == 14
    assert sandbox.pay(url).status_code == 303
    until(lambda: client.get("/api/v1/subscription").json()["status"] == "trialing")
    customer = stripe_customer_of(seated, client)
    (subscription,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": customer})["data"]
    sandbox.ask("DELETE", f"/v1/subscriptions/{subscription['id']}")
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "lapsed")
    for plan_id in ("tried", "cardless", "tried"):
        assert trial_days(seated, client, plan_id)[1] == 0


def test_a_page_that_was_not_paid_uses_no_trial_up(seated):
    _, _, client = seated.customer()
    assert [trial_days(seated, client)[1] for _ in range(2)] == [14, 14]


def test_who_paid_from_the_first_day_may_still_try_another_plan_later(seated, sandbox, until):
    client = bought(seated, until)
    customer = stripe_customer_of(seated, client)
    (subscription,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": customer})["data"]
    sandbox.ask("DELETE", f"/v1/subscriptions/{subscription['id']}")
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "lapsed")
    assert trial_days(seated, client)[1] == 14


def test_a_customer_deleted_at_stripe_gets_no_second_trial_by_that(seated, sandbox):
    _, _, client = seated.customer()
    assert trial_days(seated, client)[1] == 14
    sandbox.ask("DELETE", f"/v1/customers/{stripe_customer_of(seated, client)}")
    assert [trial_days(seated, client)[1] for _ in range(2)] == [0, 0]


def test_a_trial_without_a_card_begins_without_one_and_takes_the_address_that_is_asked_for(seated, sandbox, until):
    _, _, client = seated.customer()
    url, days = trial_days(seated, client, "cardless")
    assert days == 7
    missing = sandbox.http.post(url, data={"address_line1": "", "address_city": "Bern"})
    assert missing.status_code == 402
    assert "Your billing address is incomplete: Address, Postal code" in missing.text
    address = {"line1": "Gasse 1", "city": "Bern", "postal_code": "3000", "country": "ch"}
    done = sandbox.http.post(url, data={f"address_{part}": value for part, value in address.items()})
    assert done.status_code == 303
    until(lambda: client.get("/api/v1/subscription").json()["status"] == "trialing")
    customer = sandbox.ask("GET", f"/v1/customers/{stripe_customer_of(seated, client)}")
    assert customer["address"]["line1"] == "Gasse 1"
    assert customer["address"]["country"] == "CH"


def test_trials_are_shown_where_plans_are(seated):
    plans = {plan["plan_id"]: plan for plan in httpx.get(f"{seated.url}/api/v1/plans", timeout=60).json()["plans"]}
    assert (plans["tried"]["trial_days"], plans["cardless"]["trial_days"], plans["team"]["trial_days"]) == (14, 7, None)
    assert "14 days free, if you have not had a trial before." in seated.browser().get("/_tiergate/pricing").text


def test_a_buyer_types_a_code_where_policy_takes_codes_and_pays_the_tax(seated, sandbox):
    _, _, client = seated.customer()
    url = client.post(CHECKOUT, json={"plan_id": "coded"}).raise_for_status().json()["checkout_url"]
    shown = sandbox.http.post(url, data={"promotion_code": "HELLO", "act": "update"}).text
    assert "Discount: -$2.50" in shown
    assert "Tax: $1.50" in shown
    assert "Due today: $9.00" in shown


def test_everybody_has_the_coupon_that_policy_names_and_types_no_code(seated, sandbox):
    _, _, client = seated.customer()
    url = client.post(CHECKOUT, json={"plan_id": "couponed"}).raise_for_status().json()["checkout_url"]
    shown = sandbox.http.get(url).text
    assert "Due today: $7.50" in shown
    assert "promotion_code" not in shown


def test_a_coupon_is_had_once_also_after_what_was_bought_with_it_ended(seated, sandbox, until):
    _, _, client = seated.customer()
    order = {"plan_id": "couponed"}
    sandbox.pay(client.post(CHECKOUT, json=order).raise_for_status().json()["checkout_url"])
    until(lambda: client.get("/api/v1/subscription").json()["status"] == "active")
    customer = stripe_customer_of(seated, client)
    (subscription,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": customer})["data"]
    sandbox.ask("DELETE", f"/v1/subscriptions/{subscription['id']}")
    until(lambda: client.get("/api/v1/subscription").json()["standing"] == "lapsed")
    url = client.post(CHECKOUT, json=order).raise_for_status().json()["checkout_url"]
    assert "Due today: $10.00" in sandbox.http.get(url).text


@pytest.mark.parametrize("extra", [{"coupon": "SOME"}, {"discounts": [{"coupon": "SOME"}]}, {"trial_days": 90}])
def test_nobody_brings_a_discount_or_a_trial(seated, new_user, extra):
    answer = seated.server.post(CHECKOUT, json={"plan_id": "team", "user_id": new_user(), **extra})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
