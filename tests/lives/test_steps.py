"""Something goes wrong at each step of each way to access, one after the other: nothing is lost, nothing is double.

The steps are not listed here: whatever a way does in ledger, cache or at Stripe is one (`steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any, TypeAlias

import pytest

from gateway.core.errors import TiergateError
from tests.lives.acts import pay_at
from tests.lives.conftest import NewTown, move_in
from tests.lives.holding import check_in_step
from tests.lives.steps import Fate, Process, run_in
from tests.lives.town import Buyer, Town

Way: TypeAlias = Callable[[Town, Buyer], Coroutine[Any, Any, None]]
FATES: tuple[Fate, ...] = ("killed after", "refused", "unknown")
"""Killed before a step is killed after the one before it."""
HEARD = ("checkout.session.completed", "customer.subscription.created", "customer.subscription.updated", "invoice.paid")


async def nothing(_town: Town, _buyer: Buyer) -> None:
    """The buyer is new."""


async def pages_paid(town: Town, buyer: Buyer) -> None:
    """Paid, and nothing has been heard of it yet."""
    town.hold_events()
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4242424242424242")


async def events_stored(town: Town, buyer: Buyer) -> None:
    """Heard, and not worked on."""
    await pages_paid(town, buyer)
    await webhook(town, buyer)


async def events_lost(town: Town, buyer: Buyer) -> None:
    """Paid, and no event arrives."""
    await pages_paid(town, buyer)
    town.lose_events()


async def in_step(town: Town, buyer: Buyer) -> None:
    """A subscriber."""
    await pages_paid(town, buyer)
    await town.come_to_rest()


async def webhook(town: Town, _buyer: Buyer) -> None:
    town.let_events_go()
    await town.simulator.deliverer.drain(600)


async def worker(town: Town, _buyer: Buyer) -> None:
    await town.worker().work_once()


async def sweep(town: Town, _buyer: Buyer) -> None:
    swept = town.worker()
    await swept.sweep()
    await swept.work_once()


async def checkout(town: Town, buyer: Buyer) -> None:
    await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")


async def return_from_checkout(town: Town, buyer: Buyer) -> None:
    await town.sync.sync_customer(buyer.customer_id, "came back")


async def upgrade(town: Town, buyer: Buyer) -> None:
    await town.changes.apply(buyer.customer_id, "enterprise-monthly", actor="buyer")


WAYS: tuple[tuple[Way, Way], ...] = (
    (events_stored, worker),
    (events_lost, sweep),
    (nothing, checkout),
    (pages_paid, return_from_checkout),
    (in_step, upgrade),
)
"""How it stands before, and what is begun then."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize(("before", "way"), WAYS, ids=[way.__name__ for _, way in WAYS])
async def test_a_way_that_is_disturbed_at_any_step_loses_nothing_and_does_nothing_twice(
    new_town: NewTown, before: Way, way: Way, fate: Fate
) -> None:
    town = await new_town(1, 0, HEARD)
    for number in count():
        buyer = await a_buyer(town, before)
        process = disturbed_at(number, fate)
        with suppress(TiergateError):
            await run_in(process, way(town, buyer))
        await all_is_well(town, buyer)
        if len(process.steps) <= number:
            break
    assert number >= 3


@pytest.mark.parametrize("fate", FATES)
async def test_a_webhook_that_is_disturbed_at_any_step_loses_no_event(new_town: NewTown, fate: Fate) -> None:
    town = await new_town(1, 0, HEARD)
    for number in count():
        buyer = await a_buyer(town, nothing)
        process = disturbed_at(number, fate)
        await pages_paid(town, buyer)
        town.planned = [process]
        await webhook(town, buyer)
        await all_is_well(town, buyer)
        if len(process.steps) <= number:
            break
    assert number >= 1


async def a_buyer(town: Town, before: Way) -> Buyer:
    town.forget_undelivered()
    buyer = await move_in(town)
    town.buyers = [buyer]
    await before(town, buyer)
    return buyer


def disturbed_at(number: int, fate: Fate) -> Process:
    return Process(fate_of=lambda _, step: fate if step == number else "done")


async def all_is_well(town: Town, buyer: Buyer) -> None:
    """Once it is quiet again."""
    await town.come_to_rest()
    await town.look_up(buyer)
    await check_in_step(town)
    world = town.simulator.world
    customers = world.tables.customers.values()
    made = {one.id for one in customers if one.metadata.get("tiergate_customer_id") == buyer.customer_id}
    assert len(made) <= 1
    assert len([one for one in world.tables.subscriptions.values() if one.customer_id in made]) <= 1
    assert sum((await town.ledger.inbox_counts()).by_status.values()) == 0  # nothing waits, and nothing is dead
    audit = [row for row in await town.ledger.list_audit(buyer.customer_id) if row.action == "subscription-changed"]
    assert all(row.before != row.after for row in audit)
