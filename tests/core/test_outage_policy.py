"""What a tier's customers may do while the cache cannot decide."""

from __future__ import annotations

import pytest

from gateway.core.charge import QuotaClaim, RateClaim
from gateway.core.limit_text import parse_limit
from gateway.core.outage_policy import DENY, OutageRule, default_rule, most_units, outage_words, units_of

RATE = RateClaim(field="r", cost=2, units=1, window_ms=1000, burst=9)
SMALL = QuotaClaim(field="q:a", cost=5, limit=30, starts_at=0, ends_at=1)
LARGE = QuotaClaim(field="q:b", cost=1, limit=900, starts_at=0, ends_at=1)


def test_a_tier_that_nobody_buys_waits():
    assert default_rule([parse_limit("50 per day", ())], is_sold=False) == DENY


@pytest.mark.parametrize(
    ("limits", "units"),
    [
        ([], 1000),
        (["5 per second"], 1000),
        (["100_000 per billing period"], 1000),
        (["100_000 per billing period", "30_000 per day"], 300),
        (["50 per hour"], 10),
        (["9_000_000 per day"], 10_000),
    ],
)
def test_a_tier_that_is_sold_goes_on_for_a_hundredth_of_its_smallest_quota_within_bounds(limits, units):
    assert default_rule([parse_limit(text, ()) for text in limits], is_sold=True) == OutageRule(
        mode="local", units=units
    )


def test_a_call_takes_the_largest_of_its_costs_and_one_at_least():
    assert units_of([RATE, SMALL, LARGE]) == 5
    assert units_of([]) == 1


def test_nobody_is_let_in_for_more_than_the_smallest_quota_of_the_call():
    rule = OutageRule(mode="local", units=100)
    assert most_units(rule, [RATE, SMALL, LARGE]) == 30
    assert most_units(rule, [RATE, LARGE]) == 100


def test_a_rule_reads_as_policy_writes_it():
    rules = (DENY, OutageRule(mode="allow"), OutageRule(mode="local", units=1000))
    assert [outage_words(rule) for rule in rules] == ["deny", "allow", "local 1_000"]
