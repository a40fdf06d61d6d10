"""Calls that end late, after their window or after a loss of the cache: what becomes of their cost in the ledger."""

import secrets

import pytest

from tests.fakes.raw import open_raw

PRICED = """
version: 1
default_tier: free
tiers:
  free:
    limits: [10_000 requests per hour]
routes:
  - match: GET /v1/one
  - {match: GET /v1/dear, cost: 100}
"""


async def recorded(parts, customer_id):
    rows = await parts.ledger.list_usage(customer_id, since=0)
    return {row.field: row.used for row in rows}


async def charged(parts, key, path="/v1/one"):
    attempt = parts.admission.attempt(f"dec_{secrets.token_hex(6)}", "GET", path)
    await parts.admission.admit(attempt, key)
    return attempt


async def settle_all_ways(parts, customer_id):
    parts.settlement.note_moved(customer_id)
    await parts.settlement.settle()
    await parts.settlement.settle_one(customer_id)
    await parts.settlement.settle_all()


@pytest.fixture
def priced(parts):
    (parts.policy_dir / "policy.yaml").write_text(PRICED)
    parts.policy.reload()
    return parts


async def test_calls_that_end_after_a_replica_took_over_lower_the_ledger_by_what_they_cost_and_no_more(priced):
    customer_id, key, _ = await priced.customer()
    name = f"tg:{{{customer_id}}}:use"
    async with open_raw(priced.cache_url) as raw:
        calls = [await charged(priced, key) for _ in range(10)]
        behind = await raw.hgetall(name)
        for _ in range(5):
            await charged(priced, key, "/v1/dear")
        await settle_all_ways(priced, customer_id)
        await raw.delete(name)
        await raw.hset(name, mapping={**behind, "e": "0" * 40})
        await settle_all_ways(priced, customer_id)
        assert await recorded(priced, customer_id) == {"q:requests:3600": 510}
        assert [await priced.admission.refund(call) for call in calls[:6]] == ["given-back"] * 6
        await settle_all_ways(priced, customer_id)
    assert await recorded(priced, customer_id) == {"q:requests:3600": 504}


async def test_what_was_counted_before_a_restart_is_settled_although_nobody_calls_any_more(priced):
    customer_id, key, _ = await priced.customer()
    await charged(priced, key, "/v1/dear")
    async with open_raw(priced.cache_url) as raw:
        await raw.hset(f"tg:{{{customer_id}}}:use", "e", "0" * 40)
    await priced.settlement.settle_all()
    assert await recorded(priced, customer_id) == {"q:requests:3600": 100}


async def test_what_calls_cost_more_is_settled_in_the_window_that_they_were_charged_in(priced):
    customer_id, key, _ = await priced.customer()
    calls = [await charged(priced, key) for _ in range(3)]
    await settle_all_ways(priced, customer_id)
    priced.clock.time += 3600
    await charged(priced, key)
    await settle_all_ways(priced, customer_id)
    assert [await priced.admission.settle(call, {"requests": 4000}) for call in calls] == ["settled"] * 3
    await settle_all_ways(priced, customer_id)
    used = [row.used for row in await priced.ledger.list_usage(customer_id, since=0)]
    assert used == [12_000, 1]


async def test_what_calls_cost_more_in_a_window_long_ago_is_in_no_count_and_not_taken_for_counted(priced):
    customer_id, key, _ = await priced.customer()
    call = await charged(priced, key)
    for _ in range(2):
        priced.clock.time += 3600
        await charged(priced, key)
    assert await priced.admission.settle(call, {"requests": 4000}) == "uncounted"
    await settle_all_ways(priced, customer_id)
    used = [row.used for row in await priced.ledger.list_usage(customer_id, since=0)]
    assert used == [1, 1]


async def test_the_ended_window_of_a_lost_cache_takes_what_calls_of_it_cost_more(priced):
    customer_id, key, _ = await priced.customer()
    call = await charged(priced, key)
    priced.clock.time += 3600
    await charged(priced, key)
    await settle_all_ways(priced, customer_id)
    async with open_raw(priced.cache_url) as raw:
        await raw.delete(f"tg:{{{customer_id}}}:use")
    assert await priced.admission.settle(call, {"requests": 4000}) == "settled"
    await settle_all_ways(priced, customer_id)
    used = [row.used for row in await priced.ledger.list_usage(customer_id, since=0)]
    assert used == [4000, 1]
