"""A clock of the cache that was wrong, and is right again: what was counted ahead of time is counted now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, LimitState, QuotaClaim, WindowMoved

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from gateway.cache import Cache

NOW_MS = 1_700_000_000_000
DAY = QuotaClaim(field="q:requests:86400", cost=1, limit=5, starts_at=1_699_920_000, ends_at=1_700_006_400)
TOMORROW = replace(DAY, starts_at=DAY.ends_at, ends_at=DAY.ends_at + 86_400)


@pytest.fixture
async def account(cache: Cache, customer_id: str) -> Account:
    account = Account(customer_id=customer_id, user_id="u-1", version=4, created_at=1_690_000_000)
    assert await cache.publish(account, counters={}, seq_floor=0, expires_s=600)
    return account


def wants(account: Account, *claims: QuotaClaim, now_ms: int = NOW_MS) -> ChargeRequest:
    return ChargeRequest(customer_id=account.customer_id, version=account.version, claims=claims, now_ms=now_ms)


async def stored(raw: Redis, account: Account) -> dict[str, str]:
    return await raw.hgetall(f"tg:{{{account.customer_id}}}:use")


async def test_what_a_clock_counted_in_a_window_ahead_counts_in_todays_and_leaves_that_window_whole(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(wants(account, replace(DAY, cost=2)))
    await cache.charge(wants(account, replace(TOMORROW, cost=2), now_ms=TOMORROW.starts_at * 1000))
    answer = await cache.charge(wants(account, DAY))
    assert answer == Charged(now_ms=NOW_MS, states=(LimitState(remaining=0, reset_ms=6_400_000, allowed=True),))
    fields = await stored(raw, account)
    assert fields[DAY.field] == f"{DAY.starts_at}|5"
    assert "p:requests:86400" not in fields, "it is what is counted now"
    for left in (4, 3):
        answer = await cache.charge(wants(account, TOMORROW, now_ms=TOMORROW.starts_at * 1000))
        assert isinstance(answer, Charged)
        assert answer.states[0].remaining == left
    assert (await stored(raw, account))["p:requests:86400"] == f"{DAY.starts_at}|5"


async def test_who_honours_a_refusal_after_a_clock_was_a_window_ahead_is_let_in(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(wants(account, replace(DAY, cost=5)))
    await cache.charge(wants(account, replace(TOMORROW, cost=5), now_ms=TOMORROW.starts_at * 1000))
    refused = await cache.charge(wants(account, DAY))
    assert isinstance(refused, ChargeRefused)
    fields = await stored(raw, account)
    assert fields[DAY.field] == f"{DAY.starts_at}|10", "a refusal sets it right too"
    assert fields["s"] == str(2**32 + 3), "so that it is settled"
    then = NOW_MS + refused.states[0].reset_ms
    assert isinstance(await cache.charge(wants(account, TOMORROW, now_ms=then)), Charged)


async def test_a_clock_that_was_in_two_windows_ahead_leaves_what_it_counted_last(
    cache: Cache, raw: Redis, account: Account
) -> None:
    for days, cost in ((0, 1), (1, 2), (2, 3)):
        starts_at = DAY.starts_at + days * 86_400
        claim = replace(DAY, cost=cost, starts_at=starts_at, ends_at=starts_at + 86_400)
        await cache.charge(wants(account, claim, now_ms=starts_at * 1000))
    answer = await cache.charge(wants(account, DAY))
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 1
    assert (await stored(raw, account))[DAY.field] == f"{DAY.starts_at}|4"


async def test_a_window_ahead_that_was_moved_back_too_goes_on_with_what_was_counted_before(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(wants(account, replace(DAY, cost=2)))
    await cache.charge(wants(account, TOMORROW, now_ms=TOMORROW.starts_at * 1000))
    wider = replace(DAY, starts_at=DAY.starts_at - 7 * 86_400)
    assert isinstance(await cache.charge(wants(account, wider)), Charged)
    assert (await stored(raw, account))[DAY.field] == f"{DAY.starts_at}|4"


async def test_a_window_that_begins_within_the_tolerance_has_begun(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, replace(TOMORROW, cost=3), now_ms=TOMORROW.starts_at * 1000))
    await raw.hdel(f"tg:{{{account.customer_id}}}:use", "t")  # as a lost cache forgets it
    late_ms = TOMORROW.starts_at * 1000 - 5000
    before = await cache.charge(wants(account, DAY, now_ms=late_ms - 1))
    assert isinstance(before, Charged)
    await raw.hset(f"tg:{{{account.customer_id}}}:use", mapping={DAY.field: f"{TOMORROW.starts_at}|3", "t": 0})
    assert await cache.charge(wants(account, DAY, now_ms=late_ms)) == WindowMoved(now_ms=TOMORROW.starts_at * 1000)
    answer = await cache.charge(wants(account, TOMORROW, now_ms=late_ms))
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 1, "the window that has begun is not counted anew"


async def test_a_charge_that_is_sent_back_sets_no_quota_right(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, DAY))
    await cache.charge(wants(account, TOMORROW, now_ms=TOMORROW.starts_at * 1000))
    before = await stored(raw, account)
    past = replace(DAY, field="q:requests:3600", starts_at=NOW_MS // 1000 - 7200, ends_at=NOW_MS // 1000 - 3600)
    assert isinstance(await cache.charge(wants(account, DAY, past)), WindowMoved)
    assert await stored(raw, account) == before
