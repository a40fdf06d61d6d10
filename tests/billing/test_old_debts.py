"""Whoever owes for a subscription that is over is sold no other before that is paid, or forgiven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import PaymentRequired
from gateway.core.money import money_text
from tests.billing.test_second_subscription import checkouts_of, incomplete

pytestmark = pytest.mark.slow

DAY = 86_400


async def invoices_of(shop: Any, customer_id: str, status: str = "open") -> list[Any]:
    row = await shop.ledger.find_customer(customer_id)
    params = {"customer": row.stripe_customer_id, "status": status}
    found: list[Any] = (await shop.sandbox.stripe.v1.invoices.list_async(params)).data
    return found


async def debtor(shop: Any, plan_id: str = "pro-monthly") -> str:
    """A customer whose renewal failed, and who cancelled then."""
    customer_id: str = await shop.buyer(plan_id)
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": row.stripe_customer_id})
    record = await shop.load(customer_id)
    await v1.subscriptions.update_async(record.subscription_id, {"default_payment_method": card.id})
    await shop.sandbox.control("clock/advance", seconds=32 * DAY)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "past_due"
    await v1.subscriptions.cancel_async(record.subscription_id)
    await shop.settle()
    return customer_id


async def pay(shop: Any, customer_id: str, invoice_id: str) -> None:
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    await v1.invoices.pay_async(invoice_id, {"payment_method": card.id})


async def test_an_old_debt_is_paid_before_another_subscription_is_sold(shop: Any) -> None:
    customer_id = await debtor(shop)
    [owed] = await invoices_of(shop, customer_id)
    with pytest.raises(PaymentRequired) as refusal:
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert refusal.value.payment_url == owed.hosted_invoice_url
    assert f"invoice {owed.number} ({money_text(owed.amount_remaining, owed.currency)})" in str(refusal.value)
    await pay(shop, customer_id, owed.id)
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


@pytest.mark.parametrize("word", ["void_invoice_async", "mark_uncollectible_async"])
async def test_what_the_seller_forgives_is_no_debt(shop: Any, word: str) -> None:
    customer_id = await debtor(shop)
    [owed] = await invoices_of(shop, customer_id)
    await getattr(shop.sandbox.stripe.v1.invoices, word)(owed.id)
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_policy_may_sell_to_who_owes(shop: Any) -> None:
    customer_id = await debtor(shop)
    held = shop.sync._policy
    held.current = replace(held.current, debts="allow")
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_of_several_debts_the_oldest_is_paid_first(shop: Any) -> None:
    customer_id = await debtor(shop)
    [first] = await invoices_of(shop, customer_id)
    held = shop.sync._policy
    allowing, held.current = replace(held.current, debts="allow"), replace(held.current, debts="refuse")
    refusing, held.current = held.current, allowing
    link = await checkouts_of(shop).for_customer(customer_id, "enterprise-monthly")
    await shop.sandbox.pay(link.url)
    await shop.settle()
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": row.stripe_customer_id})
    second = (await shop.load(customer_id)).subscription_id
    await v1.subscriptions.update_async(second, {"default_payment_method": card.id})
    await shop.sandbox.control("clock/advance", seconds=32 * DAY)
    await v1.subscriptions.cancel_async(second)
    await shop.settle()
    held.current = refusing
    with pytest.raises(PaymentRequired, match="2 invoices of subscriptions that have ended") as refusal:
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert refusal.value.payment_url == first.hosted_invoice_url
    assert f"Pay invoice {first.number} ({money_text(first.amount_remaining, first.currency)}) first" in str(
        refusal.value
    )


async def test_a_customer_deleted_with_its_debt_owes_nothing_that_can_be_paid(shop: Any) -> None:
    customer_id = await debtor(shop)
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_who_cancelled_what_was_paid_owes_nothing(shop: Any) -> None:
    customer_id = await shop.buyer()
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_a_first_payment_that_never_came_is_no_debt(shop: Any) -> None:
    customer_id, _ = await incomplete(shop)
    checkouts = checkouts_of(shop)
    assert await checkouts.for_customer(customer_id, "pro-monthly")
    assert await checkouts.for_customer(customer_id, "pro-monthly")


async def test_a_change_that_was_never_paid_and_never_made_is_no_debt(shop: Any) -> None:
    customer_id = await shop.buyer()
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": row.stripe_customer_id})
    subscription_id = (await shop.load(customer_id)).subscription_id
    one = await v1.subscriptions.update_async(subscription_id, {"default_payment_method": card.id})
    await v1.subscriptions.update_async(
        subscription_id,
        {
            "items": [{"id": one["items"]["data"][0]["id"], "price": "price_enterprise_monthly"}],
            "payment_behavior": "pending_if_incomplete",
            "proration_behavior": "always_invoice",
        },
    )
    await shop.sandbox.control("clock/advance", seconds=60)
    await v1.subscriptions.cancel_async(subscription_id)
    await shop.settle()
    assert await invoices_of(shop, customer_id)
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_what_is_owed_for_something_else_of_the_seller_hinders_no_purchase(shop: Any) -> None:
    customer_id = await shop.buyer()
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    await v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    product = await v1.products.create_async({"name": "Support contract"})
    price = await v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": 50_000, "recurring": {"interval": "month"}}
    )
    contract = await v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": price.id}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
    )
    await shop.sandbox.control("clock/advance", seconds=2 * 3600)
    await v1.subscriptions.cancel_async(contract.id)
    await shop.settle()
    assert await invoices_of(shop, customer_id)
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
