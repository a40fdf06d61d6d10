"""When a threshold is told, and when not again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.alerts import (
    DEFAULT_PERCENTS,
    Told,
    alert_body,
    due_percent,
    next_units,
    threshold_units,
)
from tests.fakes.alerts import alert


def due(used, limit, *told, percents=DEFAULT_PERCENTS):
    return due_percent(
        used=used, limit=limit, percents=percents, told=[Told(percent=percent, used=units) for percent, units in told]
    )


@pytest.mark.parametrize(
    ("used", "limit", "told", "expected"),
    [
        (499, 1000, [], None),
        (500, 1000, [], 50),
        (500, 1000, [(50, 500)], None),
        (799, 1000, [(50, 500)], None),
        (800, 1000, [(50, 500)], 80),
        (1000, 1000, [(50, 500)], 100),
        (1200, 1000, [], 100),
        (1200, 1000, [(100, 1000)], None),
        (2, 3, [], 50),
        (1, 3, [], None),
        (0, 0, [], None),
        (9, 0, [], None),
    ],
    ids=[
        "not yet",
        "reached",
        "told",
        "told, and not yet the next",
        "the next",
        "two at once",
        "all at once",
        "overdrawn",
        "rounded up",
        "below the rounded",
        "a quota of nothing",
        "overdrawn nothing",
    ],
)
def test_the_highest_threshold_that_is_reached_and_not_told_is_told(used, limit, told, expected):
    assert due(used, limit, *told) == expected


@pytest.mark.parametrize(
    ("used", "limit", "told", "expected"),
    [
        (850, 1100, [(50, 500), (80, 800)], None),
        (880, 1100, [(50, 500), (80, 800)], 80),
        (850, 2000, [(50, 500), (80, 800)], None),
        (1000, 2000, [(50, 500), (80, 800)], 50),
        (1000, 1100, [(100, 1000)], None),
        (1100, 1100, [(100, 1000)], 100),
        (600, 500, [(50, 500)], 100),
        (600, 700, [(50, 500)], 80),
    ],
    ids=[
        "a small raise tells nothing",
        "until the new threshold is reached",
        "a large raise tells nothing",
        "until the first new threshold is reached",
        "a raise of a used up quota tells nothing",
        "until it is used up again",
        "lowered under the use",
        "lowered over a threshold",
    ],
)
def test_a_limit_that_was_moved_is_told_of_where_that_is_news(used, limit, told, expected):
    assert due(used, limit, *told) == expected


uses = st.lists(st.integers(0, 2000), max_size=30)


@given(uses, st.integers(1, 1500), st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True))
def test_under_one_limit_every_threshold_is_told_once_at_most_and_the_highest_reached_surely(seen, limit, percents):
    told = []
    for used in seen:
        percent = due(used, limit, *told, percents=percents)
        if percent is not None:
            assert used >= threshold_units(limit, percent)
            assert percent not in {before for before, _ in told}
            told.append((percent, used))
    reached = [percent for percent in percents if seen and max(seen) >= threshold_units(limit, percent)]
    assert max((percent for percent, _ in told), default=None) == max(reached, default=None)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2000)), max_size=30))
def test_under_a_moving_limit_nothing_is_told_twice_for_the_same_use(seen):
    told = []
    for used, limit in seen:
        percent = due(used, limit, *told)
        if percent is not None:
            told.append((percent, used))
            assert due(used, limit, *told) is None
            assert due(used, limit + 100, *told) is None, "a raise alone tells nothing"


@given(st.integers(0, 3000), st.integers(1, 2000))
def test_below_the_next_units_nothing_new_is_reached(used, limit):
    ahead = next_units(used=used, limit=limit, percents=DEFAULT_PERCENTS)
    before = due(used, limit)
    if ahead is None:
        assert before == 100
    else:
        assert due(ahead - 1, limit) == before
        assert due(ahead, limit) != before


def test_whoever_notices_the_same_gives_it_the_same_id():
    assert alert().alert_id == alert(used=850, at=1, user_id="x").alert_id
    others = [{"customer_id": "c2"}, {"counter": "q"}, {"window_starts_at": 11}, {"percent": 81}, {"limit": 1001}]
    assert len({alert(**change).alert_id for change in ({}, *others)}) == 6


def test_an_event_says_who_and_what():
    event = json.loads(alert_body(alert(at=1_800_000_000)))
    assert (event["type"], event["timestamp"]) == ("quota.threshold_reached", "2027-01-15T08:00:00Z")
    assert event["data"]["percent"] == 80
    assert event["data"]["user_id"] == "ada"
