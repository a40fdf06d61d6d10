"""The lookup key of a price of overage moves to a successor: who bought it keeps it, and is billed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.access import decide_access
from gateway.core.allowance import carried_item
from gateway.core.overage import Overage, PriceName
from gateway.core.switching import SwitchTerms
from gateway.sync import PlanChanges

OVERAGE = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key="moved_overage"))
DEARER = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key="moved_overage_max"))


async def make_price(shop: Any, lookup_key: str, amount: int) -> str:
    """A price that has the key from now on, whichever had it before."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Overage"})
    price = await v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_api_overage"},
            "lookup_key": lookup_key,
            "transfer_lookup_key": True,
        }
    )
    return price.id


async def seller(shop: Any, enterprise: Overage) -> tuple[PlanChanges, str]:
    old = await make_price(shop, "moved_overage", 3)
    held = shop.sync._policy
    tiers = dict(held.current.tiers)
    tiers["pro"] = replace(tiers["pro"], overages=(OVERAGE,))
    tiers["enterprise"] = replace(tiers["enterprise"], overages=(enterprise,))
    held.current = replace(held.current, tiers=tiers, switching=SwitchTerms())
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock), old


async def prices_of(shop: Any, customer_id: str) -> list[str]:
    recorded = await shop.load(customer_id)
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id)
    return sorted(item.price.id for item in subscription["items"].data if item.price.recurring.usage_type == "metered")


async def billed_at(shop: Any, customer_id: str) -> str | None:
    """The price that overage of the tier in force is billed at; None: there is no overage."""
    account = await shop.ledger.load_account(customer_id)
    policy = shop.sync._policy.current
    access = decide_access(account, policy, shop.sandbox.clock.now())
    [overage] = access.tier.overages
    item = carried_item(policy, account, access, overage)
    return None if item is None else item.price_id


async def test_who_bought_overage_keeps_it_at_the_price_that_was_bought(shop: Any) -> None:
    _, old = await seller(shop, OVERAGE)
    customer_id = await shop.buyer("pro-monthly")
    await make_price(shop, "moved_overage", 30)
    for _ in range(2):
        await shop.sync.sync_customer(customer_id, "price.updated")
    assert await billed_at(shop, customer_id) == old
    account = await shop.ledger.load_account(customer_id)
    [item] = account.subscription.metered
    assert (item.price_id, item.lookup_key, item.known_as) == (old, None, "moved_overage")


async def test_a_change_to_a_plan_with_the_same_price_keeps_the_one_that_was_bought(shop: Any) -> None:
    changes, old = await seller(shop, OVERAGE)
    customer_id = await shop.buyer("pro-monthly")
    await make_price(shop, "moved_overage", 30)
    await shop.sync.sync_customer(customer_id, "price.updated")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert await prices_of(shop, customer_id) == [old]
    assert await billed_at(shop, customer_id) == old


async def test_a_change_to_a_plan_with_another_price_takes_the_old_one_away(shop: Any) -> None:
    changes, _ = await seller(shop, DEARER)
    dearer = await make_price(shop, "moved_overage_max", 50)
    customer_id = await shop.buyer("pro-monthly")
    await make_price(shop, "moved_overage", 30)
    await shop.sync.sync_customer(customer_id, "price.updated")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert await prices_of(shop, customer_id) == [dearer]
