"""When all customers are to be read again. Pure; instants are Unix seconds."""

from __future__ import annotations

_DAY_S = 86_400
_HOUR_S = 3_600


def next_reconciliation(started_at: int, interval_s: int, hour: int | None) -> int:
    """When the next one begins.

    Args:
        started_at: When the last one began.
        interval_s: At least so long after it, give or take half a day if there is an hour.
        hour: At that hour of the day in UTC; None: whenever it is due.
    """
    due_at = started_at + interval_s
    if hour is None:
        return due_at
    # Half a day early, so that one that began minutes late does not put the next one off for a day.
    earliest = max(started_at + 1, due_at - _DAY_S // 2)
    return earliest + (hour * _HOUR_S - earliest) % _DAY_S
