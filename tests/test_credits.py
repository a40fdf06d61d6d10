"""Credits: granted once, spent after the quota, counted like one, and kept whatever happens to the cache."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cache import CacheUnavailable, Receipt
from gateway.core.account import LAST_INSTANT
from gateway.core.errors import QuotaExceeded
from gateway.core.limit_text import parse_limit
from gateway.core.once import OnceCall, OnceTerms
from gateway.crediting import (
    MAX_GRANTS_PER_CUSTOMER,
    CreditOrder,
    CreditsInvalid,
    GrantNotFound,
    ReferenceTaken,
    TooManyGrants,
)
from gateway.usage import read_usage
from tests.fakes.raw import open_raw
from tests.test_admission import pro, subscribe

DAY_S = 86_400


async def admit(parts, key, number=[0], path="/v1/echo", method="GET"):  # noqa: B006 - a counter over calls
    number[0] += 1
    attempt = parts.admission.attempt(f"dec_c{number[0]:x}", method, path)
    await parts.admission.admit(attempt, key)
    return attempt


async def admit_all(parts, key):
    admitted = 0
    try:
        while True:
            await admit(parts, key)
            admitted += 1
    except QuotaExceeded:
        return admitted


async def grant(parts, customer_id, units, **order):
    return await parts.crediting.grant(
        customer_id, CreditOrder(units=units, **order), parts.policy.current, actor="test"
    )


async def left_of(parts, customer_id):
    account = await parts.ledger.load_account(customer_id)
    usage = await read_usage(
        account, policy=parts.policy.current, cache=parts.cache, ledger=parts.ledger, clock=parts.clock
    )
    period = next(limit for limit in usage.limits if limit.name == "period")
    return period.remaining, [one.left for one in usage.credits]


async def settle(parts, customer_id, key_id):
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.settlement.settle()


async def test_credits_are_spent_when_the_quota_is_used_up_and_not_before(parts):
    customer_id, key, _ = await parts.customer()
    await grant(parts, customer_id, 3)
    for _ in range(10):
        await admit(parts, key)
    assert await left_of(parts, customer_id) == (0, [3])
    assert await admit_all(parts, key) == 3
    assert await left_of(parts, customer_id) == (0, [0])


async def test_a_grant_is_spendable_by_the_very_next_call(parts):
    customer_id, key, _ = await parts.customer()
    assert await admit_all(parts, key) == 10
    await grant(parts, customer_id, 2)
    assert await admit_all(parts, key) == 2


async def test_what_expires_first_is_spent_first(parts):
    customer_id, key, _ = await parts.customer()
    now = int(parts.clock.time)
    for units, expires_at in ((4, None), (3, now + 300), (2, now + 200)):
        await grant(parts, customer_id, units, expires_at=expires_at)
        parts.clock.time += 1
    for _ in range(13):
        await admit(parts, key)
    assert await left_of(parts, customer_id) == (0, [0, 2, 4])


async def test_expired_credits_cover_nothing_and_no_event_is_needed(parts):
    customer_id, key, _ = await parts.customer()
    await grant(parts, customer_id, 5, expires_at=int(parts.clock.time) + 60)
    for _ in range(11):
        await admit(parts, key)
    parts.clock.time += 59
    await admit(parts, key)
    parts.clock.time += 1
    with pytest.raises(QuotaExceeded):
        await admit(parts, key)
    assert await left_of(parts, customer_id) == (0, [])


async def test_one_call_may_take_from_the_quota_and_from_credits(parts):
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    await grant(parts, customer_id, 4)
    for _ in range(47):
        await admit(parts, key)
    attempt = await admit(parts, key, path="/v1/render/a", method="POST")
    assert await left_of(parts, customer_id) == (0, [2])
    assert await parts.admission.refund(attempt) == "given-back"
    assert await left_of(parts, customer_id) == (3, [4]), "each gets back what it gave"
    assert await parts.admission.refund(attempt) == "nothing"


async def test_a_call_that_quota_and_credits_cannot_cover_together_spends_nothing(parts):
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    await grant(parts, customer_id, 1)
    for _ in range(47):
        await admit(parts, key)
    with pytest.raises(QuotaExceeded, match="credits included"):
        await admit(parts, key, path="/v1/render/a", method="POST")
    assert await left_of(parts, customer_id) == (3, [1])


async def test_what_is_left_counts_quota_and_credits_together(parts):
    customer_id, key, _ = await parts.customer()
    await grant(parts, customer_id, 5)
    attempt = await admit(parts, key)
    index = [limit.name for limit in attempt.plan.limits].index("period")
    assert (attempt.plan.limits[index].quota, attempt.states[index].remaining) == (15, 14)
    again = await admit(parts, key)
    assert again.reply is not None
    assert again.states[index].remaining == 13


async def test_a_limit_of_the_key_is_not_extended(parts):
    limit = parse_limit("2 requests per day", {"requests"})
    customer_id, key, _ = await parts.customer(limits=(limit,), limit_texts=("2 requests per day",))
    await grant(parts, customer_id, 5)
    assert await admit_all(parts, key) == 2


async def test_credits_extend_the_longest_quota_of_their_meter_only(parts):
    text = (parts.policy_dir / "policy.yaml").read_text()
    text = text.replace("10 requests per billing period]", "3 per day, 4 requests per billing period]")
    (parts.policy_dir / "policy.yaml").write_text(text)
    parts.policy.reload()
    customer_id, key, _ = await parts.customer()
    await grant(parts, customer_id, 5)
    assert await admit_all(parts, key) == 3
    parts.clock.time += DAY_S
    assert await admit_all(parts, key) == 3
    assert await left_of(parts, customer_id) == (0, [3])


async def test_the_same_reference_is_granted_once(parts):
    customer_id, key, _ = await parts.customer()
    first = await grant(parts, customer_id, 5, reference="order 7")
    again = await grant(parts, customer_id, 5, reference="order 7")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.row.grant == first.row.grant
    assert await admit_all(parts, key) == 15
    with pytest.raises(ReferenceTaken):
        await grant(parts, customer_id, 6, reference="order 7")


async def test_a_reference_asked_for_by_many_at_once_is_granted_once(parts):
    customer_id, key, _ = await parts.customer()
    granted = await asyncio.gather(*(grant(parts, customer_id, 5, reference="order 7") for _ in range(8)))
    assert sum(one.is_new for one in granted) == 1
    assert await admit_all(parts, key) == 15


async def test_a_reference_stays_used_after_its_grant_has_ended(parts):
    customer_id, key, _ = await parts.customer()
    first = await grant(parts, customer_id, 5, reference="order 7")
    await parts.crediting.revoke(customer_id, first.row.grant.grant_id, actor="test", because="test")
    again = await grant(parts, customer_id, 5, reference="order 7")
    assert (again.is_new, again.row.ended) == (False, "revoked")
    assert await admit_all(parts, key) == 10


async def test_references_of_two_customers_do_not_meet(parts):
    first, _, _ = await parts.customer()
    second, key, _ = await parts.customer("bob")
    await grant(parts, first, 5, reference="order 7")
    assert (await grant(parts, second, 3, reference="order 7")).is_new
    assert await admit_all(parts, key) == 13


async def test_revoked_credits_are_refused_by_every_worker_on_its_next_request(parts):
    customer_id, key, _ = await parts.customer()
    other = parts.another_worker()
    granted = await grant(parts, customer_id, 5)
    for _ in range(11):
        await admit(parts, key)
    await other.admit(other.attempt("dec_other", "GET", "/v1/echo"), key)
    assert await parts.crediting.revoke(customer_id, granted.row.grant.grant_id, actor="test", because="test")
    for admission in (parts.admission, other):
        with pytest.raises(QuotaExceeded):
            await admission.admit(admission.attempt("dec_last", "GET", "/v1/echo"), key)
    with pytest.raises(GrantNotFound):
        await parts.crediting.revoke(customer_id, granted.row.grant.grant_id, actor="test", because="test")


async def test_what_was_done_with_credits_is_in_the_audit_log(parts):
    customer_id, _, _ = await parts.customer()
    granted = await grant(parts, customer_id, 5, reference="order 7", reason="an apology")
    await parts.crediting.revoke(customer_id, granted.row.grant.grant_id, actor="test", because="by mistake")
    revoked, made = (await parts.ledger.list_audit(customer_id))[:2]
    assert (made.action, made.because, made.after["units"]) == ("credits-granted", "an apology", 5)
    assert (revoked.action, revoked.because, revoked.before["reference"]) == (
        "credits-revoked",
        "by mistake",
        "order 7",
    )


@pytest.mark.parametrize(
    "order",
    [
        {"units": 0},
        {"units": 2**53},
        {"units": 1, "meter": "tokens"},
        {"units": 1, "expires_at": 1},
        {"units": 1, "expires_at": LAST_INSTANT + 1},
        {"units": 1, "expires_at": LAST_INSTANT, "never_expires": True},
        {"units": 1, "reference": ""},
        {"units": 1, "reference": "a\x00b"},
        {"units": 1, "reference": "a" * 201},
    ],
    ids=["nothing", "too many", "no meter", "past", "too late", "never and then", "empty", "control", "long"],
)
async def test_there_can_be_no_such_credits(parts, order):
    customer_id, _, _ = await parts.customer()
    with pytest.raises(CreditsInvalid):
        await grant(parts, customer_id, **order)
    assert await parts.crediting.list(customer_id) == []


@pytest.mark.parametrize(
    ("words", "lasts_s"), [("2h", 7200), ("never", None), ("at period end", 31 * DAY_S), (None, None)]
)
async def test_policy_says_when_credits_expire_if_nobody_else_does(parts, words, lasts_s):
    if words is not None:
        text = (parts.policy_dir / "policy.yaml").read_text()
        (parts.policy_dir / "policy.yaml").write_text(f"{text}credits: {{expire: {words}}}\n")
        parts.policy.reload()
    customer_id, _, _ = await parts.customer()
    now = int(parts.clock.time)
    expires_at = (await grant(parts, customer_id, 5)).row.grant.expires_at
    assert expires_at == (None if lasts_s is None else now + lasts_s)
    assert (await grant(parts, customer_id, 5, expires_at=now + 9)).row.grant.expires_at == now + 9
    assert (await grant(parts, customer_id, 5, never_expires=True)).row.grant.expires_at is None


async def test_a_lost_cache_goes_on_with_the_credits_that_were_settled(parts):
    customer_id, key, key_id = await parts.customer()
    await grant(parts, customer_id, 5)
    for _ in range(12):
        await admit(parts, key)
    await settle(parts, customer_id, key_id)
    async with open_raw(parts.cache_url) as raw:
        await raw.delete(f"tg:{{{customer_id}}}:use", f"tg:{{{customer_id}}}:acct")
    assert await left_of(parts, customer_id) == (0, [3])
    assert await admit_all(parts, key) == 3


async def test_used_up_credits_leave_the_account_and_come_back_with_a_refund(parts):
    customer_id, key, key_id = await parts.customer()
    await grant(parts, customer_id, 2)
    attempts = [await admit(parts, key) for _ in range(12)]
    await settle(parts, customer_id, key_id)
    assert (await parts.ledger.load_account(customer_id)).grants == ()
    (row,) = await parts.crediting.list(customer_id, include_ended=True)
    assert (row.ended, row.used) == ("spent", 2)
    with pytest.raises(QuotaExceeded):
        await admit(parts, key)
    assert await parts.admission.refund(attempts[-1]) == "given-back"
    await settle(parts, customer_id, key_id)
    assert await admit_all(parts, key) == 1


async def test_a_late_settlement_of_a_used_up_grant_changes_nothing(parts):
    customer_id, key, key_id = await parts.customer()
    await grant(parts, customer_id, 2)
    await admit_all(parts, key)
    await settle(parts, customer_id, key_id)
    version = (await parts.ledger.load_account(customer_id)).version
    await settle(parts, customer_id, key_id)
    assert (await parts.ledger.load_account(customer_id)).version == version


async def test_as_many_grants_as_there_can_be_are_all_spendable_at_once(parts):
    customer_id, key, _ = await parts.customer()
    for _ in range(MAX_GRANTS_PER_CUSTOMER):
        await grant(parts, customer_id, 1)
    assert await admit_all(parts, key) == 10 + MAX_GRANTS_PER_CUSTOMER


async def test_small_grants_do_not_keep_a_dear_call_from_the_large_one_behind_them(parts):
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    for _ in range(50):
        await admit(parts, key)
    now = int(parts.clock.time)
    for number in range(9):
        await grant(parts, customer_id, 1, expires_at=now + 100 + number)
    await grant(parts, customer_id, 1000)
    for _ in range(3):
        await admit(parts, key, path="/v1/render/a", method="POST")
    assert await left_of(parts, customer_id) == (0, [0] * 9 + [994])


async def test_a_tier_with_a_quota_of_nothing_lives_on_credits(parts):
    text = (parts.policy_dir / "policy.yaml").read_text().replace("10 requests per billing", "0 requests per billing")
    (parts.policy_dir / "policy.yaml").write_text(text)
    parts.policy.reload()
    customer_id, key, _ = await parts.customer()
    with pytest.raises(QuotaExceeded, match="quota of 0 units"):
        await admit(parts, key)
    await grant(parts, customer_id, 3)
    assert await admit_all(parts, key) == 3
    assert await left_of(parts, customer_id) == (0, [0])


async def test_a_customer_has_so_many_live_grants_and_no_more(parts):
    customer_id, _, _ = await parts.customer()
    now = int(parts.clock.time)
    for number in range(MAX_GRANTS_PER_CUSTOMER):
        await grant(parts, customer_id, 1, reference=str(number), expires_at=now + 60)
    with pytest.raises(TooManyGrants):
        await grant(parts, customer_id, 1)
    assert not (await grant(parts, customer_id, 1, reference="3")).is_new
    parts.clock.time += 2 * DAY_S
    await grant(parts, customer_id, 1)
    account = await parts.ledger.load_account(customer_id)
    assert [one.expires_at for one in account.grants] == [None], "the expired ones have left the account"


async def test_a_grant_of_a_clock_that_is_ahead_is_spendable_when_its_time_has_come(parts):
    customer_id, key, _ = await parts.customer()
    parts.clock.time += 3
    await grant(parts, customer_id, 2)
    parts.clock.time -= 3
    assert await admit_all(parts, key) == 10
    parts.clock.time += 3
    assert await admit_all(parts, key) == 2


async def near_the_end(parts, quota_left, credits_=5):
    """A customer on a tier of 50 with so much left of its quota."""
    customer_id, key, key_id = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    await grant(parts, customer_id, credits_)
    for _ in range(50 - quota_left):
        await admit(parts, key)
    return customer_id, key, key_id


@pytest.mark.parametrize(
    ("real", "left"),
    [(5, (0, [2])), (4, (0, [3])), (2, (0, [5])), (1, (1, [5])), (0, (2, [5])), (7, (0, [0])), (9, (0, [0]))],
    ids=["as reserved", "less", "quota only", "part of it", "nothing", "more", "more than there is"],
)
async def test_a_settlement_gives_back_credits_first_and_takes_more_of_them(parts, real, left):
    customer_id, key, _ = await near_the_end(parts, quota_left=2)
    attempt = await admit(parts, key, path="/v1/render/a", method="POST")
    assert await parts.admission.settle(attempt, {"requests": real}) == ("nothing" if real == 5 else "settled")
    assert await left_of(parts, customer_id) == left


async def test_a_settlement_of_what_the_quota_covered_leaves_credits_alone(parts):
    customer_id, key, _ = await near_the_end(parts, quota_left=6)
    attempt = await admit(parts, key, path="/v1/render/a", method="POST")
    await parts.admission.settle(attempt, {"requests": 6})
    assert await left_of(parts, customer_id) == (0, [5])


@pytest.mark.parametrize(
    ("real", "left"), [(3, (2, [5])), (5, (0, [5])), (6, (0, [4])), (10, (0, [0])), (30, (0, [0]))]
)
async def test_a_call_that_turns_out_dearer_is_paid_by_credits_that_its_reservation_did_not_need(parts, real, left):
    customer_id, key, _ = await near_the_end(parts, quota_left=5)
    attempt = await admit(parts, key)
    await parts.admission.settle(attempt, {"requests": real})
    assert await left_of(parts, customer_id) == left
    reading = await parts.cache.read_usage(customer_id)
    assert reading.quotas["q:requests:period"][1] == 45 + min(real, 5) + max(0, real - 10), "what nothing covers"


async def test_a_wave_of_calls_that_turn_out_dearer_is_paid_by_credits(parts):
    customer_id, key, _ = await near_the_end(parts, quota_left=4, credits_=1_000)
    for attempt in [await admit(parts, key) for _ in range(4)]:
        await parts.admission.settle(attempt, {"requests": 200})
    assert await left_of(parts, customer_id) == (0, [1_000 - 4 * 199])


async def test_a_repeat_under_an_idempotency_key_takes_no_credits(parts):
    customer_id, key, _ = await near_the_end(parts, quota_left=1)
    call = OnceCall(digest="d", fingerprint="f", terms=OnceTerms())
    attempts = []
    for number in range(3):
        attempt = parts.admission.attempt(f"dec_once{number}", "POST", "/v1/echo")
        attempt.once = call
        await parts.admission.admit(attempt, key)
        parts.admission.end_once(attempt)
        attempts.append(attempt)
        assert await left_of(parts, customer_id) == (0, [5])
    assert [attempt.is_repeat for attempt in attempts] == [False, True, True]


async def test_what_an_outage_lets_in_is_owed_once_and_to_the_quota(parts):
    customer_id, key, _ = await near_the_end(parts, quota_left=10)
    attempt = await admit(parts, key)
    assert attempt.plan.costs == (1, 1, 0)
    assert [claim.field for claim in attempt.plan.heads] == ["r:requests:1000", "q:requests:period"]
    starts_at = attempt.plan.heads[1].starts_at
    owed = Receipt(customer_id=customer_id, receipt_id="r", parts=(("q:requests:period", starts_at, 1),))
    parts.outages.judge(attempt.account, attempt.plan, owed, CacheUnavailable(reason="test"))
    await parts.outages.charge_back()
    assert await left_of(parts, customer_id) == (8, [5])
