"""Draws and ends of leases, one at a time, on the real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, prepare_draw, prepare_lease_end
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, QuotaClaim, RateClaim
from gateway.core.lease import Draw, Lease

NOW_MS = 1_700_000_040_000
RATE = RateClaim(field="r:m:1000", cost=1, units=50, window_ms=1000, burst=200)
QUOTA = QuotaClaim(field="q:m:60", cost=1, limit=1000, starts_at=NOW_MS // 1000, ends_at=NOW_MS // 1000 + 60)
REFUSED = [0, NOW_MS]
EPOCH = 2**32


class Customer:
    def __init__(self, cache: Cache, raw: Redis, customer_id: str) -> None:
        self.cache, self.raw, self.customer_id = cache, raw, customer_id
        self.draws = 0

    async def publish(self, version: int = 1) -> None:
        account = Account(customer_id=self.customer_id, user_id="u", version=version, created_at=0)
        await self.cache.publish(account, counters={}, seq_floor=0, expires_s=60)

    async def charge(self, *claims, cost=1, now_ms=NOW_MS, version=1):
        claims = tuple(replace(claim, cost=cost) for claim in claims)
        return await self.cache.charge(
            ChargeRequest(customer_id=self.customer_id, version=version, claims=claims, now_ms=now_ms)
        )

    def draw_of(self, *claims, wanted=1000, now_ms=NOW_MS, **more) -> Draw:
        self.draws += 1
        facts = {"version": 1, "name": f"n{self.draws}", "ttl_ms": 500} | more
        return Draw(customer_id=self.customer_id, claims=claims, wanted=wanted, now_ms=now_ms, **facts)

    async def draw(self, *claims, **more):
        return await self.cache.charge_packed(prepare_draw(self.draw_of(*claims, **more)))

    async def end(self, draw: Draw, reply: list[int], used: int) -> int:
        lease = Lease(draw, reply, 0.0)
        for _ in range(used):
            lease.take()
        return await self.cache.charge_packed(prepare_lease_end(self.customer_id, draw.name, lease.unused()))

    async def stored(self, field: str) -> str | None:
        return await self.raw.hget(f"tg:{{{self.customer_id}}}:use", field)


@pytest.fixture
async def customer(cache: Cache, raw: Redis, customer_id: str) -> Customer:
    customer = Customer(cache, raw, customer_id)
    await customer.publish()
    return customer


async def test_a_grant_is_charged_at_once(customer):
    await customer.charge(RATE, QUOTA)
    assert await customer.draw(RATE, QUOTA, wanted=10) == [1, NOW_MS, 10, 25_000 + 10_000, 11, EPOCH + 2]
    assert await customer.stored("q:m:60") == f"{QUOTA.starts_at}|11"
    assert await customer.stored("r:m:1000") == f"{NOW_MS}|35000"


async def test_a_quota_grants_a_tenth_of_what_is_left(customer):
    await customer.charge(QUOTA, cost=500)
    assert (await customer.draw(QUOTA))[2] == 50
    assert (await customer.draw(QUOTA))[2] == 45


async def test_a_quota_of_which_less_than_a_tenth_is_left_grants_nothing(customer):
    await customer.charge(QUOTA, cost=901)
    assert await customer.draw(QUOTA) == REFUSED
    assert await customer.stored("q:m:60") == f"{QUOTA.starts_at}|901"


async def test_an_empty_bucket_grants_half_of_its_burst_less_what_it_gains_within_the_lease(customer):
    assert (await customer.draw(RATE))[2] == (200 - 25) // 2


async def test_exact_charges_beside_a_lease_leave_the_burst_to_those_that_come_last(customer):
    granted = (await customer.draw(RATE))[2]
    for _ in range(2):  # two of them, each half of the room
        granted += (await customer.draw(RATE, now_ms=NOW_MS))[2]
    late_ms = NOW_MS + 499
    answer = await customer.charge(RATE, cost=200 - granted, now_ms=late_ms)
    assert isinstance(answer, Charged | ChargeRefused)
    exactly = 0
    while isinstance(await customer.charge(RATE, now_ms=late_ms), Charged):
        exactly += 1
    exactly += (200 - granted) if isinstance(answer, Charged) else 0
    assert granted + exactly <= 200


async def test_a_bucket_that_holds_more_than_it_gains_within_a_lease_grants_from_what_is_left(customer):
    await customer.charge(RATE, cost=120)
    assert await customer.draw(RATE, wanted=10, now_ms=NOW_MS + 400) == [
        1,
        NOW_MS + 400,
        10,
        100_000 + 10_000,
        EPOCH + 2,
    ]


async def test_what_was_not_let_through_goes_back_once(customer):
    await customer.charge(QUOTA, RATE)
    draw = customer.draw_of(QUOTA, RATE, wanted=10)
    reply = await customer.cache.charge_packed(prepare_draw(draw))
    assert await customer.end(draw, reply, used=4) == 6
    assert await customer.end(draw, reply, used=4) == 0
    assert await customer.stored("q:m:60") == f"{QUOTA.starts_at}|5"
    assert await customer.stored("r:m:1000") == f"{NOW_MS}|35000"
    assert await customer.stored("l") == ""


async def test_a_lease_gives_back_what_it_has_charged_and_not_more(customer):
    await customer.charge(QUOTA, cost=50)
    draw = customer.draw_of(QUOTA, wanted=10)
    await customer.cache.charge_packed(prepare_draw(draw))
    unused = [(QUOTA.field, 25, QUOTA.starts_at)]
    assert await customer.cache.charge_packed(prepare_lease_end(customer.customer_id, draw.name, unused)) == 10
    assert await customer.stored("q:m:60") == f"{QUOTA.starts_at}|50"


async def test_a_lease_that_the_cache_has_forgotten_gives_nothing_back(customer):
    await customer.charge(QUOTA)
    draw = customer.draw_of(QUOTA, wanted=10)
    reply = await customer.cache.charge_packed(prepare_draw(draw))
    await customer.raw.delete(f"tg:{{{customer.customer_id}}}:use")
    await customer.publish()
    await customer.charge(QUOTA, cost=20)
    assert await customer.end(draw, reply, used=0) == 0
    assert await customer.stored("q:m:60") == f"{QUOTA.starts_at}|20"


async def test_what_comes_back_after_its_window_goes_back_there_and_not_to_the_next(customer):
    await customer.charge(QUOTA)
    draw = customer.draw_of(QUOTA, wanted=10)
    reply = await customer.cache.charge_packed(prepare_draw(draw))
    after = replace(QUOTA, starts_at=QUOTA.ends_at, ends_at=QUOTA.ends_at + 60)
    await customer.charge(after, cost=20, now_ms=NOW_MS + 60_000)
    assert await customer.end(draw, reply, used=4) == 6
    assert await customer.stored("q:m:60") == f"{after.starts_at}|20"
    assert await customer.stored("p:m:60") == f"{QUOTA.starts_at}|5"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 2}, "another version"),
        ({"now_ms": NOW_MS + 60_000}, "after the window"),
        ({"now_ms": NOW_MS - 1}, "behind the latest charge"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_nothing_is_leased_unless_all_is_as_the_caller_says(customer, changes, why):
    await customer.charge(RATE, QUOTA)
    before = await customer.raw.hgetall(f"tg:{{{customer.customer_id}}}:use")
    assert (await customer.draw(RATE, QUOTA, **changes))[0] == 0, why
    assert await customer.raw.hgetall(f"tg:{{{customer.customer_id}}}:use") == before


async def test_nothing_is_leased_in_a_window_that_no_charge_has_opened(customer):
    assert await customer.draw(QUOTA) == REFUSED


async def test_nothing_is_leased_from_data_of_another_history(customer):
    await customer.charge(RATE)
    await customer.raw.hset(f"tg:{{{customer.customer_id}}}:use", "e", "0" * 40)
    assert await customer.draw(RATE) == REFUSED


async def test_leases_that_are_over_are_forgotten_a_minute_later(customer):
    quota = replace(QUOTA, ends_at=QUOTA.ends_at + 600)
    await customer.charge(RATE, quota)
    for now_ms in (NOW_MS, NOW_MS + 60_499, NOW_MS + 60_500):
        await customer.draw(RATE, quota, wanted=3, now_ms=now_ms)
    assert await customer.stored("l") == f"n2 {NOW_MS + 60_999} q:m:60=3;n3 {NOW_MS + 61_000} q:m:60=3;"


async def test_of_leases_that_are_over_for_a_second_the_latest_128_are_kept(customer):
    quota = replace(QUOTA, limit=1_000_000)
    await customer.charge(quota)
    for step in range(140):
        await customer.draw(quota, wanted=1, now_ms=NOW_MS + step)
    await customer.draw(quota, wanted=1, now_ms=NOW_MS + 139 + 1500)
    names = [entry.split()[0] for entry in (await customer.stored("l")).split(";")[:-1]]
    assert names == [f"n{number}" for number in range(13, 142)]


async def test_a_lease_of_rates_alone_leaves_no_trace_but_their_debt(customer):
    await customer.draw(RATE, wanted=3)
    assert await customer.stored("l") is None


async def test_a_plan_without_limits_is_leased_without_a_trace(customer):
    assert await customer.draw(wanted=7) == [1, NOW_MS, 7, 0]
    assert await customer.stored("l") is None
