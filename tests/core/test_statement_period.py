"""How people write a period, and which time it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.account import Account, Subscription
from gateway.core.statement_period import PeriodInvalid, Span, find_span, usual_period


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


ADA = Account(customer_id="c", user_id="ada", created_at=at("2026-01-31T12:00"), version=1)
NOW = at("2026-05-10T00:00")


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("current", "2026-04-30T12:00", "2026-05-31T12:00"),
        ("last", "2026-03-31T12:00", "2026-04-30T12:00"),
        ("2026-02-28", "2026-01-31T12:00", "2026-02-28T12:00"),
        ("2026-02-28T13:00:00+01:00", "2026-02-28T12:00", "2026-03-31T12:00"),
        (str(at("2026-03-01T00:00")), "2026-02-28T12:00", "2026-03-31T12:00"),
        ("2026-01-01..2026-07-01", "2026-01-01T00:00", "2026-07-01T00:00"),
        (" 2026-01-01 .. 2026-01-02T06:00 ", "2026-01-01T00:00", "2026-01-02T06:00"),
    ],
)
def test_a_period_is_found(text: str, since: str, until: str) -> None:
    assert find_span(text, ADA, NOW) == Span(since=at(since), until=at(until))


@pytest.mark.parametrize(
    "text", ["", "..", "next", "2026-13-01", "-5", "2026-02-01..2026-02-01", "2000-01-01..2026-01-01", "9" * 30]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(PeriodInvalid):
        find_span(text, ADA, NOW)


@pytest.mark.parametrize(
    ("bought", "now", "usual"),
    [
        (None, "2026-02-10T00:00", "current"),
        (None, "2026-03-10T00:00", "last"),
        ("2026-01-31T12:00:01", "2026-02-10T00:00", "current"),
        ("2026-01-31T12:00:01", "2026-03-10T00:00", "last"),
        ("2026-02-20T12:00", "2026-02-21T00:00", "last"),
    ],
)
def test_a_new_customer_sees_its_first_period_and_not_the_moment_before_it_bought(
    bought: str | None, now: str, usual: str
) -> None:
    subscription = None
    if bought is not None:
        subscription = Subscription(
            subscription_id="sub_1",
            status="active",
            plan_id="pro",
            period_starts_at=at(bought),
            period_ends_at=at(bought) + 28 * 86_400,
            anchor_at=at(bought),
        )
    assert usual_period(replace(ADA, subscription=subscription), at(now)) == usual
