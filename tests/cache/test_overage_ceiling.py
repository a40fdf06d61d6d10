"""What calls in progress turn out to cost raises overage up to its cap, and no further."""

from __future__ import annotations

import secrets
from dataclasses import replace

from gateway.cache import Receipt
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRequest, QuotaClaim
from gateway.core.planned import Surplus
from tests.cache.ends import settle

NOW = 1_700_000_000
STARTS_AT, ENDS_AT = NOW - 100, NOW + 100
INCLUDED, BEYOND = "q:tokens:period", "q:tokens:over"


def chain(cost, included):
    window = {"starts_at": STARTS_AT, "ends_at": ENDS_AT}
    return (
        QuotaClaim(field=INCLUDED, cost=cost, limit=included, passes_on=True, **window),
        QuotaClaim(field=BEYOND, cost=cost, limit=500, **window),
    )


def more(units, included, most=500):
    """What a call cost beside what it took."""
    first, last = chain(0, included)
    return [Surplus(units=units, chain=(first, replace(last, limit=most)), part=0)]


async def known(cache):
    customer_id = secrets.token_hex(6)
    await cache.publish(
        Account(customer_id=customer_id, user_id="u", version=1, created_at=0), counters={}, seq_floor=0
    )
    return customer_id


async def begin(cache, customer_id, cost, included):
    claims = chain(cost, included)
    answer = await cache.charge(ChargeRequest(customer_id=customer_id, version=1, claims=claims, now_ms=NOW * 1000))
    assert isinstance(answer, Charged)
    parts = tuple(
        (claim.field, claim.starts_at, units) for claim, units in zip(claims, answer.taken, strict=True) if units
    )
    return Receipt(customer_id=customer_id, receipt_id=secrets.token_hex(4), parts=parts)


async def counted(cache, customer_id):
    reading = await cache.read_usage(customer_id)
    return {field: used for field, (_, used) in reading.quotas.items()}


async def test_two_calls_in_progress_that_cost_more_than_they_reserved_stay_within_the_cap(cache):
    customer_id = await known(cache)
    used_up = await begin(cache, customer_id, 100, 100)
    first, second = [await begin(cache, customer_id, 200, 100) for _ in range(2)]
    assert used_up.parts == ((INCLUDED, STARTS_AT, 100),)
    assert await settle(cache, first, [200], more(3800, 100)) == (0, 3800)
    assert await settle(cache, second, [200], more(3800, 100)) == (0, 3800)
    assert await counted(cache, customer_id) == {INCLUDED: 100 + 3700 + 3800, BEYOND: 500}


async def test_one_unit_of_overage_does_not_take_the_whole_difference(cache):
    customer_id = await known(cache)
    call = await begin(cache, customer_id, 200, 199)
    await settle(cache, call, [199, 1], more(3800, 199))
    assert await counted(cache, customer_id) == {INCLUDED: 199 + 3301, BEYOND: 500}


async def test_a_cap_that_was_lowered_below_what_is_used_takes_nothing_back_and_adds_nothing(cache):
    customer_id = await known(cache)
    call = await begin(cache, customer_id, 299, 99)
    await settle(cache, call, [99, 200], more(50, 99, most=50))
    assert await counted(cache, customer_id) == {INCLUDED: 99 + 50, BEYOND: 200}


async def test_what_a_call_did_not_cost_is_given_back_whatever_the_cap_is(cache):
    customer_id = await known(cache)
    call = await begin(cache, customer_id, 299, 99)
    assert await settle(cache, call, [99, 10]) == (190, 0)
    assert await counted(cache, customer_id) == {INCLUDED: 99, BEYOND: 10}


async def test_what_exceeds_the_cap_is_dropped_where_nothing_included_was_ever_counted(cache):
    customer_id = await known(cache)
    call = await begin(cache, customer_id, 200, 0)
    assert await settle(cache, call, [200], more(3800, 0)) == (0, 300)
    assert await counted(cache, customer_id) == {BEYOND: 500}
