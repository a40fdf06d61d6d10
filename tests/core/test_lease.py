"""What a lease lets through, for how long, and what is left to give back."""

from dataclasses import replace

import pytest

from gateway.core.charge import ConcurrencyClaim, QuotaClaim, RateClaim
from gateway.core.lease import Draw, Lease, ahead_s, calls_wanted, is_leasable, measured_pace

RATE = RateClaim(field="r:m:1000", cost=2, units=50, window_ms=1000, burst=200)
QUOTA = QuotaClaim(field="q:m:60", cost=3, limit=1000, starts_at=60, ends_at=120)

SEQ = 2**32 + 9


def draw(*claims, ttl_ms=500):
    return Draw(customer_id="c", version=1, claims=claims, name="n", wanted=10, ttl_ms=ttl_ms)


def lease_of(*claims, owed, now_ms=70_000, calls=5, sent_s=100.0):
    return Lease(draw(*claims), [1, now_ms, calls, *owed, SEQ], sent_s)


def test_every_call_is_answered_as_if_it_had_been_charged_by_itself():
    lease = lease_of(RATE, QUOTA, owed=[40_000, 415])
    replies = [lease.take() for _ in range(5)]
    assert replies[0] == [1, 70_000, 30_000, 400, SEQ]
    assert replies[4] == [1, 70_000, 38_000, 412, SEQ]
    assert lease.left == 0


def test_it_is_over_a_little_before_its_time_counted_from_the_asking():
    assert lease_of(RATE, owed=[10_000]).over_s == pytest.approx(100.495)


def test_it_is_over_before_a_window_that_it_was_charged_to_has_ended():
    assert lease_of(QUOTA, owed=[15], now_ms=119_900).over_s == pytest.approx(100.099)


def test_what_is_left_goes_back_to_quotas_and_not_to_rates():
    lease = lease_of(RATE, QUOTA, owed=[40_000, 415])
    lease.take()
    assert lease.unused() == [("q:m:60", 12, 60)]


@pytest.mark.parametrize(
    ("claims", "may"),
    [
        ((), True),
        ((RATE, QUOTA), True),
        ((RateClaim(field="r", cost=0, units=1, window_ms=1000, burst=9),), False),
        ((RateClaim(field="r", cost=1, units=10, window_ms=1000, burst=6),), True),
        ((RateClaim(field="r", cost=1, units=10, window_ms=1000, burst=5),), False),
        ((RateClaim(field="r", cost=2, units=10, window_ms=1000, burst=6),), False),
        ((replace(QUOTA, passes_on=True), QUOTA), False),
        ((RATE, ConcurrencyClaim(field="live", limit=9)), False),
        ((QuotaClaim(field="q", cost=0, limit=9, starts_at=0, ends_at=9),), False),
    ],
    ids=[
        "nothing",
        "both",
        "a rate for nothing",
        "a burst just above a lease's gain",
        "a burst that a lease gains",
        "a cost above what a lease leaves",
        "a quota with credits behind it",
        "a place among the calls in progress",
        "a quota for nothing",
    ],
)
def test_what_costs_nothing_or_refills_within_a_lease_is_not_leased(claims, may):
    assert is_leasable(claims, 500) is may


def test_somewhat_fewer_calls_are_wanted_than_come_within_a_lease():
    assert [calls_wanted(pace, 500) for pace in (0.1, 20, 25, 1000)] == [1, 8, 10, 400]
    assert measured_pace(20, 0.0) == 400


def test_a_lease_is_followed_shortly_before_its_end_and_sooner_where_the_cache_is_slow():
    assert [ahead_s(took_s, 0.5) for took_s in (0.0, 0.01, 0.02, 9.0)] == [0.05, 0.05, 0.08, 0.125]


def test_a_lease_is_followed_when_the_calls_left_are_those_that_come_meanwhile():
    lease = lease_of(RATE, owed=[40_000], calls=100)
    lease.begin(70.0, pace=200.0, early_s=0.025)
    assert lease.low == 5
    lease.begin(70.0, pace=9000.0, early_s=0.025)
    assert lease.low == 25
