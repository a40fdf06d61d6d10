from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, prepare_charge, prepare_release, prepare_renewal, with_call
from gateway.cache.keyspace import CLOCK_TOLERANCE_MS, LIVE_MS
from gateway.core.account import Account
from gateway.core.charge import (
    Charged,
    ChargeRefused,
    ChargeRequest,
    Claim,
    ConcurrencyClaim,
    LimitState,
    QuotaClaim,
    RateClaim,
)
from tests.fakes.raw import everywhere

NOW_MS = 1_700_000_000_000
DAY = QuotaClaim(field="q:requests:86400", cost=1, limit=5, starts_at=1_699_920_000, ends_at=1_700_006_400)
SECOND = RateClaim(field="r:requests:1000", cost=1, units=10, window_ms=1000, burst=3)
TWO = ConcurrencyClaim(field="live", limit=2)
OF_KEY = ConcurrencyClaim(field="live@key_1", limit=1)


@pytest.fixture
async def account(cache: Cache, customer_id: str) -> Account:
    account = Account(customer_id=customer_id, user_id="u-1", version=4, created_at=1_690_000_000)
    assert await cache.publish(account, counters={}, seq_floor=0, expires_s=600)
    return account


def begins(account: Account, call_id: str, *claims: Claim, now_ms: int = NOW_MS) -> ChargeRequest:
    return ChargeRequest(
        customer_id=account.customer_id, version=account.version, claims=claims, now_ms=now_ms, call_id=call_id
    )


async def ends(cache: Cache, account: Account, call_id: str, *fields: str) -> int:
    return await cache.send_packed(prepare_release(account.customer_id, fields or ("live",), call_id))


async def everything(raw: Redis, account: Account) -> dict[str, object]:
    tag = f"tg:{{{account.customer_id}}}"
    live = {key: await raw.zrange(key, 0, -1, withscores=True) for key in sorted(await raw.keys(f"{tag}:live*"))}
    return {"use": await raw.hgetall(f"{tag}:use"), **live}


async def test_as_many_calls_as_the_limit_says_are_in_progress_and_no_more(cache: Cache, account: Account) -> None:
    for call_id, left in (("a", 1), ("b", 0)):
        answer = await cache.charge(begins(account, call_id, TWO))
        assert answer == Charged(now_ms=NOW_MS, states=(LimitState(remaining=left, reset_ms=0, allowed=True),))
    refused = await cache.charge(begins(account, "c", TWO))
    assert refused == ChargeRefused(now_ms=NOW_MS, states=(LimitState(remaining=0, reset_ms=1000, allowed=False),))
    assert await ends(cache, account, "a") == 1
    assert isinstance(await cache.charge(begins(account, "c", TWO)), Charged)


async def test_a_call_refused_by_another_limit_takes_no_place(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(begins(account, "a", TWO, replace(DAY, cost=5)))
    before = await everything(raw, account)
    refused = await cache.charge(begins(account, "b", TWO, DAY, SECOND))
    assert isinstance(refused, ChargeRefused)
    assert [state.allowed for state in refused.states] == [True, False, True]
    assert await everything(raw, account) == before


async def test_a_call_without_a_place_spends_nothing_else(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(begins(account, "a", OF_KEY))
    before = await everything(raw, account)
    refused = await cache.charge(begins(account, "b", SECOND, TWO, OF_KEY, DAY))
    assert isinstance(refused, ChargeRefused)
    assert [state.allowed for state in refused.states] == [True, True, False, True]
    assert [state.remaining for state in refused.states] == [3, 2, 0, 5]
    assert await everything(raw, account) == before


async def test_a_place_alone_moves_no_counter_that_is_settled(cache: Cache, raw: Redis, account: Account) -> None:
    before = (await everything(raw, account))["use"]
    await cache.charge(begins(account, "a", TWO, replace(DAY, cost=0)))
    assert (await everything(raw, account))["use"] == before


async def test_a_call_is_in_all_of_its_sets_and_leaves_them_all(cache: Cache, raw: Redis, account: Account) -> None:
    await cache.charge(begins(account, "a", TWO, SECOND, OF_KEY))
    tag = f"tg:{{{account.customer_id}}}"
    expected = [("a", NOW_MS + LIVE_MS)]
    assert await raw.zrange(f"{tag}:live", 0, -1, withscores=True) == expected
    assert await raw.zrange(f"{tag}:live@key_1", 0, -1, withscores=True) == expected
    assert await cache.count_calls(account.customer_id, ["live", "live@key_1"], NOW_MS) == {
        "live": 1,
        "live@key_1": 1,
    }
    assert await ends(cache, account, "a", "live", "live@key_1") == 2
    assert await raw.keys(f"{tag}:live*") == []


async def test_a_call_that_nobody_holds_stops_to_count_and_its_entry_goes(
    cache: Cache, raw: Redis, account: Account
) -> None:
    one = replace(TWO, limit=1)
    await cache.charge(begins(account, "a", one))
    last_ms = NOW_MS + LIVE_MS - 1
    assert isinstance(await cache.charge(begins(account, "b", one, now_ms=last_ms)), ChargeRefused)
    assert isinstance(await cache.charge(begins(account, "b", one, now_ms=last_ms + 1)), Charged)
    assert await raw.zrange(f"tg:{{{account.customer_id}}}:live", 0, -1) == ["b"]
    assert 0 < await raw.pttl(f"tg:{{{account.customer_id}}}:live") <= LIVE_MS


async def test_a_call_that_is_held_counts_on(cache: Cache, account: Account) -> None:
    one = replace(TWO, limit=1)
    await cache.charge(begins(account, "a", one))
    later_ms = NOW_MS + LIVE_MS - 1
    assert await cache.send_packed(prepare_renewal(account.customer_id, "live", ["a"], later_ms)) == 0
    assert isinstance(await cache.charge(begins(account, "b", one, now_ms=later_ms + LIVE_MS - 1)), ChargeRefused)
    assert isinstance(await cache.charge(begins(account, "b", one, now_ms=later_ms + LIVE_MS)), Charged)


async def test_calls_that_the_server_has_forgotten_have_their_places_again_when_they_are_held(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(begins(account, "a", TWO))
    await raw.delete(f"tg:{{{account.customer_id}}}:live")
    assert await cache.send_packed(prepare_renewal(account.customer_id, "live", ["a", "b", "c"], NOW_MS)) == 3
    assert isinstance(await cache.charge(begins(account, "d", TWO)), ChargeRefused)


async def test_what_a_clock_far_ahead_has_written_does_not_count(cache: Cache, account: Account) -> None:
    one = replace(TWO, limit=1)
    await cache.charge(begins(account, "a", one, now_ms=NOW_MS + CLOCK_TOLERANCE_MS + 1))
    assert isinstance(await cache.charge(begins(account, "b", one)), Charged)


async def test_a_clock_a_little_ahead_changes_nothing(cache: Cache, account: Account) -> None:
    one = replace(TWO, limit=1)
    await cache.charge(begins(account, "a", one, SECOND, now_ms=NOW_MS + CLOCK_TOLERANCE_MS))
    assert isinstance(await cache.charge(begins(account, "b", one)), ChargeRefused)


async def test_one_command_is_good_for_any_number_of_calls(cache: Cache, raw: Redis, account: Account) -> None:
    command = prepare_charge(begins(account, "", TWO, now_ms=0))
    replies = [await cache.charge_packed(with_call(command, call_id)) for call_id in ("dec_1", "dec_10", "dec_100")]
    assert [(reply[0], reply[2]) for reply in replies] == [(1, 0), (1, 1), (0, 2)]
    assert sorted(await raw.zrange(f"tg:{{{account.customer_id}}}:live", 0, -1)) == ["dec_1", "dec_10"]


async def test_concurrent_charges_take_as_many_places_as_there_are(cache: Cache, account: Account) -> None:
    seven = replace(TWO, limit=7)
    answers = await asyncio.gather(*(cache.charge(begins(account, f"c{n}", seven, now_ms=0)) for n in range(40)))
    assert sum(isinstance(answer, Charged) for answer in answers) == 7


async def test_a_server_that_has_forgotten_the_scripts_still_gives_back_and_holds(
    cache: Cache, raw: Redis, account: Account
) -> None:
    await cache.charge(begins(account, "a", TWO))
    await raw.execute_command("SCRIPT FLUSH", **everywhere(raw))
    assert await cache.send_packed(prepare_renewal(account.customer_id, "live", ["a"], NOW_MS)) == 0
    await raw.execute_command("SCRIPT FLUSH", **everywhere(raw))
    assert await ends(cache, account, "a") == 1


async def test_a_charge_for_a_place_that_could_not_be_counted_is_not_sent(account: Account) -> None:
    for claim in (replace(TWO, cost=2), replace(TWO, limit=2**53)):
        with pytest.raises(ValueError, match="place out of range"):
            prepare_charge(begins(account, "a", claim))
