"""Whoever owes for a subscription that is over is told what, where to pay it, and is sold nothing before."""

from __future__ import annotations

import pytest

from tests.web.page_steps import sign_in

CHECKOUT = "/api/v1/create-checkout"


@pytest.fixture
def debtor(gateway, sandbox):
    """The key and client of a customer who left an invoice unpaid, and the invoice."""
    customer_id, _, client = gateway.subscribed("pro-monthly")
    row = gateway.admin.get(f"/_tiergate/admin/customers/{customer_id}").json()["customer"]
    stripe_customer = row["stripe_customer_id"]
    (paid,) = sandbox.ask("GET", "/v1/subscriptions", params={"customer": stripe_customer})["data"]
    sandbox.ask("DELETE", f"/v1/subscriptions/{paid['id']}")
    order = {
        "customer": stripe_customer,
        "items[0][price]": "price_pro_monthly",
        "collection_method": "send_invoice",
        "days_until_due": "30",
    }
    made = sandbox.ask("POST", "/v1/subscriptions", data=order)
    owed = sandbox.ask("POST", f"/v1/invoices/{made['latest_invoice']}/finalize")
    sandbox.ask("DELETE", f"/v1/subscriptions/{made['id']}")
    return client.headers["authorization"].removeprefix("Bearer "), client, owed


def test_a_checkout_answers_with_the_page_where_the_old_invoice_is_paid(debtor, sandbox):
    _, client, owed = debtor
    answer = client.post(CHECKOUT, json={"plan_id": "pro-monthly"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (402, "payment-required")
    assert problem["payment_url"] == owed["hosted_invoice_url"]
    assert owed["number"] in problem["detail"]
    sandbox.ask("POST", f"/v1/invoices/{owed['id']}/pay", data={"paid_out_of_band": "true"})
    assert client.post(CHECKOUT, json={"plan_id": "pro-monthly"}).status_code == 200


def test_the_pricing_page_leads_to_the_invoice(gateway, debtor, sandbox):
    key, _, owed = debtor
    browser = sign_in(gateway, key)
    page = browser.post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})
    assert page.status_code == 402
    assert owed["number"] in page.text
    assert f'href="{owed["hosted_invoice_url"]}">Pay the invoice' in page.text
    sandbox.ask("POST", f"/v1/invoices/{owed['id']}/void")
    assert browser.post("/_tiergate/pricing", data={"plan_id": "pro-monthly"}).status_code == 303
