"""What a change of plan does to a quota: computed from the account, and never a way to win."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import decide_access
from gateway.core.account import Account, Subscription
from gateway.core.limit_text import parse_limit
from gateway.core.plan_change import counted_window
from gateway.core.seen_changes import MOST_CHANGES, with_change
from gateway.policyfiles import Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

START, LENGTH = 1_800_000_000, 30 * 86_400
END = START + LENGTH
UNITS = {"small": 100, "middle": 1000, "large": 5000}
POLICY = """\
version: 1
default_tier: free
plan_change: WORD
tiers:
  free: {limits: [10 requests per billing period]}
  small: {limits: [5 per second, 40 per day, 100 requests per billing period]}
  middle: {limits: [9 per second, 400 per day, 1_000 requests per billing period]}
  large: {limits: [9 per second, 5_000 requests per billing period]}
  other: {limits: [9 per second]}
plans:
  small: {tier: small, price: lookup_key small}
  middle: {tier: middle, price: lookup_key middle}
  large: {tier: large, price: lookup_key large}
  other: {tier: other, price: lookup_key other}
routes: [{match: "* /v1/**"}]
"""
PLANS = st.sampled_from(sorted(UNITS))


def compiled(text):
    files = (SourceFile(name="policy.yaml", content=text.encode()),)
    return compile_policy(Sources(files=files, faults=())).policy


POLICIES = {word: compiled(POLICY.replace("WORD", word)) for word in ("keep", "prorate", "reset")}


def account_of(plan_id, *changes, status="active"):
    subscription = Subscription(
        subscription_id="sub_1",
        status=status,
        plan_id=plan_id,
        period_starts_at=START,
        period_ends_at=END,
        anchor_at=START,
        plan_changes=changes,
    )
    return Account(customer_id="c", user_id="u", version=1, created_at=START - 99, subscription=subscription)


def period(word, account, now=END - 1):
    """Units and start of the billing period's quota."""
    tier = decide_access(account, POLICIES[word], now).tier
    quota = next(limit for limit in tier.limits if limit.name == "period")
    return quota.units, counted_window(account, now, quota)[0]


def test_without_a_change_every_word_gives_the_plans_own_quota():
    for word in POLICIES:
        assert period(word, account_of("middle")) == (1000, START)


def test_keep_moves_the_limit_and_keeps_the_count():
    assert period("keep", account_of("large", (START + LENGTH // 2, "middle"))) == (5000, START)


def test_prorate_gives_each_plan_its_share_of_the_window():
    half, tenth = START + LENGTH // 2, START + LENGTH // 10
    assert period("prorate", account_of("large", (half, "middle"))) == (3000, START)
    assert period("prorate", account_of("small", (half, "middle"))) == (550, START)
    assert period("prorate", account_of("small", (tenth, "large"), (half, "middle"))) == (500 + 400 + 50, START)


def test_reset_starts_the_count_at_a_rise_and_not_at_a_fall():
    half = START + LENGTH // 2
    assert period("reset", account_of("large", (half, "middle"))) == (5000, half)
    assert period("reset", account_of("small", (half, "middle"))) == (100, START)


def test_to_and_fro_resets_once():
    changes = [(START + 100 * n, plan) for n, plan in enumerate(["small", "large", "small", "large"], 1)]
    assert period("reset", account_of("small", *changes)) == (100, START + 100)
    assert period("reset", account_of("large", *changes[:3])) == (5000, START + 100)


@pytest.mark.parametrize("word", ["prorate", "reset"])
def test_a_change_of_an_earlier_window_counts_no_more(word):
    account = account_of("large", (START - 5, "small"))
    assert period(word, account) == (5000, START)
    changed = account_of("large", (START + 5, "small"))
    assert period(word, changed, END + 5)[0] == 5000
    assert period(word, changed, END + 5)[1] >= END


@pytest.mark.parametrize("word", ["prorate", "reset"])
def test_only_the_billing_periods_quota_is_changed(word):
    account = account_of("middle", (START + LENGTH // 2, "small"))
    limits = decide_access(account, POLICIES[word], END - 1).tier.limits
    assert limits[:2] == (parse_limit("9 per second", {"requests"}), parse_limit("400 per day", {"requests"}))


def test_a_plan_that_is_not_sold_any_more_counts_as_the_one_in_force():
    half = START + LENGTH // 2
    for before in ("gone", "other"):
        assert period("prorate", account_of("middle", (half, before))) == (1000, START)


def test_a_quota_of_a_group_of_routes_is_changed_like_any_other():
    text = POLICY.replace("WORD", "prorate").replace("match: ", "group: all, match: ")
    text = text.replace(
        "1_000 requests per billing period", "1_000 requests per billing period, 50 per billing period on all"
    )
    text = text.replace(
        " 5_000 requests per billing period", " 5_000 requests per billing period, 70 per billing period on all"
    )
    account = account_of("large", (START + LENGTH // 2, "middle"))
    limits = decide_access(account, compiled(text), END - 1).tier.limits
    assert {limit.group: limit.units for limit in limits[1:]} == {None: 3000, "all": 60}


def test_a_lapse_is_no_change_of_plan():
    account = account_of("large", (START + 5, "small"), status="unpaid")
    assert all(decide_access(account, policy, END - 1).tier is None for policy in POLICIES.values())
    canceled = replace(account, subscription=replace(account.subscription, status="canceled"))
    assert period("prorate", canceled) == (10, START)


HISTORY = st.lists(st.tuples(st.integers(1, LENGTH - 1), PLANS), max_size=6, unique_by=lambda change: change[0]).map(
    lambda changes: tuple(sorted((START + at, plan) for at, plan in changes))
)


@given(changes=HISTORY, plan=PLANS)
def test_a_share_is_what_a_second_by_second_sum_gives(changes, plan):
    bounds = [START, *(at for at, _ in changes), END]
    held = [*(before for _, before in changes), plan]
    total = sum(UNITS[one] * (bounds[n + 1] - bounds[n]) for n, one in enumerate(held))
    assert period("prorate", account_of(plan, *changes)) == (total // LENGTH, START)


@given(changes=HISTORY, plan=PLANS, at=st.integers(1, LENGTH - 1))
def test_a_rise_never_lowers_a_quota_and_a_fall_never_raises_it(changes, plan, at):
    at = START + at
    if changes and at <= changes[-1][0]:
        return
    before, _ = period("prorate", account_of(plan, *changes))
    for other, units in UNITS.items():
        after, _ = period("prorate", account_of(other, *with_change(changes, plan, other, at, POLICIES["prorate"])))
        assert (after >= before) if units >= UNITS[plan] else (after <= before)


@given(changes=HISTORY, plan=PLANS)
def test_a_window_has_no_more_fresh_counts_than_there_are_tiers_to_rise_to(changes, plan):
    starts = set()
    for place, (_, before) in enumerate(changes):
        starts.add(period("reset", account_of(before, *changes[:place]))[1])
    starts.add(period("reset", account_of(plan, *changes))[1])
    assert len(starts) <= len(UNITS)
    assert all(START <= start < END for start in starts)


@given(changes=HISTORY, plan=PLANS)
def test_a_count_starts_at_a_later_instant_only_by_a_rise(changes, plan):
    seen, held = START, []
    for place, before in enumerate([*(before for _, before in changes), plan]):
        start = period("reset", account_of(before, *changes[:place]))[1]
        assert start >= seen
        if start > seen:
            assert all(UNITS[before] > UNITS[one] for one in held)
        seen, held = start, [*held, before]


def test_so_many_changes_are_remembered_and_the_time_before_counts_as_the_smallest():
    changes, plan = (), "large"
    for number in range(MOST_CHANGES + 3):
        other = "small" if plan == "large" else "large"
        changes = with_change(changes, plan, other, START + 1000 * (number + 1), POLICIES["prorate"])
        plan = other
    assert len(changes) == MOST_CHANGES
    units, since = period("reset", account_of("large", *changes))
    assert (units, since) == (5000, START)
    first = changes[0][0] - START
    units, _ = period("prorate", account_of("small", *changes[:-1], (END - 1, "small")))
    assert units < 5000 * (LENGTH - first) // LENGTH + 100


def test_what_is_no_change_is_not_remembered():
    policy = POLICIES["prorate"]
    assert with_change((), None, "small", 5, policy) == ()
    assert with_change((), "small", None, 5, policy) == ()
    assert with_change(((1, "a"),), "small", "small", 5, policy) == ((1, "a"),)
