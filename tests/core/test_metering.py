"""What is reported of a running total, against the plainest account of it: every settlement and look, written down."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.metering import (
    HELD_AT_MOST_S,
    OLDEST_S,
    SETTLES_WITHIN_S,
    Running,
    happened_at,
    is_too_old,
    look,
    report_identifier,
)

START, END, HOLD = 1_000, 2_000, 60
CLOSES = END + HOLD
STEPS = st.lists(st.tuples(st.integers(0, 90), st.integers(-4, 6)), min_size=1, max_size=40)
"""Seconds until the next look, and how the total moved meanwhile: refunds lower it."""


def played(steps):
    """Each look with what the total was then, in order; and after the end, one more."""
    now, total, running, seen = START, 0, None, []
    ahead = [*steps, (CLOSES, 0)]
    for after, moved in ahead:
        now += after
        if now < END:
            total = max(0, total + moved)
        elif now < CLOSES:
            total = max(0, total + min(0, moved))
        running = replace(running, total=total) if running is not None else begun(total)
        found = look(running, now, HOLD)
        seen.append((now, total, running.reported, found))
        running = replace(running, reported=found.report_to, stood=found.stood, stood_at=found.stood_at)
    return seen


def begun(total):
    return Running(starts_at=START, ends_at=END, total=total, reported=0, stood=0, stood_at=None)


@given(STEPS)
def test_what_is_reported_never_falls_and_ends_at_the_last_total_or_above_it(steps):
    seen = played(steps)
    reported = [found.report_to for _, _, _, found in seen]
    assert reported == sorted(reported)
    assert reported[-1] == max(seen[-1][1], *reported)
    assert reported[-1] <= max(total for _, total, _, _ in seen)


@given(STEPS)
def test_in_an_open_window_only_what_two_looks_far_enough_apart_both_saw_is_reported(steps):
    seen = played(steps)
    for place, (now, total, before, found) in enumerate(seen):
        if now >= CLOSES or found.report_to == before:
            continue
        assert found.report_to <= total
        assert any(at <= now - HOLD and found.report_to <= earlier for at, earlier, _, _ in seen[:place]), (
            "nobody saw so much long enough ago"
        )


@given(STEPS)
def test_a_window_that_has_ended_is_reported_whole_at_the_first_look(steps):
    for now, total, _, found in played(steps):
        if now >= CLOSES:
            assert found.report_to >= total


@given(STEPS)
def test_there_is_always_a_next_look_and_not_behind_the_end(steps):
    for now, _, _, found in played(steps):
        if now < CLOSES:
            assert now < found.look_at <= min(now + HOLD, CLOSES)


def test_what_is_given_back_soon_after_the_end_is_not_billed():
    running = replace(begun(5), stood=3, stood_at=END - 5)
    held = look(running, CLOSES - 1, HOLD)
    assert held.report_to <= 3
    assert held.look_at == CLOSES
    assert look(replace(running, total=4), CLOSES, HOLD).report_to == 4


@pytest.mark.parametrize(("hold_s", "closes_after_s"), [(1, SETTLES_WITHIN_S), (60, 60), (1800, HELD_AT_MOST_S)])
def test_a_window_that_has_ended_is_held_for_what_must_be_settled_and_not_past_its_invoice(hold_s, closes_after_s):
    assert look(begun(5), END + closes_after_s - 1, hold_s).report_to == 0
    assert look(begun(5), END + closes_after_s, hold_s).report_to == 5


def test_units_count_within_their_window():
    assert happened_at(START, END, 1_500) == 1_500
    assert happened_at(START, END, 9_999) == END - 1
    assert happened_at(START, END, 1) == START


def test_what_stripe_would_refuse_for_its_age_is_known_an_hour_before():
    assert not is_too_old(START, START + OLDEST_S - 3600)
    assert is_too_old(START, START + OLDEST_S - 3599)


def test_the_same_step_has_one_name_and_another_has_another():
    one = ("c1", "requests", START, 5)
    others = [
        ("c2", "requests", START, 5),
        ("c1", "tokens", START, 5),
        ("c1", "requests", END, 5),
        ("c1", "requests", START, 6),
    ]
    assert report_identifier(*one) == report_identifier(*one)
    assert len({report_identifier(*each) for each in (one, *others)}) == 5
    assert report_identifier("a:1", "b", 1, 1) != report_identifier("a", "1:b", 1, 1)
    assert len(report_identifier(*one)) <= 100
