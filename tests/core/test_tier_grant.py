"""A tier by hand over the whole product of status, flags, lines, tiers and time, against the law read out loud."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.account import Account, Subscription, TierGrant
from gateway.core.lifecycle import FLAG_ROWS, KNOWN_STATUSES
from gateway.core.policy import Policy, Standing
from gateway.core.tier_grant import TIER_GONE, grant_state
from gateway.core.window import quota_window
from tests.core.test_access import DAY_S, NOW, POLICY, account
from tests.core.test_lifecycle import INSTANTS, LINES, SINCE, STATUSES, with_lines

ENDS = SINCE + 30 * DAY_S
GRANTS = tuple(TierGrant(tier=tier, granted_at=SINCE - 1, ends_at=ENDS) for tier in ("free", "pro", "max", "gone"))
NO_TIER = -1


def rank(access: Access) -> int:
    return NO_TIER if access.tier is None else access.tier.rank


def check(customer: Account, grant: TierGrant, now: int, policy: Policy) -> None:
    """What a grant may do to one customer at one instant, and nothing else."""
    without = decide_access(customer, policy, now)
    granted = decide_access(replace(customer, tier_grant=grant), policy, now)
    case = (customer, grant, now - SINCE)
    if now >= grant.ends_at or without.standing == "suspended":
        assert replace(granted, beneath_until=without.beneath_until) == without, case
    elif grant.tier not in policy.tiers:
        assert replace(granted, warning=without.warning) == without, case
        assert granted.warning is not None, case
    else:
        assert rank(granted) == max(rank(without), policy.tiers[grant.tier].rank), case
        assert granted.refusal is None, case
        if rank(without) >= policy.tiers[grant.tier].rank:
            assert granted == without, case
        else:
            assert (granted.standing, granted.grace_until, granted.plan_id) == ("good", ENDS, without.plan_id), case
    assert granted.warning is None or (granted.warning.isascii() and '"' not in granted.warning), case


@pytest.mark.parametrize("flag_line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("status_line", LINES.values(), ids=LINES)
def test_a_grant_raises_access_until_it_ends_and_does_nothing_else(status_line: Standing, flag_line: Standing) -> None:
    policy = with_lines(status_line, flag_line)
    flag_sets = ((), *((flag,) for flag in FLAG_ROWS), FLAG_ROWS)
    instants = (*INSTANTS, ENDS - 1, ENDS)
    for status, flags, grant, now in product(STATUSES, flag_sets, GRANTS, instants):
        customer = account(
            status,
            last_good_plan_id="pro-monthly",
            status_since=SINCE,
            unreadable_since=SINCE if status not in KNOWN_STATUSES else None,
            flags=tuple((flag, SINCE) for flag in flags),
        )
        check(customer, grant, now, policy)


@pytest.mark.parametrize("flag_line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("status_line", LINES.values(), ids=LINES)
def test_what_was_decided_holds_until_it_says_and_no_instant_is_hidden(
    status_line: Standing, flag_line: Standing
) -> None:
    policy = with_lines(status_line, flag_line)
    mixed = replace(policy, lifecycle=policy.lifecycle | {"disputed": LINES["keep for a time, then refuse"]})
    instants = (*INSTANTS[:3], ENDS - 1, ENDS, INSTANTS[3])
    flag_sets = ((), *((flag,) for flag in FLAG_ROWS), FLAG_ROWS)
    for rules, status, flags, grant in product((policy, mixed), STATUSES, flag_sets, (None, *GRANTS)):
        customer = account(
            status,
            last_good_plan_id="pro-monthly",
            status_since=SINCE,
            unreadable_since=SINCE if status not in KNOWN_STATUSES else None,
            flags=tuple((flag, SINCE) for flag in flags),
        )
        customer = replace(customer, tier_grant=grant)
        answers = [replace(decide_access(customer, rules, now), warning=None) for now in instants]
        for first, access in enumerate(answers):
            for now, later in zip(instants[first:], answers[first:], strict=True):
                if access.decided_until is None or now < access.decided_until:
                    assert later == access, (status, flags, grant, instants[first] - SINCE, now - SINCE)


def test_a_dispute_suspends_under_a_grant_at_the_instant_that_policy_says() -> None:
    policy = replace(POLICY, lifecycle=POLICY.lifecycle | {"disputed": LINES["keep for a time, then refuse"]})
    customer = replace(account(flags=(("disputed", SINCE),)), tier_grant=GRANTS[2])
    access = decide_access(customer, policy, SINCE)
    assert (access.grace_until, access.decided_until) == (ENDS, SINCE + 3 * DAY_S)
    assert grant_state(GRANTS[2], access, policy, SINCE) == "in-force"
    assert decide_access(customer, policy, SINCE + 3 * DAY_S).standing == "suspended"


@pytest.mark.parametrize("grant", GRANTS, ids=[grant.tier for grant in GRANTS])
def test_a_grant_needs_no_subscription_and_lifts_no_block(grant: TierGrant) -> None:
    for now in (SINCE, ENDS - 1, ENDS):
        check(account(None), grant, now, POLICY)
        check(replace(account(None), blocked=True), grant, now, POLICY)
        check(replace(account(), blocked=True), grant, now, POLICY)


def test_a_grant_ends_to_the_second_without_any_event() -> None:
    customer = replace(account(None), tier_grant=GRANTS[2])
    before, after = decide_access(customer, POLICY, ENDS - 0.001), decide_access(customer, POLICY, ENDS)
    assert (before.tier and before.tier.name, before.standing, before.grace_until) == ("max", "good", ENDS)
    assert (after.tier and after.tier.name, after.standing, after.grace_until) == ("free", "lapsed", None)


def test_a_tier_that_policy_has_no_more_grants_nothing_and_says_so() -> None:
    access = decide_access(replace(account(None), tier_grant=GRANTS[3]), POLICY, NOW)
    assert (access.tier and access.tier.name, access.warning) == ("free", TIER_GONE)


def test_a_payment_that_failed_is_still_told_under_a_grant() -> None:
    access = decide_access(replace(account("unpaid"), tier_grant=GRANTS[1]), POLICY, NOW)
    assert (access.standing, access.refusal) == ("good", None)
    assert access.warning == "Payments for this subscription have failed."


def test_a_grace_under_a_grant_names_no_end_of_its_own() -> None:
    late = replace(account("past_due", past_due_since=NOW), tier_grant=GRANTS[2])
    assert decide_access(late, POLICY, NOW).warning == "The last payment failed."


def test_what_stripe_entitles_to_stays_under_a_higher_tier() -> None:
    policy = replace(POLICY, entitlements=frozenset({"exports"}))
    access = decide_access(replace(account(entitlements=("exports",)), tier_grant=GRANTS[2]), policy, NOW)
    assert access.tier is not None
    assert (access.tier.name, access.tier.features, access.plan_id) == ("max", {"exports"}, "pro-monthly")


@pytest.mark.parametrize(
    ("customer", "grant", "now", "state"),
    [
        (account(None), GRANTS[1], NOW, "in-force"),
        (account(), GRANTS[1], NOW, "below"),
        (account(None), GRANTS[1], ENDS, "over"),
        (account(None), GRANTS[3], NOW, "unknown-tier"),
        (replace(account(None), blocked=True), GRANTS[1], NOW, "suspended"),
    ],
    ids=["in force", "below", "over", "unknown tier", "suspended"],
)
def test_what_became_of_a_grant_has_a_word(customer: Account, grant: TierGrant, now: int, state: str) -> None:
    access = decide_access(replace(customer, tier_grant=grant), POLICY, now)
    assert grant_state(grant, access, POLICY, now) == state


@given(
    now=st.integers(SINCE - 400 * DAY_S, SINCE + 400 * DAY_S),
    grant=st.sampled_from(GRANTS),
    subscription=st.sampled_from([account(status).subscription for status in (None, *STATUSES)]),
    window_s=st.sampled_from([None, 3600, DAY_S]),
)
def test_a_grant_moves_no_window_so_nobody_has_a_second_quota_by_it(
    now: int, grant: TierGrant, subscription: Subscription | None, window_s: int | None
) -> None:
    without = replace(account(None), subscription=subscription)
    granted = replace(without, tier_grant=grant)
    assert quota_window(granted, now, window_s) == quota_window(without, now, window_s)
