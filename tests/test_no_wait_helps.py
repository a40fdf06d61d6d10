"""A call that no wait lets in is not told to wait: what is left of credits cannot make up for its cost any more."""

from __future__ import annotations

import pytest

from gateway.core.errors import CostAboveLimit, QuotaExceeded
from gateway.core.pricing import price_call
from gateway.crediting import CreditOrder
from gateway.policyfiles import PolicyHolder

DAY_S = 86_400
POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [100 requests per day]
routes:
  - match: POST /v1/batch
    cost: request header X-Items at most 200
"""


@pytest.fixture
def day(parts, tmp_path):
    """The same parts, under a policy of one quota and a route whose cost the call says."""
    folder = tmp_path / "by-request"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    parts.policy = PolicyHolder(folder)
    parts.admission = parts.another_worker()
    parts.clock.time = 1_800_057_600.0  # a day begins
    return parts


async def call(parts, key, units, number=[0]):  # noqa: B006 - a counter over calls
    number[0] += 1
    route = price_call(parts.policy.current.find_route("POST", "/v1/batch"), [(b"x-items", b"%d" % units)], None, b"")
    attempt = parts.admission.attempt(f"dec_n{number[0]:x}", "POST", "/v1/batch")
    await parts.admission.admit(attempt, key, route)


async def grant(parts, customer_id, units, **order):
    await parts.crediting.grant(customer_id, CreditOrder(units=units, **order), parts.policy.current, actor="test")
    parts.clock.time += 1


async def test_a_cost_beyond_the_quota_and_what_is_left_of_credits_is_refused_for_good(day):
    customer_id, key, _ = await day.customer()
    await grant(day, customer_id, 60)
    await call(day, key, 155)
    for _ in range(2):
        with pytest.raises(CostAboveLimit, match=r"costs 106\. .* can cover 105, also in its next window"):
            await call(day, key, 106)
        day.clock.time += DAY_S
    await call(day, key, 105)


async def test_who_waits_as_long_as_told_is_let_in_by_the_next_quota_with_the_rest_of_the_credits(day):
    customer_id, key, _ = await day.customer()
    await grant(day, customer_id, 60)
    await call(day, key, 120)
    with pytest.raises(QuotaExceeded) as caught:
        await call(day, key, 140)
    day.clock.time += caught.value.retry_after_s
    await call(day, key, 140)


async def test_credits_that_expire_before_the_window_ends_are_nothing_to_wait_for(day):
    customer_id, key, _ = await day.customer()
    await grant(day, customer_id, 60, expires_at=int(day.clock.time) + DAY_S // 2)
    await call(day, key, 50)
    with pytest.raises(CostAboveLimit, match="can cover 100,"):
        await call(day, key, 120)
    await call(day, key, 110)


async def test_a_grant_lets_in_what_no_wait_would_have(day):
    customer_id, key, _ = await day.customer()
    await grant(day, customer_id, 60)
    await call(day, key, 155)
    with pytest.raises(CostAboveLimit):
        await call(day, key, 150)
    await grant(day, customer_id, 145)
    await call(day, key, 150)
