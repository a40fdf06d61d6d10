"""Links into the billing portal over HTTP and from pages."""

from __future__ import annotations

import pytest

from tests.web.page_steps import sign_in, signed_up

pytestmark = pytest.mark.slow

PORTAL = "/api/v1/portal-session"
CARD_FORM = 'name="card_number"'


def shown(gateway, address):
    return gateway.sandbox.http.get(address).raise_for_status().text


@pytest.mark.parametrize(
    ("order", "shows"),
    [
        ({"flow": "payment_method_update"}, CARD_FORM),
        ({"flow": "subscription_cancel"}, "Cancel at the end"),
        ({"flow": "subscription_update"}, "Switch plan"),
        ({"flow": "subscription_update_confirm", "plan_id": "enterprise-monthly"}, "Confirm"),
    ],
    ids=["card", "cancel", "update", "confirm"],
)
def test_the_portal_opens_at_the_act_that_is_asked_for(gateway, order, shows):
    _, _, client = gateway.subscribed("pro-monthly")
    page = shown(gateway, client.post(PORTAL, json=order).raise_for_status().json()["portal_url"])
    assert shows in page
    others = {CARD_FORM, "Cancel at the end", "Switch plan", "Confirm"} - {shows}
    assert not any(other in page for other in others)


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"flow": "subscription_pause"}, 400, "invalid-request"),
        ({"flow": "subscription_update_confirm"}, 400, "invalid-request"),
        ({"flow": "subscription_cancel", "plan_id": "pro-yearly"}, 400, "invalid-request"),
        ({"plan_id": "pro-yearly"}, 400, "invalid-request"),
        ({"flow": "subscription_update_confirm", "plan_id": "gold"}, 422, "unknown-plan"),
        ({"flow": "subscription_cancel", "subscription": "sub_1"}, 400, "invalid-request"),
        ({"flow": "payment_method_update", "return_url": "https://evil.example/"}, 400, "invalid-request"),
    ],
)
def test_what_cannot_be_opened_is_refused(gateway, order, status, code):
    _, _, client = gateway.subscribed("pro-monthly")
    answer = client.post(PORTAL, json=order)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_nobody_opens_the_portal_of_another_or_with_a_key_that_is_less(gateway):
    customer_id, user_id, _ = gateway.subscribed("pro-monthly")
    _, _, stranger = gateway.subscribed("pro-monthly")
    _, _, scoped = gateway.customer(scopes=["GET /v1/**"])
    for name in ({"user_id": user_id}, {"customer_id": customer_id}):
        answer = stranger.post(PORTAL, json={"flow": "subscription_cancel", **name})
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert scoped.post(PORTAL, json={"flow": "payment_method_update"}).json()["code"] == "scope-missing"
    assert gateway.browser().post(PORTAL, json={"flow": "payment_method_update"}).status_code == 401


def test_a_link_leads_whoever_is_signed_in_to_the_act_and_back(gateway):
    browser, _, _ = signed_up(gateway)
    there = browser.get("/_tiergate/account/portal/payment_method_update")
    assert there.status_code == 303
    address = there.headers["location"]
    assert CARD_FORM in shown(gateway, address)
    done = gateway.sandbox.http.post(f"{address}/card", data={"card_number": "4242424242424242"})
    assert done.headers["location"] == f"{gateway.url}/_tiergate/account?done=payment_method_update"
    assert "The payment method is changed" in browser.get("/_tiergate/account?done=payment_method_update").text
    form = browser.post("/_tiergate/account/portal", data={"flow": "payment_method_update"})
    assert CARD_FORM in shown(gateway, form.headers["location"])


def test_a_link_to_no_act_leads_to_the_beginning_and_one_without_a_session_to_the_sign_in(gateway):
    browser, _, _ = signed_up(gateway)
    for path in ("nothing", "subscription_update_confirm"):
        page = shown(gateway, browser.get(f"/_tiergate/account/portal/{path}").headers["location"])
        assert CARD_FORM in page
        assert "Switch plan" in page
    stranger = gateway.browser().get("/_tiergate/account/portal/nothing")
    assert (stranger.status_code, stranger.headers["location"]) == (303, "/_tiergate/sign-in")
    _, _, scoped = gateway.customer(scopes=["GET /v1/**"])
    narrow = sign_in(gateway, scoped.headers["authorization"].removeprefix("Bearer "))
    assert narrow.get("/_tiergate/account/portal/payment_method_update").status_code == 403


def test_a_link_without_a_session_leads_by_way_of_the_sign_in_to_the_act(gateway):
    _, key, _ = signed_up(gateway)
    browser = gateway.browser()
    there = browser.get("/_tiergate/account/portal/payment_method_update").headers["location"]
    assert there == "/_tiergate/sign-in?act=payment_method_update"
    assert 'name="act" value="payment_method_update"' in browser.get(there).text
    wrong = browser.post("/_tiergate/sign-in", data={"key": "wrong", "act": "payment_method_update"})
    assert 'name="act" value="payment_method_update"' in wrong.text
    onward = browser.post("/_tiergate/sign-in", data={"key": key, "act": "payment_method_update"})
    assert onward.headers["location"] == "/_tiergate/account/portal/payment_method_update"
    assert CARD_FORM in shown(gateway, browser.get(onward.headers["location"]).headers["location"])


@pytest.mark.parametrize("act", ["//example.com", "../../v1/echo", "subscription_update_confirm", ""])
def test_the_sign_in_leads_to_acts_of_ours_only(gateway, act):
    _, _, client = gateway.customer()
    key = client.headers["authorization"].removeprefix("Bearer ")
    assert 'name="act"' not in gateway.browser().get("/_tiergate/sign-in", params={"act": act}).text
    answer = gateway.browser().post("/_tiergate/sign-in", data={"key": key, "act": act})
    assert answer.headers["location"] == "/_tiergate/account"


def test_the_sellers_own_portal_configuration_is_asked_for(start_gateway):
    own = start_gateway(TIERGATE_PORTAL_CONFIGURATION="bpc_nothing")
    _, _, client = own.subscribed("pro-monthly")
    answer = client.post(PORTAL, json={})
    assert (answer.status_code, answer.json()["code"]) == (502, "billing-refused"), "the simulator has no such one"


@pytest.mark.parametrize(
    "order", [{"flow": "subscription_update"}, {"flow": "subscription_update_confirm", "plan_id": "enterprise-monthly"}]
)
def test_a_subscription_of_several_items_is_changed_here_and_the_portal_says_so(gateway, sandbox, order):
    _, user_id, client = gateway.subscribed("pro-monthly")
    [row] = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    params = {"customer": row["stripe_customer_id"]}
    [subscription] = sandbox.ask("GET", "/v1/subscriptions", params=params)["data"]
    sandbox.ask("POST", f"/v1/subscriptions/{subscription['id']}", data={"items[0][price]": "price_api_overage"})
    answer = client.post(PORTAL, json=order)
    assert (answer.status_code, answer.json()["code"]) == (409, "portal-cannot-change")
    assert answer.json()["links"]["account"] == f"{gateway.url}/_tiergate/account"
    assert "POST subscription/change" in answer.json()["detail"]
    for other in ("payment_method_update", "subscription_cancel"):
        assert client.post(PORTAL, json={"flow": other}).status_code == 200
    assert client.post("/api/v1/subscription/change", json={"plan_id": "enterprise-monthly"}).status_code == 200
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    page = browser.get("/_tiergate/account/portal/subscription_update")
    assert (page.status_code, "Back to the account" in page.text) == (409, True)


def test_a_payment_that_waits_is_confirmed_by_way_of_the_account(gateway, until):
    """An upgrade: a renewal needs the clock, which others share."""
    _, _, client = gateway.customer()
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).raise_for_status().json()
    gateway.sandbox.confirm(gateway.sandbox.pay(told["checkout_url"], "4000002760003184"))
    until(lambda: client.get("/api/v1/subscription").json()["plan_id"] == "pro-monthly")
    assert not client.get("/api/v1/subscription").json()["confirmation_needed"]
    changed = client.post("/api/v1/subscription/change", json={"plan_id": "pro-yearly", "preview": False})
    answer = changed.raise_for_status().json()
    assert (answer["pending"], answer["applied"], answer["subscription"]["plan_id"]) == (True, False, "pro-monthly")
    assert answer["subscription"]["confirmation_needed"]
    page = "/_tiergate/account/portal/payment_confirmation"
    assert page in answer["subscription"]["warning"]
    stranger = gateway.browser()
    assert stranger.get(page).headers["location"].endswith("/sign-in?act=payment_confirmation")
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    assert "Confirm the payment" in browser.get("/_tiergate/account").text
    assert browser.get(page).headers["location"] == answer["payment_url"]
    gateway.sandbox.confirm(gateway.sandbox.http.post(f"{answer['payment_url']}/confirm"))
    until(lambda: client.get("/api/v1/subscription").json()["plan_id"] == "pro-yearly")
    assert browser.get(page).headers["location"].endswith("/account?done=confirmed")
