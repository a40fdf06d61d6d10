"""Who is sold nothing more: while collection is paused, and while suspended. Less can be had all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import AccountSuspended
from gateway.core.lifecycle import DISPUTED
from gateway.core.offer import AddOn, SeatRange
from gateway.core.policy import Standing
from gateway.core.switching import SwitchTerms
from gateway.sync import CollectionPaused, ExtrasOrder, PlanChanges, portal_flow
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow

REFUSED = Standing(keep_s=0, then=None, refusal="account-suspended")
EXTRA = AddOn(name="extra", title="Extra", price_id=None, lookup_key="nothing_more_extra", features=frozenset())


def changes_of(shop: Any, **terms: Any) -> PlanChanges:
    held = shop.sync._policy
    plans = dict(held.current.plans)
    plans["pro-monthly"] = replace(plans["pro-monthly"], seats=SeatRange(least=1, most=10), add_ons=("extra",))
    switching = SwitchTerms(downgrade=("period-end", "now"), **terms)
    held.current = replace(held.current, plans=plans, add_ons={"extra": EXTRA}, switching=switching)
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def pause(shop: Any, customer_id: str, behavior: str) -> None:
    subscription_id = (await shop.load(customer_id)).subscription_id
    order = {"pause_collection": {"behavior": behavior}}
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription_id, order)
    await shop.settle()


async def block(shop: Any, customer_id: str) -> None:
    now = int(shop.sandbox.clock.now())
    await shop.ledger.set_blocked(customer_id, blocked=True, now=now, actor="seller", because="abuse", assess=None)


async def dispute(shop: Any, customer_id: str, rule: Standing) -> None:
    """A payment is disputed, and policy says what that does."""
    held = shop.sync._policy
    held.current = replace(held.current, lifecycle=held.current.lifecycle | {DISPUTED: rule})
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.control("disputes", customer=row.stripe_customer_id)
    await shop.settle()


async def buyer_of_two_seats(shop: Any) -> str:
    customer_id: str = await shop.buyer("pro-monthly")
    await changes_of(shop).apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2))
    return customer_id


async def refuse_all_that_is_more(shop: Any, customer_id: str, error: type[Exception]) -> None:
    changes = changes_of(shop)
    for plan_id, order in (
        ("enterprise-monthly", ExtrasOrder()),
        ("pro-yearly", ExtrasOrder()),
        (None, ExtrasOrder(seats=3)),
        (None, ExtrasOrder(seats=1, add_ons=("extra",))),
        (None, ExtrasOrder(add_ons=("extra",))),
    ):
        with pytest.raises(error):
            await changes.preview(customer_id, plan_id, extras=order)
        with pytest.raises(error):
            await changes.apply(customer_id, plan_id, actor="customer", extras=order)
    with pytest.raises(error):
        await portal_flow(shop.sync, customer_id, "subscription_update", "http://localhost/account")
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


@pytest.mark.parametrize("behavior", ["void", "keep_as_draft", "mark_uncollectible"])
async def test_while_collection_is_paused_nothing_more_is_sold(shop: Any, behavior: str) -> None:
    customer_id = await buyer_of_two_seats(shop)
    await pause(shop, customer_id, behavior)
    await refuse_all_that_is_more(shop, customer_id, CollectionPaused)


async def test_a_blocked_customer_can_buy_nothing_more(shop: Any) -> None:
    customer_id = await buyer_of_two_seats(shop)
    await block(shop, customer_id)
    await refuse_all_that_is_more(shop, customer_id, AccountSuspended)


async def test_whoever_is_refused_for_a_dispute_can_buy_nothing_more(shop: Any) -> None:
    customer_id = await buyer_of_two_seats(shop)
    await dispute(shop, customer_id, REFUSED)
    await refuse_all_that_is_more(shop, customer_id, AccountSuspended)


async def test_whoever_is_refused_for_a_dispute_is_sold_no_other_subscription(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await dispute(shop, customer_id, REFUSED)
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    with pytest.raises(AccountSuspended):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_a_dispute_that_refuses_nobody_yet_keeps_nobody_from_buying(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await dispute(shop, customer_id, replace(REFUSED, keep_s=3 * 86_400))
    changed = await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert changed.plan_id == "enterprise-monthly"


async def test_whoever_is_refused_for_a_dispute_can_mend_the_card_and_cancel(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await dispute(shop, customer_id, REFUSED)
    for flow in (None, "payment_method_update", "subscription_cancel"):
        assert await checkouts_of(shop).open_portal(customer_id, flow)


@pytest.mark.parametrize("why", ["blocked", "paused", "disputed"])
async def test_less_can_be_had_and_planned(shop: Any, why: str) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    if why == "disputed":
        await dispute(shop, customer_id, REFUSED)
    else:
        await (block(shop, customer_id) if why == "blocked" else pause(shop, customer_id, "void"))
    planned = await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert planned.when == "period-end"
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert (await shop.load(customer_id)).scheduled_plan_id is None
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="now")
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


@pytest.mark.parametrize(
    ("behavior", "becomes"),
    [("void", "void"), ("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")],
)
async def test_an_invoice_that_stripe_makes_at_once_in_a_pause_collects_nothing(
    shop: Any, behavior: str, becomes: str
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await pause(shop, customer_id, behavior)
    v1 = shop.sandbox.stripe.v1
    subscription_id = (await shop.load(customer_id)).subscription_id
    one = await v1.subscriptions.retrieve_async(subscription_id)
    items = [{"id": one["items"].data[0].id, "price": "price_enterprise_monthly"}]
    order = {"items": items, "proration_behavior": "always_invoice", "expand": ["latest_invoice"]}
    changed = await v1.subscriptions.update_async(subscription_id, order)
    invoice = changed.latest_invoice
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == ("subscription_update", becomes, 0)
    assert changed.status == "active"
