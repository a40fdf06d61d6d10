"""A receipt ends once, by a refund or a settlement: in any order, however often it is said, whatever is lost."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.cache import Cache, Receipt
from gateway.core.account import Account
from gateway.core.charge import ChargeRefused, ChargeRequest, QuotaClaim
from tests.cache.ends import refund, settle
from tests.fakes.raw import open_raw

NOW_MS = 1_700_000_000_000
MOST = 2**53 - 1
DAY = QuotaClaim(field="q:tokens:86400", cost=1, limit=1000, starts_at=1_699_920_000, ends_at=1_700_006_400)

CHARGED = st.integers(1, 30)
ENDS = st.lists(st.integers(0, 90), max_size=4)
"""What a receipt is said to have cost, time and again; 0 is a refund, no end at all is a loss."""


async def published(cache: Cache) -> Account:
    account = Account(customer_id=secrets.token_hex(6), user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0)
    return account


async def spend(cache: Cache, account: Account, cost: int, number: int = 0) -> Receipt:
    claim = replace(DAY, cost=cost)
    request = ChargeRequest(customer_id=account.customer_id, version=1, claims=(claim,), now_ms=NOW_MS)
    await cache.charge(request)
    return Receipt(
        customer_id=account.customer_id, receipt_id=f"r{number}", parts=((claim.field, claim.starts_at, cost),)
    )


async def used(raw: Redis, account: Account) -> int:
    value = await raw.hget(f"tg:{{{account.customer_id}}}:use", DAY.field)
    return int(value.partition("|")[2])


async def test_a_settlement_charges_what_is_missing_and_gives_back_what_is_too_much(cache: Cache, raw: Redis) -> None:
    account = await published(cache)
    low, high = await spend(cache, account, 10, 1), await spend(cache, account, 10, 2)
    assert await settle(cache, low, [25]) == (0, 15)
    assert await settle(cache, high, [4]) == (6, 0)
    assert await used(raw, account) == 29


async def test_a_settlement_at_what_was_charged_changes_nothing_and_ends_the_receipt(cache: Cache, raw: Redis) -> None:
    account = await published(cache)
    receipt = await spend(cache, account, 10)
    seq = await raw.hget(f"tg:{{{account.customer_id}}}:use", "s")
    assert await settle(cache, receipt, [10]) == (0, 0)
    assert await refund(cache, receipt) == 0
    assert await used(raw, account) == 10
    assert await raw.hget(f"tg:{{{account.customer_id}}}:use", "s") == seq


async def test_what_is_settled_above_the_limit_counts_and_refuses_the_next(cache: Cache, raw: Redis) -> None:
    account = await published(cache)
    assert await settle(cache, await spend(cache, account, 999), [1200]) == (0, 201)
    assert await used(raw, account) == 1200
    request = ChargeRequest(customer_id=account.customer_id, version=1, claims=(DAY,), now_ms=NOW_MS)
    answer = await cache.charge(request)
    assert isinstance(answer, ChargeRefused)
    assert answer.states[0].remaining == 0


async def test_no_settlement_moves_a_count_beyond_what_is_exact(cache: Cache, raw: Redis) -> None:
    account = await published(cache)
    await settle(cache, await spend(cache, account, 7, 1), [MOST])
    assert await used(raw, account) == MOST
    receipt = Receipt(customer_id=account.customer_id, receipt_id="r2", parts=((DAY.field, DAY.starts_at, 1),))
    assert await settle(cache, receipt, [MOST]) == (0, 0)
    assert await used(raw, account) == MOST


@pytest.mark.parametrize("costs", [[], [1, 1], [-1], [2**53]], ids=["too few", "too many", "negative", "too large"])
async def test_costs_that_do_not_fit_the_receipt_are_refused(cache: Cache, costs: list[int]) -> None:
    receipt = Receipt(customer_id="c", receipt_id="r", parts=((DAY.field, DAY.starts_at, 1),))
    with pytest.raises(ValueError, match=r"cost|zip"):
        await settle(cache, receipt, costs)


@pytest.fixture
def run(cache_url: str):
    """Run a test's work with two connections to the server: each has a place of its own in the order."""

    def run(work) -> None:
        async def with_caches() -> None:
            one, two = await Cache.connect(cache_url, deadline_s=30), await Cache.connect(cache_url, deadline_s=30)
            raw = open_raw(cache_url)
            try:
                await work(one, two, raw)
            finally:
                await asyncio.gather(one.aclose(), two.aclose(), raw.aclose())

        asyncio.run(with_caches())

    return run


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    charges=st.lists(st.tuples(CHARGED, ENDS), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_the_first_end_of_a_receipt_counts_and_every_other_is_nothing(run, charges, order) -> None:
    async def work(one: Cache, two: Cache, raw: Redis) -> None:
        account = await published(one)
        receipts = [await spend(one, account, charged, number) for number, (charged, _) in enumerate(charges)]
        said = [(number, cost) for number, (_, ends) in enumerate(charges) for cost in ends]
        order.shuffle(said)
        costs = {}
        for step, (number, cost) in enumerate(said):
            charged, is_first = charges[number][0], number not in costs
            answer = await settle(one if step % 2 else two, receipts[number], [cost])
            expected = (max(0, charged - cost), max(0, cost - charged)) if is_first else (0, 0)
            assert answer == expected
            costs.setdefault(number, cost)
        assert await used(raw, account) == sum(costs.get(n, charged) for n, (charged, _) in enumerate(charges))

    run(work)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(charges=st.lists(st.tuples(CHARGED, ENDS), min_size=1, max_size=12))
def test_ends_said_at_once_over_two_connections_count_once_for_each_receipt(run, charges) -> None:
    async def work(one: Cache, two: Cache, raw: Redis) -> None:
        account = await published(one)
        receipts = [await spend(one, account, charged, number) for number, (charged, _) in enumerate(charges)]
        said = [(n, cost, cache) for n, (_, ends) in enumerate(charges) for cost in ends for cache in (one, two)]
        answers = await asyncio.gather(*(settle(cache, receipts[number], [cost]) for number, cost, cache in said))
        total = sum(charged for charged, _ in charges)
        for number, (charged, ends) in enumerate(charges):
            moves = [
                taken - given
                for (said_of, _, _), (given, taken) in zip(said, answers, strict=True)
                if said_of == number and given + taken
            ]
            assert len(moves) <= 1
            assert set(moves) <= {cost - charged for cost in ends}
            total += sum(moves)
        assert await used(raw, account) == total

    run(work)
