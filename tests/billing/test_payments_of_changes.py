"""Changes that are paid at once: between months and years, and when the payment fails; against the simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.account import Subscription
from gateway.core.switching import SwitchTerms
from gateway.core.window import quota_anchor
from gateway.sync import PlanChanges

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"
PAYS = "4242424242424242"


def changes_of(shop: Any, **terms: Any) -> PlanChanges:
    held = shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms(**terms))
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def invoices(shop: Any, customer_id: str) -> list[Any]:
    """Newest first."""
    subscription_id = (await shop.load(customer_id)).subscription_id
    return (await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription_id})).data


async def half_a_period_later(shop: Any, customer_id: str) -> Subscription:
    recorded = await shop.load(customer_id)
    middle = (recorded.period_starts_at + recorded.period_ends_at) // 2
    await shop.sandbox.control("clock/advance", until=middle)
    return recorded


async def mend_card(shop: Any, customer_id: str) -> None:
    """In the portal, which pays what is owed with the new card."""
    row = await shop.ledger.find_customer(customer_id)
    portal = await shop.sandbox.stripe.v1.billing_portal.sessions.create_async({"customer": row.stripe_customer_id})
    answer = await shop.sandbox.http.post(f"{portal.url}/card", data={"card_number": PAYS})
    assert answer.status_code == 303
    await shop.settle()


@pytest.mark.parametrize("proration", ["next invoice", "now"])
async def test_a_month_becomes_a_year_that_is_paid_now_less_what_is_left_of_the_month(
    shop: Any, proration: Any
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    before = await half_a_period_later(shop, customer_id)
    preview = (await changes_of(shop, proration=proration).preview(customer_id, "pro-yearly")).cost
    changed = await changes_of(shop, proration=proration).apply(customer_id, "pro-yearly", actor="customer")
    assert not changed.result.is_pending
    [newest, _] = await invoices(shop, customer_id)
    assert [line.amount for line in newest.lines.data] == [-1450, 29_000]
    assert abs(newest.amount_paid - preview.next_invoice) <= 1
    after = await shop.load(customer_id)
    assert (after.plan_id, after.period_starts_at > before.period_starts_at) == ("pro-yearly", True)
    assert quota_anchor(after, after.period_starts_at) == before.anchor_at, "quota windows go on from their old dates"


async def test_a_year_becomes_a_month_and_what_is_left_of_the_year_pays_for_the_months_that_come(shop: Any) -> None:
    customer_id = await shop.buyer("pro-yearly")
    before = await half_a_period_later(shop, customer_id)
    changed = await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    assert changed.when == "now"
    [newest, _] = await invoices(shop, customer_id)
    assert [line.amount for line in newest.lines.data] == [-14_500, 2900]
    assert (newest.amount_paid, newest.ending_balance) == (0, -11_600)
    after = await shop.load(customer_id)
    assert (after.plan_id, quota_anchor(after, after.period_starts_at)) == ("pro-monthly", before.anchor_at)
    await shop.sandbox.control("clock/advance", until=after.period_ends_at + 2 * 3600)
    [renewal, *_] = await invoices(shop, customer_id)
    assert (renewal.total, renewal.amount_paid, renewal.ending_balance) == (2900, 0, -8700)


async def test_without_proration_a_year_is_paid_in_full_and_the_month_is_not_credited(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await half_a_period_later(shop, customer_id)
    await changes_of(shop, proration="none").apply(customer_id, "pro-yearly", actor="customer")
    [newest, _] = await invoices(shop, customer_id)
    assert [line.amount for line in newest.lines.data] == [29_000]


@pytest.mark.parametrize("plan_id", ["pro-yearly", "enterprise-monthly"])
async def test_a_change_whose_payment_fails_holds_once_it_is_paid(shop: Any, plan_id: str) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await half_a_period_later(shop, customer_id)
    changed = await changes_of(shop, proration="now").apply(customer_id, plan_id, actor="customer")
    assert changed.result.is_pending
    waiting = await shop.load(customer_id)
    assert (waiting.plan_id, [flag for flag, _ in waiting.flags]) == ("pro-monthly", ["pending_update"])
    await mend_card(shop, customer_id)
    paid = await shop.load(customer_id)
    assert (paid.plan_id, paid.status, paid.flags) == (plan_id, "active", ())


@pytest.mark.parametrize("plan_id", ["pro-yearly", "enterprise-monthly"])
async def test_a_change_that_is_not_paid_within_23_hours_is_given_up(shop: Any, plan_id: str) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await half_a_period_later(shop, customer_id)
    await changes_of(shop, proration="now").apply(customer_id, plan_id, actor="customer")
    await shop.sandbox.control("clock/advance", seconds=23 * 3600 - 60)
    await shop.settle()
    assert (await shop.load(customer_id)).flags != ()
    await shop.sandbox.control("clock/advance", seconds=120)
    await shop.settle()
    given_up = await shop.load(customer_id)
    assert (given_up.plan_id, given_up.status, given_up.flags) == ("pro-monthly", "active", ())
    [newest, _] = await invoices(shop, customer_id)
    assert newest.status == "void"
    await mend_card(shop, customer_id)
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


async def test_a_change_waits_no_longer_than_the_period(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at - 3600)
    await changes_of(shop, proration="now").apply(customer_id, "enterprise-monthly", actor="customer")
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id)
    assert subscription.pending_update.expires_at == recorded.period_ends_at


async def test_a_change_that_waits_is_asked_for_again_and_leads_to_the_same_payment(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = changes_of(shop)
    first = await changes.apply(customer_id, "pro-yearly", actor="customer")
    again = await asyncio.gather(*(changes.apply(customer_id, "pro-yearly", actor="customer") for _ in range(3)))
    assert {one.result.payment_url for one in again} == {first.result.payment_url} != {None}
    assert len(await invoices(shop, customer_id)) == 2


async def test_another_change_takes_the_place_of_one_that_waits(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await half_a_period_later(shop, customer_id)
    changes = changes_of(shop, proration="now")
    await changes.apply(customer_id, "pro-yearly", actor="customer")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert [one.status for one in await invoices(shop, customer_id)] == ["open", "void", "paid"]
    await mend_card(shop, customer_id)
    assert (await shop.load(customer_id)).plan_id == "enterprise-monthly"


@pytest.mark.parametrize("how", ["keep", "the plan that there is"])
async def test_a_change_that_waits_is_taken_back(shop: Any, how: str) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = changes_of(shop)
    await changes.apply(customer_id, "pro-yearly", actor="customer")
    if how == "keep":
        await changes.keep(customer_id, actor="customer")
    else:
        await changes.apply(customer_id, "pro-monthly", actor="customer")
    kept = await shop.load(customer_id)
    assert (kept.plan_id, kept.flags) == ("pro-monthly", ())
    assert [one.status for one in await invoices(shop, customer_id)] == ["void", "paid"]


async def test_a_change_is_planned_in_the_place_of_one_that_waits(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = changes_of(shop, upgrade=("now", "period-end"))
    await changes.apply(customer_id, "pro-yearly", actor="customer")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="period-end")
    recorded = await shop.load(customer_id)
    assert (recorded.scheduled_plan_id, recorded.flags) == ("enterprise-monthly", ())
    assert [one.status for one in await invoices(shop, customer_id)] == ["void", "paid"]


async def test_a_change_of_a_subscription_that_is_invoiced_by_mail_waits_for_nothing(shop: Any) -> None:
    """Stripe lets no change of it wait for a payment."""
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    subscription_id = (await shop.load(customer_id)).subscription_id
    by_mail = {"collection_method": "send_invoice", "days_until_due": 30}
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription_id, by_mail)
    changed = await changes_of(shop).apply(customer_id, "pro-yearly", actor="customer")
    assert not changed.result.is_pending
    await shop.settle()
    assert (await shop.load(customer_id)).plan_id == "pro-yearly"
    [newest, _] = await invoices(shop, customer_id)
    assert (newest.status, newest.collection_method, newest.attempt_count) == ("open", "send_invoice", 0)
