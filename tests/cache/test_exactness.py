"""Numbers just below 2**53, against Python's integers."""

from __future__ import annotations

import asyncio
import secrets

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.cache import Cache
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, LimitState, QuotaClaim, RateClaim

EXACT = 2**53
NOW_MS = 1_700_000_000_000


async def charge_in_turn(
    url: str, claims: list[RateClaim | QuotaClaim], instants: list[int]
) -> list[Charged | ChargeRefused]:
    cache = await Cache.connect(url, deadline_s=30)
    customer_id = secrets.token_hex(6)
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    answers = []
    try:
        assert await cache.wait_ready(30)
        await cache.publish(account, counters={}, seq_floor=0, expires_s=60)
        for claim, now_ms in zip(claims, instants, strict=True):
            answer = await cache.charge(
                ChargeRequest(customer_id=customer_id, version=1, claims=(claim,), now_ms=now_ms)
            )
            assert isinstance(answer, Charged | ChargeRefused)
            answers.append(answer)
    finally:
        await cache.aclose()
    return answers


huge = st.one_of(st.integers(1, 1000), st.integers(1, EXACT - 1), st.integers(EXACT - 5000, EXACT - 1))


@given(data=st.data(), window_ms=huge, units=huge, gap_ms=st.one_of(st.integers(0, 10), st.integers(0, 10**9)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_rate_of_any_size_is_counted_to_the_unit(
    cache_url: str, data: st.DataObject, window_ms: int, units: int, gap_ms: int
) -> None:
    largest = (EXACT - 1) // window_ms
    assume(largest >= 1)
    burst = data.draw(st.one_of(st.just(largest), st.integers(1, largest)), label="burst")
    costs = data.draw(st.lists(st.integers(1, burst), min_size=1, max_size=4), label="costs")
    claims = [
        RateClaim(field=f"r:m:{window_ms}", cost=cost, units=units, window_ms=window_ms, burst=burst) for cost in costs
    ]
    instants = [NOW_MS + n * gap_ms for n in range(len(costs))]
    answers = asyncio.run(charge_in_turn(cache_url, claims, instants))
    debt, at = 0, NOW_MS
    for cost, now_ms, answer in zip(costs, instants, answers, strict=True):
        owed = max(0, debt - (now_ms - at) * units)
        room, need = burst * window_ms - owed, cost * window_ms
        if need <= room:
            debt, at = owed + need, now_ms
            left, reset = (room - need) // window_ms, -(-debt // units)
        else:
            left, reset = room // window_ms, -(-(need - room) // units)
        assert answer.states == (LimitState(remaining=left, reset_ms=reset, allowed=need <= room),)


@given(limit=st.integers(0, EXACT - 1), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_quota_of_any_size_is_counted_to_the_unit(cache_url: str, data: st.DataObject, limit: int) -> None:
    costs = data.draw(st.lists(st.integers(1, EXACT - 1) | st.integers(1, max(1, limit)), min_size=1, max_size=4))
    claims = [QuotaClaim(field="q:m:period", cost=cost, limit=limit, starts_at=0, ends_at=2**33) for cost in costs]
    answers = asyncio.run(charge_in_turn(cache_url, claims, [NOW_MS] * len(costs)))
    used = 0
    for cost, answer in zip(costs, answers, strict=True):
        fits = used + cost <= limit
        used += cost if fits else 0
        assert answer.states == (LimitState(remaining=limit - used, reset_ms=2**33 * 1000 - NOW_MS, allowed=fits),)
