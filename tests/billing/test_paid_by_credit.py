"""Periods that a credit on the customer's balance paid: whose money that was, and what follows if it is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.lifecycle import DISPUTE_LOST, REFUNDED
from tests.billing.test_taken_back import (
    DAY,
    DOWN,
    SUSPEND,
    flags,
    lines,
    lose,
    newest_charge,
    refund,
    renew,
    tier,
)

pytestmark = pytest.mark.slow


async def stripe_id(shop: Any, customer_id: str) -> str:
    return str((await shop.ledger.find_customer(customer_id)).stripe_customer_id)


async def give(shop: Any, customer_id: str, balance: int) -> None:
    """The seller sets what stands on the balance; negative: a credit."""
    await shop.sandbox.stripe.v1.customers.update_async(await stripe_id(shop, customer_id), {"balance": balance})


async def fall_in_the_portal(shop: Any, customer_id: str, plan: str = "pro_monthly") -> None:
    """At once, and what is left of the dearer plan becomes a credit."""
    v1 = shop.sandbox.stripe.v1
    subscription_id = (await shop.load(customer_id)).subscription_id
    (item,) = (await v1.subscriptions.retrieve_async(subscription_id))["items"].data
    change = {"items": [{"id": item.id, "price": f"price_{plan}"}], "proration_behavior": "always_invoice"}
    await v1.subscriptions.update_async(subscription_id, change)
    await shop.settle()


async def who_fell(shop: Any) -> str:
    """A customer who paid much, and has a credit of it."""
    customer_id: str = await shop.buyer("enterprise-monthly")
    await fall_in_the_portal(shop, customer_id)
    return customer_id


@pytest.mark.parametrize(("take_back", "flag"), [(lose, DISPUTE_LOST), (refund, REFUNDED)])
async def test_a_credit_of_money_that_was_taken_back_pays_for_nothing(shop: Any, take_back: Any, flag: str) -> None:
    lines(shop, dispute_lost=SUSPEND, refunded=DOWN)
    customer_id = await who_fell(shop)
    await renew(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await take_back(shop, customer_id)
    assert await flags(shop, customer_id) == [flag]
    since = dict((await shop.load(customer_id)).flags)
    await renew(shop, customer_id)
    assert dict((await shop.load(customer_id)).flags) == since, "nothing was paid in the meantime"
    assert await tier(shop, customer_id) == {DISPUTE_LOST: None, REFUNDED: "free"}[flag]
    await give(shop, customer_id, 0)
    await renew(shop, customer_id)
    assert (await newest_charge(shop, customer_id)).amount == 2_900
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_gift_pays_for_its_periods_whatever_is_taken_back_of_those_before(shop: Any) -> None:
    lines(shop, dispute_lost=SUSPEND)
    customer_id = await shop.buyer("pro-monthly")
    await give(shop, customer_id, -5_000)
    await renew(shop, customer_id)
    await lose(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_gift_that_comes_after_the_loss_ends_it_with_the_period_that_it_pays(shop: Any) -> None:
    lines(shop, dispute_lost=SUSPEND)
    customer_id = await shop.buyer("pro-monthly")
    await lose(shop, customer_id)
    await give(shop, customer_id, -5_000)
    assert await flags(shop, customer_id) == [DISPUTE_LOST]
    await renew(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_period_that_asks_for_nothing_is_nobodys_money(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    v1 = shop.sandbox.stripe.v1
    await v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    free = await v1.coupons.create_async({"percent_off": 100, "duration": "forever"})
    cus = await stripe_id(shop, customer_id)
    items = [{"price": "price_pro_monthly"}]
    await v1.subscriptions.create_async({"customer": cus, "items": items, "discounts": [{"coupon": free.id}]})
    await shop.settle()
    asked = (await shop.sync.sync_customer(customer_id, "test")).requests
    lines(shop, dispute_lost=SUSPEND)
    assert (await shop.sync.sync_customer(customer_id, "test")).requests == asked, "no payment is looked for"
    await lose(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_credit_counts_by_the_payment_that_it_gives_back_also_that_of_a_change(shop: Any) -> None:
    lines(shop, dispute_lost=SUSPEND)
    customer_id = await shop.buyer("pro-monthly")
    first = await newest_charge(shop, customer_id)
    await shop.sandbox.control("clock/advance", seconds=DAY)
    await fall_in_the_portal(shop, customer_id, "enterprise_monthly")
    assert (await newest_charge(shop, customer_id)).id != first.id
    await fall_in_the_portal(shop, customer_id)
    await renew(shop, customer_id)
    opened = await shop.sandbox.control("disputes", charge=first.id)
    await shop.sandbox.stripe.v1.disputes.close_async(opened["id"])
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await lose(shop, customer_id)
    assert await flags(shop, customer_id) == [DISPUTE_LOST]


async def test_what_is_bought_anew_with_the_credit_of_what_was_cancelled_is_that_money(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("enterprise-monthly")
    paid = await newest_charge(shop, customer_id)
    v1 = shop.sandbox.stripe.v1
    subscription_id = (await shop.load(customer_id)).subscription_id
    await v1.subscriptions.cancel_async(subscription_id, {"prorate": True, "invoice_now": True})
    await shop.settle()
    answer = await shop.sandbox.pay((await shop.checkout(customer_id)).url, "4242424242424242")
    assert answer.status_code == 303
    await shop.settle()
    assert (await newest_charge(shop, customer_id)).id == paid.id, "the credit paid"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await refund(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([REFUNDED], "free")


async def test_what_a_credit_paid_costs_one_request_more(shop: Any) -> None:
    customer_id = await who_fell(shop)
    await renew(shop, customer_id)
    asked = (await shop.sync.sync_customer(customer_id, "test")).requests
    lines(shop, refunded=DOWN)
    assert (await shop.sync.sync_customer(customer_id, "test")).requests == asked + 2, "the invoices, and the payment"
