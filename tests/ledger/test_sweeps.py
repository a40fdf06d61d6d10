"""How far a sweep is: one worker has it at a time, and whoever is next goes on."""

from __future__ import annotations

import asyncio

from gateway.ledger import Swept

PLACE = {"page": 2, "of": ["ä"]}


async def claim(ledger, worker, now=100, name="undelivered"):
    return await ledger.claim_sweep(name, worker, now=now, lease_s=60)


async def test_of_many_that_ask_at_once_one_has_it(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    rows = await asyncio.gather(*(claim((ledger, other)[number % 2], f"w{number}") for number in range(8)))
    assert sum(row is not None for row in rows) == 1
    assert await claim(ledger, "w9", name="another sweep") == Swept()


async def test_what_it_came_to_is_had_by_whoever_is_next(ledger):
    assert await claim(ledger, "w1") == Swept()
    swept = Swept(place=PLACE, swept_to=90, types=("a", "b"))
    assert await ledger.end_sweep("undelivered", "w1", swept)
    assert await claim(ledger, "w2", now=101) == swept
    assert await ledger.end_sweep("undelivered", "w2", Swept())
    assert await claim(ledger, "w3", now=102) == Swept()


async def test_a_claim_lasts_as_long_as_it_is_renewed_and_its_place_is_kept(ledger):
    await claim(ledger, "w1")
    assert await ledger.keep_sweep("undelivered", "w1", PLACE, now=150, lease_s=60)
    assert await claim(ledger, "w2", now=209) is None
    assert await claim(ledger, "w2", now=210) == Swept(place=PLACE)


async def test_who_lost_its_claim_says_nothing_any_more(ledger):
    await claim(ledger, "w1")
    await claim(ledger, "w2", now=160)
    assert not await ledger.keep_sweep("undelivered", "w1", PLACE, now=161, lease_s=60)
    assert not await ledger.end_sweep("undelivered", "w1", Swept(swept_to=1))
    assert await claim(ledger, "w2", now=162) == Swept()
