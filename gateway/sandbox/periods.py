"""Billing periods: calendar steps from an anchor, in UTC.

The law: the k-th boundary is the anchor plus k intervals, never the last boundary plus one. So the 31st
of January is followed by the 28th of February and then by the 31st of March, as at Stripe.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

_FIXED_S = {"day": 86_400, "week": 7 * 86_400}
_MONTHS = {"month": 1, "year": 12}
INTERVALS = ("day", "week", "month", "year")


def boundary(anchor: int, interval: str, interval_count: int, steps: int) -> int:
    """The instant `steps` intervals after `anchor`; the day is clamped to the month's last one."""
    if interval in _FIXED_S:
        return anchor + steps * interval_count * _FIXED_S[interval]
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.year * 12 + start.month - 1 + steps * interval_count * _MONTHS[interval]
    year, month = divmod(months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_end(anchor: int, interval: str, interval_count: int, starts_at: int) -> int:
    """The first boundary after `starts_at`."""
    low, high = 0, 1
    while boundary(anchor, interval, interval_count, high) <= starts_at:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if boundary(anchor, interval, interval_count, middle) <= starts_at:
            low = middle
        else:
            high = middle
    return boundary(anchor, interval, interval_count, high)
