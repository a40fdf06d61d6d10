"""A planned change brings nothing back that was replaced since the day it was planned; against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.billing.plan_changes import PlanChanger
from gateway.billing.scheduling import Scheduler
from gateway.billing.terms import MOST_TIMES, is_outdated
from gateway.billing.webhook import METADATA_TERMS
from gateway.core.errors import BillingUnavailable
from gateway.sync import Comparing
from gateway.sync.everyone import sync_all
from gateway.sync.restoring import LAST_MOMENTS_S
from tests.billing.test_payments_of_changes import mend_card
from tests.billing.test_planned_again import notes
from tests.billing.test_scheduled_changes import changes_of, items, planned, schedules, to_the_next_period

pytestmark = pytest.mark.slow

FAILS_LATER = "4000000000000341"
MOST_REQUESTS = 8
"""What planning anew takes, as docs/plan-changes.md says."""


async def downgrading(shop: Any, card: str = FAILS_LATER) -> str:
    """Somebody who has planned to pay less, with a card that the next renewal cannot be charged to."""
    customer_id: str = await shop.buyer("enterprise-monthly", card)
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    await shop.settle()
    return customer_id


async def subscription_of(shop: Any, customer_id: str) -> Any:
    expand = ["customer", "latest_invoice"]
    subscription_id = (await shop.load(customer_id)).subscription_id
    return await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id, {"expand": expand})


async def set_card(shop: Any, customer_id: str) -> str:
    """On the subscription; its events are not worked off."""
    subscription = await subscription_of(shop, customer_id)
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer.id})
    await v1.subscriptions.update_async(subscription.id, {"default_payment_method": card.id})
    return str(card.id)


async def replace_card(shop: Any, customer_id: str, where: str) -> None:
    if where == "in the portal":
        await mend_card(shop, customer_id)
    else:
        await set_card(shop, customer_id)
        await shop.settle()


async def copied_card(shop: Any, customer_id: str) -> str | None:
    """The one that the schedule would set, of one that plans one change."""
    [schedule] = await schedules(shop, customer_id)
    assert [phase.default_payment_method for phase in schedule.phases] == [None, None]
    return schedule.default_settings.default_payment_method


@pytest.mark.parametrize("where", ["in the portal", "on the subscription"])
async def test_the_card_that_was_chosen_since_pays_the_renewal_of_a_planned_change(shop: Any, where: str) -> None:
    customer_id = await downgrading(shop)
    before = await shop.load(customer_id)
    await replace_card(shop, customer_id, where)
    assert await planned(shop, customer_id) == ("pro-monthly", before.period_ends_at)
    chosen = (await subscription_of(shop, customer_id)).default_payment_method
    await to_the_next_period(shop, customer_id)
    renewed = await subscription_of(shop, customer_id)
    assert renewed.default_payment_method == chosen
    assert (renewed.status, renewed.latest_invoice.status) == ("active", "paid")
    assert await items(shop, customer_id) == ["pro_monthly"]


async def test_what_the_seller_has_set_since_is_there_after_a_planned_change(shop: Any) -> None:
    customer_id = await downgrading(shop, "4242424242424242")
    subscription = await subscription_of(shop, customer_id)
    assert not subscription.automatic_tax.enabled
    change: Any = {
        "automatic_tax": {"enabled": True},
        "invoice_settings": {"footer": "as agreed"},
        "description": "new",
    }
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription.id, change)
    await shop.settle()
    await to_the_next_period(shop, customer_id)
    renewed = await subscription_of(shop, customer_id)
    assert (renewed.automatic_tax.enabled, renewed.invoice_settings.footer) == (True, "as agreed")
    assert (renewed.description, renewed.latest_invoice.footer) == ("new", "as agreed")
    assert await items(shop, customer_id) == ["pro_monthly"]


async def test_planning_another_change_does_not_set_what_was_there_as_the_first_was_planned(shop: Any) -> None:
    customer_id = await downgrading(shop)
    card = await set_card(shop, customer_id)
    await changes_of(shop).apply(customer_id, "pro-yearly", actor="customer")
    assert (await subscription_of(shop, customer_id)).default_payment_method == card
    assert await copied_card(shop, customer_id) == card
    await shop.settle()
    assert ((await planned(shop, customer_id))[0], await notes(shop, customer_id)) == ("pro-yearly", {})


async def test_the_same_change_asked_for_again_is_planned_anew_if_what_is_planned_is_old(shop: Any) -> None:
    customer_id = await downgrading(shop)
    card = await set_card(shop, customer_id)
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    assert await copied_card(shop, customer_id) == card


async def test_planning_anew_asks_for_little_and_leaves_nothing_to_do_to_its_own_events(shop: Any) -> None:
    customer_id = await downgrading(shop)
    [before] = await schedules(shop, customer_id)
    card = await set_card(shop, customer_id)
    with shop.billing.pace.counted() as sent:
        assert await changes_of(shop).restore(customer_id)
    assert sent.requests <= MOST_REQUESTS
    [made] = await schedules(shop, customer_id)
    assert made.id != before.id
    await shop.settle()
    [after] = await schedules(shop, customer_id)
    assert (after.id, await copied_card(shop, customer_id)) == (made.id, card)
    assert not await changes_of(shop).restore(customer_id)
    assert await notes(shop, customer_id) == {}


_STEPS = {
    "the note": (PlanChanger, "remember"),
    "the release": (Scheduler, "release"),
    "the take-over": (Scheduler, "_take_over"),
    "the plan": (Scheduler, "_tell"),
}


@pytest.mark.parametrize("is_made", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", _STEPS)
async def test_a_worker_that_is_lost_beside_any_step_loses_neither_the_plan_nor_the_card(
    shop: Any, monkeypatch: pytest.MonkeyPatch, step: str, *, is_made: bool
) -> None:
    customer_id = await downgrading(shop)
    card = await set_card(shop, customer_id)
    owner, name = _STEPS[step]
    does = getattr(owner, name)

    async def breaks_off(*args: Any, **named: Any) -> None:
        if is_made:
            await does(*args, **named)
        raise BillingUnavailable("lost")

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, breaks_off)
        with pytest.raises(BillingUnavailable):
            await changes_of(shop).restore(customer_id)
    await shop.settle()
    assert await copied_card(shop, customer_id) == card
    assert ((await planned(shop, customer_id))[0], await notes(shop, customer_id)) == ("pro-monthly", {})
    await to_the_next_period(shop, customer_id)
    renewed = await subscription_of(shop, customer_id)
    assert (renewed.default_payment_method, renewed.latest_invoice.status) == (card, "paid")
    assert await items(shop, customer_id) == ["pro_monthly"]


async def test_a_change_that_an_earlier_version_planned_is_planned_anew(shop: Any) -> None:
    """Its phases name the card, and it has no mark."""
    customer_id = await downgrading(shop)
    [schedule] = await schedules(shop, customer_id)
    old = schedule.default_settings.default_payment_method
    shown = [(one.start_date, one.end_date, one["items"][0].price) for one in schedule.phases]
    named: Any = {
        "phases": [
            {"start_date": at, "end_date": to, "items": [{"price": price}], "default_payment_method": old}
            for at, to, price in shown
        ],
        "metadata": {METADATA_TERMS: ""},
    }
    await shop.sandbox.stripe.v1.subscription_schedules.update_async(schedule.id, named)
    await shop.settle()
    assert await copied_card(shop, customer_id) == old
    [made] = await schedules(shop, customer_id)
    assert [(one.start_date, one.end_date, one["items"][0].price) for one in made.phases] == shown
    assert made.metadata[METADATA_TERMS].startswith("1:")


async def test_a_change_to_a_price_that_is_archived_by_now_stays_planned_and_asks_for_nothing(shop: Any) -> None:
    customer_id = await downgrading(shop)
    [before] = await schedules(shop, customer_id)
    prices = shop.sandbox.stripe.v1.prices
    await set_card(shop, customer_id)
    await prices.update_async("price_pro_monthly", {"active": False})
    try:
        await shop.settle()
        assert not await changes_of(shop).restore(customer_id)
        assert [one.id for one in await schedules(shop, customer_id)] == [before.id]
        assert await notes(shop, customer_id) == {}
    finally:
        await prices.update_async("price_pro_monthly", {"active": True})


async def test_in_the_last_moments_before_a_change_it_stays_planned(shop: Any) -> None:
    customer_id = await downgrading(shop)
    ends_at = (await shop.load(customer_id)).period_ends_at
    [before] = await schedules(shop, customer_id)
    await shop.sandbox.control("clock/advance", until=ends_at - LAST_MOMENTS_S)
    await replace_card(shop, customer_id, "on the subscription")
    assert [one.id for one in await schedules(shop, customer_id)] == [before.id]


async def test_what_no_event_tells_of_is_planned_anew_by_the_reconciliation(shop: Any) -> None:
    customer_id = await downgrading(shop)
    card = await set_card(shop, customer_id)
    told = await Comparing(sync=shop.sync, ledger=shop.ledger, clock=shop.sandbox.clock).compare_all(per_second=1000)
    assert (told.to_plan, told.differences) == ([customer_id], [])
    assert await copied_card(shop, customer_id) != card, "it only tells"
    report = await sync_all(shop.sync, per_second=1000)
    assert (report.planned, report.failed, report.stopped_because) == ([customer_id], 0, None)
    assert await copied_card(shop, customer_id) == card
    assert (await sync_all(shop.sync, per_second=1000)).planned == []


async def test_what_was_lost_and_no_event_tells_of_is_planned_again_by_the_reconciliation(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await downgrading(shop)

    async def breaks_off(_: object) -> None:
        raise BillingUnavailable("lost")

    with monkeypatch.context() as patched:
        patched.setattr(shop.sync.billing.changes, "apply", breaks_off)
        with pytest.raises(BillingUnavailable):
            await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer", when="now")
    assert await schedules(shop, customer_id) == []
    told = await Comparing(sync=shop.sync, ledger=shop.ledger, clock=shop.sandbox.clock).compare_all(per_second=1000)
    assert (told.to_plan, await schedules(shop, customer_id)) == ([customer_id], [])
    assert (await sync_all(shop.sync, per_second=1000)).planned == [customer_id]
    assert ((await planned(shop, customer_id))[0], await notes(shop, customer_id)) == ("pro-monthly", {})
    [last, *_] = await shop.ledger.list_audit(customer_id)
    assert last.actor == "reconciliation"


async def test_however_often_a_subscription_seems_to_change_a_change_is_planned_so_many_times_at_most(
    shop: Any,
) -> None:
    customer_id = await downgrading(shop)
    subscription = await subscription_of(shop, customer_id)
    assert is_outdated({METADATA_TERMS: f"{MOST_TIMES - 1}:another"}, subscription)
    assert not is_outdated({METADATA_TERMS: f"{MOST_TIMES}:another"}, subscription)
