"""A Stripe customer that was deleted and made anew by hand is the buyer's again: only a deleted one is left."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.checkout import AlreadySubscribed
from gateway.sync import EventWorker
from tests.billing.test_lost_customers import House
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow


def house_of(shop: Any) -> House:
    return House(shop=shop, ledger=shop.ledger, sync=shop.sync, worker=shop.worker)


async def made_anew(shop: Any, *, is_deleted: bool = True) -> tuple[str, str, str]:
    """A buyer, the Stripe customer that it had, and a new one that names the buyer and pays."""
    customer_id = await shop.buyer()
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    if is_deleted:
        await v1.customers.delete_async(row.stripe_customer_id)
        await shop.settle()
        assert (await shop.load(customer_id)).status == "canceled"
    new = await v1.customers.create_async({"metadata": {"tiergate_customer_id": customer_id}})
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": new.id})
    await v1.subscriptions.create_async(
        {
            "customer": new.id,
            "items": [{"price": "price_pro_monthly"}],
            "default_payment_method": card.id,
            "metadata": {"tiergate_customer_id": customer_id},
        }
    )
    return customer_id, row.stripe_customer_id, new.id


async def bound_rows(shop: Any, customer_id: str) -> list[tuple[str, str, str]]:
    rows = await shop.ledger.list_audit(customer_id)
    return [
        (row.actor, row.before["stripe_customer_id"], row.after["stripe_customer_id"])
        for row in rows
        if row.action == "stripe-customer-bound" and row.before is not None
    ]


async def test_the_event_that_names_the_buyer_binds_it_to_the_new_one(shop: Any) -> None:
    customer_id, old, new = await made_anew(shop)
    await shop.settle()
    assert await house_of(shop).tier(customer_id) == "pro"
    assert await bound_rows(shop, customer_id) == [("stripe", old, new)]
    assert await shop.ledger.list_events(status="dead") == []


async def test_the_import_binds_it_to_the_new_one_and_a_dry_run_says_so(shop: Any) -> None:
    customer_id, old, new = await made_anew(shop)
    dry = await house_of(shop).imports(is_dry=True)
    assert (dry.bound, [one for one in dry.conflicts if one.stripe_customer_id == new]) == (1, [])
    assert (await shop.ledger.find_customer(customer_id)).stripe_customer_id == old
    await house_of(shop).imports()
    assert await house_of(shop).tier(customer_id) == "pro"
    assert await bound_rows(shop, customer_id) == [("operator", old, new)]


async def test_a_checkout_finds_the_new_one_and_sells_nothing_beside_what_it_pays_for(shop: Any) -> None:
    customer_id, old, new = await made_anew(shop)
    with pytest.raises(AlreadySubscribed):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert await house_of(shop).tier(customer_id) == "pro"
    assert await bound_rows(shop, customer_id) == [("checkout", old, new)]


async def test_while_stripe_has_the_old_one_nothing_is_bound_anew_and_people_are_told(shop: Any) -> None:
    customer_id, old, new = await made_anew(shop, is_deleted=False)
    await shop.settle()
    assert (await shop.ledger.find_customer(customer_id)).stripe_customer_id == old
    dead = await shop.ledger.list_events(status="dead")
    assert len(dead) == 1
    assert "delete the one at Stripe that is not to be used" in (dead[0].error or "")
    conflicts = (await house_of(shop).imports(is_dry=True)).conflicts
    assert [one.code for one in conflicts if one.stripe_customer_id == new] == ["bound-elsewhere"]


async def test_a_late_event_of_one_that_is_deleted_itself_takes_nobody_back(shop: Any) -> None:
    customer_id, old, new = await made_anew(shop)
    await shop.settle()
    v1 = shop.sandbox.stripe.v1
    await v1.customers.delete_async(new)
    await shop.settle()
    worker = EventWorker(ledger=shop.ledger, sync=shop.sync, clock=shop.sandbox.clock)
    late = f'{{"data": {{"object": {{"metadata": {{"tiergate_customer_id": "{customer_id}"}}}}}}}}'
    await shop.ledger.store_event(
        event_id=f"evt_late{customer_id}",
        type="customer.subscription.updated",
        stripe_customer_id=old,
        livemode=False,
        api_version=None,
        payload=late,
        now=int(shop.sandbox.clock.now()),
    )
    await worker.work_once()
    assert (await shop.ledger.find_customer(customer_id)).stripe_customer_id == new


async def test_two_that_were_made_anew_are_a_conflict(shop: Any) -> None:
    customer_id, _, new = await made_anew(shop)
    await shop.sandbox.stripe.v1.customers.create_async({"metadata": {"tiergate_customer_id": customer_id}})
    conflicts = (await house_of(shop).imports(is_dry=True)).conflicts
    assert [one.code for one in conflicts if one.stripe_customer_id == new] == ["same-user-id"]
