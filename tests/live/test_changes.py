"""Changes of plan, seats and add-ons: what the preview says is what Stripe's invoice then asks for."""

from __future__ import annotations

import pytest

from gateway.sync import ExtrasOrder, PlanChanges
from tests.live.catalog import EXPORTS, EXPORTS_AMOUNT, PRICES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AFTER_S = 2 * 3600


def changes_of(life):
    return PlanChanges(sync=life.sync, clock=life.clock)


async def to_mid_period(life):
    first = await life.ledger.load_subscription(life.customer_id)
    await life.advance_to((first.period_starts_at + first.period_ends_at) // 2)
    return first


async def renewal(life, begun_at):
    """The invoice of the period that began then, when it is paid."""

    async def paid():
        for one in await life.invoices():
            is_renewal = one.billing_reason == "subscription_cycle" and one.status == "paid"
            if is_renewal and any(line.period.start == begun_at for line in await life.lines_of(one.id)):
                return one
        return None

    return await life.eventually(paid)


async def invoiced_at_once(life):
    """The invoice that the last change made, which is paid."""
    [invoice] = [one for one in await life.invoices() if one.billing_reason == "subscription_update"]
    assert invoice.status == "paid"
    return invoice


def spread(life, amount, since):
    """How far a prorated amount may have gone since: the sandbox's time does not stand still, as test clocks do."""
    gone_s = 0 if life.account.is_stripe else life.account.now() - since + 1
    return 2 + amount * gone_s / (28 * 86_400)


async def test_an_upgrade_holds_at_once_and_costs_what_was_previewed(life):
    await life.subscribe()
    first = await to_mid_period(life)
    since = life.account.now()
    preview = (await changes_of(life).preview(life.customer_id, "enterprise-monthly")).cost
    dearer = PRICES["enterprise-monthly"][1] - PRICES["pro-monthly"][1]
    assert 0 < preview.prorated < dearer
    made = await changes_of(life).apply(life.customer_id, "enterprise-monthly", actor="test")
    close = spread(life, dearer, since)
    assert not made.result.is_pending
    assert await life.standing() == ("good", "enterprise")
    assert (await life.ledger.load_subscription(life.customer_id)).period_ends_at == first.period_ends_at
    assert preview.next_invoice == preview.prorated
    assert (await invoiced_at_once(life)).total == pytest.approx(preview.next_invoice, abs=close)
    await life.advance_to(first.period_ends_at + AFTER_S)
    assert (await renewal(life, first.period_ends_at)).total == PRICES["enterprise-monthly"][1]


async def test_a_downgrade_waits_for_the_end_of_the_period_and_then_costs_what_was_previewed(life):
    await life.subscribe("enterprise-monthly")
    first = await to_mid_period(life)
    preview = await changes_of(life).preview(life.customer_id, "pro-monthly")
    assert (preview.when, preview.takes_effect_at) == ("period-end", first.period_ends_at)
    await changes_of(life).apply(life.customer_id, "pro-monthly", actor="test")
    planned = await life.until(lambda found: found.scheduled_plan_id == "pro-monthly")
    assert planned.scheduled_at == first.period_ends_at
    assert await life.standing() == ("good", "enterprise")
    await life.advance_to(first.period_ends_at + AFTER_S)
    await life.until(lambda found: found.plan_id == "pro-monthly" and found.period_starts_at == first.period_ends_at)
    assert await life.standing() == ("good", "pro")
    invoice = await renewal(life, first.period_ends_at)
    assert invoice.total == preview.cost.next_invoice == PRICES["pro-monthly"][1]


async def test_a_planned_downgrade_that_is_taken_back_does_not_come(life):
    await life.subscribe("enterprise-monthly")
    await changes_of(life).apply(life.customer_id, "pro-monthly", actor="test")
    await life.until(lambda found: found.scheduled_plan_id == "pro-monthly")
    await changes_of(life).keep(life.customer_id, actor="test")
    first = await life.until(lambda found: found.scheduled_at is None)
    await life.advance_to(first.period_ends_at + AFTER_S)
    await life.until(lambda found: found.period_starts_at == first.period_ends_at)
    assert await life.standing() == ("good", "enterprise")


async def test_a_downgrade_at_once_is_a_credit_as_previewed(life):
    await life.subscribe("enterprise-monthly")
    first = await to_mid_period(life)
    since = life.account.now()
    preview = (await changes_of(life).preview(life.customer_id, "pro-monthly", when="now")).cost
    cheaper = PRICES["enterprise-monthly"][1] - PRICES["pro-monthly"][1]
    assert -cheaper < preview.prorated < 0
    await changes_of(life).apply(life.customer_id, "pro-monthly", when="now", actor="test")
    close = spread(life, cheaper, since)
    assert await life.standing() == ("good", "pro")
    credited = await invoiced_at_once(life)
    assert credited.amount_due == preview.next_invoice == 0
    assert credited.total == pytest.approx(preview.prorated, abs=close)
    await life.advance_to(first.period_ends_at + AFTER_S)
    invoice = await renewal(life, first.period_ends_at)
    assert (invoice.total, invoice.amount_due) == (PRICES["pro-monthly"][1], 0)


async def test_a_yearly_plan_is_invoiced_at_once_as_previewed(life):
    subscription_id = await life.subscribe()
    await to_mid_period(life)
    since = life.account.now()
    preview = (await changes_of(life).preview(life.customer_id, "pro-yearly")).cost
    made = await changes_of(life).apply(life.customer_id, "pro-yearly", actor="test")
    assert not made.result.is_pending
    close = spread(life, PRICES["pro-monthly"][1], since)
    found = await life.until(lambda found: found.plan_id == "pro-yearly")
    assert 365 * 86_400 <= found.period_ends_at - found.period_starts_at <= 366 * 86_400
    subscription = await life.stripe.v1.subscriptions.retrieve_async(subscription_id)
    invoice = await life.stripe.v1.invoices.retrieve_async(subscription.latest_invoice)
    assert invoice.status == "paid"
    assert invoice.total == pytest.approx(preview.next_invoice, abs=close)


async def test_seats_and_add_ons_are_bought_and_given_up_and_invoiced_as_previewed(life):
    await life.subscribe("team-monthly")
    first = await to_mid_period(life)
    since = life.account.now()
    more = ExtrasOrder(seats=4, add_ons=(EXPORTS,))
    preview = (await changes_of(life).preview(life.customer_id, None, extras=more)).cost
    await changes_of(life).apply(life.customer_id, None, extras=more, actor="test")
    close = spread(life, 4 * PRICES["team-monthly"][1] + EXPORTS_AMOUNT, since)
    await life.until(lambda found: (found.seats, found.add_ons) == (4, ((EXPORTS, 1),)))
    assert EXPORTS in (await life.access()).tier.features
    assert (await invoiced_at_once(life)).total == pytest.approx(preview.next_invoice, abs=close)
    await life.advance_to(first.period_ends_at + AFTER_S)
    dearer = 4 * PRICES["team-monthly"][1] + EXPORTS_AMOUNT
    assert (await renewal(life, first.period_ends_at)).total == dearer

    second = await life.until(lambda found: found.period_starts_at == first.period_ends_at)
    fewer = ExtrasOrder(seats=2, add_ons=())
    later = await changes_of(life).preview(life.customer_id, None, extras=fewer)
    assert (later.direction, later.when) == ("downgrade", "period-end")
    await changes_of(life).apply(life.customer_id, None, extras=fewer, actor="test")
    await life.until(lambda found: found.scheduled_seats == 2)
    await life.advance_to(second.period_ends_at + AFTER_S)
    await life.until(lambda found: (found.seats, found.add_ons) == (2, ()))
    invoice = await renewal(life, second.period_ends_at)
    assert invoice.total == later.cost.next_invoice == 2 * PRICES["team-monthly"][1]
