"""Whoever is blocked pays no open page, and is told so where it would be thanked."""

from __future__ import annotations

from tests.web.page_steps import keys_in, start_checkout

ADMIN = "/_tiergate/admin/customers"
CHECKOUT = "/api/v1/create-checkout"


def block(gateway, customer_id):
    answer = gateway.admin.post(f"{ADMIN}/{customer_id}/block", json={"because": "abuse"})
    return answer.raise_for_status().json()


def test_the_answer_to_a_block_says_how_many_pages_were_closed(gateway, sandbox):
    customer_id, _, client = gateway.customer()
    told = client.post(CHECKOUT, json={"plan_id": "pro-monthly"}).raise_for_status().json()
    blocked = block(gateway, customer_id)
    assert (blocked["blocked"], blocked["in_force"], blocked["checkouts_closed"]) == (True, True, 1)
    session = sandbox.ask("GET", f"/v1/checkout/sessions/{told['session_id']}")
    assert session["status"] == "expired"
    unblocked = gateway.admin.post(f"{ADMIN}/{customer_id}/unblock").raise_for_status().json()
    assert (unblocked["blocked"], unblocked["checkouts_closed"]) == (False, 0)


def test_who_paid_and_is_blocked_is_not_told_that_the_subscription_is_active(gateway, sandbox):
    customer_id, _, client = gateway.customer()
    told = client.post(CHECKOUT, json={"plan_id": "pro-monthly"}).raise_for_status().json()
    assert sandbox.pay(told["checkout_url"]).status_code == 303
    address = f"/_tiergate/success?session_id={told['session_id']}"
    assert "The subscription is active" in gateway.browser().get(address).text
    block(gateway, customer_id)
    page = gateway.browser().get(address).text
    assert "The subscription is active" not in page
    assert "This account is suspended. Contact the provider of this API." in page


def test_the_first_key_of_who_is_blocked_is_shown_with_what_is_the_matter(gateway, sandbox):
    browser = gateway.browser()
    url, session_id = start_checkout(browser)
    assert sandbox.pay(url).status_code == 303
    block(gateway, sandbox.ask("GET", f"/v1/checkout/sessions/{session_id}")["client_reference_id"])
    page = browser.get(f"/_tiergate/success?session_id={session_id}").text
    assert len(keys_in(page)) == 1
    assert "This account is suspended. Contact the provider of this API." in page
