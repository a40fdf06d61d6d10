from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, Receipt, UsageReading
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRequest, QuotaClaim
from tests.cache.ends import refund

DAY = QuotaClaim(field="q:m:period", cost=1, limit=100, starts_at=0, ends_at=2**33)


@pytest.fixture
def account(customer_id: str) -> Account:
    return Account(customer_id=customer_id, user_id="u-1", version=5, created_at=1)


async def publish(cache: Cache, account: Account, **counters: int) -> bool:
    return await cache.publish(
        account,
        counters={f"q:m:{name}": (0, used) for name, used in counters.items()},
        seq_floor=2**32 + 17,
        expires_s=600,
    )


async def test_a_lost_customer_gets_its_counters_back_and_a_new_epoch(cache: Cache, account: Account) -> None:
    assert await publish(cache, account, period=40)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert (reading.version, reading.seq, reading.quotas) == (5, 2**33, {"q:m:period": (0, 40)})


async def test_publishing_never_touches_counters_that_are_there(cache: Cache, account: Account) -> None:
    await publish(cache, account, period=40)
    await cache.charge(ChargeRequest(customer_id=account.customer_id, version=5, claims=(DAY,)))
    await publish(cache, replace(account, version=6), period=0, day=9)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert (reading.version, reading.seq, reading.quotas) == (6, 2**33 + 1, {"q:m:period": (0, 41)})


async def test_publishing_never_lowers_a_version(cache: Cache, account: Account) -> None:
    await publish(cache, account)
    assert not await publish(cache, replace(account, version=4, user_id="older"))
    assert not await publish(cache, replace(account, user_id="same version"))
    answer = await cache.charge(ChargeRequest(customer_id=account.customer_id, version=5, claims=()))
    assert isinstance(answer, Charged)


async def test_an_account_without_counters_is_not_believed(cache: Cache, raw: Redis, account: Account) -> None:
    await publish(cache, replace(account, version=6))
    await raw.delete(f"tg:{{{account.customer_id}}}:use")
    assert await publish(cache, account, period=3)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.quotas == {"q:m:period": (0, 3)}


async def test_a_lost_account_is_published_again_and_counters_stay(cache: Cache, raw: Redis, account: Account) -> None:
    await publish(cache, account, period=3)
    await raw.delete(f"tg:{{{account.customer_id}}}:acct")
    assert await publish(cache, account, period=0)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.quotas == {"q:m:period": (0, 3)}


async def test_counters_that_only_lost_their_version_are_kept(cache: Cache, raw: Redis, account: Account) -> None:
    await publish(cache, account, period=3)
    await raw.hdel(f"tg:{{{account.customer_id}}}:use", "v")
    assert await publish(cache, account, period=1, day=2)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.quotas == {"q:m:period": (0, 3), "q:m:day": (0, 2)}


@pytest.mark.parametrize("here", [(60, 3), (0, 9)], ids=["a later window", "more in the same window"])
async def test_a_count_that_is_ahead_of_the_ledgers_is_not_lowered_whatever_the_ledger_has_seen_since(
    cache: Cache, raw: Redis, account: Account, here: tuple[int, int]
) -> None:
    await publish(cache, account, period=3)
    key = f"tg:{{{account.customer_id}}}:use"
    await raw.hset(key, "q:m:period", f"{here[0]}|{here[1]}")
    await raw.hset(key, "s", 1)  # as if it were of an older copy
    await raw.hdel(key, "v")
    assert await publish(cache, account, period=4)
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.quotas == {"q:m:period": here}


async def test_many_publishers_leave_the_newest_account(cache: Cache, account: Account) -> None:
    await asyncio.gather(*(publish(cache, replace(account, version=version)) for version in (6, 9, 7, 8, 5)))
    answer = await cache.charge(ChargeRequest(customer_id=account.customer_id, version=9, claims=()))
    assert isinstance(answer, Charged)


async def test_publishing_and_reading_keep_a_customer_alive(cache: Cache, raw: Redis, account: Account) -> None:
    keys = [f"tg:{{{account.customer_id}}}:{name}" for name in ("use", "acct")]
    await publish(cache, account)
    assert [await raw.ttl(key) for key in keys] == [600, 600]
    await cache.read_usage(account.customer_id)
    assert all([await raw.ttl(key) > 6 * 86_400 for key in keys])


async def test_an_unknown_customer_has_no_reading(cache: Cache, customer_id: str) -> None:
    assert await cache.read_usage(customer_id) is None


async def test_a_refund_shows_in_the_reading(cache: Cache, account: Account) -> None:
    await publish(cache, account)
    charged = await cache.charge(ChargeRequest(customer_id=account.customer_id, version=5, claims=(DAY,)))
    assert isinstance(charged, Charged)
    parts = ((DAY.field, 0, 1),)
    await refund(cache, Receipt(customer_id=account.customer_id, receipt_id="r", parts=parts, seq=charged.seq))
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert (reading.seq, reading.quotas) == (2**33 + 2, {"q:m:period": (0, 0)})


async def test_a_scan_reads_every_customer(cache: Cache, raw: Redis, account: Account) -> None:
    await raw.flushall()
    ids = {f"{account.customer_id}{n}" for n in range(1200)}
    for customer_id in ids:
        await publish(cache, replace(account, customer_id=customer_id), period=2)
    await raw.set("tg:why:boot:1", "not a customer")
    readings: dict[str, UsageReading] = {}
    async for reading in cache.scan_usage():
        readings[reading.customer_id] = reading
    assert set(readings) == ids
    assert {reading.quotas["q:m:period"] for reading in readings.values()} == {(0, 2)}


async def test_pages_of_decisions_are_kept_for_their_time(cache: Cache, raw: Redis, customer_id: str) -> None:
    await cache.put_decisions(customer_id, {"c7": b"\x00page"}, 60)
    assert await cache.get_decisions(customer_id, "c7") == b"\x00page"
    assert await cache.get_decisions(customer_id, "c8") is None
    assert 0 < await raw.ttl(f"tg:why:{{{customer_id}}}:c7") <= 60


async def test_a_round_trip_is_told_in_milliseconds(cache: Cache) -> None:
    assert 0 < await cache.ping() < 5000
