"""Links into Stripe's portal: what each opens at, for whom, and where it leads afterwards; against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import PaymentRequired
from gateway.sync import (
    NoSubscription,
    PlanChanges,
    SubscriptionEnding,
    SubscriptionScheduled,
    UnknownPlan,
    portal_flow,
)

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"
PAYS = "4242424242424242"
DONE = "http://127.0.0.1/account?done=it"
CARD_FORM = 'name="card_number"'
UPDATES = ("subscription_update", "subscription_update_confirm")


async def opened(shop: Any, customer_id: str, name: Any, plan_id: str | None = None) -> tuple[str, str]:
    """The address of the portal at that act, and what its page shows."""
    flow = await portal_flow(shop.sync, customer_id, name, DONE, plan_id)
    row = await shop.ledger.find_customer(customer_id)
    address = await shop.billing.create_portal_session(row.stripe_customer_id, "http://127.0.0.1/account", flow)
    page = await shop.sandbox.http.get(address)
    assert page.status_code == 200
    return address, page.text


async def overdue(shop: Any) -> str:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await shop.sandbox.control("clock/advance", until=(await shop.load(customer_id)).period_ends_at + 2 * 3600)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "past_due"
    return customer_id


async def test_past_due_locks_nobody_out_of_the_card_form(shop: Any) -> None:
    customer_id = await overdue(shop)
    address, page = await opened(shop, customer_id, "payment_method_update")
    assert CARD_FORM in page
    assert "Switch to" not in page
    assert "Cancel at the end" not in page
    paid = await shop.sandbox.http.post(f"{address}/card", data={"card_number": PAYS})
    assert (paid.status_code, paid.headers["location"]) == (303, DONE)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "active"


@pytest.mark.parametrize("status", ["unpaid", "canceled"])
async def test_a_card_can_be_changed_whatever_became_of_the_subscription(shop: Any, status: str) -> None:
    customer_id = await overdue(shop)
    await shop.sandbox.control("rules", final_action="unpaid" if status == "unpaid" else "cancel")
    try:
        await shop.sandbox.control("clock/advance", seconds=22 * DAY)
        await shop.settle()
    finally:
        await shop.sandbox.control("rules", final_action="cancel")
    assert (await shop.load(customer_id)).status == status
    assert CARD_FORM in (await opened(shop, customer_id, "payment_method_update"))[1]


async def test_whoever_owes_can_still_cancel_and_changes_no_plan(shop: Any) -> None:
    customer_id = await overdue(shop)
    assert "Cancel at the end" in (await opened(shop, customer_id, "subscription_cancel"))[1]
    for name in UPDATES:
        with pytest.raises(PaymentRequired):
            await portal_flow(shop.sync, customer_id, name, DONE, "enterprise-monthly")


async def test_a_cancellation_is_all_that_its_page_does(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    address, page = await opened(shop, customer_id, "subscription_cancel")
    assert "Cancel at the end" in page
    assert CARD_FORM not in page
    form = {"subscription": (await shop.load(customer_id)).subscription_id}
    done = await shop.sandbox.http.post(f"{address}/cancel", data=form)
    assert (done.status_code, done.headers["location"]) == (303, DONE)
    await shop.settle()
    assert (await shop.load(customer_id)).cancel_at is not None
    for name in ("subscription_cancel", *UPDATES):
        with pytest.raises(SubscriptionEnding):
            await portal_flow(shop.sync, customer_id, name, DONE, "enterprise-monthly")


@pytest.mark.parametrize("name", UPDATES)
async def test_a_plan_is_changed_in_the_portal_and_holds_here(shop: Any, name: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    address, page = await opened(shop, customer_id, name, "enterprise-monthly" if name == UPDATES[1] else None)
    assert ("Confirm" in page, "Switch plan" in page) == (name == UPDATES[1], name == UPDATES[0])
    form = {
        "subscription": (await shop.load(customer_id)).subscription_id,
        "price": "price_enterprise_monthly",
    }
    done = await shop.sandbox.http.post(f"{address}/plan", data=form)
    assert (done.status_code, done.headers["location"]) == (303, DONE)
    await shop.settle()
    assert (await shop.load(customer_id)).plan_id == "enterprise-monthly"


async def test_a_plan_that_is_not_sold_is_confirmed_by_nobody(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    for plan_id in ("gold", "tier:enterprise", None):
        with pytest.raises(UnknownPlan):
            await portal_flow(shop.sync, customer_id, UPDATES[1], DONE, plan_id)


async def test_without_a_subscription_there_is_a_card_form_and_nothing_else(shop: Any) -> None:
    customer_id = await shop.new_customer()
    for name in ("subscription_cancel", *UPDATES):
        with pytest.raises(NoSubscription):
            await portal_flow(shop.sync, customer_id, name, DONE, "pro-monthly")
    assert CARD_FORM in (await opened(shop, customer_id, "payment_method_update"))[1]


async def test_a_planned_change_is_not_stacked_upon_in_the_portal(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    for name in UPDATES:
        with pytest.raises(SubscriptionScheduled):
            await portal_flow(shop.sync, customer_id, name, DONE, "pro-yearly")
    assert "Cancel at the end" in (await opened(shop, customer_id, "subscription_cancel"))[1]
