"""A subscription whose invoices are sent by mail: nobody is charged, and it is owed once a date has passed."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from gateway.core.access import decide_access
from gateway.sync import PlanChanges

pytestmark = pytest.mark.slow

DAY = 86_400
BY_MAIL = {"collection_method": "send_invoice", "days_until_due": 30}
DRAFT_S = 3_700


async def had(shop: Any, customer_id: str) -> tuple[str | None, str]:
    """Tier and standing, by now."""
    await shop.settle()
    access = decide_access(await shop.ledger.load_account(customer_id), shop.sync.policy, shop.sandbox.clock.now())
    return access.tier and access.tier.name, access.standing


async def begun(shop: Any, **changes: Any) -> tuple[str, Any]:
    """A customer to whom the seller gives such a subscription; it has no card."""
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    wanted = {"customer": row.stripe_customer_id, "items": [{"price": "price_pro_monthly"}]}
    return customer_id, await shop.sandbox.stripe.v1.subscriptions.create_async(wanted | BY_MAIL | changes)


async def latest(shop: Any, subscription: Any) -> Any:
    return (await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription.id})).data[0]


async def test_the_plan_is_had_from_the_start_and_owed_after_the_day_until_it_is_paid(shop: Any) -> None:
    customer_id, subscription = await begun(shop)
    assert (subscription.status, (await latest(shop, subscription)).status) == ("active", "draft")
    assert await had(shop, customer_id) == ("pro", "good")
    await shop.sandbox.control("clock/advance", seconds=DRAFT_S)
    sent = await latest(shop, subscription)
    assert (sent.status, sent.attempt_count, sent.due_date) == (
        "open",
        0,
        sent.status_transitions.finalized_at + 30 * DAY,
    )
    await shop.sandbox.control("clock/advance", until=sent.due_date - DAY)
    assert await had(shop, customer_id) == ("pro", "good")
    await shop.sandbox.control("clock/advance", until=sent.due_date + 60)
    assert await had(shop, customer_id) == ("pro", "grace")
    await shop.sandbox.control("clock/advance", seconds=8 * DAY)
    assert await had(shop, customer_id) == ("free", "lapsed")
    for invoice in (await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription.id})).data:
        if invoice.status == "open":
            await shop.sandbox.stripe.v1.invoices.pay_async(invoice.id, {"paid_out_of_band": True})
    assert await had(shop, customer_id) == ("pro", "good")


async def test_a_card_on_file_is_not_charged_for_it(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    recorded = await shop.load(customer_id)
    v1 = shop.sandbox.stripe.v1
    changed = await v1.subscriptions.update_async(recorded.subscription_id, BY_MAIL)
    assert (changed.collection_method, changed.days_until_due) == ("send_invoice", 30)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + DRAFT_S)
    assert await had(shop, customer_id) == ("pro", "good")
    renewal = await latest(shop, changed)
    assert (renewal.status, renewal.attempt_count, renewal.billing_reason) == ("open", 0, "subscription_cycle")
    again = await v1.subscriptions.update_async(recorded.subscription_id, {"collection_method": "charge_automatically"})
    assert again.days_until_due is None


async def test_a_seller_must_say_how_long_there_is_to_pay(shop: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await begun(shop, collection_method="charge_automatically")
    customer_id = await shop.buyer("pro-monthly")
    recorded = await shop.load(customer_id)
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await shop.sandbox.stripe.v1.subscriptions.update_async(
            recorded.subscription_id, {"collection_method": "send_invoice"}
        )


async def test_stripe_lets_no_change_of_it_wait_for_a_payment(shop: Any) -> None:
    customer_id, subscription = await begun(shop)
    await had(shop, customer_id)
    [item] = subscription["items"].data
    change = {"items": [{"id": item.id, "price": "price_pro_yearly"}], "payment_behavior": "pending_if_incomplete"}
    with pytest.raises(stripe.InvalidRequestError, match="charge_automatically"):
        await shop.sandbox.stripe.v1.subscriptions.update_async(subscription.id, change)


ENTERPRISE = {"items": [{"price": "price_enterprise_monthly"}], "days_until_due": 45}
"""Longer than any month, so that the first invoice is not overdue when the next is made."""


async def test_a_change_at_the_end_of_the_period_is_planned_and_made_and_invoices_are_sent_on(shop: Any) -> None:
    customer_id, subscription = await begun(shop, **ENTERPRISE)
    assert await had(shop, customer_id) == ("enterprise", "good")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    preview = await changes.preview(customer_id, "pro-monthly", when="period-end")
    planned = await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    assert preview.takes_effect_at == planned.takes_effect_at
    await shop.settle()
    record = await shop.load(customer_id)
    assert (record.plan_id, record.scheduled_plan_id) == ("enterprise-monthly", "pro-monthly")
    await shop.sandbox.control("clock/advance", until=planned.takes_effect_at + DRAFT_S)
    assert await had(shop, customer_id) == ("pro", "good")
    renewal = await latest(shop, subscription)
    assert (renewal.status, renewal.attempt_count, renewal.amount_due) == ("open", 0, 2900)
    assert renewal.due_date == renewal.status_transitions.finalized_at + 45 * DAY
    now = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription.id)
    assert (now.collection_method, now.days_until_due) == ("send_invoice", 45)


async def test_a_planned_change_is_taken_back(shop: Any) -> None:
    customer_id, subscription = await begun(shop, **ENTERPRISE)
    await had(shop, customer_id)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    await changes.keep(customer_id, actor="customer")
    now = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription.id)
    assert (now.schedule, now.collection_method, now.days_until_due) == (None, "send_invoice", 45)


async def test_what_is_planned_is_planned_anew_once_the_seller_gives_more_time_to_pay(shop: Any) -> None:
    customer_id, subscription = await begun(shop, **ENTERPRISE)
    await had(shop, customer_id)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    planned = await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription.id, {"days_until_due": 60})
    await shop.settle()
    await shop.sandbox.control("clock/advance", until=planned.takes_effect_at + DRAFT_S)
    assert await had(shop, customer_id) == ("pro", "good")
    now = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription.id)
    assert (now.collection_method, now.days_until_due) == ("send_invoice", 60)


async def test_one_that_is_collected_by_itself_from_then_on_is_not_sent_again_by_what_is_planned(shop: Any) -> None:
    customer_id, subscription = await begun(shop, **ENTERPRISE)
    await had(shop, customer_id)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    planned = await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    change = {"collection_method": "charge_automatically", "default_payment_method": card.id}
    await v1.subscriptions.update_async(subscription.id, change)
    await shop.settle()
    await shop.sandbox.control("clock/advance", until=planned.takes_effect_at + DRAFT_S)
    assert await had(shop, customer_id) == ("pro", "good")
    now = await v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert (now.collection_method, now.latest_invoice.status) == ("charge_automatically", "paid")
