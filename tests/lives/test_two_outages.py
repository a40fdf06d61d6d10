"""What no single step tells: the cache forgets while the ledger is away, before a change has reached the cache."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

import pytest

from gateway.cache import decode_account
from gateway.cache.keyspace import acct_key
from gateway.core.account import Account
from gateway.core.errors import LedgerUnavailable, TiergateError
from tests.lives.conftest import NewTown
from tests.lives.steps import Process, run_in
from tests.lives.test_steps import HEARD, a_buyer, all_is_well, disturbed_at, in_step, upgrade
from tests.lives.town import Buyer, Town

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def cached(town: Town, buyer: Buyer) -> Account | None:
    blob = await town.cache.get(acct_key(buyer.customer_id))
    return None if blob is None else decode_account(blob)


async def test_a_cache_that_is_lost_while_the_ledger_is_away_has_nothing_rather_than_something_older(
    new_town: NewTown,
) -> None:
    town = await new_town(1, 0, HEARD)
    without_ledger = Process(fate_of=lambda kind, _: "refused" if kind == "ledger" else "done")
    for number in count():
        buyer = await a_buyer(town, in_step)
        process = disturbed_at(number, "killed after")
        with suppress(TiergateError):
            await run_in(process, upgrade(town, buyer))
        await town.cache.delete(acct_key(buyer.customer_id))
        town.calling.forgotten = await town.calling.published()
        with pytest.raises(LedgerUnavailable):
            await run_in(without_ledger, town.publisher.publish(buyer.customer_id))
        assert await cached(town, buyer) is None
        await all_is_well(town, buyer)
        assert await town.publisher.load(buyer.customer_id) == await town.ledger.load_account(buyer.customer_id)
        assert await cached(town, buyer) == await town.ledger.load_account(buyer.customer_id)
        if len(process.steps) <= number:
            break
    assert number >= 8


async def test_a_change_that_was_killed_before_the_cache_had_it_is_there_before_the_cache_serves_again(
    new_town: NewTown,
) -> None:
    town = await new_town(1, 0, HEARD)
    seen_late = 0
    for number in count():
        buyer = await a_buyer(town, in_step)
        process = disturbed_at(number, "killed after")
        with suppress(TiergateError):
            await run_in(process, upgrade(town, buyer))
        seen_late += await cached(town, buyer) != await town.ledger.load_account(buyer.customer_id)
        await town.publisher.repair()  # what a second start does before it takes a request
        assert await cached(town, buyer) == await town.ledger.load_account(buyer.customer_id)
        await all_is_well(town, buyer)
        if len(process.steps) <= number:
            break
    assert seen_late, "no step lies between the ledger's change and the cache's"


async def test_a_change_that_a_server_refuses_once_as_it_comes_back_is_there_before_the_cache_serves_again(
    new_town: NewTown,
) -> None:
    town = await new_town(1, 0, HEARD)
    buyer = await a_buyer(town, in_step)
    now = int(town.now())
    await town.ledger.set_blocked(buyer.customer_id, blocked=True, now=now, actor="test", because="test")
    assert await town.ledger.unpublished(100) == [buyer.customer_id]
    process = Process(
        fate_of=lambda kind, _: "refused" if kind == "cache" and "cache publish" not in process.steps else "done"
    )
    assert await run_in(process, town.publisher.repair()) == 1
    assert process.steps.count("cache publish") == 2
    assert await town.ledger.unpublished(100) == []
    assert await cached(town, buyer) == await town.ledger.load_account(buyer.customer_id)
