"""Subscription schedules: taken over, planned, carried out by the test clock, let go."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

MONTHLY, YEARLY, ENTERPRISE = "price_pro_monthly", "price_pro_yearly", "price_enterprise_monthly"


def _in_the_middle_of_next_month() -> int:
    """A month after the last days of one is no month before the last days of the next."""
    now = dt.datetime.now(dt.UTC)
    return int((now.replace(day=15) + dt.timedelta(days=31)).replace(day=15).timestamp())


async def _taken_over(sandbox: Any, price: str = ENTERPRISE, **fields: Any) -> tuple[Any, Any]:
    subscription = await sandbox.subscribe(price=price, **fields)
    schedule = await sandbox.v1.subscription_schedules.create_async({"from_subscription": subscription.id})
    return subscription, schedule


async def _plan(sandbox: Any, schedule: Any, price: str, **fields: Any) -> Any:
    [current] = schedule.phases
    items = [{"price": item.price, "quantity": item.quantity} for item in current["items"]]
    return await sandbox.v1.subscription_schedules.update_async(
        schedule.id,
        {
            "end_behavior": "release",
            "phases": [
                {"items": items, "start_date": current.start_date, "end_date": current.end_date},
                {"items": [{"price": price}], "proration_behavior": "none"},
            ],
            **fields,
        },
    )


async def test_a_schedule_begins_as_the_subscription_is(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    item = subscription["items"].data[0]
    [phase] = schedule.phases
    assert (schedule.status, schedule.end_behavior, schedule.subscription) == ("active", "release", subscription.id)
    assert (phase.start_date, phase.end_date) == (item.current_period_start, item.current_period_end)
    assert [(one.price, one.quantity) for one in phase["items"]] == [(ENTERPRISE, 1)]
    assert (await sandbox.subscription(subscription.id)).schedule == schedule.id
    assert [event.type for event in await sandbox.events()][-2:] == [
        "subscription_schedule.created",
        "customer.subscription.updated",
    ]


async def test_a_subscription_has_one_schedule_at_most(sandbox: Any) -> None:
    subscription, _ = await _taken_over(sandbox)
    with pytest.raises(stripe.InvalidRequestError, match="already attached to a schedule"):
        await sandbox.v1.subscription_schedules.create_async({"from_subscription": subscription.id})


@pytest.mark.parametrize(("before", "after"), [(ENTERPRISE, MONTHLY), (YEARLY, MONTHLY), (MONTHLY, YEARLY)])
async def test_a_phase_takes_effect_with_the_renewal_and_is_billed_by_it_alone(
    sandbox: Any, before: str, after: str
) -> None:
    await sandbox.advance_to(_in_the_middle_of_next_month())
    subscription, schedule = await _taken_over(sandbox, before)
    planned = await _plan(sandbox, schedule, after)
    ends_at = planned.phases[0].end_date
    await sandbox.advance_to(ends_at - 60)
    assert (await sandbox.subscription(subscription.id))["items"].data[0].price.id == before
    await sandbox.advance_to(ends_at + 2 * 3600)
    renewed = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    [item] = renewed["items"].data
    assert (item.price.id, item.current_period_start) == (after, ends_at)
    assert item.current_period_end == planned.phases[1].end_date
    price = await sandbox.v1.prices.retrieve_async(after)
    assert [line.amount for line in renewed.latest_invoice.lines.data] == [price.unit_amount]
    assert renewed.latest_invoice.billing_reason == "subscription_cycle"
    invoices = await sandbox.v1.invoices.list_async({"subscription": subscription.id})
    assert len(invoices.data) == 2


async def test_behind_its_last_phase_a_schedule_lets_go(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    planned = await _plan(sandbox, schedule, MONTHLY)
    await sandbox.advance_to(planned.phases[1].end_date + 1)
    over = await sandbox.v1.subscription_schedules.retrieve_async(schedule.id)
    assert (over.status, over.subscription, over.released_subscription) == ("released", None, subscription.id)
    now = await sandbox.subscription(subscription.id)
    assert (now.status, now.schedule, now["items"].data[0].price.id) == ("active", None, MONTHLY)
    types = [event.type for event in await sandbox.events() if event.type.startswith("subscription_schedule.")]
    assert types == [
        "subscription_schedule.created",
        "subscription_schedule.updated",
        "subscription_schedule.updated",
        "subscription_schedule.released",
    ]


async def test_a_schedule_that_was_let_go_changes_nothing_any_more(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    await _plan(sandbox, schedule, MONTHLY)
    released = await sandbox.v1.subscription_schedules.release_async(schedule.id)
    assert (released.status, released.released_subscription) == ("released", subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="currently in the `released` status"):
        await sandbox.v1.subscription_schedules.release_async(schedule.id)
    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 2 * 3600)
    assert (await sandbox.subscription(subscription.id))["items"].data[0].price.id == ENTERPRISE


async def test_a_cancelled_schedule_ends_its_subscription(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    canceled = await sandbox.v1.subscription_schedules.cancel_async(schedule.id, {"prorate": False})
    assert (canceled.status, (await sandbox.subscription(subscription.id)).status) == ("canceled", "canceled")


async def test_the_end_of_a_subscription_is_the_end_of_its_schedule(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    await _plan(sandbox, schedule, MONTHLY)
    await sandbox.v1.subscriptions.cancel_async(subscription.id)
    assert (await sandbox.v1.subscription_schedules.retrieve_async(schedule.id)).status == "canceled"


@pytest.mark.parametrize("end", [{"cancel_at_period_end": True}, {"cancel_at": "max_period_end"}])
async def test_the_end_of_a_scheduled_subscription_is_not_set_beside_its_schedule(sandbox: Any, end: Any) -> None:
    subscription, _ = await _taken_over(sandbox)
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        await sandbox.v1.subscriptions.update_async(subscription.id, end)


async def test_a_direct_change_moves_the_current_phase_and_the_next_one_comes_all_the_same(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox)
    planned = await _plan(sandbox, schedule, MONTHLY)
    item = subscription["items"].data[0]
    await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"id": item.id, "quantity": 3}]})
    now = await sandbox.v1.subscription_schedules.retrieve_async(schedule.id, {"expand": ["phases.items.price"]})
    assert [one.quantity for one in now.phases[0]["items"]] == [3]
    assert now.phases[1]["items"][0].price.lookup_key == "pro_monthly"
    await sandbox.advance_to(planned.phases[0].end_date + 2 * 3600)
    [after] = (await sandbox.subscription(subscription.id))["items"].data
    assert (after.price.id, after.quantity) == (MONTHLY, 1)


async def test_a_change_of_the_current_phase_is_prorated_at_once(sandbox: Any) -> None:
    subscription, schedule = await _taken_over(sandbox, MONTHLY)
    [phase] = schedule.phases
    await sandbox.advance_to((phase.start_date + phase.end_date) // 2)
    current = {"items": [{"price": ENTERPRISE}], "start_date": phase.start_date, "end_date": phase.end_date}
    await sandbox.v1.subscription_schedules.update_async(
        schedule.id, {"phases": [current], "proration_behavior": "always_invoice"}
    )
    now = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert [line.amount for line in now.latest_invoice.lines.data] == [-1450, 24_950]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_date": 1}, "start date of the current phase"),
        ({"end_date": 1_000}, "must end in the future"),
    ],
)
async def test_phases_that_cannot_be_are_refused(sandbox: Any, change: Any, message: str) -> None:
    _, schedule = await _taken_over(sandbox)
    [phase] = schedule.phases
    asked = {"items": [{"price": MONTHLY}], "start_date": phase.start_date, "end_date": phase.end_date, **change}
    with pytest.raises(stripe.InvalidRequestError, match=message):
        await sandbox.v1.subscription_schedules.update_async(schedule.id, {"phases": [asked]})


@pytest.mark.parametrize("act", ["cancel", "plan"])
async def test_what_a_customer_does_in_the_portal_takes_the_place_of_what_was_planned(sandbox: Any, act: str) -> None:
    subscription, schedule = await _taken_over(sandbox)
    await _plan(sandbox, schedule, MONTHLY)
    portal = await sandbox.v1.billing_portal.sessions.create_async({"customer": subscription.customer})
    form = {"subscription": subscription.id, "price": YEARLY}
    assert (await sandbox.http.post(f"{portal.url}/{act}", data=form)).status_code == 303
    assert (await sandbox.v1.subscription_schedules.retrieve_async(schedule.id)).status == "released"
    now = await sandbox.subscription(subscription.id)
    assert (now.schedule, now.cancel_at is not None) == (None, act == "cancel")


async def test_phases_that_end_at_the_same_instant_are_all_carried_out(sandbox: Any) -> None:
    made = [await _taken_over(sandbox) for _ in range(3)]
    at = min(schedule.phases[0].end_date for _, schedule in made) - 3600
    for _, schedule in made:
        first = {"items": [{"price": ENTERPRISE}], "start_date": schedule.phases[0].start_date, "end_date": at}
        phases = [first, {"items": [{"price": MONTHLY}]}]
        await sandbox.v1.subscription_schedules.update_async(schedule.id, {"phases": phases})
    await sandbox.advance_to(at)
    for subscription, _ in made:
        assert (await sandbox.subscription(subscription.id))["items"].data[0].price.id == MONTHLY
