"""Seats and add-ons that change in the middle of a window: what is recorded of it, and what the quota then is.

Records are made as sync makes them: by `project`, of what Stripe says at an instant and the record before.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import decide_access
from gateway.core.account import Account, ExtrasChange, TierGrant
from gateway.core.billing_facts import CustomerFacts, ItemFacts, ScheduleFacts, SubscriptionFacts
from gateway.core.projection import project
from gateway.core.seen_changes import MOST_CHANGES
from gateway.policyfiles import Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

START, LENGTH = 1_800_000_000, 30 * 86_400
END, HALF, LATE = START + LENGTH, START + LENGTH // 2, START + LENGTH - 1200
TEXT = """\
version: 1
default_tier: free
plan_change: prorate
tiers:
  free: {limits: [10 requests per billing period]}
  team:
    limits: [9 requests per seat per second, 40 requests per seat per day, 20 requests per seat per billing period]
  flat: {limits: [700 requests per billing period]}
  large: {limits: [300 requests per seat per billing period]}
plans:
  team: {tier: team, price: lookup_key team, seats: 1 to 1000, add_ons: [pack]}
  flat: {tier: flat, price: lookup_key flat, add_ons: [pack]}
  large: {tier: large, price: lookup_key large, seats: 1 to 1000, add_ons: [pack]}
add_ons:
  pack: {price: lookup_key pack, limits: [50 requests per billing period]}
routes: [{match: "* /v1/**"}]
"""


def compiled(text):
    return compile_policy(Sources(files=(SourceFile(name="policy.yaml", content=text.encode()),), faults=())).policy


POLICY = compiled(TEXT)
WHOLE = {word: compiled(TEXT.replace("prorate", word)) for word in ("keep", "reset")}


def facts(plan="team", seats=1, packs=0, **changes):
    dates = {"period_starts_at": START, "period_ends_at": END}
    items = [ItemFacts(item_id="si_1", price_id=f"price_{plan}", lookup_key=plan, quantity=seats, **dates)]
    if packs:
        items.append(ItemFacts(item_id="si_2", price_id="price_pack", lookup_key="pack", quantity=packs, **dates))
    made = SubscriptionFacts(
        subscription_id="sub_1", status="active", anchor_at=START, started_at=START, items=tuple(items)
    )
    return replace(made, **changes)


def seen(one, before=None, now=START, policy=POLICY):
    record, _ = project(
        CustomerFacts(stripe_customer_id="cus_1", exists=True, subscriptions=(one,)), policy, before, now
    )
    return record


def lived(*states, policy=POLICY):
    """The record after each state was seen at its instant: `(at, plan, seats, packs)`."""
    record = seen(facts(*states[0][1:]), policy=policy)
    for at, *state in states[1:]:
        record = seen(facts(*state), record, at, policy)
    return record


def units(record, policy=POLICY, now=END - 1, grant=None):
    account = Account(
        customer_id="c", user_id="u", version=1, created_at=START - 9, subscription=record, tier_grant=grant
    )
    return next(one.units for one in decide_access(account, policy, now).tier.limits if one.name == "period")


def test_a_hundred_seats_that_come_minutes_before_the_end_give_their_minutes_share():
    assert units(lived((START, "team", 1, 0), (LATE, "team", 100, 0))) == 20 + 1980 * 1200 // LENGTH


def test_an_add_on_that_comes_minutes_before_the_end_gives_its_minutes_share():
    assert units(lived((START, "team", 2, 0), (LATE, "team", 2, 1000))) == 40 + 50_000 * 1200 // LENGTH


def test_fewer_seats_and_add_ons_leave_what_they_gave_while_they_were_there():
    assert units(lived((START, "team", 10, 4), (HALF, "team", 2, 0))) == (200 + 200 + 40) // 2


def test_plan_seats_and_add_ons_that_change_together_count_together():
    assert units(lived((START, "team", 10, 0), (HALF, "flat", 1, 2))) == (200 + 700 + 100) // 2


@pytest.mark.parametrize("word", ["keep", "reset"])
def test_without_shares_the_seats_of_now_are_those_of_the_whole_window(word):
    record = lived((START, "team", 1, 0), (LATE, "team", 100, 3))
    assert units(record, WHOLE[word]) == 2150


def test_the_next_window_is_whole():
    assert units(lived((START, "team", 1, 0), (LATE, "team", 100, 1)), now=END + 5) == 2050


def test_only_the_billing_periods_quota_is_shared():
    record = lived((START, "team", 1, 0), (HALF, "team", 100, 0))
    account = Account(customer_id="c", user_id="u", version=1, created_at=0, subscription=record)
    pace, day, _ = decide_access(account, POLICY, END - 1).tier.limits
    assert (pace.units, day.units) == (900, 4000)


def test_a_read_that_finds_nothing_new_leaves_the_record_whatever_it_was_caused_by():
    record = lived((START, "team", 1, 0), (HALF, "team", 5, 2))
    assert record.extras_changes == (ExtrasChange(at=HALF, seats=1),)
    assert seen(facts("team", 5, 2), record, HALF + 9) == record
    assert seen(facts("team", 5, 2), record, HALF + 9, WHOLE["keep"]) == record, "policy may change its mind"


def test_another_subscription_begins_without_changes():
    record = lived((START, "team", 1, 0), (HALF, "team", 5, 2))
    assert seen(facts("team", 9, subscription_id="sub_2"), record, LATE).extras_changes == ()


def test_while_the_plan_cannot_be_read_no_seats_change():
    record = lived((START, "team", 5, 0), (HALF, "strange", 90, 0))
    assert record.extras_changes == ()
    assert seen(facts("team", 5), record, LATE).extras_changes == ()


def test_what_was_planned_became_so_when_it_was_planned_for_however_late_that_is_seen():
    schedule = ScheduleFacts(schedule_id="sub_sched_1", is_ours=True, next_at=END, next_items=facts("flat", 1, 2).items)
    record = seen(facts("team", 100, schedule=schedule))
    dates = {"period_starts_at": END, "period_ends_at": END + LENGTH}
    renewed = facts("flat", 1, 2)
    renewed = replace(renewed, items=tuple(replace(item, **dates) for item in renewed.items))
    after = seen(renewed, record, END + 9000)
    assert (after.plan_changes, after.extras_changes) == (((END, "team"),), (ExtrasChange(at=END, seats=100),))
    assert units(after, now=END + 9001) == 800, "the whole quota of what was planned, and nothing of what was before"


def test_a_change_to_what_is_planned_that_is_made_before_counts_from_when_it_is_seen():
    schedule = ScheduleFacts(schedule_id="sub_sched_1", is_ours=True, next_at=END, next_items=facts("team", 5).items)
    record = seen(facts("team", 9, schedule=schedule))
    assert seen(facts("team", 5), record, HALF).extras_changes == (ExtrasChange(at=HALF, seats=9),)


def test_an_add_on_that_policy_calls_otherwise_has_not_changed():
    record = lived((START, "team", 1, 2), (HALF, "team", 1, 4))
    renamed = compiled(TEXT.replace("pack:", "bundle:").replace("[pack]", "[bundle]"))
    after = seen(facts("team", 1, 4), record, LATE, renamed)
    assert after.extras_changes == (ExtrasChange(at=HALF, seats=1, add_ons=(("bundle", 2),)),)
    assert units(after, renamed) == units(record) == 20 + 150


def test_an_add_on_that_policy_learns_of_later_was_there_before():
    silent = compiled(TEXT.replace("add_ons: [pack]", "title: T").replace("add_ons:\n  pack:", "meters: {}\n#"))
    record = lived((START, "team", 1, 3), policy=silent)
    assert units(record, silent) == 20
    assert units(seen(facts("team", 1, 3), record, LATE)) == 170, "an edit holds at once"


def test_a_time_without_seats_counts_as_one_without_a_subscription():
    record = lived((START, "flat", 0, 0), (HALF, "flat", 1, 0))
    assert units(record) == (10 + 700) // 2


def test_a_rise_to_the_tier_that_was_granted_by_hand_lowers_nothing():
    grant = TierGrant(tier="flat", granted_at=START, ends_at=END)
    before = lived((START, "team", 1, 0))
    after = lived((START, "team", 1, 0), (LATE, "flat", 1, 0))
    assert units(before, grant=grant) == units(after, grant=grant) == 700
    assert units(after) == 20 + 680 * 1200 // LENGTH


def test_seats_that_grow_by_one_each_day_count_for_what_they_were():
    states = [(START, "team", 1, 0), *((START + day * 86_400, "team", 1 + day, 0) for day in range(1, 30))]
    record = lived(*states)
    assert len(record.extras_changes) <= MOST_CHANGES
    assert units(record) == summed(states) == 310


def test_a_day_without_seats_counts_as_one_without_a_subscription_however_often_they_change():
    days = {1: 0} | {day: 1 + day % 2 for day in range(2, 14)}
    states = [(START, "flat", 1, 0), *((START + day * 86_400, "flat", seats, 0) for day, seats in days.items())]
    record = lived(*states)
    assert len(record.extras_changes) <= MOST_CHANGES
    assert units(record) == (29 * 700 + 10) // 30


STATES = st.tuples(st.sampled_from(["team", "flat", "large"]), st.integers(1, 1000), st.integers(0, 20))
LIVES = st.lists(st.tuples(st.integers(START + 1, END - 1), STATES), max_size=14, unique_by=lambda one: one[0]).flatmap(
    lambda changes: STATES.map(lambda first: [(START, *first), *((at, *state) for at, state in sorted(changes))])
)


def had(plan, seats, packs):
    return {"team": 20 * seats, "flat": 700, "large": 300 * seats}[plan] + 50 * packs


def summed(states):
    """What was in force, second by second, with the last until the window's end."""
    bounds = [*(at for at, *_ in states), END]
    return sum(had(*state) * (bounds[place + 1] - at) for place, (at, *state) in enumerate(states)) // LENGTH


def is_remembered(states):
    pairs = list(pairwise(states))
    plans = sum(one[1] != other[1] for one, other in pairs)
    extras = sum(one[2:] != other[2:] for one, other in pairs)
    return max(plans, extras) <= MOST_CHANGES


@given(states=LIVES)
def test_the_quota_is_what_was_in_force_second_by_second_and_never_more(states):
    if is_remembered(states):
        assert units(lived(*states)) == summed(states)


@given(states=LIVES)
def test_a_rise_adds_at_most_itself_for_the_rest_of_the_window_and_takes_nothing(states):
    *before, last = states
    if not before or not is_remembered(states) or had(*last[1:]) < had(*before[-1][1:]):
        return
    rise = had(*last[1:]) - had(*before[-1][1:])
    assert 0 <= units(lived(*states)) - units(lived(*before)) <= rise * (END - last[0]) // LENGTH + 1


ON_ONE_PLAN = st.lists(
    st.tuples(st.integers(START + 1, END - 1), st.integers(1, 1000), st.integers(0, 20)),
    min_size=MOST_CHANGES + 1,
    max_size=24,
    unique_by=lambda one: one[0],
)


@given(changes=ON_ONE_PLAN)
def test_what_is_forgotten_never_counts_for_more_than_it_was(changes):
    states = [(START, "team", 1, 0), *((at, "team", seats, packs) for at, seats, packs in sorted(changes))]
    record = lived(*states)
    assert len(record.extras_changes) <= MOST_CHANGES
    assert units(record) <= summed(states)


@given(changes=ON_ONE_PLAN, packs=st.integers(0, 20))
def test_seats_alone_count_for_what_they_were_however_often_they_change(changes, packs):
    states = [(START, "team", 1, packs), *((at, "team", seats, packs) for at, seats, _ in sorted(changes))]
    record = lived(*states)
    assert len(record.extras_changes) <= MOST_CHANGES
    assert units(record) == summed(states)


@given(changes=ON_ONE_PLAN, seats=st.integers(1, 1000))
def test_an_add_on_alone_counts_for_what_it_was_however_often_it_changes(changes, seats):
    states = [(START, "team", seats, 0), *((at, "team", seats, packs) for at, _, packs in sorted(changes))]
    assert units(lived(*states)) == summed(states)


@given(changes=ON_ONE_PLAN, plan_at=st.integers(START + 1, END - 1), nobody_at=st.integers(START + 1, END - 1))
def test_a_change_of_plan_and_a_time_without_seats_are_not_mixed_with_the_seats_around_them(
    changes, plan_at, nobody_at
):
    instants = {at: seats for at, seats, _ in changes} | {nobody_at: 0}
    seats, states = 1, [(START, "team", 1, 0)]
    for at in sorted({*instants, plan_at}):
        seats = instants.get(at, seats)
        states.append((at, "large" if at >= plan_at else "team", seats, 0))
    per_second = [10 if seats < 1 else had(plan, seats, 0) for _, plan, seats, _ in states]
    bounds = [*(at for at, *_ in states), END]
    true = sum(each * (bounds[place + 1] - bounds[place]) for place, each in enumerate(per_second)) // LENGTH
    record = lived(*states)
    if record.seats >= 1:
        assert units(record) <= true


@given(plans=st.lists(st.sampled_from(["team", "flat", "large"]), min_size=10, max_size=20))
def test_to_and_fro_until_the_first_plan_is_forgotten_wins_nothing(plans):
    states = [(START, "team", 3, 0), *((LATE + place, plan, 3, 0) for place, plan in enumerate(plans))]
    assert units(lived(*states)) <= summed(states)
