"""Seats and add-ons of a running subscription, changed on the account page; over plain HTTP."""

from __future__ import annotations

import html
import re

import pytest

from tests.web.page_steps import sign_in

pytestmark = pytest.mark.slow

POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second]
  team:
    limits: [1_000 per second, 10 requests per seat per billing period]
  company:
    features: [audit]
    limits: [1_000 per second, 90 requests per billing period]
plans:
  team: {title: Team, tier: team, price: lookup_key pro_monthly, seats: 2 to 9, add_ons: [parcel, sign]}
  company: {title: Company, tier: company, price: lookup_key enterprise_monthly, seats: 5 to 50}
  alone: {title: Alone, tier: company, price: lookup_key alone_monthly}
add_ons:
  parcel: {title: A parcel, price: lookup_key parcel_monthly, limits: [5 requests per billing period]}
  sign: {title: Signing in, price: lookup_key sign_monthly, features: [signing]}
switching: {downgrade: at period end or now}
routes:
  - {match: "* /v1/**"}
"""
CHANGE = "/_tiergate/account/change"
ACCOUNT = "/_tiergate/account"


@pytest.fixture(scope="module")
def seated(apart, start_shared, sandbox, tmp_path_factory):
    for name, amount in (("parcel", 500), ("sign", 900), ("alone", 9900)):
        product = sandbox.ask("POST", "/v1/products", data={"name": name.title()})
        price = {"product": product["id"], "currency": "usd", "unit_amount": amount, "lookup_key": f"{name}_monthly"}
        sandbox.ask("POST", "/v1/prices", data=price | {"recurring[interval]": "month"})
    directory = tmp_path_factory.mktemp("policies")
    (directory / "policy.yaml").write_text(POLICY)
    return start_shared(TIERGATE_POLICY_DIR=str(directory), **apart)


@pytest.fixture
def buyer(seated, until):
    """Somebody who has three seats: its client, and a browser that is signed in."""

    def buy(**order):
        _, _, client = seated.customer()
        told = client.post("/api/v1/create-checkout", json={"plan_id": "team", **order}).raise_for_status().json()
        seated.sandbox.pay(told["checkout_url"])
        until(lambda: client.get("/api/v1/subscription").json()["standing"] == "good")
        return client, sign_in(seated, client.headers["authorization"].removeprefix("Bearer "))

    return buy


def bought(client):
    told = client.get("/api/v1/subscription").json()
    return told["plan_id"], told["seats"], [one["add_on"] for one in told["add_ons"]]


def confirmed(browser, page):
    """Press the button of a preview: send its form as it is."""
    form = re.search(r'<form[^>]*method="post"[^>]*account/change".*?</form>', page, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
    return browser.post(CHANGE, data=fields)


def test_the_account_page_shows_what_is_bought_and_asks_for_what_the_plan_sells(buyer):
    _, browser = buyer(seats=3, add_ons=["parcel"])
    page = browser.get(ACCOUNT).text
    assert re.search(r"Seats</dt><dd>3</dd>", page)
    assert re.search(r"Add-ons</dt><dd>A parcel</dd>", page)
    assert re.search(r'name="seats" type="number" min="2" max="9" value="3"', page)
    assert re.search(r'name="add_on:parcel" value="yes" checked', page)
    assert re.search(r'name="add_on:sign" value="yes">', page)
    assert "9.00 USD per month" in page
    assert "<script" not in page


def test_more_is_shown_with_its_amounts_first_and_made_when_it_is_confirmed(buyer):
    client, browser = buyer(seats=3)
    asked = {"extras": "yes", "seats": "5", "add_on:sign": "yes"}
    page = browser.get(CHANGE, params=asked).text
    for words in ("Change seats and add-ons", "5 seats", "Signing in", "50 requests per billing period", "signing"):
        assert words in page, words
    assert re.search(r"[0-9.]+ USD", page)
    assert bought(client) == ("team", 3, []), "a look changes nothing"
    done = confirmed(browser, page)
    assert (done.status_code, done.headers["location"]) == (303, f"{ACCOUNT}?done=adjusted")
    assert bought(client) == ("team", 5, ["sign"])
    assert confirmed(browser, page).status_code == 303
    assert bought(client) == ("team", 5, ["sign"]), "a second click changes nothing"


def test_less_waits_for_the_end_of_the_period_or_is_had_at_once(buyer):
    client, browser = buyer(seats=4, add_ons=["parcel", "sign"])
    asked = {"extras": "yes", "seats": "2", "add_on:sign": "yes"}
    page = browser.get(CHANGE, params=asked).text
    assert "until then everything stays as it is" in page
    other = re.search(r'<a href="([^"]+)">Change at once instead</a>', page)
    assert other is not None
    done = confirmed(browser, page)
    assert done.headers["location"] == f"{ACCOUNT}?done=planned"
    coming = client.get("/api/v1/subscription").json()["scheduled_change"]
    assert (coming["plan_id"], coming["seats"]) == ("team", 2)
    assert coming["add_ons"] == [{"add_on": "sign", "count": 1}]
    assert "Team with 2 seats, Signing in, on" in browser.get(ACCOUNT).text
    assert bought(client) == ("team", 4, ["parcel", "sign"])
    at_once = browser.get(html.unescape(other[1])).text
    assert confirmed(browser, at_once).headers["location"] == f"{ACCOUNT}?done=adjusted"
    assert bought(client) == ("team", 2, ["sign"])


def test_no_box_that_is_ticked_gives_all_add_ons_up_and_nothing_new_is_no_change(buyer):
    client, browser = buyer(seats=2, add_ons=["parcel"])
    same = browser.get(CHANGE, params={"extras": "yes", "seats": "2", "add_on:parcel": "yes"})
    assert same.headers["location"] == f"{ACCOUNT}?done=same"
    assert "Nothing was changed" in browser.get(f"{ACCOUNT}?done=same").text
    page = browser.get(CHANGE, params={"extras": "yes", "seats": "2", "when": "now"}).text
    assert "A parcel" not in page.partition("What it costs")[0]
    confirmed(browser, page)
    assert bought(client) == ("team", 2, [])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"seats": "1"}, "sold with 2 to 9 seats, not with 1"),
        ({"seats": "10"}, "sold with 2 to 9 seats, not with 10"),
        ({"seats": "many"}, "sold with 2 to 9 seats, not with"),
        ({"seats": ""}, "sold with 2 to 9 seats, not with"),
        ({"seats": "-3"}, "sold with 2 to 9 seats, not with"),
        ({"seats": "9" * 40}, "sold with 2 to 9 seats, not with"),
        ({"seats": "3", "add_on:gold": "yes"}, "is not sold with 'gold'"),
        ({"seats": "3", "plan_id": "alone"}, "is not sold by the seat"),
    ],
    ids=["too few", "too many", "no number", "nothing", "negative", "huge", "no such add-on", "a plan without seats"],
)
def test_what_policy_does_not_sell_is_refused_in_words_and_changes_nothing(buyer, asked, said):
    client, browser = buyer(seats=3)
    for answer in (
        browser.get(CHANGE, params={"extras": "yes", **asked}),
        browser.post(CHANGE, data={"extras": "yes", **asked}),
    ):
        assert answer.status_code == 422
        assert said in html.unescape(answer.text)
    assert bought(client) == ("team", 3, [])


def test_a_change_to_a_plan_that_is_sold_with_other_numbers_of_seats_takes_the_nearest(buyer):
    client, browser = buyer(seats=3)
    page = browser.get(CHANGE, params={"plan_id": "company"}).text
    assert "5 seats" in page
    assert confirmed(browser, page).headers["location"] == f"{ACCOUNT}?done=changed"
    assert bought(client) == ("company", 5, [])
    page = browser.get(CHANGE, params={"plan_id": "alone", "when": "now"}).text
    assert confirmed(browser, page).headers["location"] == f"{ACCOUNT}?done=changed"
    assert bought(client) == ("alone", 1, [])


def test_without_seats_and_add_ons_to_sell_there_is_no_form(buyer):
    _, browser = buyer(seats=3)
    page = browser.get(CHANGE, params={"plan_id": "alone", "when": "now"}).text
    confirmed(browser, page)
    assert 'name="extras"' not in browser.get(ACCOUNT).text


def test_nobody_without_a_subscription_or_with_a_key_that_is_less_changes_anything(seated, buyer):
    _, _, scoped = seated.customer(scopes=["GET /v1/**"])
    narrow = sign_in(seated, scoped.headers["authorization"].removeprefix("Bearer "))
    for answer in (
        narrow.get(CHANGE, params={"extras": "yes", "seats": "5"}),
        narrow.post(CHANGE, data={"extras": "yes", "seats": "5"}),
    ):
        assert answer.status_code == 403
    _, _, client = seated.customer()
    browser = sign_in(seated, client.headers["authorization"].removeprefix("Bearer "))
    assert 'name="extras"' not in browser.get(ACCOUNT).text
    answer = browser.get(CHANGE, params={"extras": "yes", "seats": "5"})
    assert (answer.status_code, "no running subscription" in answer.text) == (409, True)
    client, browser = buyer(seats=3)
    fields = {"extras": "yes", "seats": "5"}
    refused = browser.post(CHANGE, data=fields, headers={"sec-fetch-site": "cross-site"})
    assert (refused.status_code, "another site" in refused.text) == (403, True)
    assert bought(client) == ("team", 3, [])


def test_what_a_subscriber_chooses_on_the_pricing_page_is_what_the_change_is_about(buyer):
    client, browser = buyer(seats=3, add_ons=["parcel"])
    led = browser.post("/_tiergate/pricing", data={"plan_id": "team", "seats": "4", "add_on:sign": "yes"})
    assert led.status_code == 303
    page = browser.get(led.headers["location"]).text
    for words in ("4 seats", "A parcel", "Signing in"):
        assert words in page, words
    confirmed(browser, page)
    assert bought(client) == ("team", 4, ["parcel", "sign"])


def test_while_another_plan_is_planned_the_form_is_away_and_says_what_to_do(buyer):
    client, browser = buyer(seats=3)
    confirmed(browser, browser.get(CHANGE, params={"plan_id": "company"}).text)
    page = browser.get(CHANGE, params={"plan_id": "team", "when": "period-end"}).text
    assert confirmed(browser, page).headers["location"] == f"{ACCOUNT}?done=planned"
    page = browser.get(ACCOUNT).text
    assert 'name="extras"' not in page
    assert "Seats and add-ons can be changed when the change to Team is made" in page
    refused = browser.post(CHANGE, data={"extras": "yes", "seats": "7"})
    assert (refused.status_code, "change to the plan" in refused.text) == (409, True)
    answer = client.post("/api/v1/subscription/change", json={"seats": 7, "preview": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "change-planned")
    browser.post(f"{CHANGE}/keep")
    assert 'name="extras"' in browser.get(ACCOUNT).text
