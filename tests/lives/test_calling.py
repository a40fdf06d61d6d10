"""What lives judge calls by: each unit is in its own counter's window, whatever the cache had to be told again."""

from __future__ import annotations

from collections import Counter

from gateway.core.window import quota_window
from tests.lives.beyond import CAPS, INCLUDED
from tests.lives.conftest import NewTown
from tests.lives.holding import check_in_step
from tests.lives.laws import DAY_S
from tests.lives.town import Buyer, Town

BUYERS = 6


async def with_two_windows(new_town: NewTown) -> tuple[Town, int, int]:
    """A town of buyers whose subscriptions are known after the next window of what is included had begun.

    Returns:
        The town, when the period began, and when the window did, which has all that is free in it.
    """
    town = await new_town(1, BUYERS)
    account = await town.ledger.load_account(town.buyers[0].customer_id)
    assert account is not None
    steps_at = quota_window(account, town.now(), None)[1]
    await town.simulator.advance(steps_at - town.now() - DAY_S)
    town.hold_events()
    began_at = int(town.now())
    for buyer in town.buyers:
        await subscribe(town, buyer)
    await town.simulator.advance(2 * DAY_S)
    for buyer in town.buyers:
        await use_all(town, buyer)
    assert used(town) == {steps_at: BUYERS * INCLUDED["free"]}
    town.let_events_go()
    await town.simulator.advance(1)
    await check_in_step(town)
    return town, began_at, steps_at


async def subscribe(town: Town, buyer: Buyer) -> None:
    """With a metered item, in the dashboard."""
    cus = await town.stripe_customer(buyer)
    card = town.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", customer=cus)["id"]
    items = {"0": {"price": "price_pro_monthly"}, "1": {"price": "price_api_overage"}}
    town.stripe("POST", "/v1/subscriptions", customer=cus, items=items, default_payment_method=card)
    await town.look_up(buyer)


async def use_all(town: Town, buyer: Buyer) -> None:
    """Enough calls for a quota and what may be used beyond it: calls of each cost are refused in the end."""
    for _ in range(15):
        await town.calling.call(buyer)


def used(town: Town) -> dict[int, int]:
    """Units of all buyers by their window."""
    units: Counter[int] = Counter()
    for buyer in town.buyers:
        units.update(town.calling.usages[buyer.customer_id].units)
    return dict(units)


async def test_units_beyond_count_in_a_period_that_began_before_the_window_of_what_is_included(
    new_town: NewTown,
) -> None:
    town, began_at, steps_at = await with_two_windows(new_town)
    for buyer in town.buyers:
        await use_all(town, buyer)
    assert used(town) == {steps_at: BUYERS * INCLUDED["pro"], began_at: BUYERS * CAPS["pro"]}
    await check_in_step(town)
    assert town.calling.billed() == BUYERS * CAPS["pro"]


async def test_units_that_a_cache_is_told_again_are_not_new(new_town: NewTown) -> None:
    town, began_at, _ = await with_two_windows(new_town)
    for buyer in town.buyers:
        await town.calling.call(buyer)
    await check_in_step(town)
    before = town.calling.billed()
    await town.calling.lose_the_cache()
    for buyer in town.buyers:
        await town.calling.call(buyer)
    await check_in_step(town)
    assert 0 < before < town.calling.billed() == used(town)[began_at]
