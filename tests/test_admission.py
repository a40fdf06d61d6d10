"""One request of one key: decided on a snapshot, refused when it is old, charged all or nothing."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.account import KeyRecord, Subscription, TierGrant
from gateway.core.errors import (
    AccountSuspended,
    CostAboveLimit,
    FeatureNotInTier,
    InvalidKey,
    QuotaExceeded,
    RateLimited,
    RouteNotFound,
    ScopeMissing,
)
from gateway.core.key_order import KeyInvalidRequest, KeyOrder
from gateway.core.limit_text import parse_limit
from gateway.core.policy import Standing
from gateway.core.scope import ScopeInvalid
from gateway.ledger.rows import NewKey, TierGrantRow
from gateway.provisioning import MAX_KEYS_PER_CUSTOMER, KeyNotFound, TooManyKeys
from tests.fakes.raw import open_raw
from tests.steps import subscribe

DAY_S = 86_400


async def admit(admission, key, method="GET", path="/v1/echo", number=[0]):  # noqa: B006 - a counter over calls
    number[0] += 1
    attempt = admission.attempt(f"dec_{number[0]:x}", method, path)
    await admission.admit(attempt, key)
    return attempt, attempt


def left(attempt, name):
    index = [limit.name for limit in attempt.plan.limits].index(name)
    return attempt.states[index].remaining


def pro(clock, **changes):
    facts = {
        "subscription_id": "sub_1",
        "status": "active",
        "plan_id": "pro-monthly",
        "period_starts_at": int(clock.time),
        "period_ends_at": int(clock.time) + 30 * DAY_S,
        "anchor_at": int(clock.time),
    }
    return Subscription(**(facts | changes))


async def test_a_live_key_is_admitted_and_charged(parts):
    _, key, _ = await parts.customer()
    attempt, receipt = await admit(parts.admission, key)
    assert attempt.plan.tier.name == "free"
    assert left(attempt, "period") == 9
    assert {claim.cost for claim in receipt.plan.claims} == {1}


async def test_no_key_and_an_unknown_customer_are_refused_alike(parts):
    stranger = parts.codec.mint("A" * 12, "b" * 26).text.encode()
    for presented in (None, b"", b"tg_test_garbage", stranger):
        with pytest.raises(InvalidKey):
            await admit(parts.admission, presented)


async def test_a_revoked_key_is_refused_by_every_worker_on_its_next_request(parts):
    customer_id, key, key_id = await parts.customer()
    other = parts.another_worker()
    await admit(parts.admission, key)
    await admit(other, key)
    assert await parts.provisioning.revoke(customer_id, key_id, actor="test")
    for admission in (parts.admission, other):
        with pytest.raises(InvalidKey):
            await admit(admission, key)


async def test_an_account_that_is_too_large_to_be_handed_back_is_loaded_and_decided_on(parts):
    customer_id, key, _ = await parts.customer()
    await admit(parts.admission, key)
    now = int(parts.clock.time)
    for n in range(50):  # as an older release let them be
        record = KeyRecord(key_id=f"{n}", name="n", last4="abcd", created_at=now, scopes=("GET /" + "a" * 6_000,))
        await parts.ledger.add_key(customer_id, NewKey(record=record, digest=f"{n}", mode="test"), now=now, actor="a")
    await parts.publisher.publish(customer_id)
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 8
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 7


async def test_an_expired_key_is_refused_without_any_event(parts):
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 60)
    await admit(parts.admission, key)
    parts.clock.time += 60
    with pytest.raises(InvalidKey):
        await admit(parts.admission, key)


async def test_a_rotated_key_and_its_successor_both_work_during_the_overlap(parts):
    customer_id, key, key_id = await parts.customer()
    issued = await parts.provisioning.rotate(customer_id, key_id, overlap_s=100, actor="test")
    successor = issued.minted.text.encode()
    await admit(parts.admission, key)
    await admit(parts.admission, successor)
    parts.clock.time += 100
    with pytest.raises(InvalidKey):
        await admit(parts.admission, key)
    await admit(parts.admission, successor)


async def test_all_keys_of_a_customer_share_its_quota(parts):
    customer_id, first, key_id = await parts.customer()
    issued = await parts.provisioning.rotate(customer_id, key_id, overlap_s=1000, actor="test")
    await admit(parts.admission, first)
    attempt, _ = await admit(parts.admission, issued.minted.text.encode())
    assert left(attempt, "period") == 8


async def test_a_key_may_have_a_smaller_limit_of_its_own(parts):
    limit = parse_limit("2 requests per day", {"requests"})
    _, key, _ = await parts.customer(limits=(limit,), limit_texts=("2 requests per day",))
    await admit(parts.admission, key)
    await admit(parts.admission, key)
    with pytest.raises(QuotaExceeded) as caught:
        await admit(parts.admission, key)
    assert caught.value.violated == ("key-day",)


@pytest.mark.parametrize(
    ("sentence", "name"), [("4 requests per day", "key-day"), ("4 per second burst 4", "key-second")]
)
async def test_a_call_that_costs_more_than_the_key_can_ever_spend_is_refused_for_good(parts, sentence, name):
    limit = parse_limit(sentence, {"requests"})
    customer_id, key, _ = await parts.customer(limits=(limit,), limit_texts=(sentence,))
    await subscribe(parts, customer_id, pro(parts.clock))
    with pytest.raises(CostAboveLimit, match=f"'{name}'"):
        await admit(parts.admission, key, "POST", "/v1/render/a")
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, name) == 3


async def test_a_key_cannot_have_limits_that_share_a_counter_or_let_nothing_through(parts):
    for sentences in (["2 per second", "5 per second burst 9"], ["5 per day", "6 per day"], ["0 requests per day"]):
        limits = tuple(parse_limit(sentence, {"requests"}) for sentence in sentences)
        with pytest.raises(KeyInvalidRequest, match="limits: "):
            await parts.customer(f"user of {sentences}", limits=limits, limit_texts=tuple(sentences))


async def test_a_key_with_scopes_is_refused_elsewhere(parts):
    _, key, _ = await parts.customer(scopes=("GET /v1/echo",))
    await admit(parts.admission, key)
    with pytest.raises(ScopeMissing):
        await admit(parts.admission, key, "POST", "/v1/echo")


async def test_what_no_route_names_is_refused_and_not_charged(parts):
    _, key, _ = await parts.customer()
    with pytest.raises(RouteNotFound):
        await admit(parts.admission, key, path="/v2/echo")
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 9


async def test_a_feature_of_another_tier_is_refused_and_names_the_tiers_that_have_it(parts):
    _, key, _ = await parts.customer()
    with pytest.raises(FeatureNotInTier) as caught:
        await admit(parts.admission, key, "POST", "/v1/render/a")
    assert caught.value.offered_by == ("pro",)


async def test_a_refused_quota_spends_nothing_and_says_when_to_come_back(parts):
    _, key, _ = await parts.customer()
    for _ in range(10):
        await admit(parts.admission, key)
    for _ in range(3):
        with pytest.raises(QuotaExceeded) as caught:
            await admit(parts.admission, key)
    parts.clock.time += caught.value.retry_after_s
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 9


async def test_a_rate_refuses_a_burst_and_lets_the_patient_in(parts):
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    limit = parse_limit("1 per second burst 2", {"requests"})
    _, paced, _ = await parts.customer("bob", limits=(limit,), limit_texts=("1 per second burst 2",))
    await admit(parts.admission, paced)
    await admit(parts.admission, paced)
    with pytest.raises(RateLimited) as caught:
        await admit(parts.admission, paced)
    parts.clock.time += caught.value.retry_after_s
    await admit(parts.admission, paced)
    assert key != paced


async def test_an_upgrade_moves_the_limit_on_the_next_request_and_a_later_one_keeps_the_count(parts):
    customer_id, key, _ = await parts.customer()
    attempt, _ = await admit(parts.admission, key)
    assert attempt.plan.tier.name == "free"
    parts.clock.time += 3600
    await subscribe(parts, customer_id, pro(parts.clock))
    attempt, _ = await admit(parts.admission, key)
    assert (attempt.plan.tier.name, left(attempt, "period")) == ("pro", 49)
    (parts.policy_dir / "policy.yaml").write_text(
        (parts.policy_dir / "policy.yaml").read_text().replace("50 requests", "70 requests")
    )
    assert parts.policy.reload()
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 68


async def test_a_policy_edit_does_not_touch_a_decision_that_has_begun(parts):
    _, key, _ = await parts.customer()
    attempt = parts.admission.attempt("dec_1", "GET", "/v1/echo")
    before = attempt.policy.policy_hash
    (parts.policy_dir / "policy.yaml").write_text(
        (parts.policy_dir / "policy.yaml").read_text().replace('"* /v1/**"', '"* /v9/**"')
    )
    assert parts.policy.reload()
    await parts.admission.admit(attempt, key)
    assert attempt.policy.policy_hash == before
    with pytest.raises(RouteNotFound):
        await admit(parts.admission, key)


async def test_a_plan_that_is_kept_is_of_the_policy_in_force_also_if_an_edit_leaves_its_route(parts):
    class Held:
        current = parts.policy.current

    admission = parts.another_worker(Held)
    _, key, _ = await parts.customer()
    for _ in range(2):
        attempt, _ = await admit(admission, key)
    assert left(attempt, "period") == 8
    free = replace(Held.current.tiers["free"], limits=Held.current.tiers["pro"].limits)
    Held.current = replace(Held.current, tiers=Held.current.tiers | {"free": free})
    attempt, _ = await admit(admission, key)
    assert left(attempt, "period") == 47


async def test_grace_ends_by_itself(parts):
    customer_id, key, _ = await parts.customer()
    now = int(parts.clock.time)
    await subscribe(parts, customer_id, pro(parts.clock, status="past_due", past_due_since=now))
    attempt, _ = await admit(parts.admission, key)
    assert (attempt.plan.tier.name, attempt.plan.access.standing) == ("pro", "grace")
    parts.clock.time += 7 * DAY_S
    attempt, _ = await admit(parts.admission, key)
    assert (attempt.plan.tier.name, attempt.plan.access.standing) == ("free", "lapsed")


async def test_a_dispute_shuts_a_key_that_is_in_use_at_the_instant_that_policy_says_also_under_a_grant(parts):
    customer_id, key, _ = await parts.customer()
    now = int(parts.clock.time)
    rule = Standing(keep_s=3 * DAY_S, then=None, refusal="account-suspended")

    class Held:
        current = replace(
            parts.policy.current,
            lifecycle=parts.policy.current.lifecycle | {"disputed": rule},
            tiers=parts.policy.current.tiers | {"max": replace(parts.policy.current.tiers["pro"], name="max", rank=9)},
        )

    admission = parts.another_worker(Held)
    disputed = pro(parts.clock, flags=(("disputed", now),), period_ends_at=now + 300 * DAY_S)
    await subscribe(parts, customer_id, disputed)
    grant = TierGrant(tier="max", granted_at=now, ends_at=now + 20 * DAY_S)
    await parts.ledger.grant_tier(
        TierGrantRow(customer_id=customer_id, grant=grant, reason="test"), now=now, actor="test"
    )
    await parts.publisher.publish(customer_id)
    attempt, _ = await admit(admission, key)
    assert attempt.plan.tier.name == "max"
    parts.clock.time += 3 * DAY_S
    with pytest.raises(AccountSuspended):
        await admit(admission, key)


async def test_a_blocked_customer_is_refused_at_once_and_let_in_again(parts):
    customer_id, key, _ = await parts.customer()
    await admit(parts.admission, key)
    await parts.provisioning.set_blocked(customer_id, None, blocked=True, actor="test", because="test")
    with pytest.raises(AccountSuspended):
        await admit(parts.admission, key)
    await parts.provisioning.set_blocked(customer_id, None, blocked=False, actor="test", because="test")
    await admit(parts.admission, key)


async def test_a_refund_gives_the_units_back_once(parts):
    _, key, _ = await parts.customer()
    _, receipt = await admit(parts.admission, key)
    assert await parts.admission.refund(receipt) == "given-back"
    assert await parts.admission.refund(receipt) == "nothing"
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 9


async def test_a_settlement_and_a_refund_of_one_call_are_one_end_of_it(parts):
    _, key, _ = await parts.customer()
    _, settled = await admit(parts.admission, key)
    assert await parts.admission.settle(settled, {"requests": 4}) == "settled"
    assert await parts.admission.refund(settled) == "nothing"
    assert await parts.admission.settle(settled, {"requests": 9}) == "nothing"
    attempt, refunded = await admit(parts.admission, key)
    assert left(attempt, "period") == 5
    assert await parts.admission.refund(refunded) == "given-back"
    assert await parts.admission.settle(refunded, {"requests": 4}) == "nothing"
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 5


async def test_a_settlement_in_another_meter_changes_nothing(parts):
    _, key, _ = await parts.customer()
    _, receipt = await admit(parts.admission, key)
    assert await parts.admission.settle(receipt, {"tokens": 4}) == "nothing"
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 8


async def test_a_price_of_one_call_holds_for_that_call_only(parts):
    _, key, _ = await parts.customer()
    first, _ = await admit(parts.admission, key)
    for cost in (3, 4):
        attempt = parts.admission.attempt("dec_1", "GET", "/v1/echo")
        await parts.admission.admit(attempt, key, replace(first.route, cost=(("requests", cost),), is_priced=True))
        assert attempt.ready is None
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 10 - 1 - 3 - 4 - 1


async def test_a_settlement_without_a_cache_is_lost(parts):
    _, key, _ = await parts.customer()
    _, receipt = await admit(parts.admission, key)
    await parts.cache.aclose()
    assert await parts.admission.settle(receipt, {"requests": 4}) == "lost"


async def test_a_refund_of_what_is_no_longer_counted_says_that_nothing_came_back(parts):
    customer_id, key, _ = await parts.customer()
    _, receipt = await admit(parts.admission, key)
    client = open_raw(parts.cache_url)
    await client.delete(*[k async for k in client.scan_iter(f"*{customer_id}*")])
    await client.aclose()
    assert await parts.admission.refund(receipt) == "nothing"


async def test_a_refund_without_a_cache_is_lost(parts):
    _, key, _ = await parts.customer()
    _, receipt = await admit(parts.admission, key)
    await parts.cache.aclose()
    assert await parts.admission.refund(receipt) == "lost"


async def test_a_refund_gives_a_quota_back_and_never_a_pace(parts):
    _, key, _ = await parts.customer()
    before, receipt = await admit(parts.admission, key)
    await parts.admission.refund(receipt)
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == left(before, "period") == 9
    assert left(attempt, "second") == left(before, "second") - 1 == 98


async def test_many_at_once_are_admitted_up_to_the_quota_exactly(parts):
    _, key, _ = await parts.customer()
    workers = [parts.another_worker() for _ in range(4)]

    async def one(number):
        try:
            await admit(workers[number % 4], key)
        except QuotaExceeded:
            return 0
        return 1

    assert sum(await asyncio.gather(*(one(number) for number in range(60)))) == 10


async def test_a_flushed_cache_costs_nobody_access_and_no_settled_unit(parts):
    _, key, _ = await parts.customer()
    for _ in range(4):
        attempt, _ = await admit(parts.admission, key)
        parts.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
    assert await parts.settlement.settle() > 0
    await admit(parts.admission, key)  # not settled: this one may be lost
    client = open_raw(parts.cache_url)
    await client.delete(*[k async for k in client.scan_iter(f"*{attempt.account.customer_id}*")])
    await client.aclose()
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 10 - 4 - 1


async def test_a_change_made_while_the_cache_was_away_is_repaired(parts):
    customer_id, key, key_id = await parts.customer()
    await admit(parts.admission, key)
    await parts.ledger.revoke_key(customer_id, key_id, now=int(parts.clock.time), actor="test", because="test")
    assert await parts.publisher.repair() == 1
    with pytest.raises(InvalidKey):
        await admit(parts.admission, key)
    assert await parts.publisher.repair() == 0


async def test_an_order_for_a_key_that_cannot_be_is_refused(parts):
    customer_id, _, _ = await parts.customer()
    for order in ({"name": " "}, {"name": "x" * 81}, {"expires_at": 1}, {"scopes": ("FETCH /v1",)}):
        with pytest.raises(KeyInvalidRequest):
            await parts.customer(f"user-{order}", **order)
    with pytest.raises(KeyNotFound):
        await parts.provisioning.revoke(customer_id, "nosuchkey", actor="test")
    assert issubclass(ScopeInvalid, ValueError)


async def test_a_key_identifies_its_customer_without_a_charge(parts):
    customer_id, key, key_id = await parts.customer()
    account, found = await parts.admission.identify(key)
    assert (account.customer_id, found) == (customer_id, key_id)
    attempt, _ = await admit(parts.admission, key)
    assert left(attempt, "period") == 9


async def test_of_many_keys_issued_at_once_no_more_are_issued_than_a_customer_may_have(parts):
    customer_id, _, _ = await parts.customer()
    answers = await asyncio.gather(
        *(parts.provisioning.issue(customer_id, KeyOrder(), actor="test") for _ in range(MAX_KEYS_PER_CUSTOMER + 5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, TooManyKeys) for answer in answers) == 6
    rows = await parts.provisioning.list(customer_id)
    assert len(rows) == MAX_KEYS_PER_CUSTOMER
    first = rows[0].record.key_id
    with pytest.raises(TooManyKeys):
        await parts.provisioning.rotate(customer_id, first, overlap_s=60, actor="test")
    await parts.provisioning.rotate(customer_id, first, overlap_s=0, actor="test")
