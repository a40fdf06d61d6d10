"""When all customers are read again."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reconciling import next_reconciliation

DAY_S = 86_400
AT_NOON = int(datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp())


def test_without_an_hour_the_interval_is_kept() -> None:
    assert next_reconciliation(AT_NOON, DAY_S, None) == AT_NOON + DAY_S


def test_with_an_hour_it_is_that_hour_of_every_day_also_after_one_that_began_late() -> None:
    three = int(datetime(2027, 3, 2, 3, tzinfo=UTC).timestamp())
    assert next_reconciliation(AT_NOON, DAY_S, 3) == three
    assert next_reconciliation(three, DAY_S, 3) == three + DAY_S
    assert next_reconciliation(three + 600, DAY_S, 3) == three + DAY_S


@given(started_at=st.integers(0, 10**10), interval_s=st.integers(1, 31 * DAY_S), hour=st.none() | st.integers(0, 23))
def test_the_next_one_is_later_and_not_much_later_than_the_interval(
    started_at: int, interval_s: int, hour: int | None
) -> None:
    next_at = next_reconciliation(started_at, interval_s, hour)
    assert started_at < next_at <= started_at + interval_s + DAY_S
    if hour is not None:
        assert next_at % DAY_S == hour * 3600
        assert next_at >= started_at + interval_s - DAY_S // 2
