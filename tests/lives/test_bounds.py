"""How long something is kept: a payment is waited for from when it was first seen to be due, however late that was."""

from __future__ import annotations

from gateway.granting import TierOrder
from gateway.sandbox.rules import Rules
from tests.lives.acts import pay_at
from tests.lives.conftest import NewTown
from tests.lives.holding import check_in_step, granted_to, recorded
from tests.lives.laws import DAY_S, SHIPPED, STRICT
from tests.lives.town import Town
from tests.lives.truth import Seen, Truth, owed_since

GRACE_S = 7 * DAY_S
DUE = Truth(at=1_000, subscriptions=(Seen(status="past_due", tier="pro", since=1_000),))
PAID = Truth(at=2_000, subscriptions=(Seen(status="active", tier="pro"),))


async def test_a_payment_that_is_seen_late_is_waited_for_a_week_from_then(new_town: NewTown) -> None:
    town = await new_town(1, 1)
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4000000000000341")
    await town.look_up(buyer)
    await check_in_step(town)
    town.lose_events()
    while (standing := town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")[0]).status == "active":
        await town.simulator.advance(DAY_S)
    await town.simulator.advance(5 * DAY_S)
    await check_in_step(town)  # Stripe tried again two days ago, and the sweep sees that
    first_seen = town.seen_at[-1]
    assert first_seen > (standing.past_due_since or 0) + 5 * DAY_S

    await town.simulator.advance(4 * DAY_S)
    await check_in_step(town)
    assert await what_is_granted(town) == "pro"
    await town.simulator.advance(first_seen + GRACE_S - town.now() - 1)
    await check_in_step(town)
    assert await what_is_granted(town) == "free"


async def test_a_tier_by_hand_ends_to_the_second(new_town: NewTown) -> None:
    town = await new_town(1, 1)
    [buyer] = town.buyers
    ends_at = int(town.now()) + DAY_S
    await town.granting.grant(buyer.customer_id, TierOrder(tier="pro", ends_at=ends_at), town.policy, actor="test")
    buyer.grants = {("pro", ends_at)}
    await town.simulator.advance(ends_at - 1 - town.now())
    await check_in_step(town)
    await check_in_step(town)
    assert await what_is_granted(town) == "free"


async def test_who_is_unpaid_keeps_the_tier_for_so_many_days_from_when_that_was_first_seen(new_town: NewTown) -> None:
    town = await new_town(1, 1, law=STRICT)
    town.simulator.set_rules(Rules(final_action="unpaid", final_after_days=3))
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4000000000000341")
    await town.look_up(buyer)
    await check_in_step(town)
    while town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")[0].status != "unpaid":
        await town.simulator.advance(DAY_S / 2)
        await check_in_step(town)
    first_seen = town.seen_at[-1]
    assert await what_is_granted(town) == "pro"
    await town.simulator.advance(3 * DAY_S)
    await town.sync.sync_customer(buyer.customer_id, "read again")
    await check_in_step(town)
    assert await what_is_granted(town) == "pro"
    await town.simulator.advance(first_seen + 4 * DAY_S - town.now())
    await check_in_step(town)
    assert await what_is_granted(town) == "refused: payment-required"


def test_what_is_due_may_be_paid_for_a_week_from_when_all_was_first_seen_and_no_longer() -> None:
    assert DUE.allowed(SHIPPED, 5_000 + GRACE_S - 1, [900, 5_000, 1_500 + GRACE_S]) == {"pro", "free"}
    assert DUE.allowed(SHIPPED, 5_000 + GRACE_S, [900, 5_000, 1_500 + GRACE_S]) == {"free"}


def test_nothing_is_lost_before_a_week_is_over() -> None:
    assert DUE.allowed(SHIPPED, 1_000 + GRACE_S - 1, [900, 1_000]) == {"pro"}


def test_who_may_have_missed_a_payment_may_count_from_before_it() -> None:
    due_again = Truth(at=3_000, subscriptions=(Seen(status="past_due", tier="pro", since=3_000),))
    owed = owed_since(None, [DUE, PAID, due_again])
    assert due_again.allowed(SHIPPED, 1_000 + GRACE_S, [900, 3_000], owed) == {"pro", "free"}


def test_who_has_seen_it_paid_counts_anew() -> None:
    assert owed_since(1_000, [DUE, PAID]) is None


async def what_is_granted(town: Town) -> str:
    [account] = (await recorded(town)).values()
    return granted_to(town, account, town.now())
