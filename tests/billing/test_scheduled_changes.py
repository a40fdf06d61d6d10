"""Changes that Stripe makes by itself when the period ends: planned, changed, taken back; against the simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import stripe

from gateway.core.access import decide_access
from gateway.core.errors import BillingRefused, PaymentRequired
from gateway.core.switching import SwitchTerms, When
from gateway.sync import (
    ChangeTimeRefused,
    NoSubscription,
    PlanChanges,
    SubscriptionEnding,
    SubscriptionScheduled,
)

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"


def changes_of(shop: Any, *downgrade: When, upgrade: tuple[When, ...] = ("now",)) -> PlanChanges:
    """The changes of a seller whose policy says so."""
    held = shop.sync._policy
    terms = SwitchTerms(upgrade=upgrade, downgrade=downgrade or ("period-end", "now"))
    held.current = replace(held.current, switching=terms)
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def tier(shop: Any, customer_id: str) -> str | None:
    account = await shop.ledger.load_account(customer_id)
    access = decide_access(account, shop.sync.policy, shop.sandbox.clock.now())
    return None if access.tier is None else access.tier.name


async def planned(shop: Any, customer_id: str) -> tuple[str | None, int | None]:
    recorded = await shop.load(customer_id)
    return recorded.scheduled_plan_id, recorded.scheduled_at


async def schedules(shop: Any, customer_id: str, status: str = "active") -> list[Any]:
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    found = await v1.subscription_schedules.list_async({"customer": row.stripe_customer_id, "limit": 100})
    return [one for one in found.data if one.status == status]


async def items(shop: Any, customer_id: str) -> list[str]:
    recorded = await shop.load(customer_id)
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id)
    return [item.price.lookup_key for item in subscription["items"].data]


async def to_the_next_period(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    await shop.settle()


async def test_a_downgrade_holds_when_the_period_ends_and_costs_nothing_until_then(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    before = await shop.load(customer_id)
    changed = await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    assert (changed.when, changed.takes_effect_at) == ("period-end", before.period_ends_at)
    assert await planned(shop, customer_id) == ("pro-monthly", before.period_ends_at)
    assert await tier(shop, customer_id) == "enterprise"
    await to_the_next_period(shop, customer_id)
    after = await shop.load(customer_id)
    assert (after.plan_id, after.period_starts_at) == ("pro-monthly", before.period_ends_at)
    assert (await planned(shop, customer_id), await tier(shop, customer_id)) == ((None, None), "pro")
    found = await shop.sandbox.stripe.v1.invoices.list_async({"subscription": before.subscription_id})
    assert [one.amount_paid for one in found.data] == [2900, 49_900]


async def test_a_change_that_was_made_holds_the_subscription_no_longer(shop: Any) -> None:
    """For a whole interval nobody could set an end: Stripe has the schedule decide it."""
    customer_id = await shop.buyer("enterprise-monthly")
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    await to_the_next_period(shop, customer_id)
    await shop.settle()
    assert await schedules(shop, customer_id) == []
    subscription_id = (await shop.load(customer_id)).subscription_id
    v1 = shop.sandbox.stripe.v1
    ending = await v1.subscriptions.update_async(subscription_id, {"cancel_at_period_end": True})
    assert ending.cancel_at_period_end
    assert await items(shop, customer_id) == ["pro_monthly"]


@pytest.mark.parametrize(("before", "after"), [("pro-yearly", "pro-monthly"), ("enterprise-monthly", "pro-yearly")])
async def test_the_new_interval_begins_where_the_old_period_ends(shop: Any, before: str, after: str) -> None:
    customer_id = await shop.buyer(before)
    ends_at = (await shop.load(customer_id)).period_ends_at
    changed = await changes_of(shop).apply(customer_id, after, actor="customer")
    assert changed.when == "period-end"
    await to_the_next_period(shop, customer_id)
    recorded = await shop.load(customer_id)
    assert (recorded.plan_id, recorded.period_starts_at) == (after, ends_at)
    days = (recorded.period_ends_at - recorded.period_starts_at) / DAY
    assert 364 < days < 367 if after.endswith("yearly") else 27 < days < 32


async def test_the_preview_of_a_later_change_tells_what_the_renewal_asks_for_and_when(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    await shop.sandbox.control("clock/advance", seconds=10 * DAY)
    ends_at = (await shop.load(customer_id)).period_ends_at
    preview = await changes_of(shop).preview(customer_id, "pro-monthly")
    assert (preview.direction, preview.when, preview.allowed) == ("downgrade", "period-end", ("period-end", "now"))
    assert preview.takes_effect_at == ends_at <= preview.cost.next_invoice_at
    assert [(line.kind, line.amount) for line in preview.cost.lines] == [("period", 2900)]
    at_once = await changes_of(shop).preview(customer_id, "pro-monthly", when="now")
    assert (at_once.when, at_once.cost.prorated < 0) == ("now", True)


async def test_the_price_of_a_year_is_previewed_for_the_end_of_a_month(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    ends_at = (await shop.load(customer_id)).period_ends_at
    preview = await changes_of(shop).preview(customer_id, "pro-yearly")
    assert (preview.when, preview.cost.next_invoice_at) == ("period-end", ends_at)
    assert sum(line.amount for line in preview.cost.lines) == preview.cost.next_invoice == 29_000


async def test_a_change_that_is_planned_twice_is_one_and_a_later_one_takes_its_place(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    for _ in range(2):
        await changes.apply(customer_id, "pro-monthly", actor="customer")
    [first] = await schedules(shop, customer_id)
    await changes.apply(customer_id, "pro-yearly", actor="customer")
    [second] = await schedules(shop, customer_id)
    assert second.id != first.id, "it would set what the subscription had as the first was planned"
    assert [len(one) for one in (first.phases, second.phases)] == [2, 2]
    assert (await planned(shop, customer_id))[0] == "pro-yearly"
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["pro_yearly"]


@pytest.mark.parametrize("how", ["keep", "the plan that there is"])
async def test_a_planned_change_is_taken_back(shop: Any, how: str) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    if how == "keep":
        await changes.keep(customer_id, actor="customer")
    else:
        await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert await planned(shop, customer_id) == (None, None)
    assert await schedules(shop, customer_id) == []
    await changes.keep(customer_id, actor="customer")  # nothing is planned, and nothing happens
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["enterprise_monthly"]


async def test_an_upgrade_is_not_undone_by_what_was_planned_before(shop: Any) -> None:
    customer_id = await shop.buyer("pro-yearly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert (await planned(shop, customer_id))[0] == "pro-monthly"
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert (await planned(shop, customer_id), await tier(shop, customer_id)) == ((None, None), "enterprise")
    await to_the_next_period(shop, customer_id)
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["enterprise_monthly"]


async def test_an_upgrade_that_is_not_paid_leaves_the_old_plan_and_nothing_planned(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = changes_of(shop, upgrade=("now", "period-end"))
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="period-end")
    assert (await planned(shop, customer_id))[0] == "enterprise-monthly"
    changed = await changes.apply(customer_id, "pro-yearly", actor="customer")
    assert changed.result.is_pending
    assert (await planned(shop, customer_id), await items(shop, customer_id)) == ((None, None), ["pro_monthly"])


async def test_after_a_planned_change_was_made_another_can_be_planned(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-yearly", actor="customer")
    await to_the_next_period(shop, customer_id)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert (await planned(shop, customer_id))[0] == "pro-monthly"
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["pro_monthly"]
    await to_the_next_period(shop, customer_id)
    assert await schedules(shop, customer_id) == []


async def test_a_change_in_the_last_phase_of_a_schedule_is_made_at_once(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    await to_the_next_period(shop, customer_id)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert (await tier(shop, customer_id), await schedules(shop, customer_id)) == ("enterprise", [])


async def test_a_taken_over_subscription_with_nothing_planned_is_planned_as_if_there_were_none(shop: Any) -> None:
    """What is left of a worker that was lost between the two requests."""
    customer_id = await shop.buyer("enterprise-monthly")
    subscription_id = (await shop.load(customer_id)).subscription_id
    await shop.sandbox.stripe.v1.subscription_schedules.create_async({"from_subscription": subscription_id})
    await shop.settle()
    assert await planned(shop, customer_id) == (None, None)
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    assert (await planned(shop, customer_id))[0] == "pro-monthly"


async def test_what_the_seller_planned_is_shown_and_not_touched(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    recorded = await shop.load(customer_id)
    v1 = shop.sandbox.stripe.v1
    made = await v1.subscription_schedules.create_async({"from_subscription": recorded.subscription_id})
    [phase] = made.phases
    first = {"items": [{"price": "price_pro_monthly"}], "start_date": phase.start_date, "end_date": phase.end_date}
    second = {"items": [{"price": "price_enterprise_monthly"}]}
    await v1.subscription_schedules.update_async(made.id, {"phases": [first, second]})
    await shop.settle()
    assert await planned(shop, customer_id) == ("enterprise-monthly", phase.end_date)
    changes = changes_of(shop)
    for act in (
        changes.apply(customer_id, "enterprise-monthly", actor="customer"),
        changes.apply(customer_id, "pro-monthly", actor="customer"),
        changes.preview(customer_id, "pro-yearly"),
        changes.keep(customer_id, actor="customer"),
    ):
        with pytest.raises(SubscriptionScheduled):
            await act
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["enterprise_monthly"]


async def test_a_subscription_that_is_cancelled_in_the_portal_ends_whatever_was_planned(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    row = await shop.ledger.find_customer(customer_id)
    portal = await shop.sandbox.stripe.v1.billing_portal.sessions.create_async({"customer": row.stripe_customer_id})
    form = {"subscription": (await shop.load(customer_id)).subscription_id}
    assert (await shop.sandbox.http.post(f"{portal.url}/cancel", data=form)).status_code == 303
    await shop.settle()
    assert await planned(shop, customer_id) == (None, None)
    for plan_id in ("pro-monthly", "pro-yearly", "enterprise-monthly"):
        with pytest.raises(SubscriptionEnding):
            await changes.apply(customer_id, plan_id, actor="customer")
    await to_the_next_period(shop, customer_id)
    assert ((await shop.load(customer_id)).status, await tier(shop, customer_id)) == ("canceled", "free")


async def test_a_planned_change_of_a_deleted_subscription_is_none(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert await planned(shop, customer_id) == (None, None)
    with pytest.raises(NoSubscription):
        await changes.apply(customer_id, "pro-monthly", actor="customer")
    await changes.keep(customer_id, actor="customer")


async def test_nothing_is_planned_while_a_payment_is_due(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly", FAILS_LATER)
    await to_the_next_period(shop, customer_id)
    assert (await shop.load(customer_id)).status == "past_due"
    for when in ("now", "period-end"):
        with pytest.raises(PaymentRequired):
            await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer", when=when)
    assert await schedules(shop, customer_id) == []


async def test_a_time_that_policy_does_not_offer_is_refused(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop, "period-end")
    with pytest.raises(ChangeTimeRefused, match="at the end of the billing period only"):
        await changes.apply(customer_id, "pro-monthly", actor="customer", when="now")
    customer_id = await shop.buyer("pro-monthly")
    with pytest.raises(ChangeTimeRefused, match="at once only"):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="period-end")


async def test_a_trial_that_is_to_go_on_with_less_does(shop: Any) -> None:
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    await v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": "price_enterprise_monthly"}],
            "trial_period_days": 5,
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        }
    )
    await shop.settle()
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    assert await tier(shop, customer_id) == "enterprise"
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["pro_monthly"]


@pytest.mark.parametrize(
    "targets",
    [
        ("pro-monthly", "pro-monthly", "pro-monthly"),
        ("pro-monthly", "pro-yearly", "pro-monthly"),
        ("pro-monthly", "enterprise-monthly", "pro-yearly"),
    ],
    ids=["the same", "two downgrades", "taken back in between"],
)
async def test_changes_at_once_leave_one_of_them_and_one_schedule_at_most(shop: Any, targets: tuple[str, ...]) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    acts = [changes.apply(customer_id, plan_id, actor="customer") for plan_id in targets * 2]
    await asyncio.gather(*acts)
    await shop.settle()
    plan_id, _ = await planned(shop, customer_id)
    assert plan_id in {*targets, None} - {"enterprise-monthly"} | ({None} if "enterprise-monthly" in targets else set())
    assert len(await schedules(shop, customer_id)) == (plan_id is not None)
    assert len(await items(shop, customer_id)) == 1


async def test_a_change_that_fails_in_the_middle_is_made_when_it_is_asked_for_again(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = changes_of(shop)
    fault = {"method": "POST", "path": "/v1/subscription_schedules/", "status": 400, "times": 1}
    await shop.sandbox.control("faults", api=[fault])
    with pytest.raises(BillingRefused):
        await changes.apply(customer_id, "pro-monthly", actor="customer")
    await shop.sandbox.control("faults", api=[])
    assert await planned(shop, customer_id) == (None, None)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert (await planned(shop, customer_id))[0] == "pro-monthly"
    assert len(await schedules(shop, customer_id)) == 1


async def test_a_schedule_that_is_gone_at_stripe_is_no_hindrance(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    await shop.billing.changes.later.release("sub_sched_nothing")
    with pytest.raises(stripe.InvalidRequestError):
        await shop.sandbox.stripe.v1.subscription_schedules.retrieve_async("sub_sched_nothing")
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    [made] = await schedules(shop, customer_id)
    await shop.billing.changes.later.release(made.id)
    await shop.billing.changes.later.release(made.id)


async def test_a_discount_that_lasts_outlives_a_planned_change(shop: Any) -> None:
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    coupon = await v1.coupons.create_async({"percent_off": 20.0, "duration": "forever"})
    session = await v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "customer": row.stripe_customer_id,
            "line_items": [{"price": "price_enterprise_monthly", "quantity": 1}],
            "discounts": [{"coupon": coupon.id}],
            "success_url": "http://127.0.0.1/done",
        }
    )
    await shop.sandbox.pay(session.url)
    await shop.settle()
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    [schedule] = await schedules(shop, customer_id)
    named = [[one.discount for one in phase.discounts] for phase in schedule.phases]
    assert named[0] == named[1] != []
    await to_the_next_period(shop, customer_id)
    subscription_id = (await shop.load(customer_id)).subscription_id
    found = await v1.invoices.list_async({"subscription": subscription_id})
    assert (found.data[0].amount_paid, await items(shop, customer_id)) == (2320, ["pro_monthly"])
