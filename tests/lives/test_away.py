"""What lives judge calls by while the cache is away: who is let in, how often, and what of it counts afterwards."""

from __future__ import annotations

import pytest

from tests.lives.acts import pay_at
from tests.lives.away import MOST, placed
from tests.lives.beyond import INCLUDED
from tests.lives.conftest import NewTown
from tests.lives.holding import check_in_step
from tests.lives.laws import DAY_S
from tests.lives.steps import Fate, Process
from tests.lives.town import Buyer, Town


async def with_a_subscriber(new_town: NewTown) -> tuple[Town, Buyer]:
    """Whose account this worker knows from a call that the cache let in."""
    town = await new_town(1, 1)
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, "enterprise-monthly")
    pay_at(town, link.session_id, "4242424242424242")
    await town.look_up(buyer)
    await check_in_step(town)
    await town.calling.call(buyer)
    await check_in_step(town)
    return town, buyer


async def call_without_the_cache(town: Town, buyer: Buyer) -> int:
    """Calls, until their cheapest is refused.

    Returns:
        Units of all that were let in.
    """
    for _ in range(8):
        town.planned.append(Process(fate_of=lambda kind, _: "refused" if kind == "cache" else "done"))
        await town.calling.call(buyer)
    return town.calling.away.used[buyer.customer_id]


async def test_who_pays_has_a_few_units_of_an_outage_and_they_count_once(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    before = sum(town.calling.usages[buyer.customer_id].units.values())
    assert await call_without_the_cache(town, buyer) == MOST["enterprise"] == INCLUDED["enterprise"]

    def lost_once(kind: str, step: int) -> Fate:
        return "unknown" if kind == "cache" and step == 0 else "done"

    town.planned.append(Process(fate_of=lost_once))
    await town.calling.charge_back()
    await check_in_step(town)
    assert sum(town.calling.usages[buyer.customer_id].units.values()) == before + MOST["enterprise"]


async def test_an_outage_that_comes_and_goes_gives_nothing_more(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    await call_without_the_cache(town, buyer)
    await town.calling.charge_back()
    await town.simulator.advance(299)
    assert await call_without_the_cache(town, buyer) == MOST["enterprise"]
    await town.simulator.advance(300)
    await town.calling.charge_back()
    assert not town.calling.away.used


async def test_whom_the_cache_confirmed_long_ago_is_not_let_in_without_it(new_town: NewTown) -> None:
    town, buyer = await with_a_subscriber(new_town)
    [one] = town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")
    town.stripe("DELETE", f"/v1/subscriptions/{one.id}")
    await town.simulator.advance(DAY_S)
    await check_in_step(town)
    assert await call_without_the_cache(town, buyer) == 0


@pytest.mark.parametrize(
    ("kept", "owed", "since", "counted"),
    [
        ([], {100: 3}, 150, {100: 3}),
        ([100], {100: 3}, 150, {100: 3}),
        ([100], {200: 3}, 250, {200: 3}),
        ([100, 200], {100: 3}, 150, {100: 3}),
        ([100, 200], {100: 3}, 250, {200: 3}),
        ([200, 300], {100: 3}, 150, {}),
        ([100], {100: 3, 200: 4}, 250, {100: 3, 200: 4}),
    ],
    ids=["nothing before", "goes on", "begins", "has ended", "is moved back", "is over for long", "goes on and begins"],
)
def test_what_was_let_in_counts_in_one_window_or_in_none(
    kept: list[int], owed: dict[int, int], since: float, counted: dict[int, int]
) -> None:
    assert placed(kept, owed, since) == counted
