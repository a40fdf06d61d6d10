from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, QuotaClaim
from tests.fakes.raw import everywhere


def one_unit_of(limit: int, customer_id: str) -> ChargeRequest:
    claim = QuotaClaim(field="q:m:period", cost=1, limit=limit, starts_at=0, ends_at=2**33)
    return ChargeRequest(customer_id=customer_id, version=1, claims=(claim,))


@pytest.fixture
async def customer(cache: Cache, customer_id: str) -> str:
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0, expires_s=60)
    assert await cache.wait_ready(30)
    return customer_id


@pytest.mark.not_on("cluster", because="counts the commands of one server")
async def test_charges_of_one_tick_share_a_round_trip(cache: Cache, raw: Redis, customer: str) -> None:
    await raw.config_resetstat()
    before = cache.round_trips
    answers = await asyncio.gather(*(cache.charge(one_unit_of(1000, customer)) for _ in range(200)))
    assert cache.round_trips - before == 1
    assert (await raw.info("commandstats"))["cmdstat_evalsha"]["calls"] == 200
    assert all(isinstance(answer, Charged) for answer in answers)


async def test_concurrent_callers_make_far_fewer_round_trips_than_charges(cache: Cache, customer: str) -> None:
    async def caller() -> None:
        for _ in range(20):
            await cache.charge(one_unit_of(10_000, customer))

    before = cache.round_trips
    await asyncio.gather(*(caller() for _ in range(50)))
    assert cache.round_trips - before <= 250


async def test_concurrent_charges_never_exceed_the_quota(cache: Cache, customer: str) -> None:
    answers = await asyncio.gather(*(cache.charge(one_unit_of(300, customer)) for _ in range(1000)))
    assert sum(isinstance(answer, Charged) for answer in answers) == 300
    assert sum(isinstance(answer, ChargeRefused) for answer in answers) == 700


async def test_each_caller_gets_its_own_answer(cache: Cache, customer: str) -> None:
    answers = await asyncio.gather(*(cache.charge(one_unit_of(500, customer)) for _ in range(500)))
    assert sorted(answer.states[0].remaining for answer in answers if isinstance(answer, Charged)) == list(range(500))


async def test_a_caller_who_left_before_the_tick_ended_is_not_charged(cache: Cache, customer: str) -> None:
    leaving = asyncio.ensure_future(cache.charge(one_unit_of(10, customer)))
    staying = asyncio.ensure_future(cache.charge(one_unit_of(10, customer)))
    asyncio.get_running_loop().call_soon(leaving.cancel)
    answer = await staying
    assert isinstance(answer, Charged)
    assert leaving.cancelled()
    reading = await cache.read_usage(customer)
    assert reading is not None
    assert reading.quotas["q:m:period"][1] in {1, 2}  # 2 if it had been sent already


async def test_forgotten_scripts_are_sent_again_for_a_whole_batch(cache: Cache, raw: Redis, customer: str) -> None:
    await raw.execute_command("SCRIPT FLUSH", **everywhere(raw))
    before = cache.round_trips
    answers = await asyncio.gather(*(cache.charge(one_unit_of(50, customer)) for _ in range(50)))
    assert sorted(answer.states[0].remaining for answer in answers if isinstance(answer, Charged)) == list(range(50))
    assert cache.round_trips - before in {2, 3}  # 3 if the refusals came in two reads
