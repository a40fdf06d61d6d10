"""A subscription's life as Stripe lives it, on its own test clocks, seen through the real path from event to access."""

from __future__ import annotations

import asyncio

import pytest

from gateway.billing import Buyer
from gateway.core.purchase import Purchase
from tests.live.catalog import PRICES
from tests.live.life import FAILS_WHEN_CHARGED, GOOD_CARD

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

DAY_S = 86_400
AFTER_S = 2 * 3600
"""An invoice stays a draft for about an hour after its period has begun."""


async def test_prices_are_found_by_their_lookup_keys(life):
    prices = await life.billing.fetch_prices(life.sync.policy.plans.values())
    assert {name: (price.amount, price.interval) for name, price in prices.items()} == {
        name: (amount, interval) for name, (_, amount, interval) in PRICES.items()
    }


async def test_a_customer_is_made_once_and_of_its_checkouts_the_last_can_be_paid(life):
    made = set(await asyncio.gather(*(life.billing.create_customer(life.customer_id, "user") for _ in range(3))))
    life.made |= made
    (cus,) = made
    links = []
    for plan_id in ("pro-monthly", "enterprise-monthly"):
        buyer = Buyer(
            stripe_customer_id=cus,
            customer_id=life.customer_id,
            user_id="user",
            success_url="https://localhost/success?session_id={CHECKOUT_SESSION_ID}",
            cancel_url="https://localhost/pricing",
        )
        purchase = Purchase(plan=life.sync.policy.plans[plan_id], seats=1, add_ons=())
        link = await life.billing.create_checkout(purchase, buyer)
        assert link is not None
        links.append(link)
        await life.billing.close_checkouts(cus, but=link)
    first, last = [await life.billing.fetch_checkout(link.session_id) for link in links]
    assert (first.status, last.status) == ("expired", "open")
    assert (last.customer_id, last.plan_id) == (life.customer_id, "enterprise-monthly")
    await life.billing.close_checkout(links[1].session_id)


async def test_a_subscription_renews_and_its_period_rolls(life):
    await life.subscribe()
    assert await life.standing() == ("good", "pro")
    first = await life.ledger.load_subscription(life.customer_id)
    await life.advance_to(first.period_ends_at + AFTER_S)
    second = await life.until(lambda found: found.period_starts_at == first.period_ends_at)
    assert 28 * DAY_S <= second.period_ends_at - second.period_starts_at <= 31 * DAY_S
    assert await life.standing() == ("good", "pro")


async def test_a_renewal_that_fails_is_grace_until_a_day_and_a_new_card_mends_it(life):
    subscription_id = await life.subscribe()
    await life.new_card(FAILS_WHEN_CHARGED)
    first = await life.ledger.load_subscription(life.customer_id)
    await life.advance_to(first.period_ends_at + AFTER_S)
    failed = await life.until(lambda found: found.status == "past_due")
    assert await life.standing() == ("grace", "pro")
    assert (await life.access()).grace_until == failed.past_due_since + 7 * DAY_S
    await life.new_card(GOOD_CARD)
    await life.settle_latest(subscription_id)
    await life.until(lambda found: found.status == "active")
    assert await life.standing() == ("good", "pro")


async def test_grace_that_nobody_uses_ends_by_itself(life):
    await life.subscribe()
    await life.new_card(FAILS_WHEN_CHARGED)
    first = await life.ledger.load_subscription(life.customer_id)
    await life.advance_to(first.period_ends_at + AFTER_S)
    failed = await life.until(lambda found: found.status == "past_due")
    life.clock.at = float(failed.past_due_since + 7 * DAY_S)
    assert await life.standing() == ("lapsed", "free")


@pytest.mark.parametrize("way", ["cancel_at_period_end", "cancel_at"])
async def test_a_cancellation_says_when_it_ends_and_then_it_ends(life, way):
    subscription_id = await life.subscribe()
    first = await life.ledger.load_subscription(life.customer_id)
    ends = first.period_ends_at
    change = {"cancel_at_period_end": True} if way == "cancel_at_period_end" else {"cancel_at": ends}
    await life.stripe.v1.subscriptions.update_async(subscription_id, change)
    await life.until(lambda found: found.cancel_at == ends)
    assert await life.standing() == ("good", "pro")
    await life.advance_to(ends + AFTER_S)
    await life.until(lambda found: found.status == "canceled")
    assert await life.standing() == ("lapsed", "free")


async def test_what_no_event_told_of_is_found_when_the_customer_is_read_again(life):
    subscription_id = await life.subscribe()
    await life.stripe.v1.subscriptions.cancel_async(subscription_id)
    await life.sync.sync_customer(life.customer_id, "reconciliation")
    life.clock.at += 60  # the sandbox's time goes on between advances
    assert await life.standing() == ("lapsed", "free")
