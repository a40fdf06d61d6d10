from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.account import Account, Subscription
from gateway.core.window import month_window, quota_window

DAY_S = 86_400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def account(created: int, **facts: Any) -> Account:
    subscription = None
    if facts:
        known = {"subscription_id": "sub_1", "status": "active", "plan_id": "pro"} | facts
        subscription = Subscription(**known)
    return Account(customer_id="c1", user_id="u1", version=1, created_at=created, subscription=subscription)


def subscribed(created: str, starts: str, ends: str, anchor: str | None = None, status: str = "active") -> Account:
    return account(
        at(created),
        status=status,
        period_starts_at=at(starts),
        period_ends_at=at(ends),
        anchor_at=at(anchor or starts),
    )


def window(customer: Account, now: str) -> tuple[str, str]:
    starts_at, ends_at = quota_window(customer, at(now), None)
    return tuple(datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M") for end in (starts_at, ends_at))  # type: ignore[return-value]  # two


def test_a_fixed_window_is_aligned_to_utc() -> None:
    customer = account(at("2026-01-15T07:21:09"))
    noon = at("2026-03-01T12:34:56")
    assert quota_window(customer, noon + 0.9, 3600) == (at("2026-03-01T12:00"), at("2026-03-01T13:00"))
    assert quota_window(customer, noon, DAY_S) == (at("2026-03-01"), at("2026-03-02"))


def test_the_first_second_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    customer = account(at("2026-01-15"))
    assert quota_window(customer, at("2026-03-02"), DAY_S)[0] == at("2026-03-02")
    assert quota_window(customer, at("2026-03-02") - 0.001, DAY_S)[1] == at("2026-03-02")


def test_without_a_subscription_months_run_from_sign_up() -> None:
    customer = account(at("2026-01-15T10:30"))
    assert window(customer, "2026-03-15T10:29") == ("2026-02-15T10:30", "2026-03-15T10:30")
    assert window(customer, "2026-03-15T10:30") == ("2026-03-15T10:30", "2026-04-15T10:30")


@pytest.mark.parametrize(
    ("anchor", "now", "expected"),
    [
        ("2026-01-31T10:00", "2026-02-10", ("2026-01-31T10:00", "2026-02-28T10:00")),
        ("2026-01-31T10:00", "2026-03-10", ("2026-02-28T10:00", "2026-03-31T10:00")),
        ("2026-01-31T10:00", "2026-04-30T10:00", ("2026-04-30T10:00", "2026-05-31T10:00")),
        ("2028-01-30T00:00", "2028-02-29", ("2028-02-29T00:00", "2028-03-30T00:00")),
        ("2028-02-29T00:00", "2029-03-01", ("2029-02-28T00:00", "2029-03-29T00:00")),
        ("2026-12-31T23:59", "2027-01-01", ("2026-12-31T23:59", "2027-01-31T23:59")),
        ("2026-05-31T00:00", "2026-05-01", ("2026-04-30T00:00", "2026-05-31T00:00")),
    ],
)
def test_days_that_a_month_lacks_are_clamped(anchor: str, now: str, expected: tuple[str, str]) -> None:
    assert window(account(at(anchor)), now) == expected


def test_a_monthly_subscription_counts_in_its_own_period() -> None:
    customer = subscribed("2026-01-03", "2026-03-15T08:00", "2026-04-15T08:00")
    assert window(customer, "2026-03-20") == ("2026-03-15T08:00", "2026-04-15T08:00")


def test_a_period_rolls_at_its_end_before_any_event() -> None:
    late = subscribed("2026-01-03", "2026-01-31", "2026-02-28")
    renewed = subscribed("2026-01-03", "2026-02-28", "2026-03-31", anchor="2026-01-31")
    assert window(late, "2026-02-28") == window(renewed, "2026-02-28") == ("2026-02-28T00:00", "2026-03-31T00:00")


def test_a_yearly_plan_has_monthly_windows_from_its_anchor() -> None:
    customer = subscribed("2026-01-03", "2026-01-31", "2027-01-31")
    assert window(customer, "2026-01-31") == ("2026-01-31T00:00", "2026-02-28T00:00")
    assert window(customer, "2026-06-30") == ("2026-06-30T00:00", "2026-07-31T00:00")
    assert window(customer, "2027-02-01") == ("2027-01-31T00:00", "2027-02-28T00:00")


def test_a_weekly_plan_counts_by_the_week() -> None:
    customer = subscribed("2026-01-03", "2026-03-02", "2026-03-09", anchor="2026-02-02")
    assert window(customer, "2026-03-08") == ("2026-03-02T00:00", "2026-03-09T00:00")
    assert window(customer, "2026-03-10") == ("2026-03-09T00:00", "2026-03-16T00:00")


def test_a_trial_is_one_window_and_the_first_paid_month_the_next() -> None:
    trial = subscribed("2026-03-01", "2026-03-01", "2026-03-15", anchor="2026-03-15", status="trialing")
    paid = subscribed("2026-03-01", "2026-03-15", "2026-04-15")
    assert window(trial, "2026-03-10") == ("2026-03-01T00:00", "2026-03-15T00:00")
    assert window(trial, "2026-03-15") == window(paid, "2026-03-15") == ("2026-03-15T00:00", "2026-04-15T00:00")


def test_subscribing_in_mid_window_starts_a_new_window() -> None:
    before = account(at("2026-03-03"))
    after = subscribed("2026-03-03", "2026-03-15", "2026-04-15")
    assert window(before, "2026-03-15")[0] == "2026-03-03T00:00"
    assert window(after, "2026-03-15")[0] == "2026-03-15T00:00"


def test_windows_step_on_from_where_they_stepped_before_stripe_moved_the_anchor() -> None:
    """Monthly, then yearly from the 29th: neither the running window nor any later one is cut or doubled."""
    customer = account(
        at("2026-01-01"),
        period_starts_at=at("2026-01-29"),
        period_ends_at=at("2027-01-29"),
        anchor_at=at("2026-01-29"),
        quota_anchor_at=at("2026-01-01"),
    )
    assert window(customer, "2026-01-30") == ("2026-01-01T00:00", "2026-02-01T00:00")
    assert window(customer, "2027-03-15") == ("2027-03-01T00:00", "2027-04-01T00:00")


def test_a_weekly_plan_steps_on_by_the_week_after_its_anchor_was_moved() -> None:
    customer = account(
        at("2026-01-01"),
        period_starts_at=at("2026-01-29"),
        period_ends_at=at("2026-02-05"),
        anchor_at=at("2026-01-29"),
        quota_anchor_at=at("2026-01-02"),
    )
    assert window(customer, "2026-01-30") == ("2026-01-30T00:00", "2026-02-06T00:00")


def test_a_checkout_that_was_never_paid_moves_no_window() -> None:
    for status in ("incomplete", "incomplete_expired"):
        customer = subscribed("2026-03-03", "2026-03-15", "2026-04-15", status=status)
        assert window(customer, "2026-03-20") == ("2026-03-03T00:00", "2026-04-03T00:00")


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused", "canceled", "brand_new"])
def test_losing_the_tier_moves_no_window_back(status: str) -> None:
    customer = subscribed("2026-03-03", "2026-03-15", "2026-04-15", status=status)
    assert window(customer, "2026-04-10") == ("2026-03-15T00:00", "2026-04-15T00:00")
    assert window(customer, "2026-06-10") == ("2026-05-15T00:00", "2026-06-15T00:00")


def test_a_clock_behind_stripe_stays_in_the_window_before() -> None:
    first = subscribed("2026-03-03", "2026-03-15", "2026-04-15")
    renewed = subscribed("2026-03-03", "2026-04-15", "2026-05-15", anchor="2026-03-15")
    assert window(first, "2026-03-14T23:59") == ("2026-03-03T00:00", "2026-03-15T00:00")
    assert window(renewed, "2026-04-14T23:59") == ("2026-03-15T00:00", "2026-04-15T00:00")


instants = st.integers(at("2001-01-01"), at("2060-01-01"))
offsets = st.integers(-800 * DAY_S, 800 * DAY_S)


@st.composite
def customers(draw: st.DrawFn) -> Account:
    """With any subscription, also those that Stripe would never report."""
    created = draw(instants)
    if draw(st.booleans()):
        return account(created)
    starts_at = created + draw(offsets)
    length_s = draw(st.sampled_from([1, 7, 14, 28, 29, 30, 31, 60, 92, 365, 366])) * DAY_S
    return account(
        created,
        status=draw(st.sampled_from(["active", "trialing", "past_due", "canceled", "incomplete"])),
        period_starts_at=starts_at,
        period_ends_at=starts_at + length_s - draw(st.sampled_from([0, 0, 0, 3600, 12_345])),
        anchor_at=starts_at + draw(st.sampled_from([0, 0, length_s, -length_s]) | offsets),
        quota_anchor_at=draw(st.none() | offsets.map(lambda offset: starts_at + offset)),
    )


@settings(max_examples=500)
@given(customers(), offsets, st.sampled_from([None, 1, 60, 3600, DAY_S, 7 * DAY_S]))
def test_windows_tile_time(customer: Account, offset: int, window_s: int | None) -> None:
    """Walking from window to window meets neither a gap nor an overlap, and each is the same from anywhere in it."""
    now = customer.created_at + offset
    for _ in range(16):
        starts_at, ends_at = quota_window(customer, now, window_s)
        assert starts_at <= now < ends_at
        for inside in (starts_at, (starts_at + ends_at) // 2, ends_at - 1, ends_at - 0.5):
            assert quota_window(customer, inside, window_s) == (starts_at, ends_at)
        assert quota_window(customer, starts_at - 1, window_s)[1] == starts_at
        now = ends_at


@given(customers(), offsets, offsets)
def test_the_start_never_goes_back_as_time_passes(customer: Account, one: int, other: int) -> None:
    earlier, later = sorted((customer.created_at + one, customer.created_at + other))
    assert quota_window(customer, earlier, None)[0] <= quota_window(customer, later, None)[0]


@given(instants, st.integers(0, 60), st.sampled_from([1, 3, 12]), st.integers(0, 3 * DAY_S))
def test_a_late_renewal_starts_no_second_quota(anchor: int, periods: int, months: int, delay: int) -> None:
    """Before and after the event of a renewal, the same instant counts in the same window."""

    def boundary(number: int) -> int:
        point = anchor
        for _ in range(number * months):
            point = month_window(anchor, point)[1]
        return point

    old, middle, new = (boundary(periods + step) for step in range(3))
    stale = account(anchor, period_starts_at=old, period_ends_at=middle, anchor_at=anchor)
    fresh = account(anchor, period_starts_at=middle, period_ends_at=new, anchor_at=anchor)
    assert quota_window(stale, middle + delay, None) == quota_window(fresh, middle + delay, None)
    assert quota_window(stale, middle - 1 - delay, None) == quota_window(fresh, middle - 1 - delay, None)
