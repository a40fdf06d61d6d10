"""The lookup key of a price moves to a successor: who bought the plan keeps its price, until it changes the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.offer import AddOn, SeatRange
from gateway.core.switching import SwitchTerms
from gateway.sync import ExtrasOrder, PlanChanges

pytestmark = pytest.mark.slow

EXTRA = AddOn(name="kept", title="Kept", price_id=None, lookup_key="kept_extra", features=frozenset())


async def make_price(shop: Any, lookup_key: str, amount: int) -> str:
    """A price that has the key from now on, whichever had it before."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": lookup_key})
    order = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": amount,
        "recurring": {"interval": "month"},
        "lookup_key": lookup_key,
        "transfer_lookup_key": True,
    }
    return (await v1.prices.create_async(order)).id


async def seller(shop: Any, **terms: Any) -> PlanChanges:
    """Sells a small and a large plan, and an add-on beside both."""
    for lookup_key, amount in (("kept_small", 2900), ("kept_large", 9900), ("kept_extra", 500)):
        await make_price(shop, lookup_key, amount)
    held = shop.sync._policy
    plans = dict(held.current.plans)
    for name, like in (("small", "pro-monthly"), ("large", "enterprise-monthly")):
        seats = SeatRange(least=1, most=10)
        plans[name] = replace(plans[like], plan_id=name, lookup_key=f"kept_{name}", seats=seats, add_ons=("kept",))
    switching = SwitchTerms(downgrade=("period-end", "now"), **terms)
    held.current = replace(held.current, plans=plans, add_ons={"kept": EXTRA}, switching=switching)
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def is_dearer_now(shop: Any, customer_id: str, lookup_key: str, amount: int) -> str:
    """The key moves to another price, and the customer is read since."""
    price_id = await make_price(shop, lookup_key, amount)
    await shop.settle()
    await shop.sync.sync_customer(customer_id, "price.updated")
    return price_id


async def sold_at(shop: Any, customer_id: str) -> list[tuple[int, int]]:
    """Amount and quantity of each item."""
    recorded = await shop.load(customer_id)
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id)
    return sorted(((item.price.unit_amount, item.quantity) for item in subscription["items"].data), reverse=True)


async def to_the_next_period(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    await shop.settle()


async def test_more_seats_are_sold_at_the_price_that_there_is(shop: Any) -> None:
    changes = await seller(shop, proration="now")
    customer_id = await shop.buyer("small")
    await is_dearer_now(shop, customer_id, "kept_small", 9900)
    for plan_id, seats in ((None, 2), ("small", 3)):
        order = ExtrasOrder(seats=seats)
        preview = await changes.preview(customer_id, plan_id, extras=order)
        assert (preview.direction, preview.when) == ("upgrade", "now")
        assert preview.cost.prorated == 2900
        await changes.apply(customer_id, plan_id, actor="customer", extras=order)
        assert await sold_at(shop, customer_id) == [(2900, seats)]


async def test_an_add_on_comes_and_goes_beside_the_price_that_there_is(shop: Any) -> None:
    changes = await seller(shop)
    customer_id = await shop.buyer("small")
    await is_dearer_now(shop, customer_id, "kept_small", 9900)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("kept",)))
    assert await sold_at(shop, customer_id) == [(2900, 1), (500, 1)]
    planned = await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=()))
    assert planned.when == "period-end"
    await to_the_next_period(shop, customer_id)
    assert await sold_at(shop, customer_id) == [(2900, 1)]


async def test_the_plan_that_there_is_withdraws_what_is_planned_at_the_price_that_there_is(shop: Any) -> None:
    changes = await seller(shop)
    customer_id = await shop.buyer("large")
    await changes.apply(customer_id, "small", actor="customer")
    assert (await shop.load(customer_id)).scheduled_plan_id == "small"
    await is_dearer_now(shop, customer_id, "kept_large", 19_900)
    assert (await changes.preview(customer_id, "large")).direction == "same"
    await changes.apply(customer_id, "large", actor="customer")
    assert (await shop.load(customer_id)).scheduled_plan_id is None
    assert await sold_at(shop, customer_id) == [(9900, 1)]


async def test_another_plan_is_sold_at_its_present_price(shop: Any) -> None:
    changes = await seller(shop)
    customer_id = await shop.buyer("small")
    await is_dearer_now(shop, customer_id, "kept_large", 19_900)
    await is_dearer_now(shop, customer_id, "kept_small", 4900)
    await changes.apply(customer_id, "large", actor="customer")
    assert await sold_at(shop, customer_id) == [(19_900, 1)]
    await changes.apply(customer_id, "small", actor="customer", when="now")
    assert await sold_at(shop, customer_id) == [(4900, 1)], "who left a plan has its old price no more"


async def test_seats_change_while_the_plan_has_no_price_for_sale(shop: Any) -> None:
    changes = await seller(shop)
    customer_id = await shop.buyer("small")
    price_id = await is_dearer_now(shop, customer_id, "kept_small", 9900)
    await shop.sandbox.stripe.v1.prices.update_async(price_id, {"active": False})
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2))
    assert await sold_at(shop, customer_id) == [(2900, 2)]
