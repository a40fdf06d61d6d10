"""What policy keeps for a customer whom the seller deleted at Stripe is kept whatever page the customer opens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.lifecycle import CUSTOMER_DELETED
from gateway.core.policy import Standing
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow

DAY = 86_400


async def deleted(shop: Any) -> str:
    """A buyer of the higher plan whom Stripe does not have any more; policy keeps the tier for three days."""
    held = shop.sync._policy
    kept = Standing(keep_s=3 * DAY, then="free", refusal="subscription-required")
    held.current = replace(held.current, lifecycle=held.current.lifecycle | {CUSTOMER_DELETED: kept, "canceled": kept})
    customer_id: str = await shop.buyer("enterprise-monthly")
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    await shop.settle()
    await shop.sync.sync_customer(customer_id, "test")
    return customer_id


async def access_of(shop: Any, customer_id: str) -> Access:
    account = await shop.ledger.load_account(customer_id)
    return decide_access(account, shop.sync.policy, shop.sandbox.clock.now())


async def test_opening_a_checkout_takes_none_of_the_kept_days(shop: Any) -> None:
    customer_id = await deleted(shop)
    before = await access_of(shop, customer_id)
    assert (before.plan_id, before.standing) == ("enterprise-monthly", "grace")
    await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    after = await access_of(shop, customer_id)
    assert (after.plan_id, after.grace_until) == (before.plan_id, before.grace_until)
    await shop.sandbox.control("clock/advance", seconds=3 * DAY)
    await shop.sync.sync_customer(customer_id, "test")
    assert (await access_of(shop, customer_id)).standing == "lapsed"


async def test_what_is_bought_then_is_what_counts(shop: Any) -> None:
    customer_id = await deleted(shop)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert (await shop.sandbox.pay(link.url)).status_code == 303
    await shop.settle()
    access = await access_of(shop, customer_id)
    assert (access.plan_id, access.standing) == ("pro-monthly", "good")


async def test_a_payment_that_is_not_made_takes_none_of_them_either(shop: Any) -> None:
    customer_id = await deleted(shop)
    await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    before, row = await access_of(shop, customer_id), await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": "price_pro_monthly"}],
            "payment_behavior": "default_incomplete",
        }
    )
    await shop.settle()
    assert (await shop.load(customer_id)).status == "incomplete"
    after = await access_of(shop, customer_id)
    assert (after.plan_id, after.grace_until) == (before.plan_id, before.grace_until)
