"""Rates as a worker holds them by itself: against a plain count of what was let in, in every interval."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.charge import RateClaim
from gateway.core.pace import Paces


def claim(cost=1, units=3, window_ms=1000, burst=5, field="r:requests:1000"):
    return RateClaim(field=field, cost=cost, units=units, window_ms=window_ms, burst=burst)


def ask(paces, now_ms, *claims):
    waits = paces.waits_ms("ada", claims, now_ms)
    if not waits:
        paces.spend("ada", claims, now_ms)
    return waits


CALLS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 5)), min_size=1, max_size=60)


@given(calls=CALLS, units=st.integers(1, 9), burst=st.integers(5, 9), window_ms=st.sampled_from([1000, 60_000]))
def test_no_interval_has_more_than_the_burst_and_what_refilled_in_it(calls, units, burst, window_ms):
    paces, now_ms, passed = Paces(10), 0, []
    for after_ms, cost in calls:
        now_ms += after_ms
        if not ask(paces, now_ms, claim(cost, units, window_ms, burst)):
            passed.append((now_ms, cost))
    for start, (began_ms, _) in enumerate(passed):
        for end in range(start, len(passed)):
            spent = sum(cost for _, cost in passed[start : end + 1])
            assert spent <= burst + Fraction(units * (passed[end][0] - began_ms), window_ms)


@given(calls=CALLS)
def test_whoever_waits_as_long_as_is_said_is_let_in_and_not_a_moment_earlier(calls):
    paces, now_ms = Paces(10), 0
    for after_ms, cost in calls:
        now_ms += after_ms
        waits = ask(paces, now_ms, claim(cost))
        if waits:
            [wait_ms] = waits.values()
            assert paces.waits_ms("ada", [claim(cost)], now_ms + wait_ms) == {}
            assert paces.waits_ms("ada", [claim(cost)], now_ms + wait_ms - 1) != {}


def test_a_call_that_one_rate_refuses_takes_nothing_from_another():
    paces = Paces(10)
    wide, narrow = claim(field="wide"), claim(burst=1, field="narrow")
    assert ask(paces, 0, wide, narrow) == {}
    assert set(ask(paces, 0, wide, narrow)) == {"narrow"}
    assert [bool(ask(paces, 0, wide)) for _ in range(5)] == [False] * 4 + [True]


def test_a_clock_that_was_set_back_refills_nothing_and_lets_in_again_later():
    paces = Paces(10)
    assert ask(paces, 10_000, claim(cost=5)) == {}
    assert ask(paces, 0, claim()) != {}
    assert ask(paces, 10_334, claim()) == {}


def test_a_call_that_costs_nothing_waits_behind_a_larger_debt_only():
    paces = Paces(10)
    ask(paces, 0, claim(cost=5))
    assert ask(paces, 0, claim(cost=0)) == {}
    assert ask(paces, 0, claim(cost=0, burst=4)) != {}, "the burst was lowered under what is owed"


@pytest.mark.parametrize("entries", [1, 3])
def test_no_more_customers_are_remembered_than_are_allowed_for(entries):
    paces = Paces(entries)
    for number in range(entries + 1):
        paces.spend(f"customer-{number}", [claim(cost=5)], 0)
    remembered = [bool(paces.waits_ms(f"customer-{number}", [claim()], 0)) for number in range(entries + 1)]
    assert remembered == [False] + [True] * entries


def test_buckets_that_are_empty_are_forgotten():
    paces = Paces(10)
    for number in range(100):
        assert ask(paces, number * 100, claim(field=f"rate of key {number}")) == {}
    assert len(paces) == 4, "each is empty after 334 ms"
    assert ask(paces, 20_000, claim(cost=0)) == {}
    assert len(paces) == 0
