"""What a customer buys of the seller beside the API is left alone, and stands in the way of nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.checkout import AlreadySubscribed
from gateway.core.switching import SwitchTerms
from gateway.sync import NoSubscription, PlanChanges, portal_flow
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow


async def contract(shop: Any, customer_id: str, **order: Any) -> str:
    """A subscription of 500.00 that no plan sells."""
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    product = await v1.products.create_async({"name": "Support"})
    price = {"product": product.id, "currency": "usd", "unit_amount": 50_000, "recurring": {"interval": "month"}}
    items = [{"price": (await v1.prices.create_async(price)).id}]
    whole = {"customer": row.stripe_customer_id, "items": items, "default_payment_method": card.id} | order
    made = await v1.subscriptions.create_async(whole)
    await shop.settle()
    return made.id


def changes_of(shop: Any) -> PlanChanges:
    held = shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms())
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def state(shop: Any, subscription_id: str) -> tuple[str, list[int], str]:
    """Status, amounts, and what became of the invoice."""
    one = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id, {"expand": ["latest_invoice"]})
    return one.status, [item.price.unit_amount for item in one["items"].data], one.latest_invoice.status


async def test_a_plan_is_sold_beside_what_no_plan_sells(shop: Any) -> None:
    customer_id = await shop.new_customer()
    other = await contract(shop, customer_id)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert (await shop.sandbox.pay(link.url)).status_code == 303
    await shop.settle()
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"
    with pytest.raises(AlreadySubscribed):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert (await shop.load(customer_id)).plan_id == "enterprise-monthly"
    assert await state(shop, other) == ("active", [50_000], "paid")


async def test_what_no_plan_sells_is_not_changed_to_a_plan(shop: Any) -> None:
    customer_id = await shop.new_customer()
    other = await contract(shop, customer_id)
    with pytest.raises(NoSubscription):
        await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    with pytest.raises(NoSubscription):
        await portal_flow(shop.sync, customer_id, "subscription_cancel", "http://localhost/account")
    assert await state(shop, other) == ("active", [50_000], "paid")


async def test_what_no_plan_sells_is_not_ended_while_it_waits_for_its_first_payment(shop: Any) -> None:
    customer_id = await shop.new_customer()
    other = await contract(shop, customer_id, payment_behavior="default_incomplete")
    assert await state(shop, other) == ("incomplete", [50_000], "open")
    await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert await state(shop, other) == ("incomplete", [50_000], "open")


async def test_beside_a_plan_whose_price_was_mapped_away_nothing_is_sold(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    held = shop.sync._policy
    plans = {name: plan for name, plan in held.current.plans.items() if name != "pro-monthly"}
    tiers = {name.replace("pro", "professional"): tier for name, tier in held.current.tiers.items()}
    plans["pro-yearly"] = replace(plans["pro-yearly"], tier="professional")
    tiers["professional"] = replace(tiers["professional"], name="professional")
    held.current = replace(held.current, plans=plans, tiers=tiers)
    await shop.sync.sync_customer(customer_id, "the policy changed")
    assert (await shop.load(customer_id)).plan_id is None
    with pytest.raises(AlreadySubscribed):
        await checkouts_of(shop).for_customer(customer_id, "enterprise-monthly")
