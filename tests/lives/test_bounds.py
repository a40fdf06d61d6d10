"""How long something is kept, and how late a change may be: both end, however late they were seen."""

from __future__ import annotations

import pytest

from gateway.granting import TierOrder
from gateway.sandbox.rules import Rules
from tests.lives.acts import pay_at
from tests.lives.conftest import NewTown
from tests.lives.holding import LAG_S, check_in_step, check_lag, granted_to, recorded
from tests.lives.laws import DAY_S, SHIPPED, STRICT, Law
from tests.lives.town import Buyer, Town
from tests.lives.trouble import CALM
from tests.lives.truth import Seen, Truth, owed_since
from tests.lives.unheard import UNHEARD, be_called_what_is_known, be_called_what_nobody_knows

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


async def with_a_subscriber(new_town: NewTown, law: Law = SHIPPED) -> tuple[Town, Buyer]:
    """In a town where nothing has gone wrong for as long as anything may be late."""
    town = await new_town(1, 1, law=law)
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4242424242424242")
    await town.look_up(buyer)
    await check_in_step(town)
    await town.simulator.advance(LAG_S)
    return town, buyer


async def cancel(town: Town, buyer: Buyer) -> None:
    [one] = town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")
    town.stripe("DELETE", f"/v1/subscriptions/{one.id}")
    await town.simulator.advance(1)


async def turn(town: Town) -> None:
    """One of the background, and a look at what is late after it."""
    await town.work()
    town.note_truths()
    await check_lag(town)


async def test_what_was_cancelled_is_over_after_one_turn_that_nothing_disturbs(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    await cancel(town, buyer)
    await turn(town)
    assert await what_is_granted(town) == "free"


async def test_whom_no_event_reaches_is_found_by_the_first_sweep_that_nothing_disturbs(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    town.lose_events()
    await cancel(town, buyer)
    await town.simulator.deliverer.drain(1)
    town.note_truths()
    await check_lag(town)
    assert await what_is_granted(town) == "pro"
    town.begin(CALM)
    await turn(town)
    assert await what_is_granted(town) == "free"


async def test_it_shows_that_something_is_late_which_nobody_looks_for(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    town.lose_events()
    await cancel(town, buyer)
    await town.simulator.deliverer.drain(1)
    town.forget_undelivered()
    town.begin(CALM)
    with pytest.raises(AssertionError, match="pro is not one of"):
        await turn(town)


@pytest.mark.parametrize(
    ("law", "days", "then"),
    [(SHIPPED, 1, "free"), (STRICT, 3, "refused: subscription-required")],
    ids=lambda one: one.name if isinstance(one, Law) else None,
)
async def test_a_status_that_nobody_knows_keeps_the_tier_for_so_many_days_from_when_it_was_first_seen(
    new_town: NewTown, law: Law, days: int, then: str
) -> None:
    town, buyer = await with_a_subscriber(new_town, law)
    await turn(town)
    await be_called_what_nobody_knows(town, buyer)
    await town.simulator.advance(1)
    await turn(town)
    first_seen = town.seen_at[-1]
    await town.simulator.advance(first_seen + days * DAY_S - 1 - town.now())
    await town.sync.sync_customer(buyer.customer_id, "read again")
    await turn(town)
    assert await what_is_granted(town) == "pro"
    await town.simulator.advance(first_seen + days * DAY_S - town.now())
    await turn(town)
    assert await what_is_granted(town) == then
    await be_called_what_is_known(town, buyer)
    await town.simulator.advance(1)
    await turn(town)
    assert await what_is_granted(town) == "pro"


async def test_what_is_due_is_waited_for_a_week_also_if_nobody_knows_the_status_for_a_while(new_town: NewTown) -> None:
    town = await new_town(1, 1)
    town.simulator.set_rules(Rules(final_after_days=30))
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4000000000000341")
    await town.look_up(buyer)
    await check_in_step(town)
    while town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")[0].status == "active":
        await town.simulator.advance(DAY_S / 2)
        await check_in_step(town)
    first_seen = town.seen_at[-1]
    await be_called_what_nobody_knows(town, buyer)
    await check_in_step(town)
    await town.simulator.advance(DAY_S / 2)
    await be_called_what_is_known(town, buyer)
    await check_in_step(town)
    await town.simulator.advance(first_seen + GRACE_S - 1 - town.now())
    assert await what_is_granted(town) == "pro"
    await town.simulator.advance(first_seen + GRACE_S - town.now())
    assert await what_is_granted(town) == "free"


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


def test_who_saw_a_payment_due_before_a_status_that_nobody_knows_may_count_from_it() -> None:
    unheard = Truth(at=2_000, subscriptions=(Seen(status=UNHEARD, tier="pro", since=2_000),))
    assert owed_since(1_000, [DUE, unheard]) == 1_000
    assert owed_since(None, [PAID, unheard]) is None


async def what_is_granted(town: Town) -> str:
    [account] = (await recorded(town)).values()
    return granted_to(town, account, town.now())
