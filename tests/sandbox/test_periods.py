from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.cards import passes_luhn
from gateway.sandbox.periods import boundary, period_end
from gateway.sandbox.proration import prorate

pytestmark = pytest.mark.slow


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_the_31st_is_clamped_in_short_months_and_comes_back() -> None:
    anchor = _at("2027-01-31T10:00:00")
    ends = [datetime.fromtimestamp(boundary(anchor, "month", 1, k), UTC).date().isoformat() for k in range(5)]
    assert ends == ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "starts_at", "expected"),
    [
        ("2028-01-31", "month", 1, "2028-01-31", "2028-02-29"),
        ("2028-02-29", "year", 1, "2028-02-29", "2029-02-28"),
        ("2028-02-29", "year", 1, "2031-02-28", "2032-02-29"),
        ("2027-11-30", "month", 3, "2027-11-30", "2028-02-29"),
        ("2027-12-15", "month", 1, "2027-12-15", "2028-01-15"),
        ("2027-03-01", "week", 2, "2027-03-01", "2027-03-15"),
        ("2027-03-01", "day", 1, "2027-03-04", "2027-03-05"),
    ],
)
def test_a_period_ends_at_the_next_step_from_the_anchor(
    anchor: str, interval: str, count: int, starts_at: str, expected: str
) -> None:
    assert period_end(_at(anchor), interval, count, _at(starts_at)) == _at(expected)


@given(
    anchor=st.integers(0, 2**32),
    interval=st.sampled_from(["day", "week", "month", "year"]),
    count=st.integers(1, 6),
    later_s=st.integers(0, 20 * 365 * 86_400),
)
def test_a_period_end_is_the_first_boundary_after_the_start(
    anchor: int, interval: str, count: int, later_s: int
) -> None:
    starts_at = anchor + later_s
    end = period_end(anchor, interval, count, starts_at)
    step = 0
    while boundary(anchor, interval, count, step) <= starts_at:
        step += 1
    assert end == boundary(anchor, interval, count, step)


@pytest.mark.parametrize(
    ("amount", "remaining_s", "period_s", "expected"),
    [(2900, 1, 2, 1450), (2900, 15, 30, 1450), (100, 1, 3, 33), (200, 1, 3, 67), (1, 1, 2, 1), (0, 5, 9, 0)],
)
def test_a_proration_is_rounded_to_the_nearest_cent(
    amount: int, remaining_s: int, period_s: int, expected: int
) -> None:
    assert prorate(amount, remaining_s, period_s) == expected


@given(number=st.integers(0, 10**15 - 1), place=st.integers(0, 14), wrong=st.integers(1, 9))
def test_luhn_finds_every_single_wrong_digit(number: int, place: int, wrong: int) -> None:
    body = f"{number:015d}"
    right = next(f"{body}{check}" for check in range(10) if passes_luhn(f"{body}{check}"))
    digit = (int(right[place]) + wrong) % 10
    assert not passes_luhn(f"{right[:place]}{digit}{right[place + 1 :]}")
