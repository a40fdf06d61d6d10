"""Limits on a group of routes: counted by themselves, charged together with all others or not at all."""

import pytest

from gateway.core.account import Account, Grant
from gateway.core.credits import credit_claims
from gateway.core.errors import QuotaExceeded, RateLimited, TooManyConcurrent
from gateway.core.limit_text import parse_limit

POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits:
      - 100 per second
      - {day} per day
      - {renders} per day on renders
      - 2 concurrent on renders
      - 2 per minute burst 2 on lookups
routes:
  - {{match: GET /v1/lookup, group: lookups}}
  - {{match: POST /v1/render/**, group: renders, cost: {cost}}}
  - {{match: POST /v1/draw, group: renders}}
  - {{match: "* /v1/**"}}
"""


@pytest.fixture
async def grouped(parts):
    (parts.policy_dir / "policy.yaml").write_text(POLICY.format(day=50, renders=3, cost=1))
    parts.policy = type(parts.policy)(parts.policy_dir)
    parts.admission = parts.another_worker()
    return parts


async def call(parts, key, method, path, number=[0]):  # noqa: B006 - a counter over calls
    number[0] += 1
    attempt = parts.admission.attempt(f"dec_{number[0]:x}", method, path)
    await parts.admission.admit(attempt, key)
    parts.admission.live.end(attempt.decision_id)
    return attempt


async def counted(parts, customer_id):
    quotas = (await parts.cache.read_usage(customer_id)).quotas
    return {field: used for field, (_, used) in quotas.items()}


async def test_only_calls_of_its_routes_count(grouped):
    customer_id, key, _ = await grouped.customer()
    for _ in range(4):
        await call(grouped, key, "GET", "/v1/other")
    for path in ("/v1/render/a", "/v1/draw", "/v1/render/b"):
        await call(grouped, key, "POST", path)
    with pytest.raises(QuotaExceeded, match="'renders-day' quota") as refused:
        await call(grouped, key, "POST", "/v1/draw")
    assert refused.value.violated == ("renders-day",)
    assert await counted(grouped, customer_id) == {"q:requests:86400": 7, "q:requests:86400:renders": 3}
    await call(grouped, key, "GET", "/v1/other")


async def test_a_call_that_its_group_refuses_spends_nothing_of_the_others(grouped):
    customer_id, key, _ = await grouped.customer()
    for _ in range(2):
        await call(grouped, key, "GET", "/v1/lookup")
    before = await counted(grouped, customer_id)
    with pytest.raises(RateLimited) as refused:
        await call(grouped, key, "GET", "/v1/lookup")
    assert refused.value.violated == ("lookups-minute",)
    assert await counted(grouped, customer_id) == before


async def test_a_call_that_another_limit_refuses_spends_nothing_of_its_group(grouped):
    customer_id, key, _ = await grouped.customer(
        limits=(parse_limit("1 per day on renders", {}),), limit_texts=("1 per day on renders",)
    )
    await call(grouped, key, "POST", "/v1/draw")
    before = await counted(grouped, customer_id)
    with pytest.raises(QuotaExceeded) as refused:
        await call(grouped, key, "POST", "/v1/render/a")
    assert refused.value.violated == ("key-renders-day",)
    assert await counted(grouped, customer_id) == before
    await call(grouped, key, "GET", "/v1/other")  # the key's own limit is on the group too


async def test_calls_at_once_of_a_group_leave_room_for_the_others(grouped):
    _, key, _ = await grouped.customer()
    for number in (1, 2):
        await grouped.admission.admit(grouped.admission.attempt(f"held_{number}", "POST", "/v1/draw"), key)
    with pytest.raises(TooManyConcurrent) as refused:
        await call(grouped, key, "POST", "/v1/render/a")
    assert refused.value.violated == ("renders-concurrent",)
    await call(grouped, key, "GET", "/v1/other")
    grouped.admission.live.end("held_1")
    await call(grouped, key, "POST", "/v1/render/a")


async def test_the_count_survives_an_edit_that_moves_the_lines_and_the_number(grouped):
    customer_id, key, _ = await grouped.customer()
    await call(grouped, key, "POST", "/v1/draw")
    text = POLICY.format(day=50, renders=4, cost=2)
    text = text.replace("routes:\n", "routes:\n  - {match: GET /v1/new, group: others}\n")
    lines = text.replace("      - 100 per second\n", "").replace(
        "limits:\n", "limits:\n      - 9 per day on others\n", 1
    )
    (grouped.policy_dir / "policy.yaml").write_text(lines)
    grouped.policy = type(grouped.policy)(grouped.policy_dir)
    grouped.admission = grouped.another_worker()
    attempt = await call(grouped, key, "POST", "/v1/render/a")
    left = dict(zip([limit.name for limit in attempt.plan.limits], attempt.states, strict=True))
    assert left["renders-day"].remaining == 1
    assert await counted(grouped, customer_id) == {"q:requests:86400": 3, "q:requests:86400:renders": 3}


def test_credits_stand_behind_the_quota_on_every_call_and_never_behind_a_groups():
    grant = Grant(grant_id="g1", meter="requests", units=9, granted_at=0, expires_at=None)
    account = Account(customer_id="c", user_id="u", version=1, created_at=0, grants=(grant,))
    texts = ("5 per day", "5 per day on renders", "5 requests per billing period on renders", "9 per hour")
    limits = [parse_limit(text, {}) for text in texts]
    extended = [bool(credit_claims(account, limit, limits, 1, 1000.0)) for limit in limits]
    assert extended == [True, False, False, False]
