"""When a quota will be used up, if its customer goes on as before. Pure; units are whole, instants Unix seconds.

Laws, each a property test:
- more used never moves the instant back: it only comes nearer;
- what is used up already is used up now;
- an instant at or behind the window's end is none: the count starts again there.

A forecast says how it would go on, and not that it will: it is for people, and nothing is refused by it.
"""

from __future__ import annotations

_LEAST_SHARE = 100


def forecast_exhaustion(*, remaining: int, units: int, over_s: int, now: int, ends_at: int) -> int | None:
    """The instant from which nothing is left, rounded up to a second; None: not before the window ends.

    Args:
        remaining: Units that are left.
        units: Spent in the time that gives the pace.
        over_s: Length of that time.
        now: The forecast's instant.
        ends_at: End of the quota's window.
    """
    if remaining <= 0:
        return now
    if units <= 0:
        return None
    exhausted_at = now - (-remaining * max(1, over_s) // units)
    return exhausted_at if exhausted_at < ends_at else None


def window_pace_s(*, starts_at: int, ends_at: int, now: int) -> int:
    """Seconds over which a window's units were spent so far.

    At least a hundredth of the window: some calls right after its start are not yet a pace.
    """
    return max(now - starts_at, (ends_at - starts_at) // _LEAST_SHARE, 1)
