"""A trial with a card, which becomes a paid subscription, and one without, which is paused until there is a card."""

from __future__ import annotations

import pytest

from tests.live.catalog import PRICES, TRIAL_DAYS
from tests.live.life import FAILS_WHEN_CHARGED, GOOD_CARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAY_S = 86_400
AFTER_S = 2 * 3600
"""Behind a trial's end the first invoice is a draft for about an hour."""


async def begin_trial(life, plan_id, card):
    """By a checkout. Returns the subscription's id, and when the trial ends."""
    await life.new_customer()
    link = await life.checkouts.for_customer(life.customer_id, plan_id)
    if card is not None:
        await life.new_card(card)
    trial = life.sync.policy.plans[plan_id].terms.trial
    subscription_id = await life.pay_as_the_page_does(link.session_id, trial)
    await life.billing.close_checkout(link.session_id)
    await life.until(lambda found: found is not None and found.status == "trialing")
    assert await life.standing() == ("good", "pro")
    subscription = await life.stripe.v1.subscriptions.retrieve_async(subscription_id)
    length_s = subscription.trial_end - subscription.trial_start
    assert length_s == TRIAL_DAYS * DAY_S
    assert (await life.billing.facts.fetch_past(life.cus)).trial
    return subscription_id, subscription.trial_end


async def test_a_trial_with_a_card_is_paid_at_its_end(life):
    _, ends_at = await begin_trial(life, "tried-monthly", GOOD_CARD)
    await life.advance_to(ends_at + AFTER_S)
    found = await life.until(lambda found: found.status == "active" and found.period_starts_at == ends_at)
    assert await life.standing() == ("good", "pro")
    assert found.flags == ()

    async def paid():
        return [one.amount_paid for one in await life.invoices() if one.amount_paid]

    assert await life.eventually(paid) == [PRICES["tried-monthly"][1]]


async def test_a_trial_whose_card_fails_at_its_end_is_grace(life):
    _, ends_at = await begin_trial(life, "tried-monthly", FAILS_WHEN_CHARGED)
    await life.advance_to(ends_at + AFTER_S)
    await life.until(lambda found: found.status == "past_due")
    assert await life.standing() == ("grace", "pro")


async def test_a_trial_without_a_card_is_paused_at_its_end_and_goes_on_when_it_is_resumed_with_one(life):
    subscription_id, ends_at = await begin_trial(life, "cardless-monthly", None)
    await life.advance_to(ends_at + AFTER_S)
    await life.until(lambda found: found.status == "paused")
    assert (await life.access()).refusal == "payment-required"
    await life.new_card(GOOD_CARD)
    await life.stripe.v1.subscriptions.resume_async(subscription_id)
    await life.settle_latest(subscription_id)
    await life.until(lambda found: found.status == "active")
    assert await life.standing() == ("good", "pro")


async def test_a_trial_is_had_once(life):
    subscription_id, _ = await begin_trial(life, "tried-monthly", GOOD_CARD)
    await life.stripe.v1.subscriptions.cancel_async(subscription_id)
    await life.until(lambda found: found.status == "canceled")
    link = await life.checkouts.for_customer(life.customer_id, "tried-monthly")
    session = await life.stripe.v1.checkout.sessions.retrieve_async(link.session_id)
    assert session.amount_total == PRICES["tried-monthly"][1]
    await life.billing.close_checkout(link.session_id)
