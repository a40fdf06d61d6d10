"""When a quota will be used up: laws, and examples one can check by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.forecast import forecast_exhaustion, window_pace_s

DAY = 86_400
NOW = 1_800_000_000
amounts = st.integers(0, 2**53 - 1)
spans = st.integers(1, 400 * DAY)


@pytest.mark.parametrize(
    ("remaining", "units", "over_s", "expected"),
    [
        (500, 500, 10 * DAY, NOW + 10 * DAY),
        (1, 3, 10, NOW + 4),
        (0, 500, DAY, NOW),
        (-7, 500, DAY, NOW),
        (500, 0, DAY, None),
        (500, 100, 10 * DAY, None),
        (200, 100, 10 * DAY, None),
    ],
    ids=[
        "half in ten days",
        "rounded up",
        "used up",
        "overdrawn",
        "not used",
        "too slow",
        "just as the window ends",
    ],
)
def test_a_forecast_goes_on_at_the_pace_so_far(remaining, units, over_s, expected):
    ends_at = NOW + 20 * DAY
    assert forecast_exhaustion(remaining=remaining, units=units, over_s=over_s, now=NOW, ends_at=ends_at) == expected


@given(st.integers(1, 2**53 - 1), amounts, st.integers(0, 2**50), spans, spans)
def test_more_used_never_moves_the_instant_back(limit, used, more, over_s, left_s):
    def forecast(spent):
        ends_at = NOW + left_s
        return forecast_exhaustion(remaining=limit - spent, units=spent, over_s=over_s, now=NOW, ends_at=ends_at)

    before, after = forecast(used), forecast(used + more)
    assert before is None or (after is not None and after <= before)


@given(amounts, amounts, spans, spans)
def test_a_forecast_lies_in_the_window_and_not_in_the_past(remaining, units, over_s, left_s):
    at = forecast_exhaustion(remaining=remaining, units=units, over_s=over_s, now=NOW, ends_at=NOW + left_s)
    assert at is None or NOW <= at < NOW + left_s


def test_calls_right_after_a_windows_start_are_not_yet_a_pace():
    ends_at = NOW + 100 * DAY
    assert window_pace_s(starts_at=NOW, ends_at=ends_at, now=NOW + 5) == DAY
    assert window_pace_s(starts_at=NOW, ends_at=ends_at, now=NOW + 2 * DAY) == 2 * DAY
    assert window_pace_s(starts_at=NOW, ends_at=NOW + 1, now=NOW) == 1
