from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, Receipt, decode_account
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    Charged,
    ChargeRefused,
    ChargeRequest,
    LimitState,
    QuotaClaim,
    RateClaim,
    WindowMoved,
)
from tests.cache.ends import refund
from tests.fakes.raw import everywhere, history_at

NOW_MS = 1_700_000_000_000
DAY = QuotaClaim(field="q:requests:86400", cost=1, limit=5, starts_at=1_699_920_000, ends_at=1_700_006_400)
SECOND = RateClaim(field="r:requests:1000", cost=1, units=10, window_ms=1000, burst=3)


@pytest.fixture
async def account(cache: Cache, customer_id: str) -> Account:
    account = Account(customer_id=customer_id, user_id="u-1", version=4, created_at=1_690_000_000)
    assert await cache.publish(account, counters={}, seq_floor=0, expires_s=600)
    return account


def wants(account: Account, *claims: RateClaim | QuotaClaim, now_ms: int = NOW_MS) -> ChargeRequest:
    return ChargeRequest(customer_id=account.customer_id, version=account.version, claims=claims, now_ms=now_ms)


async def stored(raw: Redis, account: Account) -> dict[str, str]:
    return await raw.hgetall(f"tg:{{{account.customer_id}}}:use")


async def test_a_charge_moves_every_counter(cache: Cache, raw: Redis, account: Account) -> None:
    answer = await cache.charge(wants(account, SECOND, DAY))
    assert answer == Charged(
        now_ms=NOW_MS,
        states=(
            LimitState(remaining=2, reset_ms=100, allowed=True),
            LimitState(remaining=4, reset_ms=6_400_000, allowed=True),
        ),
    )
    assert await stored(raw, account) == {
        "v": "4",
        "e": await history_at(raw, f"tg:{{{account.customer_id}}}:use"),
        "t": str(NOW_MS),
        "s": str(2**32 + 1),
        "r:requests:1000": f"{NOW_MS}|1000",
        "q:requests:86400": "1699920000|1",
    }


async def test_a_refused_charge_changes_nothing_at_all(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, replace(SECOND, cost=3)))
    before = await stored(raw, account)
    answer = await cache.charge(wants(account, SECOND, DAY, now_ms=NOW_MS + 50))
    assert isinstance(answer, ChargeRefused)
    assert await stored(raw, account) == before


async def test_every_violated_limit_is_reported(cache: Cache, account: Account) -> None:
    answer = await cache.charge(wants(account, replace(SECOND, cost=3), replace(DAY, cost=5)))
    assert isinstance(answer, Charged)
    hour = QuotaClaim(field="q:requests:3600", cost=1, limit=9, starts_at=1_699_999_200, ends_at=1_700_002_800)
    refused = await cache.charge(wants(account, SECOND, hour, DAY))
    assert refused == ChargeRefused(
        now_ms=NOW_MS,
        states=(
            LimitState(remaining=0, reset_ms=100, allowed=False),
            LimitState(remaining=9, reset_ms=2_800_000, allowed=True),
            LimitState(remaining=0, reset_ms=6_400_000, allowed=False),
        ),
    )


async def test_a_quota_is_spent_to_its_last_unit_and_not_one_more(cache: Cache, account: Account) -> None:
    for _ in range(DAY.limit):
        assert isinstance(await cache.charge(wants(account, DAY)), Charged)
    assert isinstance(await cache.charge(wants(account, DAY)), ChargeRefused)


async def test_a_rate_that_is_not_used_saves_up_its_burst_and_not_more(cache: Cache, account: Account) -> None:
    await cache.charge(wants(account, SECOND))
    later = NOW_MS + 3_600_000
    assert isinstance(await cache.charge(wants(account, replace(SECOND, cost=SECOND.burst), now_ms=later)), Charged)
    assert isinstance(await cache.charge(wants(account, SECOND, now_ms=later)), ChargeRefused)


async def test_who_waits_as_long_as_told_is_admitted_and_a_millisecond_earlier_is_not(
    cache: Cache, account: Account
) -> None:
    odd = RateClaim(field="r:requests:1000", cost=2, units=7, window_ms=1000, burst=3)
    await cache.charge(wants(account, odd))
    refused = await cache.charge(wants(account, odd))
    assert isinstance(refused, ChargeRefused)
    wait_ms = refused.states[0].reset_ms
    assert wait_ms == 143  # 1000 of debt too much, at 7 a millisecond: rounded up
    assert isinstance(await cache.charge(wants(account, odd, now_ms=NOW_MS + wait_ms - 1)), ChargeRefused)
    assert isinstance(await cache.charge(wants(account, odd, now_ms=NOW_MS + wait_ms)), Charged)


async def test_a_charge_of_nothing_looks_and_writes_nothing(cache: Cache, raw: Redis, account: Account) -> None:
    before = await stored(raw, account)
    answer = await cache.charge(wants(account, replace(SECOND, cost=0), replace(DAY, cost=0)))
    assert isinstance(answer, Charged)
    assert [state.remaining for state in answer.states] == [3, 5]
    assert await stored(raw, account) == before


async def test_a_charge_of_nothing_is_refused_by_an_overdrawn_rate(cache: Cache, account: Account) -> None:
    await cache.charge(wants(account, replace(SECOND, cost=3)))
    smaller = replace(SECOND, cost=0, burst=2, units=1)
    answer = await cache.charge(wants(account, smaller))
    assert answer == ChargeRefused(now_ms=NOW_MS, states=(LimitState(remaining=0, reset_ms=1000, allowed=False),))


async def test_a_charge_without_claims_asks_for_the_version_only(cache: Cache, account: Account) -> None:
    assert await cache.charge(wants(account)) == Charged(now_ms=NOW_MS, states=())


async def test_free_claims_beside_paid_ones_are_not_written(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, replace(SECOND, cost=0), DAY))
    assert "r:requests:1000" not in await stored(raw, account)


@pytest.mark.parametrize("version", [0, 3, 5])
async def test_any_other_version_gets_the_current_account_and_spends_nothing(
    cache: Cache, raw: Redis, account: Account, version: int
) -> None:
    before = await stored(raw, account)
    answer = await cache.charge(replace(wants(account, SECOND, DAY), version=version))
    assert isinstance(answer, AccountStale)
    assert answer.version == account.version
    assert decode_account(answer.account) == account
    assert await stored(raw, account) == before


async def test_an_account_that_is_too_large_is_not_sent_where_everybody_is_charged(
    cache: Cache, account: Account
) -> None:
    large = replace(account, version=5, user_id="u" * 2**18)
    await cache.publish(large, counters={}, seq_floor=0)
    answer = await cache.charge(wants(account, SECOND, DAY))
    assert answer == AccountStale(now_ms=NOW_MS, version=5, account=b"")
    assert isinstance(await cache.charge(replace(wants(large, SECOND), version=5)), Charged)


async def test_an_unknown_customer_is_missing(cache: Cache, customer_id: str) -> None:
    answer = await cache.charge(ChargeRequest(customer_id=customer_id, version=1, claims=(), now_ms=NOW_MS))
    assert answer == AccountMissing(now_ms=NOW_MS)


@pytest.mark.parametrize("lost", ["use", "acct"])
async def test_a_customer_who_is_half_lost_is_missing_to_who_has_no_account(
    cache: Cache, raw: Redis, account: Account, lost: str
) -> None:
    await raw.delete(f"tg:{{{account.customer_id}}}:{lost}")
    assert isinstance(await cache.charge(replace(wants(account), version=0)), AccountMissing)


async def test_counters_without_a_version_count_as_lost(cache: Cache, raw: Redis, account: Account) -> None:
    await raw.hdel(f"tg:{{{account.customer_id}}}:use", "v")
    assert isinstance(await cache.charge(wants(account, DAY)), AccountMissing)


@pytest.mark.parametrize("second", [DAY.starts_at - 1, DAY.ends_at], ids=["before", "after"])
async def test_a_window_that_does_not_contain_now_is_sent_back(
    cache: Cache, raw: Redis, account: Account, second: int
) -> None:
    before = await stored(raw, account)
    answer = await cache.charge(wants(account, SECOND, DAY, now_ms=second * 1000))
    assert answer == WindowMoved(now_ms=second * 1000)
    assert await stored(raw, account) == before


async def test_the_first_and_the_last_millisecond_belong_to_the_window(cache: Cache, account: Account) -> None:
    assert isinstance(await cache.charge(wants(account, DAY, now_ms=DAY.starts_at * 1000)), Charged)
    assert isinstance(await cache.charge(wants(account, DAY, now_ms=DAY.ends_at * 1000 - 1)), Charged)


async def test_a_new_window_starts_from_zero(cache: Cache, account: Account) -> None:
    await cache.charge(wants(account, replace(DAY, cost=5)))
    tomorrow = replace(DAY, starts_at=DAY.ends_at, ends_at=DAY.ends_at + 86_400)
    answer = await cache.charge(wants(account, tomorrow, now_ms=DAY.ends_at * 1000))
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 4


async def test_the_count_of_the_window_before_is_kept_until_the_next_one_ends(
    cache: Cache, raw: Redis, account: Account
) -> None:
    for day, cost in ((0, 5), (1, 2), (1, 1), (2, 4)):
        starts_at = DAY.starts_at + day * 86_400
        claim = replace(DAY, cost=cost, starts_at=starts_at, ends_at=starts_at + 86_400)
        await cache.charge(wants(account, claim, now_ms=starts_at * 1000))
        if day == 1:
            assert (await stored(raw, account))["p:requests:86400"] == f"{DAY.starts_at}|5"
    fields = await stored(raw, account)
    assert fields["p:requests:86400"] == f"{DAY.starts_at + 86_400}|3"
    assert fields[DAY.field] == f"{DAY.starts_at + 2 * 86_400}|4"
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.ended == {DAY.field: (DAY.starts_at + 86_400, 3)}
    assert set(reading.quotas) == {DAY.field}


async def test_a_window_that_is_moved_back_keeps_its_count(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, replace(DAY, cost=3)))
    wider = replace(DAY, starts_at=DAY.starts_at - 7 * 86_400)
    answer = await cache.charge(wants(account, wider))
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 1
    assert (await stored(raw, account))["q:requests:86400"] == f"{DAY.starts_at}|4"


async def test_time_does_not_run_back_by_as_much_as_clocks_differ(cache: Cache, account: Account) -> None:
    await cache.charge(wants(account, replace(SECOND, cost=3)))
    answer = await cache.charge(wants(account, SECOND, now_ms=NOW_MS - 5000))
    assert answer == ChargeRefused(now_ms=NOW_MS, states=(LimitState(remaining=0, reset_ms=100, allowed=False),))


async def test_after_a_clock_that_was_far_ahead_a_rate_refills_from_now_on(
    cache: Cache, raw: Redis, account: Account
) -> None:
    ahead_ms = NOW_MS + 3_600_000
    await cache.charge(wants(account, replace(SECOND, cost=3), now_ms=ahead_ms))
    answer = await cache.charge(wants(account, SECOND, now_ms=NOW_MS))
    assert answer == ChargeRefused(now_ms=NOW_MS, states=(LimitState(remaining=0, reset_ms=100, allowed=False),))
    fields = await stored(raw, account)
    assert (fields["t"], fields[SECOND.field]) == (str(NOW_MS), f"{NOW_MS}|3000"), "the debt is kept"
    assert isinstance(await cache.charge(wants(account, SECOND, now_ms=NOW_MS + 100)), Charged)


async def test_a_rate_that_is_asked_for_later_is_brought_back_from_ahead_too(cache: Cache, account: Account) -> None:
    other = replace(SECOND, field="r:tokens:1000")
    await cache.charge(wants(account, replace(SECOND, cost=3), replace(other, cost=3), now_ms=NOW_MS + 3_600_000))
    await cache.charge(wants(account, other, now_ms=NOW_MS))
    assert isinstance(await cache.charge(wants(account, SECOND, now_ms=NOW_MS + 900)), ChargeRefused)
    assert isinstance(await cache.charge(wants(account, SECOND, now_ms=NOW_MS + 1000)), Charged)


async def test_a_reading_is_not_of_a_time_that_is_far_ahead(cache: Cache, account: Account) -> None:
    now_ms = (await cache.charge(wants(account, now_ms=0))).now_ms
    await cache.charge(wants(account, SECOND, now_ms=now_ms + 3_600_000))
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    assert reading.now_ms - now_ms < 60_000


async def test_without_an_injected_time_the_servers_clock_counts(cache: Cache, raw: Redis, account: Account) -> None:
    seconds, _ = await raw.time()
    answer = await cache.charge(wants(account, now_ms=0))
    assert abs(answer.now_ms - seconds * 1000) < 5000


async def test_a_cost_above_the_burst_is_told_to_wait_at_least_a_window(cache: Cache, account: Account) -> None:
    answer = await cache.charge(wants(account, replace(SECOND, cost=4)))
    assert answer == ChargeRefused(now_ms=NOW_MS, states=(LimitState(remaining=3, reset_ms=1000, allowed=False),))


async def test_a_refund_gives_a_quota_its_units_back_and_leaves_the_rate(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(wants(account, replace(SECOND, cost=2), replace(DAY, cost=2)))
    receipt = Receipt(
        customer_id=account.customer_id,
        receipt_id="one",
        parts=(("q:requests:86400", DAY.starts_at, 2),),
    )
    assert await refund(cache, receipt) == 2
    fields = await stored(raw, account)
    assert fields["r:requests:1000"] == f"{NOW_MS}|2000"
    assert fields["q:requests:86400"] == f"{DAY.starts_at}|0"
    assert fields["s"] == str(2**32 + 2)


async def test_a_receipt_is_refunded_once(cache: Cache, account: Account) -> None:
    await cache.charge(wants(account, replace(DAY, cost=4)))
    receipt = Receipt(customer_id=account.customer_id, receipt_id="one", parts=((DAY.field, DAY.starts_at, 1),))
    assert [await refund(cache, receipt), await refund(cache, receipt)] == [1, 0]
    assert await refund(cache, replace(receipt, receipt_id="two")) == 1


async def test_a_refund_never_makes_a_count_negative(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, DAY))
    receipt = Receipt(customer_id=account.customer_id, receipt_id="one", parts=((DAY.field, DAY.starts_at, 9),))
    assert await refund(cache, receipt) == 1
    assert (await stored(raw, account))[DAY.field] == f"{DAY.starts_at}|0"


async def test_a_refund_leaves_another_window_alone(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, DAY))
    before = await stored(raw, account)
    late = Receipt(customer_id=account.customer_id, receipt_id="one", parts=((DAY.field, DAY.starts_at - 1, 1),))
    assert await refund(cache, late) == 0
    assert await stored(raw, account) == before


async def test_a_refund_to_a_lost_customer_creates_nothing(cache: Cache, raw: Redis, customer_id: str) -> None:
    receipt = Receipt(customer_id=customer_id, receipt_id="one", parts=((DAY.field, DAY.starts_at, 1),))
    assert await refund(cache, receipt) == 0
    assert await raw.keys(f"*{customer_id}*") == []


async def test_the_mark_of_an_ended_receipt_expires(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, DAY))
    await refund(
        cache, Receipt(customer_id=account.customer_id, receipt_id="x", parts=((DAY.field, DAY.starts_at, 1),))
    )
    assert 0 < await raw.ttl(f"tg:{{{account.customer_id}}}:end:x") <= 120


async def test_an_address_is_paced_without_an_account(cache: Cache, customer_id: str) -> None:
    signup = RateClaim(field="r:signups:60000", cost=1, units=5, window_ms=60_000, burst=2)
    states = [await cache.charge_address(customer_id, signup, NOW_MS) for _ in range(3)]
    assert [state.allowed for state in states] == [True, True, False]
    assert states[2].reset_ms == 12_000
    assert (await cache.charge_address("2001:db8::" + customer_id[:4], signup, NOW_MS)).allowed


async def test_a_paced_address_is_forgotten_once_its_bucket_is_empty(
    cache: Cache, raw: Redis, customer_id: str
) -> None:
    signup = RateClaim(field="r:signups:60000", cost=1, units=5, window_ms=60_000, burst=2)
    await cache.charge_address(customer_id, signup)
    assert 24_000 < await raw.pttl(f"tg:{{addr:{customer_id}}}:pace") <= 25_000


async def test_a_server_that_forgot_the_scripts_decides(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(wants(account, SECOND))
    await raw.execute_command("SCRIPT FLUSH", **everywhere(raw))
    answer = await cache.charge(wants(account, SECOND))
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 1
    await raw.execute_command("SCRIPT FLUSH", **everywhere(raw))
    assert not await cache.publish(account, counters={}, seq_floor=0, expires_s=600)


@pytest.mark.parametrize(
    "claim",
    [
        replace(SECOND, cost=-1),
        replace(SECOND, units=0),
        replace(SECOND, window_ms=0),
        replace(SECOND, burst=2**53 // 1000 + 1),
        replace(DAY, limit=2**53),
        replace(DAY, limit=-1),
        replace(DAY, ends_at=DAY.starts_at),
        replace(DAY, cost=2**53),
    ],
    ids=lambda claim: f"{type(claim).__name__}-{claim.cost}",
)
async def test_what_cannot_be_counted_exactly_is_not_sent(
    cache: Cache, account: Account, claim: RateClaim | QuotaClaim
) -> None:
    with pytest.raises(ValueError, match="out of range"):
        await cache.charge(wants(account, claim))
