"""Payments by bank account, which take days."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

DAY_S = 86_400
ARRIVES = "000123456789"
FAILS = "000111111113"


async def bought(sandbox: Any, number: str) -> tuple[Any, Any]:
    session = await sandbox.open_checkout(customer=(await sandbox.customer()).id)
    answer = await sandbox.pay(session, number)
    assert answer.status_code == 303
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    assert (done.status, done.payment_status) == ("complete", "unpaid")
    return done, await sandbox.v1.subscriptions.retrieve_async(done.subscription, {"expand": ["latest_invoice"]})


async def types(sandbox: Any) -> list[str]:
    return [event.type for event in await sandbox.events()]


async def test_a_promise_makes_the_subscription_active_with_an_open_invoice(sandbox: Any) -> None:
    _, subscription = await bought(sandbox, ARRIVES)
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.billing_reason) == ("active", "open", "subscription_create")
    assert (await sandbox.v1.charges.list_async({"customer": subscription.customer})).data == []
    assert "invoice.paid" not in await types(sandbox)


async def test_a_payment_that_arrives_pays_the_invoice_and_tells_the_checkout(sandbox: Any) -> None:
    session, subscription = await bought(sandbox, ARRIVES)
    await sandbox.advance(4 * DAY_S + 1)
    paid = await sandbox.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["invoice"]})
    assert (paid.payment_status, paid.invoice.status) == ("paid", "paid")
    assert (await sandbox.subscription(subscription.id)).status == "active"
    assert [one for one in await types(sandbox) if one.startswith("checkout")] == [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
    ]


async def test_a_payment_that_its_bank_refuses_leaves_the_subscription_past_due(sandbox: Any) -> None:
    session, subscription = await bought(sandbox, FAILS)
    await sandbox.advance(4 * DAY_S + 1)
    unpaid = await sandbox.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["invoice"]})
    assert (unpaid.payment_status, unpaid.invoice.status) == ("unpaid", "open")
    assert (await sandbox.subscription(subscription.id)).status == "past_due"
    assert (await types(sandbox))[-1] == "checkout.session.async_payment_failed"


async def test_a_renewal_by_bank_account_takes_days_too(sandbox: Any) -> None:
    _, subscription = await bought(sandbox, ARRIVES)
    await sandbox.advance(32 * DAY_S)
    waiting = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert (waiting.status, waiting.latest_invoice.status) == ("active", "open")
    await sandbox.advance(5 * DAY_S)
    assert (await sandbox.v1.invoices.retrieve_async(waiting.latest_invoice.id)).status == "paid"
