"""The reconciliation of all customers: one at a time, and none loses its place."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from gateway.ledger import ReconciliationNote
from gateway.ledger.database import create_engine, parse_place
from tests.steps import found


async def claim(ledger, worker, now=100, **options):
    return await ledger.claim_reconciliation(worker, now=now, lease_s=60, **options)


async def keep(ledger, worker, cursor, now=110):
    return await ledger.keep_reconciliation(worker, now=now, lease_s=60, cursor=cursor, checked=5, drifted=1, failed=0)


async def test_of_many_that_ask_at_once_one_has_it(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    rows = await asyncio.gather(*(claim((ledger, other)[number % 2], f"w{number}") for number in range(8)))
    assert sum(row is not None for row in rows) == 1


async def test_one_that_died_is_gone_on_with_where_it_was(ledger):
    await claim(ledger, "w1")
    assert await keep(ledger, "w1", "c5")
    assert await claim(ledger, "w2", now=169) is None
    row = await claim(ledger, "w2", now=170)
    assert (row.cursor, row.checked, row.drifted, row.started_at) == ("c5", 5, 1, 100)
    assert not await keep(ledger, "w1", "c9", now=171)
    assert not await ledger.end_reconciliation("w1", now=171, is_complete=True)
    assert (await ledger.find_reconciliation()).cursor == "c5"


async def test_what_a_run_has_ended_is_counted_on_by_whoever_goes_on_with_it_and_by_nobody_else(ledger):
    await claim(ledger, "w1")
    assert [await ledger.count_ended("w1") for _ in range(3)] == [True] * 3
    assert not await ledger.count_ended("w2")
    assert await keep(ledger, "w1", "c5")
    row = await claim(ledger, "w2", now=170)
    assert row.ended == 3
    assert not await ledger.count_ended("w1")
    assert await ledger.count_ended("w2")
    await ledger.end_reconciliation("w2", now=175, is_complete=True)
    assert (await ledger.find_reconciliation()).ended == 4
    assert (await claim(ledger, "w3", now=180)).ended == 0


async def test_a_complete_one_is_followed_by_a_new_one(ledger):
    await claim(ledger, "w1")
    await keep(ledger, "w1", "c5")
    assert await ledger.end_reconciliation("w1", now=150, is_complete=True)
    row = await ledger.find_reconciliation()
    assert (row.cursor, row.finished_at, row.claimed_by) == (None, 150, None)
    row = await claim(ledger, "w2", now=200)
    assert (row.cursor, row.checked, row.started_at, row.finished_at) == ("", 0, 200, 150)


async def test_one_that_is_given_up_keeps_its_place_unless_one_is_begun_anew(ledger):
    await claim(ledger, "w1")
    await keep(ledger, "w1", "c5")
    await ledger.end_reconciliation("w1", now=150, is_complete=False)
    assert (await claim(ledger, "w2", now=160)).cursor == "c5"
    await ledger.end_reconciliation("w2", now=165, is_complete=False)
    row = await claim(ledger, "w3", now=170, anew=True)
    assert (row.cursor, row.started_at) == ("", 170)


async def test_one_that_another_has_done_meanwhile_is_not_done_twice(ledger):
    before = await ledger.await_reconciliation(now=50)
    assert (before.started_at, before.cursor, before.finished_at) == (50, None, None)
    assert (await ledger.await_reconciliation(now=90)).started_at == 50
    await claim(ledger, "w1", now=100, started_at=50)
    await ledger.end_reconciliation("w1", now=110, is_complete=True)
    assert await claim(ledger, "w2", now=120, started_at=50) is None


async def test_the_oldest_read_is_of_those_that_stripe_knows(ledger, subscription):
    assert await ledger.oldest_sync() is None
    for number, stripe_customer_id in enumerate(("cus_1", "cus_2", None)):
        await ledger.create_customer(
            customer_id=f"c{number}",
            user_id=f"u{number}",
            now=10 + number,
            stripe_customer_id=stripe_customer_id,
            actor="test",
        )
    assert await ledger.oldest_sync() == 10
    fence = await ledger.take_fence("c0")
    await ledger.apply_subscription("c0", fence, found(subscription), now=99, actor="stripe", because="")
    assert await ledger.oldest_sync() == 11
    await ledger.bind_stripe_customer("c2", "cus_3")
    assert (await ledger.find_customer("c2")).synced_at == 12


async def test_a_hold_outlives_the_run_that_began_it_until_one_ends_it(ledger):
    await claim(ledger, "w1")
    assert not await ledger.hold_endings("w2", now=105)
    assert [await ledger.hold_endings("w1", now=now) for now in (110, 120)] == [True] * 2
    assert (await claim(ledger, "w2", now=170, anew=True)).held_since == 110
    await ledger.end_reconciliation("w2", now=180, is_complete=True)
    assert (await claim(ledger, "w3", now=190)).held_since == 110
    await ledger.end_reconciliation("w3", now=200, is_complete=True, ends_hold=True)
    assert (await ledger.find_reconciliation()).held_since is None


@pytest.mark.parametrize("is_complete", [True, False])
async def test_a_worker_that_knows_no_holds_finds_a_held_one_in_other_hands_until_the_hold_is_over(
    ledger, ledger_url, is_complete
):
    """As workers of the release before look at it: they beside new ones would end a few each day."""

    async def is_free(now):
        engine = create_engine(parse_place(ledger_url), deadline_s=10)
        try:
            async with engine.connect() as connection:
                query = text("SELECT claimed_by, claimed_until FROM reconciliation")
                claimed_by, claimed_until = (await connection.execute(query)).one()
        finally:
            await engine.dispose()
        return claimed_by is None or claimed_until <= now

    await claim(ledger, "w1")
    assert await ledger.hold_endings("w1", now=110)
    await ledger.end_reconciliation("w1", now=120, is_complete=is_complete)
    assert not await is_free(now=10**10)
    row = await ledger.find_reconciliation()
    assert (row.claimed_by, row.claimed_until) == (None, None)
    assert await claim(ledger, "w2", now=130) is not None
    assert await claim(ledger, "w3", now=131) is None
    await ledger.end_reconciliation("w2", now=140, is_complete=True)
    assert not await is_free(now=10**10)
    await claim(ledger, "w3", now=150)
    await ledger.end_reconciliation("w3", now=160, is_complete=True, ends_hold=True)
    assert await is_free(now=160)


async def test_what_there_is_to_say_of_customers_is_had_by_whoever_goes_on_and_said_anew_by_a_new_one(ledger):
    for customer_id in ("c1", "c2"):
        await ledger.create_customer(customer_id=customer_id, user_id=customer_id, now=1, actor="test")
    notes = [
        ReconciliationNote(customer_id="c1", is_missing=True, is_held=True),
        ReconciliationNote(customer_id="c2", findings=(("unmapped-price", "price_1\0"), ("paused", "x"))),
    ]
    progress = {"lease_s": 60, "checked": 2, "drifted": 0, "failed": 0}
    await claim(ledger, "w1")
    assert not await ledger.keep_reconciliation("w2", now=110, cursor="c2", notes=notes, **progress)
    assert await ledger.list_reconciliation_notes() == []
    assert await ledger.keep_reconciliation("w1", now=110, cursor="c2", notes=notes, **progress)
    assert (await claim(ledger, "w2", now=170)).held == 1
    said = await ledger.list_reconciliation_notes()
    assert said[0] == notes[0]
    assert said[1].findings == (("unmapped-price", "price_1�"), ("paused", "x"))
    assert await ledger.keep_reconciliation(
        "w2", now=180, cursor="c2", notes=[replace(notes[0], is_held=False)], **progress
    )
    assert (await ledger.find_reconciliation()).held == 0
    await claim(ledger, "w2", now=190, anew=True)
    assert await ledger.list_reconciliation_notes() == []


async def test_a_claim_of_a_part_only_keeps_others_away(ledger):
    await claim(ledger, "w1")
    await keep(ledger, "w1", "c5")
    await ledger.end_reconciliation("w1", now=120, is_complete=False)
    before = await ledger.find_reconciliation()
    assert (await claim(ledger, "w2", now=130, is_part=True)).cursor == "c5"
    assert await claim(ledger, "w3", now=140) is None
    assert await ledger.renew_reconciliation("w2", now=180, lease_s=60)
    assert await claim(ledger, "w3", now=230) is None
    await ledger.end_reconciliation("w2", now=235, is_complete=False)
    assert await ledger.find_reconciliation() == before
    assert not await ledger.renew_reconciliation("w2", now=236, lease_s=60)
