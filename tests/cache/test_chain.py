"""A chain of quotas spends a cost once: each takes what it can, in order, and the last must cover the rest."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cache import Cache, Receipt
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, LimitState, QuotaClaim, RateClaim, WindowMoved
from tests.cache.ends import refund

NOW_MS = 1_700_000_000_000
NOW = NOW_MS // 1000
PACE = RateClaim(field="r:m:1000", cost=1, units=1000, window_ms=1000, burst=1000)


def chain(cost, *limits, field="q:m", ends_at=NOW + 100):
    return tuple(
        QuotaClaim(
            field=f"{field}:{place}",
            cost=cost,
            limit=limit,
            starts_at=NOW - 100,
            ends_at=ends_at + place,
            passes_on=place < len(limits) - 1,
        )
        for place, limit in enumerate(limits)
    )


async def known(cache):
    customer_id = secrets.token_hex(6)
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0)
    return customer_id


async def charge(cache, customer_id, claims, now_ms=NOW_MS):
    return await cache.charge(ChargeRequest(customer_id=customer_id, version=1, claims=claims, now_ms=now_ms))


async def counted(cache, customer_id):
    reading = await cache.read_usage(customer_id)
    return {field: used for field, (_, used) in reading.quotas.items()}


async def test_what_the_first_cannot_cover_is_taken_from_the_next(cache):
    customer_id = await known(cache)
    answer = await charge(cache, customer_id, (PACE, *chain(7, 5, 1, 10)))
    assert answer.taken == (1, 5, 1, 1)
    assert answer.states[1] == LimitState(remaining=9, reset_ms=100_000, allowed=True)
    assert await counted(cache, customer_id) == {"q:m:0": 5, "q:m:1": 1, "q:m:2": 1}


async def test_a_chain_that_cannot_cover_the_cost_spends_nothing(cache):
    customer_id = await known(cache)
    answer = await charge(cache, customer_id, (PACE, *chain(17, 5, 1, 10)))
    assert isinstance(answer, ChargeRefused)
    assert [state.allowed for state in answer.states] == [True, False]
    assert answer.states[1].remaining == 16
    assert await counted(cache, customer_id) == {}


async def test_another_limit_that_says_no_keeps_a_chain_from_spending(cache):
    customer_id = await known(cache)
    alone = QuotaClaim(field="q:m:day", cost=7, limit=6, starts_at=NOW - 100, ends_at=NOW + 100)
    for claims in ((*chain(7, 5, 10), alone), (alone, *chain(7, 5, 10))):
        answer = await charge(cache, customer_id, claims)
        assert isinstance(answer, ChargeRefused)
        assert await counted(cache, customer_id) == {}


async def test_two_chains_in_one_charge_are_counted_apart(cache):
    customer_id = await known(cache)
    answer = await charge(cache, customer_id, (*chain(3, 1, 9), PACE, *chain(4, 2, 9, field="q:t")))
    assert answer.taken == (1, 2, 1, 2, 2)
    assert [state.remaining for state in answer.states] == [7, 999, 7]
    assert await counted(cache, customer_id) == {"q:m:0": 1, "q:m:1": 2, "q:t:0": 2, "q:t:1": 2}


async def test_an_overdrawn_quota_in_a_chain_is_passed_over(cache):
    customer_id = await known(cache)
    await charge(cache, customer_id, chain(5, 5))
    answer = await charge(cache, customer_id, chain(2, 3, 4))
    assert isinstance(answer, Charged)
    assert answer.taken == (0, 2)
    assert await counted(cache, customer_id) == {"q:m:0": 5, "q:m:1": 2}


async def test_an_overdrawn_last_quota_refuses_nothing_that_the_first_covers(cache):
    customer_id = await known(cache)
    await charge(cache, customer_id, chain(6, 0, 6))
    assert isinstance(await charge(cache, customer_id, chain(2, 3, 4)), Charged)
    assert isinstance(await charge(cache, customer_id, chain(2, 3, 4)), ChargeRefused)
    assert await counted(cache, customer_id) == {"q:m:0": 2, "q:m:1": 6}


async def test_a_chain_whose_credits_have_ended_is_made_anew(cache):
    customer_id = await known(cache)
    claims = chain(2, 3, 4, ends_at=NOW + 100)
    assert isinstance(await charge(cache, customer_id, claims, NOW_MS + 100_000), WindowMoved)


@dataclass
class Model:
    used: list[int]

    def charge(self, cost: int, limits: list[int]) -> list[int] | None:
        taken = []
        for used, limit in zip(self.used, limits, strict=True):
            took = min(cost - sum(taken), max(0, limit - used))
            taken.append(took)
        if sum(taken) < cost:
            return None
        self.used = [used + took for used, took in zip(self.used, taken, strict=True)]
        return taken


STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.integers(0, 12), min_size=4, max_size=4), st.booleans()), max_size=12
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chains_and_their_refunds_are_as_a_plain_model_says(cache_url, steps):
    asyncio.run(compare(cache_url, steps))


async def compare(url, steps):
    cache, model = await Cache.connect(url, deadline_s=30), Model(used=[0] * 4)
    customer_id = await known(cache)
    for cost, limits, gives_back in steps:
        claims = chain(cost, *limits)
        before = list(model.used)
        taken, answer = model.charge(cost, limits), await charge(cache, customer_id, claims)
        left = sum(max(0, limit - used) for limit, used in zip(limits, before, strict=True))
        if taken is None:
            assert answer.states == (LimitState(remaining=left, reset_ms=100_000, allowed=False),)
        else:
            assert answer.taken == tuple(taken)
            assert answer.states == (LimitState(remaining=left - cost, reset_ms=100_000, allowed=True),)
            if gives_back:
                parts = tuple((claim.field, claim.starts_at, took) for claim, took in zip(claims, taken, strict=True))
                receipt = Receipt(customer_id=customer_id, receipt_id=secrets.token_hex(4), parts=parts)
                assert await refund(cache, receipt) == cost
                model.used = before
        counts = await counted(cache, customer_id)
        assert [counts.get(claim.field, 0) for claim in claims] == model.used
    await cache.aclose()


@pytest.mark.parametrize("cost", [1, 4])
async def test_many_at_once_never_spend_more_than_there_is(cache, cost):
    customer_id = await known(cache)
    answers = await asyncio.gather(*(charge(cache, customer_id, chain(cost, 10, 3, 7)) for _ in range(40)))
    admitted = sum(isinstance(answer, Charged) for answer in answers)
    assert admitted == 20 // cost
    assert sum((await counted(cache, customer_id)).values()) == admitted * cost
