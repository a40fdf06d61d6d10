"""What is used beyond a quota is billed once: a plan's own prices of overage stand, and no other of their meters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.overage import Overage, PriceName
from tests.billing.test_given_up_items import changes_of, items, seller_adds

pytestmark = pytest.mark.slow


async def make_price(shop: Any, lookup_key: str | None = None, meter: str = "mtr_api_overage") -> str:
    """A price of 5 cents a unit."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Overage"})
    order: dict[str, Any] = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": 5,
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter},
    }
    if lookup_key is not None:
        order |= {"lookup_key": lookup_key, "transfer_lookup_key": True}
    return str((await v1.prices.create_async(order)).id)


def bill_at(shop: Any, tier: str, price: PriceName) -> None:
    """The seller's policy bills overage of a tier at a price from now on."""
    held = shop.sync._policy
    overage = Overage(meter="requests", stripe_meter="api_overage", price=price)
    tiers = held.current.tiers
    held.current = replace(held.current, tiers=tiers | {tier: replace(tiers[tier], overages=(overage,))})


async def usage_billed(shop: Any, customer_id: str, units: int) -> list[tuple[int | None, int]]:
    """Units and amount of each line of usage on the next renewal's invoice, after so many units were reported."""
    v1 = shop.sandbox.stripe.v1
    row = await shop.ledger.find_customer(customer_id)
    payload = {"stripe_customer_id": row.stripe_customer_id, "value": str(units)}
    await v1.billing.meter_events.create_async({"event_name": "api_overage", "payload": payload})
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    found = await v1.invoices.list_async({"subscription": recorded.subscription_id})
    lines = [(line.quantity, line.amount) for line in found.data[0].lines.data]
    return [line for line in lines if line[0] == units]


@pytest.mark.parametrize("how", ["by another lookup key", "by an id"])
async def test_a_price_that_policy_names_no_more_goes_with_a_change_of_plan(shop: Any, how: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration="next invoice")
    await seller_adds(shop, customer_id, "pro_overage")
    made = await make_price(shop, "pro_overage_v2")
    bill_at(shop, "pro", PriceName(price_id=made) if how == "by an id" else PriceName(lookup_key="pro_overage_v2"))
    await shop.sync.sync_customer(customer_id, "policy changed")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}
    assert await usage_billed(shop, customer_id, 1000) == [(1000, 2000)]


async def test_a_price_that_was_bought_after_its_lookup_key_had_moved_goes_with_a_change_of_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    old = await make_price(shop)
    recorded = await shop.load(customer_id)
    await shop.sandbox.stripe.v1.subscriptions.update_async(recorded.subscription_id, {"items": [{"price": old}]})
    await shop.settle()
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}


async def test_what_bills_a_meter_of_the_sellers_own_is_left_alone(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    v1 = shop.sandbox.stripe.v1
    meter = await v1.billing.meters.create_async(
        {
            "display_name": "Storage",
            "event_name": f"storage_{customer_id}",
            "default_aggregation": {"formula": "sum"},
        }
    )
    await make_price(shop, "of_the_seller", meter.id)
    await seller_adds(shop, customer_id, "of_the_seller")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert "of_the_seller" in await items(shop, customer_id)


async def test_the_plan_that_there_is_gets_its_own_price_of_overage_when_it_is_asked_for(shop: Any) -> None:
    """Its price was changed in the dashboard, and the item beside it stayed what it was."""
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration="now")
    await seller_adds(shop, customer_id, "pro_overage")
    there = await items(shop, customer_id)
    order = {"items": [{"id": there["pro_monthly"], "price": "price_enterprise_monthly"}]}
    await shop.sandbox.stripe.v1.subscriptions.update_async((await shop.load(customer_id)).subscription_id, order)
    await shop.settle()
    for _ in range(2):
        changed = await changes.apply(customer_id, "enterprise-monthly", actor="customer")
        assert not changed.result.is_pending
        assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}
    assert [one.lookup_key for one in (await shop.load(customer_id)).metered if one.gone_at is None] == [
        "enterprise_overage"
    ]


async def test_the_plan_that_there_is_gets_the_price_that_policy_bills_it_at_now(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    await seller_adds(shop, customer_id, "pro_overage")
    bill_at(shop, "pro", PriceName(lookup_key="enterprise_overage"))
    bill_at(shop, "enterprise", PriceName(lookup_key="pro_overage"))
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert set(await items(shop, customer_id)) == {"pro_monthly", "enterprise_overage"}
