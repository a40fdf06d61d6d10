"""Units beyond a quota, on the real cache and ledger: who may have them, how many, and what they count as."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import decide_access
from gateway.core.account import MeteredItem, SpendCap
from gateway.core.credits import grant_field
from gateway.core.errors import OverageCapReached, QuotaExceeded
from gateway.core.overage import overage_field
from gateway.core.overage_usage import list_overages
from gateway.core.tariff import Tariff
from gateway.crediting import CreditOrder
from gateway.ledger import SpendCapRow
from gateway.usage import read_usage
from tests.steps import admit, subscribe
from tests.test_admission import pro
from tests.test_plan_change import change, edit

DAY_S = 86_400
OVER = overage_field("requests")
POLICY = """\
version: 1
default_tier: free
plan_change: keep
tiers:
  free: {limits: [1_000 per second burst 1_000, 4 requests per billing period]}
  pro:
    limits: [1_000 per second burst 1_000, 10 requests per billing period]
    overage: {stripe_meter: api_requests, price: lookup_key pro_overage, cap: 5 units}
  max:
    limits: [1_000 per second burst 1_000, 20 requests per billing period]
    overage: {stripe_meter: api_requests, price: lookup_key pro_overage, cap: 2x}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  max-monthly: {tier: max, price: lookup_key max_monthly}
routes:
  - {match: "POST /v1/**", cost: 4}
  - match: "* /v1/**"
"""
ITEM = MeteredItem(price_id="price_over", lookup_key="pro_overage", tariff=Tariff(currency="usd", unit_amount="100"))


async def buyer(parts, **changes):
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock, **({"metered": (ITEM,)} | changes)))
    return customer_id, key


async def admit_all(parts, key, error=OverageCapReached, method="GET"):
    admitted = 0
    while True:
        try:
            await admit(parts.admission, key, method)
        except error:
            return admitted
        admitted += 1


async def counted(parts, customer_id):
    return {field: used for field, (_, used) in (await parts.cache.read_usage(customer_id)).quotas.items()}


async def cap(parts, customer_id, amount, currency="usd"):
    row = SpendCapRow(
        customer_id=customer_id, cap=SpendCap(meter="requests", amount=amount, currency=currency), set_at=1
    )
    await parts.ledger.set_spend_cap(row, actor="test", because="test")
    await parts.publisher.publish(customer_id)


@pytest.fixture(autouse=True)
def sold(parts):
    edit(parts, POLICY)


async def test_a_quota_is_exceeded_up_to_the_cap_and_each_counter_has_its_own(parts):
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 15
    assert await counted(parts, customer_id) == {"q:requests:period": 10, OVER: 5}


async def test_calls_in_progress_that_cost_more_than_they_reserved_stay_within_the_cap(parts):
    customer_id, key = await buyer(parts)
    for _ in range(10):
        await admit(parts.admission, key)
    first, second = [await admit(parts.admission, key) for _ in range(2)]
    for attempt in (first, second):
        await parts.admission.settle(attempt, {"requests": 40})
    assert await counted(parts, customer_id) == {"q:requests:period": 10 + 80 - 5, OVER: 5}


async def test_a_price_that_falls_in_the_period_does_not_begin_the_cap_again(parts):
    edit(parts, POLICY.replace("cap: 5 units", "cap: none"))
    customer_id, key = await buyer(parts)
    await cap(parts, customer_id, 401)
    assert await admit_all(parts, key) == 14
    now = int(parts.clock.time)
    cheap = replace(ITEM, price_id="price_new", tariff=Tariff(currency="usd", unit_amount="1"))
    await subscribe(parts, customer_id, pro(parts.clock, metered=(cheap, replace(ITEM, gone_at=now))))
    assert await admit_all(parts, key) == 0
    parts.clock.time += 32 * DAY_S
    await subscribe(parts, customer_id, pro(parts.clock, metered=(cheap, replace(ITEM, gone_at=now))))
    assert await admit_all(parts, key) == 10 + 401


async def test_a_call_is_paid_from_both_or_not_at_all(parts):
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key, method="POST") == 3
    assert await counted(parts, customer_id) == {"q:requests:period": 10, OVER: 2}
    assert await admit_all(parts, key) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"metered": ()},
        {"metered": (replace(ITEM, lookup_key="another"),)},
        {"status": "trialing"},
        {"status": "past_due", "past_due_since": 0},
        {"flags": (("disputed", 0),)},
        {"flags": (("pause_collection", 0),)},
    ],
    ids=["no item", "another item", "a trial", "a payment is due", "a dispute", "nothing is collected"],
)
async def test_who_did_not_buy_it_or_is_not_in_good_standing_has_the_plain_quota(parts, changes):
    if changes.get("status") == "past_due":
        changes = changes | {"past_due_since": int(parts.clock.time)}
    customer_id, key = await buyer(parts, **changes)
    assert await admit_all(parts, key, error=QuotaExceeded) == 10
    assert OVER not in await counted(parts, customer_id)


async def test_a_change_that_waits_for_its_payment_leaves_overage_as_it_is(parts):
    _, key = await buyer(parts, flags=(("pending_update", 0),))
    assert await admit_all(parts, key) == 15


@pytest.mark.parametrize(("amount", "units"), [(0, 0), (99, 0), (100, 1), (399, 3), (10_000, 5)])
async def test_of_the_caps_of_policy_and_customer_the_lower_holds_with_the_next_call(parts, amount, units):
    customer_id, key = await buyer(parts)
    await admit(parts.admission, key)
    await cap(parts, customer_id, amount)
    assert await admit_all(parts, key) == 9 + units


async def test_a_cap_below_what_is_used_refuses_and_a_higher_one_lets_in_again(parts):
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 15
    await cap(parts, customer_id, 200)
    assert await admit_all(parts, key) == 0
    await parts.ledger.drop_spend_cap(customer_id, "requests", now=1, actor="test", because="test")
    edit(parts, POLICY.replace("5 units", "7 units"))
    await parts.publisher.publish(customer_id)
    assert await admit_all(parts, key) == 2


@pytest.mark.parametrize("tariff", [None, Tariff(currency="eur", unit_amount="1")], ids=["unknown", "other currency"])
async def test_a_spend_cap_at_a_price_that_cannot_be_read_allows_nothing(parts, tariff):
    customer_id, key = await buyer(parts, metered=(replace(ITEM, tariff=tariff),))
    await cap(parts, customer_id, 10_000)
    assert await admit_all(parts, key) == 10


async def test_who_pays_another_currency_than_the_cap_is_told_so(parts):
    customer_id, key = await buyer(parts, metered=(replace(ITEM, tariff=Tariff(currency="eur", unit_amount="1")),))
    await cap(parts, customer_id, 10_000)
    assert await admit_all(parts, key) == 10
    said = r"the spend cap of 100.00 USD, while this overage is billed in EUR, allows 0 units"
    with pytest.raises(OverageCapReached, match=said):
        await admit(parts.admission, key)


async def test_the_cap_of_the_policy_holds_for_whoever_set_none(parts):
    edit(parts, POLICY.replace("cap: 5 units", "cap: none, spend_cap: 2.50 USD"))
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 12
    await cap(parts, customer_id, 400)
    assert await admit_all(parts, key) == 2


async def test_a_refusal_names_the_cap_and_what_moves_it(parts):
    customer_id, key = await buyer(parts)
    await admit_all(parts, key)
    with pytest.raises(OverageCapReached, match=r"the plan's cap of 5 units allows 5 units.*Another plan"):
        await admit(parts.admission, key)
    await cap(parts, customer_id, 300)
    with pytest.raises(OverageCapReached, match=r"the spend cap of 3.00 USD allows 3 units.*spend-cap") as refused:
        await admit(parts.admission, key)
    assert refused.value.violated == ("period",)
    assert refused.value.retry_after_s > 29 * DAY_S


async def test_credits_are_spent_before_overage(parts):
    customer_id, key = await buyer(parts)
    order = CreditOrder(units=4, reason="test")
    grant = await parts.crediting.grant(customer_id, order, parts.policy.current, actor="test")
    assert await admit_all(parts, key) == 19
    used = await counted(parts, customer_id)
    assert (used["q:requests:period"], used[grant_field(grant.row.grant.grant_id)], used[OVER]) == (10, 4, 5)


async def test_what_is_given_back_of_a_call_leaves_overage_first(parts):
    customer_id, key = await buyer(parts)
    for _ in range(2):
        await admit(parts.admission, key, "POST")
    attempt = await admit(parts.admission, key, "POST")
    assert await counted(parts, customer_id) == {"q:requests:period": 10, OVER: 2}
    assert await parts.admission.refund(attempt) == "given-back"
    assert await counted(parts, customer_id) == {"q:requests:period": 8, OVER: 0}
    attempt = await admit(parts.admission, key, "POST")
    await parts.admission.settle(attempt, {"requests": 3})
    assert await counted(parts, customer_id) == {"q:requests:period": 10, OVER: 1}


async def test_after_a_rise_what_is_included_comes_first_and_overage_stays(parts):
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 15
    await change(parts, customer_id, "max-monthly")
    assert await admit_all(parts, key) == 10 + 15, "10 more are included, and 20 beyond less 5"
    assert await counted(parts, customer_id) == {"q:requests:period": 20, OVER: 20}


async def test_a_fall_bills_nobody_for_what_was_included_when_it_was_used(parts):
    customer_id, key = await buyer(parts, plan_id="max-monthly")
    for _ in range(18):
        await admit(parts.admission, key)
    await change(parts, customer_id, "pro-monthly")
    assert await admit_all(parts, key) == 5
    assert await counted(parts, customer_id) == {"q:requests:period": 18, OVER: 5}


async def test_a_reset_gives_what_is_included_again_and_no_second_overage(parts):
    edit(parts, POLICY.replace("plan_change: keep", "plan_change: reset").replace("cap: 2x", "cap: 5 units"))
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 15
    parts.clock.time += DAY_S
    await change(parts, customer_id, "max-monthly")
    assert await admit_all(parts, key) == 20


async def test_the_next_period_begins_with_what_is_included_and_no_overage_used(parts):
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key) == 15
    parts.clock.time += 31 * DAY_S
    assert await admit_all(parts, key) == 15
    assert await counted(parts, customer_id) == {"q:requests:period": 10, OVER: 5}


async def test_a_plan_may_name_another_price(parts):
    edit(parts, POLICY.replace("lookup_key pro_monthly}", "lookup_key pro_monthly, overage_price: price_yearly}"))
    customer_id, key = await buyer(parts)
    assert await admit_all(parts, key, error=QuotaExceeded) == 10
    await subscribe(parts, customer_id, pro(parts.clock, metered=(replace(ITEM, price_id="price_yearly"),)))
    assert await admit_all(parts, key) == 5


async def test_usage_tells_included_overage_and_ceiling_apart(parts):
    customer_id, key = await buyer(parts)
    await cap(parts, customer_id, 450)
    for _ in range(12):
        await admit(parts.admission, key)
    account = await parts.ledger.load_account(customer_id)
    usage = await read_usage(
        account, policy=parts.policy.current, cache=parts.cache, ledger=parts.ledger, clock=parts.clock
    )
    (one,) = usage.overages
    assert (one.name, one.included, one.used, one.allowed, one.left) == ("period-overage", 10, 2, 4, 2)
    assert (one.bound, one.cost, one.currency) == ("spend-cap", 200, "usd")
    quota = next(limit for limit in usage.limits if limit.name == "period")
    assert (quota.limit, quota.used, quota.remaining) == (10, 10, 0)
    free = replace(account, subscription=None)
    access = decide_access(free, parts.policy.current, parts.clock.time)
    assert list_overages(free, access, parts.policy.current, {}, parts.clock.time) == ()


async def test_a_cache_that_lost_its_data_begins_where_the_ledger_stands(parts):
    customer_id, key = await buyer(parts)
    for _ in range(12):
        await admit(parts.admission, key)
    parts.settlement.note_moved(customer_id)
    await parts.settlement.settle()
    windows = await parts.ledger.claim_meters(worker="w", now=int(parts.clock.time), lease_s=9, limit=9)
    (window,) = await parts.ledger.list_unreported(windows[0])
    assert (window.total, window.reported) == (2, 0)
    await parts.publisher.load(customer_id, replaces=True)
    assert await admit_all(parts, key) == 3
