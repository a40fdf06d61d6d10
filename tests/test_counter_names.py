"""Names in policy that are also words in the names of counters, on the real cache and ledger."""

from __future__ import annotations

import pytest

from gateway.core.credits import grant_field
from gateway.core.errors import QuotaExceeded
from gateway.crediting import CreditOrder
from tests.fakes.raw import open_raw
from tests.steps import admit
from tests.test_plan_change import edit

POLICY = """\
version: 1
default_tier: free
meters:
  {meter}: {{}}
tiers:
  free:
    limits: [500 {meter} per billing period, 1_000 requests per day on {group}, 9_000 {meter} per day on {group}]
routes:
  - {{match: "* /v1/**", group: {group}, cost: {{requests: 1, {meter}: 50}}}}
"""
NAMES = [("credit", "over"), ("over", "credit"), ("period", "live"), ("live", "period"), ("q", "o-86400")]


async def admit_all(parts, key):
    admitted = 0
    while True:
        try:
            await admit(parts.admission, key)
        except QuotaExceeded:
            return admitted
        admitted += 1


async def lose(parts, customer_id):
    async with open_raw(parts.cache_url) as raw:
        await raw.delete(f"tg:{{{customer_id}}}:use", f"tg:{{{customer_id}}}:acct")


async def settle(parts, customer_id, key_id):
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.settlement.settle()


@pytest.mark.parametrize(("meter", "group"), NAMES)
async def test_a_count_comes_back_after_a_loss_of_the_cache_whatever_the_meter_is_called(parts, meter, group):
    edit(parts, POLICY.format(meter=meter, group=group))
    customer_id, key, key_id = await parts.customer()
    assert await admit_all(parts, key) == 10
    await settle(parts, customer_id, key_id)
    counted = (await parts.cache.read_usage(customer_id)).quotas
    await lose(parts, customer_id)
    assert await admit_all(parts, key) == 0
    assert (await parts.cache.read_usage(customer_id)).quotas == counted


@pytest.mark.parametrize(("meter", "group"), NAMES)
async def test_no_limit_is_taken_for_overage_whatever_its_group_is_called(parts, meter, group):
    edit(parts, POLICY.format(meter=meter, group=group))
    customer_id, key, key_id = await parts.customer()
    assert await admit_all(parts, key) == 10
    await settle(parts, customer_id, key_id)
    assert await parts.ledger.claim_meters(worker="w1", now=int(parts.clock.time), lease_s=60, limit=10) == []


async def test_credits_of_a_meter_called_credit_come_back_beside_its_count(parts):
    edit(parts, POLICY.format(meter="credit", group="over"))
    customer_id, key, key_id = await parts.customer()
    order = CreditOrder(units=200, meter="credit")
    granted = await parts.crediting.grant(customer_id, order, parts.policy.current, actor="test")
    assert await admit_all(parts, key) == 14
    await settle(parts, customer_id, key_id)
    await lose(parts, customer_id)
    assert await admit_all(parts, key) == 0
    totals = {row.field: row.used for row in await parts.ledger.list_usage(customer_id, since=0)}
    assert totals["q:credit:period"] == 500
    assert totals[grant_field(granted.row.grant.grant_id)] == 200
