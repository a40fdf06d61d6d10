"""A subscription whose parts renew at different times was made elsewhere: it grants its plan and stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.access import decide_access
from gateway.core.offer import AddOn
from gateway.sync import ExtrasOrder, IntervalsDiffer, PlanChanges, portal_flow
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow


async def mixed(shop: Any) -> str:
    """A customer whom the seller sold a monthly plan with a yearly add-on."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Yearly"})
    wanted = {"product": product.id, "currency": "usd", "unit_amount": 900, "recurring": {"interval": "year"}}
    price = await v1.prices.create_async(wanted)
    held = shop.sync._policy
    extra = AddOn(name="extra", title="Extra", price_id=price.id, lookup_key=None)
    plans = {name: replace(plan, add_ons=("extra",)) for name, plan in held.current.plans.items()}
    held.current = replace(held.current, plans=plans, add_ons={"extra": extra})
    customer_id: str = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    items = [{"price": "price_pro_monthly"}, {"price": price.id}]
    order = {"customer": row.stripe_customer_id, "items": items, "default_payment_method": card.id}
    await v1.subscriptions.create_async(order)
    await shop.settle()
    return customer_id


async def test_it_grants_what_was_bought(shop: Any) -> None:
    customer_id = await mixed(shop)
    record = await shop.load(customer_id)
    assert (record.plan_id, record.add_ons) == ("pro-monthly", (("extra", 1),))
    account = await shop.ledger.load_account(customer_id)
    assert decide_access(account, shop.sync.policy, shop.sandbox.clock.now()).standing == "good"


async def test_every_change_of_it_is_refused_with_whom_to_ask(shop: Any) -> None:
    customer_id = await mixed(shop)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    for act in (
        changes.preview(customer_id, "enterprise-monthly"),
        changes.preview(customer_id, "pro-yearly", when="period-end"),
        changes.apply(customer_id, "pro-yearly", actor="customer"),
        changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=())),
        portal_flow(shop.sync, customer_id, "subscription_update", "http://localhost/"),
    ):
        with pytest.raises(IntervalsDiffer, match="Ask the provider of this API"):
            await act
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


async def test_it_is_cancelled_and_its_card_changed_in_the_portal_as_ever(shop: Any) -> None:
    customer_id = await mixed(shop)
    assert (await portal_flow(shop.sync, customer_id, "subscription_cancel", "http://localhost/")).subscription_id
    await checkouts_of(shop).open_portal(customer_id, "payment_method_update")


async def test_nothing_is_planned_that_could_be_taken_back(shop: Any) -> None:
    customer_id = await mixed(shop)
    await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).keep(customer_id, actor="customer")
