"""Which time a statement is about, as people write it. Pure; instants are Unix seconds, days begin in UTC.

| written | means |
|---|---|
| `current` | the billing period that runs |
| `last` | the one before |
| `2026-10-14`, `2026-10-14T12:00:00+01:00`, `1791900000` | the one in which that instant lies |
| `2026-01-01..2026-07-01` | from the first instant until just before the second |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.core.account import LAST_INSTANT
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from gateway.core.account import Account

PERIOD_HINT = "a period is written as current, last, 2026-10-14, or 2026-01-01..2026-07-01"
_BETWEEN = ".."
_LONGEST_S = 5 * 366 * 86_400
_BEGINNING_S = 86_400
"""What lies before the plan of a customer who buys within a day is no period that anybody asks about."""


class PeriodInvalid(ValueError):
    """No such period. `str()` says how it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time between two instants, the second not included."""

    since: int
    until: int


def find_span(text: str, account: Account, now: float) -> Span:
    """The time that is meant, for a customer.

    Args:
        text: As in the table above.
        account: Its subscription's dates rule billing periods.
        now: Unix seconds.

    Raises:
        PeriodInvalid: It is not written so, ends before it begins, or is longer than five years.
    """
    words = text.strip()
    if words == "current":
        return _around(account, now)
    if words == "last":
        return _around(account, _around(account, now).since - 1)
    if _BETWEEN not in words:
        return _around(account, _instant(words))
    first, _, second = words.partition(_BETWEEN)
    span = Span(since=_instant(first), until=_instant(second))
    if not span.since < span.until <= span.since + _LONGEST_S:
        raise PeriodInvalid("a period begins before it ends, at most five years before")
    return span


def usual_period(account: Account, now: float) -> str:
    """What a customer sees who names no period: the last that is over, or the first of a new customer."""
    return "last" if find_span("last", account, now).until > account.created_at + _BEGINNING_S else "current"


def _around(account: Account, instant: float) -> Span:
    since, until = quota_window(account, instant, None)
    return Span(since=since, until=until)


def _instant(text: str) -> int:
    words = text.strip()
    try:
        at = int(words) if words.isascii() and words.isdigit() else _date(words)
    except (ValueError, OverflowError):
        raise PeriodInvalid(PERIOD_HINT) from None
    if not 0 <= at <= LAST_INSTANT:
        raise PeriodInvalid("an instant lies between the years 1970 and 9999")
    return at


def _date(words: str) -> int:
    when = datetime.fromisoformat(words)
    return int((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp())
