"""What somebody else planned for a subscription: a term stays a term, and our own change comes when it was said."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sync import PlanChanges, SubscriptionScheduled
from tests.billing.test_scheduled_changes import changes_of, schedules, to_the_next_period

pytestmark = pytest.mark.slow

DAY = 86_400
DAYS = 92


async def on_a_term(shop: Any, end_behavior: str) -> tuple[str, PlanChanges]:
    """A customer of enterprise whose seller wrote a phase of three months."""
    customer_id = await shop.buyer("enterprise-monthly")
    v1 = shop.sandbox.stripe.v1
    subscription_id = (await shop.load(customer_id)).subscription_id
    made = await v1.subscription_schedules.create_async({"from_subscription": subscription_id})
    starts_at = made.phases[0].start_date
    phase = {
        "start_date": starts_at,
        "end_date": starts_at + DAYS * DAY,
        "items": [{"price": "price_enterprise_monthly", "quantity": 1}],
    }
    await v1.subscription_schedules.update_async(made.id, {"phases": [phase], "end_behavior": end_behavior})
    await shop.settle()
    return customer_id, changes_of(shop, "period-end")


async def test_a_fixed_term_is_not_changed_into_one_that_goes_on(shop: Any) -> None:
    customer_id, changes = await on_a_term(shop, "cancel")
    for act in (
        changes.preview(customer_id, "pro-monthly"),
        changes.apply(customer_id, "pro-monthly", actor="customer"),
        changes.apply(customer_id, "enterprise-monthly", actor="customer"),
        changes.keep(customer_id, actor="customer"),
    ):
        with pytest.raises(SubscriptionScheduled, match="fixed term"):
            await act
    (schedule,) = await schedules(shop, customer_id)
    assert (schedule.end_behavior, len(schedule.phases)) == ("cancel", 1)


async def test_a_change_at_the_periods_end_does_not_wait_for_the_end_of_a_longer_phase(shop: Any) -> None:
    customer_id, changes = await on_a_term(shop, "release")
    ends_at = (await shop.load(customer_id)).period_ends_at
    changed = await changes.apply(customer_id, "pro-monthly", actor="customer")
    await shop.settle()
    record = await shop.load(customer_id)
    assert changed.takes_effect_at == record.scheduled_at == ends_at
    await to_the_next_period(shop, customer_id)
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"
