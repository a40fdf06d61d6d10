"""A change of plan in the middle of a window, on the real cache and ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import QuotaExceeded, RateLimited
from gateway.core.seen_changes import with_change
from tests.steps import admit
from tests.test_admission import pro, subscribe

DAY_S = 86_400
POLICY = """\
version: 1
default_tier: free
plan_change: WORD
tiers:
  free: {limits: [1_000 per second burst 1_000, 4 requests per billing period]}
  pro: {limits: [1_000 per second burst 1_000, 10 requests per billing period]}
  max: {limits: [1_000 per second burst 1_000, 20 requests per billing period]}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  max-monthly: {tier: max, price: lookup_key max_monthly}
routes:
  - match: "* /v1/**"
"""


def edit(parts, text):
    (parts.policy_dir / "policy.yaml").write_text(text)
    assert parts.policy.reload()


async def admit_all(parts, key):
    admitted = 0
    try:
        while True:
            await admit(parts.admission, key)
            admitted += 1
    except QuotaExceeded:
        return admitted


async def change(parts, customer_id, plan_id):
    account = await parts.ledger.load_account(customer_id)
    before = account.subscription
    changes = with_change(before.plan_changes, before.plan_id, plan_id, int(parts.clock.time), parts.policy.current)
    await subscribe(parts, customer_id, replace(before, plan_id=plan_id, plan_changes=changes))


@pytest.fixture(params=["keep", "prorate", "reset"])
def word(request):
    return request.param


async def test_an_upgrade_in_the_middle_of_a_window(parts, word):
    edit(parts, POLICY.replace("WORD", word))
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    assert await admit_all(parts, key) == 10
    parts.clock.time += 15 * DAY_S
    await change(parts, customer_id, "max-monthly")
    assert await admit_all(parts, key) == {"keep": 10, "prorate": 5, "reset": 20}[word]
    parts.clock.time += 15 * DAY_S
    assert await admit_all(parts, key) == 20, "the next window is whole"


async def test_a_downgrade_in_the_middle_of_a_window_gives_nothing_fresh(parts, word):
    edit(parts, POLICY.replace("WORD", word))
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock, plan_id="max-monthly"))
    for _ in range(8):
        await admit(parts.admission, key)
    parts.clock.time += 15 * DAY_S
    await change(parts, customer_id, "pro-monthly")
    assert await admit_all(parts, key) == {"keep": 2, "prorate": 7, "reset": 2}[word]


async def test_a_call_that_costs_more_than_the_share_of_this_window_waits_for_the_next(parts):
    text = POLICY.replace("WORD", "prorate").replace(" 10 requests", " 60 requests")
    text = text.replace("  max: {", "  max: {features: [bulk], ").replace(" 20 requests", " 100 requests")
    edit(parts, text.replace("routes:", 'routes:\n  - {match: "* /v1/bulk", cost: 90, requires: bulk}'))
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    parts.clock.time += 29 * DAY_S
    await change(parts, customer_id, "max-monthly")
    with pytest.raises(QuotaExceeded, match="quota of 61 units cannot cover this call's 90") as refused:
        await admit(parts.admission, key, path="/v1/bulk")
    assert refused.value.retry_after_s == DAY_S
    parts.clock.time += DAY_S
    await admit(parts.admission, key, path="/v1/bulk")


async def test_going_to_and_fro_wins_no_fresh_quota(parts, word):
    edit(parts, POLICY.replace("WORD", word))
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    admitted = await admit_all(parts, key)
    for _ in range(3):
        for plan_id in ("max-monthly", "pro-monthly"):
            parts.clock.time += DAY_S
            await change(parts, customer_id, plan_id)
            admitted += await admit_all(parts, key)
    assert admitted <= {"keep": 20, "prorate": 20, "reset": 10 + 20}[word]


async def test_what_is_given_back_after_a_reset_counts_again(parts):
    edit(parts, POLICY.replace("WORD", "reset"))
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    await admit_all(parts, key)
    parts.clock.time += DAY_S
    await change(parts, customer_id, "max-monthly")
    attempt = await admit(parts.admission, key)
    await change(parts, customer_id, "pro-monthly")
    later = await admit(parts.admission, key)
    for one in (attempt, later):
        assert await parts.admission.refund(one) == "given-back"
    assert await admit_all(parts, key) == 10


async def test_who_was_refused_is_let_in_as_soon_as_an_edit_raises_the_limit(parts):
    edit(parts, POLICY.replace("WORD", "keep"))
    _, key, _ = await parts.customer()
    assert await admit_all(parts, key) == 4
    edit(parts, POLICY.replace("WORD", "keep").replace(" 4 requests", " 7 requests"))
    assert await admit_all(parts, key) == 3
    edit(parts, POLICY.replace("WORD", "keep").replace(" 4 requests", " 2 requests"))
    assert await admit_all(parts, key) == 0
    edit(parts, POLICY.replace("WORD", "keep").replace(" 4 requests", " 8 requests"))
    assert await admit_all(parts, key) == 1, "the count was kept through every edit"


async def test_a_window_of_another_kind_starts_a_count_and_taking_the_edit_back_finds_the_old_one(parts):
    text = POLICY.replace("WORD", "keep")
    edit(parts, text)
    _, key, _ = await parts.customer()
    assert await admit_all(parts, key) == 4
    edit(parts, text.replace("4 requests per billing period", "4 requests per day"))
    assert await admit_all(parts, key) == 4, "that is what the policy check warns of"
    edit(parts, text)
    assert await admit_all(parts, key) == 0
    both = "4 requests per day, 4 requests per billing period"
    edit(parts, text.replace("4 requests per billing period", both))
    assert await admit_all(parts, key) == 0, "and that is what it advises"


async def test_a_larger_burst_holds_for_the_next_call(parts):
    text = POLICY.replace("WORD", "keep").replace("burst 1_000, 4 requests", "burst BURST, 99 requests")
    text = text.replace("1_000 per second burst BURST", "1 per second burst BURST")
    edit(parts, text.replace("BURST", "2"))
    _, key, _ = await parts.customer()
    admitted = await admitted_before_pace(parts, key)
    assert admitted == 2
    edit(parts, text.replace("BURST", "5"))
    assert await admitted_before_pace(parts, key) == 3


async def admitted_before_pace(parts, key):
    admitted = 0
    try:
        while True:
            await admit(parts.admission, key)
            admitted += 1
    except RateLimited:
        return admitted
