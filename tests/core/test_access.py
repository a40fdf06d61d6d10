"""Each row of the status table, and its edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import decide_access, is_suspended
from gateway.core.access_value import Access
from gateway.core.account import Account, Subscription
from gateway.core.lifecycle import KNOWN_STATUSES
from gateway.core.policy import Plan, Policy, Standing, Tier

DAY_S = 86_400
START = 1_760_000_000
NOW = START + 5 * DAY_S


def make_tier(name: str, rank: int) -> Tier:
    return Tier(name=name, rank=rank, title=name, description="", limits=(), features=frozenset())


def make_plan(plan_id: str, tier: str) -> Plan:
    return Plan(plan_id=plan_id, tier=tier, title=plan_id, price_id=None, lookup_key=plan_id)


def make_policy(default_tier: str | None = "free", **lines: Standing) -> Policy:
    def ends(refusal: str, keep_s: int | None = 0, then: str | None = default_tier) -> Standing:
        return Standing(keep_s=keep_s, then=then, refusal=refusal)

    lifecycle = {
        "trialing": ends("subscription-required", None),
        "active": ends("subscription-required", None),
        "past_due": ends("payment-required", 7 * DAY_S),
        "unpaid": ends("payment-required", then=None),
        "paused": ends("payment-required", then=None),
        "incomplete": ends("subscription-required"),
        "incomplete_expired": ends("subscription-required"),
        "canceled": ends("subscription-required"),
        "none": ends("subscription-required"),
        "customer_deleted": ends("subscription-required"),
        "first_payment_pending": ends("payment-required"),
        **dict.fromkeys(("disputed", "pause_collection", "pause_collection_void", "pending_update"), ends("", None)),
        **dict.fromkeys(("dispute_lost", "refunded"), ends("", None)),
        "unreadable": ends("subscription-required", DAY_S),
        "blocked": ends("account-suspended", then=None),
    }
    return Policy(
        policy_hash="0" * 12,
        default_tier=default_tier,
        tiers={name: make_tier(name, rank) for rank, name in enumerate(("free", "pro", "max"))},
        plans={"pro-monthly": make_plan("pro-monthly", "pro"), "max-monthly": make_plan("max-monthly", "max")},
        meters={},
        routes=(),
        lifecycle=lifecycle | lines,
    )


POLICY = make_policy()
PAID_ONLY = make_policy(default_tier=None)


def account(status: str | None = "active", **changes: Any) -> Account:
    facts: dict[str, Any] = {
        "subscription_id": "sub_1",
        "status": status,
        "plan_id": "pro-monthly",
        "period_starts_at": START,
        "period_ends_at": START + 30 * DAY_S,
        "anchor_at": START,
    }
    subscription = None if status is None else Subscription(**facts | changes)
    return Account(customer_id="c1", user_id="u1", version=1, created_at=START - DAY_S, subscription=subscription)


def summary(access: Access) -> tuple[str | None, str, str | None, str | None]:
    return (None if access.tier is None else access.tier.name, access.standing, access.refusal, access.plan_id)


@pytest.mark.parametrize(
    ("status", "with_default", "without_default"),
    [
        ("trialing", ("pro", "good", None, "pro-monthly"), ("pro", "good", None, "pro-monthly")),
        ("active", ("pro", "good", None, "pro-monthly"), ("pro", "good", None, "pro-monthly")),
        ("past_due", ("pro", "grace", None, "pro-monthly"), ("pro", "grace", None, "pro-monthly")),
        ("unpaid", (None, "lapsed", "payment-required", None), (None, "lapsed", "payment-required", None)),
        ("paused", (None, "lapsed", "payment-required", None), (None, "lapsed", "payment-required", None)),
        ("incomplete", ("free", "lapsed", None, None), (None, "lapsed", "subscription-required", None)),
        ("incomplete_expired", ("free", "lapsed", None, None), (None, "lapsed", "subscription-required", None)),
        ("canceled", ("free", "lapsed", None, None), (None, "lapsed", "subscription-required", None)),
        (None, ("free", "lapsed", None, None), (None, "lapsed", "subscription-required", None)),
        ("brand_new", ("free", "unreadable", None, None), (None, "unreadable", "subscription-required", None)),
    ],
)
def test_a_status_is_a_standing(
    status: str | None, with_default: tuple[object, ...], without_default: tuple[object, ...]
) -> None:
    assert summary(decide_access(account(status), POLICY, NOW)) == with_default
    assert summary(decide_access(account(status), PAID_ONLY, NOW)) == without_default


def test_a_blocked_customer_is_suspended_whatever_stripe_says() -> None:
    access = decide_access(replace(account("active"), blocked=True), POLICY, NOW)
    assert summary(access) == (None, "suspended", "account-suspended", None)


def test_an_active_subscription_outlives_its_recorded_period() -> None:
    assert decide_access(account(), POLICY, START + 90 * DAY_S).standing == "good"


def test_a_planned_cancellation_keeps_the_tier_until_the_status_changes() -> None:
    assert decide_access(account(cancel_at=NOW - 1), POLICY, NOW).standing == "good"


def test_a_planned_change_keeps_the_plan_until_stripe_has_made_it() -> None:
    planned = account(scheduled_at=NOW - 1, scheduled_plan_id="max-monthly", scheduled_seats=1)
    assert summary(decide_access(planned, POLICY, NOW)) == ("pro", "good", None, "pro-monthly")


@pytest.mark.parametrize("status", ["active", "canceled", None])
def test_who_is_blocked_is_suspended_from_buying_whatever_it_has(status: str | None) -> None:
    blocked = replace(account(status), blocked=True)
    falls = make_policy(blocked=Standing(keep_s=0, then="free", refusal="account-suspended"))
    warns = make_policy(blocked=Standing(keep_s=None, then=None, refusal="account-suspended"))
    assert [is_suspended(blocked, policy, NOW) for policy in (POLICY, falls, warns)] == [True, True, False]
    assert not is_suspended(account(status), falls, NOW)


def test_a_dispute_suspends_from_buying_when_the_days_before_are_over() -> None:
    disputed = account("canceled", flags=(("disputed", NOW - DAY_S), ("pending_update", NOW)))
    rules = [Standing(keep_s=days * DAY_S, then="free", refusal="account-suspended") for days in (0, 1, 2)]
    assert [is_suspended(disputed, make_policy(disputed=rule), NOW) for rule in rules] == [True, True, False]
    assert not is_suspended(disputed, POLICY, NOW)


def test_grace_ends_to_the_second_without_any_event() -> None:
    late = account("past_due", past_due_since=NOW)
    end = NOW + 7 * DAY_S
    assert decide_access(late, POLICY, NOW).grace_until == end
    assert summary(decide_access(late, POLICY, end - 0.001)) == ("pro", "grace", None, "pro-monthly")
    assert summary(decide_access(late, POLICY, end)) == ("free", "lapsed", None, None)


def test_grace_is_refused_afterwards_without_a_fallback() -> None:
    late = account("past_due", past_due_since=NOW)
    assert summary(decide_access(late, PAID_ONLY, NOW + 7 * DAY_S)) == (None, "lapsed", "payment-required", None)


def test_grace_without_a_date_counts_from_the_period_that_was_not_paid() -> None:
    assert decide_access(account("past_due"), POLICY, NOW).grace_until == START + 7 * DAY_S


def test_grace_warns_with_its_end() -> None:
    warning = decide_access(account("past_due", past_due_since=NOW), POLICY, NOW).warning
    assert warning is not None
    assert "ends at 2025-10-21T08:53:20Z" in warning


def test_past_due_kept_always_is_a_grace_without_end() -> None:
    policy = make_policy(past_due=Standing(keep_s=None, then=None, refusal="payment-required"))
    access = decide_access(account("past_due"), policy, NOW + 900 * DAY_S)
    assert (access.standing, access.grace_until) == ("grace", None)
    assert access.warning == "The last payment failed."


def test_a_seller_may_degrade_instead_of_refusing() -> None:
    policy = make_policy(unpaid=Standing(keep_s=0, then="free", refusal="payment-required"))
    access = decide_access(account("unpaid"), policy, NOW)
    assert summary(access) == ("free", "lapsed", None, None)
    assert access.warning == "Payments for this subscription have failed."


def test_an_unmapped_price_keeps_the_last_good_plan_for_a_day() -> None:
    odd = account(plan_id=None, last_good_plan_id="max-monthly", unreadable_since=NOW)
    access = decide_access(odd, POLICY, NOW + DAY_S - 1)
    assert summary(access) == ("max", "unreadable", None, "max-monthly")
    assert access.grace_until == NOW + DAY_S
    assert summary(decide_access(odd, POLICY, NOW + DAY_S)) == ("free", "unreadable", None, None)


def test_an_unknown_status_keeps_the_last_good_plan_and_not_the_present_one() -> None:
    odd = account("brand_new", plan_id="max-monthly", last_good_plan_id="pro-monthly", unreadable_since=NOW)
    assert summary(decide_access(odd, POLICY, NOW)) == ("pro", "unreadable", None, "pro-monthly")


def test_an_unmapped_price_that_is_also_past_due_keeps_the_shorter_promise() -> None:
    odd = account(
        "past_due",
        plan_id=None,
        last_good_plan_id="pro-monthly",
        unreadable_since=NOW,
        past_due_since=NOW - 7 * DAY_S + 60,
    )
    assert decide_access(odd, POLICY, NOW).grace_until == NOW + 60


def test_an_unmapped_price_on_a_cancelled_subscription_is_just_cancelled() -> None:
    odd = account("canceled", plan_id=None, last_good_plan_id="max-monthly", unreadable_since=NOW)
    assert summary(decide_access(odd, POLICY, NOW)) == ("free", "lapsed", None, None)


def test_a_plan_taken_out_of_the_policy_falls_back() -> None:
    assert summary(decide_access(account(plan_id="old"), POLICY, NOW)) == ("free", "unreadable", None, None)


subscriptions = st.fixed_dictionaries(
    {
        "status": st.sampled_from([*KNOWN_STATUSES, "brand_new", "none", "unreadable"]),
        "plan_id": st.sampled_from([None, "pro-monthly", "max-monthly", "old"]),
        "last_good_plan_id": st.sampled_from([None, "pro-monthly", "old"]),
        "past_due_since": st.none() | st.integers(START, START + 20 * DAY_S),
        "unreadable_since": st.none() | st.integers(START, START + 20 * DAY_S),
    }
)


@given(subscriptions, st.floats(START, START + 60 * DAY_S), st.sampled_from([POLICY, PAID_ONLY]))
def test_access_is_a_tier_or_a_refusal_and_ends_when_it_says(facts: dict[str, Any], now: float, policy: Policy) -> None:
    customer = account(**facts)
    access = decide_access(customer, policy, now)
    assert (access.tier is None) == (access.refusal is not None)
    assert access.warning is None or access.warning.isascii()
    if access.plan_id is not None:
        assert access.tier is policy.tiers[policy.plans[access.plan_id].tier]
    if access.grace_until is not None:
        assert now < access.grace_until
        assert decide_access(customer, policy, access.grace_until - 0.5).tier is access.tier
        assert decide_access(customer, policy, access.grace_until).plan_id is None


@given(subscriptions)
def test_only_good_standing_outlives_every_grace(facts: dict[str, Any]) -> None:
    access = decide_access(account(**facts), POLICY, START + 400 * DAY_S)
    assert (access.plan_id is not None) == (access.standing == "good")


def test_what_stripe_entitles_to_counts_beside_the_plans_tier_and_only_there() -> None:
    policy = replace(POLICY, entitlements=frozenset({"exports", "sso"}))
    entitled = account(entitlements=("exports", "unknown"), past_due_since=NOW)
    access = decide_access(entitled, policy, NOW)
    assert access.tier is not None
    assert access.tier.features == {"exports"}
    assert decide_access(entitled, POLICY, NOW).tier is POLICY.tiers["pro"]
    for status in ("canceled", "unpaid", "incomplete"):
        lapsed = decide_access(account(status, entitlements=("exports",)), policy, NOW).tier
        assert lapsed is None or lapsed.features == frozenset()
    overdue = account("past_due", entitlements=("exports",), past_due_since=NOW)
    kept = decide_access(overdue, policy, NOW).tier
    assert kept is not None
    assert kept.features == {"exports"}


@pytest.mark.parametrize("status", KNOWN_STATUSES)
def test_whoever_bought_none_of_a_plan_gets_nothing_for_it(status: str) -> None:
    bought = decide_access(account(status, seats=0), POLICY, NOW)
    assert (bought.tier, bought.standing, bought.plan_id) == (POLICY.tiers["free"], "lapsed", None)
    assert "quantity of 0" in (bought.warning or "")
    assert decide_access(account(status, seats=0), PAID_ONLY, NOW).refusal == "subscription-required"
