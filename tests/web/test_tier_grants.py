from __future__ import annotations

import time

import pytest

from tests.web.page_steps import sign_in

ADMIN = "/_tiergate/admin"
YEAR_S = 365 * 86_400
SUBSCRIPTION = "/api/v1/subscription"


def grant_path(customer_id):
    return f"{ADMIN}/customers/{customer_id}/tier-grant"


def tier_of_a_call(client):
    """What the API behind the gateway is told, by the charge that let the call in."""
    answer = client.get("/v1/echo")
    return dict(answer.json()["headers"]).get("x-tiergate-tier") if answer.status_code == 200 else None


def test_a_granted_tier_holds_from_the_next_call_on_and_is_taken_back(gateway):
    customer_id, _, client = gateway.customer()
    assert client.get(SUBSCRIPTION).json()["tier_grant"] is None
    order = {"tier": "pro", "ends_at": int(time.time()) + YEAR_S, "because": "pays by invoice"}
    granted = gateway.admin.post(grant_path(customer_id), json=order)
    assert granted.status_code == 200, granted.text
    assert (granted.json()["is_new"], granted.json()["in_force"]) == (True, True)
    assert tier_of_a_call(client) == "pro"
    again = gateway.admin.post(grant_path(customer_id), json=order).json()
    assert (again["is_new"], again["granted_at"]) == (False, granted.json()["granted_at"])
    view = client.get(SUBSCRIPTION).json()
    assert (view["tier"], view["standing"], view["plan_id"]) == ("pro", "good", None)
    assert view["grace_until"] == view["tier_grant"]["ends_at"] == order["ends_at"]
    assert view["tier_grant"]["state"] == "in-force"
    taken = gateway.admin.delete(grant_path(customer_id))
    assert (taken.status_code, taken.json()["in_force"]) == (200, True)
    assert tier_of_a_call(client) == "free"
    gone = gateway.admin.delete(grant_path(customer_id))
    assert (gone.status_code, gone.json()["code"]) == (404, "tier-grant-not-found")
    actions = [row["action"] for row in gateway.admin.get(f"{ADMIN}/audit?customer_id={customer_id}").json()["entries"]]
    assert actions[:2] == ["tier-ungranted", "tier-granted"]


def test_a_grant_that_ends_while_calls_come_ends_without_any_event(gateway, until):
    customer_id, _, client = gateway.customer()
    order = {"tier": "pro", "ends_at": int(time.time()) + 3, "because": "pays by invoice"}
    gateway.admin.post(grant_path(customer_id), json=order).raise_for_status()
    until(lambda: tier_of_a_call(client) == "free")
    assert time.time() >= order["ends_at"]
    assert client.get(SUBSCRIPTION).json()["tier_grant"]["state"] == "over"


def test_a_grant_keeps_what_was_used(gateway):
    customer_id, _, client = gateway.customer()
    assert client.get("/v1/echo").status_code == 200
    order = {"tier": "pro", "ends_at": int(time.time()) + YEAR_S, "because": "pays by invoice"}
    gateway.admin.post(grant_path(customer_id), json=order).raise_for_status()
    assert client.get("/v1/echo").status_code == 200
    used = {limit["used"] for limit in client.get("/api/v1/usage").json()["limits"] if limit["window_ends_at"]}
    assert used == {2}


def test_a_grant_above_a_subscription_leaves_its_plan_as_it_is(gateway):
    customer_id, _, client = gateway.subscribed()
    order = {"tier": "enterprise", "ends_at": int(time.time()) + YEAR_S, "because": "pays by invoice"}
    gateway.admin.post(grant_path(customer_id), json=order).raise_for_status()
    view = client.get(SUBSCRIPTION).json()
    assert (view["tier"], view["plan_id"], view["status"]) == ("enterprise", "pro-monthly", "active")
    gateway.admin.post(grant_path(customer_id), json=order | {"tier": "free"}).raise_for_status()
    view = client.get(SUBSCRIPTION).json()
    assert (view["tier"], view["tier_grant"]["state"]) == ("pro", "below")


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"tier": "pro"}, "invalid-request"),
        ({"tier": "pro", "ends_at": 4_000_000_000}, "invalid-request"),
        ({"tier": "pro", "ends_at": 4_000_000_000, "because": " "}, "invalid-request"),
        ({"tier": "prro", "ends_at": 4_000_000_000, "because": "x"}, "invalid-tier-grant"),
        ({"tier": "pro", "ends_at": 1, "because": "x"}, "invalid-tier-grant"),
        ({"tier": "pro", "ends_at": 4_000_000_000, "because": "x", "forever": True}, "invalid-request"),
    ],
    ids=["without end", "without a reason", "an empty reason", "no such tier", "past", "unknown field"],
)
def test_a_tier_that_cannot_be_granted_is_refused(gateway, order, code):
    customer_id, _, _ = gateway.customer()
    answer = gateway.admin.post(grant_path(customer_id), json=order)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_only_the_seller_grants_tiers_and_only_to_customers(gateway):
    customer_id, _, client = gateway.customer()
    order = {"tier": "pro", "ends_at": 4_000_000_000, "because": "pays by invoice"}
    assert client.post(grant_path(customer_id), json=order).status_code == 403
    assert gateway.server.post(grant_path(customer_id), json=order).status_code == 403
    assert gateway.admin.post(grant_path("nobody"), json=order).status_code == 404
    assert gateway.admin.delete(grant_path("nobody")).status_code == 404


def test_the_account_page_says_until_when_a_tier_was_granted(gateway):
    customer_id, _, client = gateway.customer()
    order = {"tier": "pro", "ends_at": 4_102_444_800, "because": "pays by invoice"}
    gateway.admin.post(grant_path(customer_id), json=order).raise_for_status()
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    page = browser.get("/_tiergate/account").text
    assert "<dt>Granted until</dt>" in page
    assert "1 January 2100" in page
    assert "no paid plan" in page
