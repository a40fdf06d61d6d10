"""Which window a quota counts in: pure calendar arithmetic in UTC, Unix seconds.

Laws, each a property test:
- the window contains `now`: `starts_at <= now < ends_at`;
- windows tile time: for one account, each begins where the one before ends;
- a renewal that arrives late changes nothing: the window opened by the clock at a period's
  end has the same start as the one Stripe then reports, so no quota is given twice.

A counter is identified by its window's start. So what moves the start restarts the count,
and nothing else does:

| change | start of the window | count |
|---|---|---|
| free to paid | moves to the subscription's period start | restarts: the period was paid for |
| pro to enterprise in one period | stays | kept |
| a trial is ended by a change that is paid, or a paused one is resumed | moves to the period's start | restarts |
| a trial is made longer or shorter | stays | kept |
| Stripe moves the billing anchor (monthly to yearly plan) | stays, and steps on from the old anchor | kept |
| past due, unpaid, paused, fallback to a lower tier | stays on the subscription's dates | kept |
| cancelled | stays on the subscription's dates, for good | kept |
| a checkout that was never paid | stays on the sign-up date | kept |
| a tier is granted by hand, or that grant ends | stays | kept |

Policy may say that a rise of the tier restarts the count too (`core.plan_change`).

Three of these rows keep anyone from winning a fresh quota: by going to and fro between a
monthly and a yearly plan, by cancelling, or by checkouts with a card that declines.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.account import Account, Subscription

_DAY_S = 86_400
_SHORTEST_MONTH_S = 28 * _DAY_S
_LONGEST_MONTH_S = 31 * _DAY_S
_NEVER_PAID = frozenset({"incomplete", "incomplete_expired"})


def quota_window(account: Account, now: float, window_s: int | None) -> tuple[int, int]:
    """Start (inclusive) and end (exclusive) of the window that contains `now`.

    Args:
        account: Its subscription's period rules billing periods; without one, months from
            the customer's creation.
        now: Unix seconds.
        window_s: Length of a fixed window aligned to the Unix epoch; None: the billing period.
    """
    instant = int(now // 1)
    if window_s is not None:
        starts_at = instant - instant % window_s
        return starts_at, starts_at + window_s
    subscription = account.subscription
    if subscription is None or subscription.status in _NEVER_PAID:
        return month_window(account.created_at, instant)
    return _period_window(account.created_at, subscription, instant)


def subscription_window(subscription: Subscription, now: float) -> tuple[int, int]:
    """The billing period's window of a subscription that was paid, whoever has it."""
    return _period_window(subscription.anchor_at, subscription, int(now // 1))


def month_window(anchor_at: int, instant: int) -> tuple[int, int]:
    """The calendar-month step from `anchor_at` that contains `instant`, also before the anchor.

    A day that a month does not have is clamped to its last day, always from the anchor's own
    day: 31 January, 28 February, 31 March. Source: Stripe's billing cycle anchor.
    """
    anchor, here = datetime.fromtimestamp(anchor_at, UTC), datetime.fromtimestamp(instant, UTC)
    months = (here.year - anchor.year) * 12 + here.month - anchor.month
    starts_at = _months_after(anchor, months)
    if starts_at > instant:
        return _months_after(anchor, months - 1), starts_at
    return starts_at, _months_after(anchor, months + 1)


def _months_after(anchor: datetime, months: int) -> int:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return int(anchor.replace(year=year, month=month + 1, day=day).timestamp())


def _period_window(created_at: int, subscription: Subscription, instant: int) -> tuple[int, int]:
    starts_at, ends_at = subscription.period_starts_at, subscription.period_ends_at
    if subscription.quota_anchor_at is not None:
        return _anchored_window(subscription, subscription.quota_anchor_at, instant)
    if ends_at <= starts_at:
        return month_window(subscription.anchor_at, instant)
    if instant < starts_at:
        return _window_before(created_at, subscription, instant)
    if instant >= ends_at:
        return _window_after(subscription, instant)
    if ends_at - starts_at <= _LONGEST_MONTH_S:
        return starts_at, ends_at
    first, last = month_window(subscription.anchor_at, instant)
    return max(first, starts_at), min(last, ends_at)


def quota_anchor(subscription: Subscription, now: float) -> int:
    """An instant from which the windows of this subscription step, whatever becomes of its billing anchor.

    The window that contains `now` starts where it did: a first partial period begins in the midst of a step.
    """
    if subscription.quota_anchor_at is not None:
        return subscription.quota_anchor_at
    starts_at, anchor_at = subscription.period_starts_at, subscription.anchor_at
    is_cut = starts_at < anchor_at and month_window(anchor_at, int(now // 1))[0] < starts_at
    return starts_at if is_cut or _is_short(subscription) else anchor_at


def _anchored_window(subscription: Subscription, anchor_at: int, instant: int) -> tuple[int, int]:
    if _is_short(subscription):
        return _length_step(subscription, anchor_at, instant)
    return month_window(anchor_at, instant)


def _window_before(created_at: int, subscription: Subscription, instant: int) -> tuple[int, int]:
    """Our clock is behind Stripe's, or a late request is judged: the window that ran until the period."""
    starts_at = subscription.period_starts_at
    began_at = min(subscription.anchor_at, starts_at)
    if instant < began_at:
        first, last = month_window(created_at, instant)
        return first, min(last, began_at)
    if _is_short(subscription):
        first, last = _length_step(subscription, starts_at, instant)
    else:
        first, last = month_window(subscription.anchor_at, instant)
    return max(first, began_at), min(last, starts_at)


def _window_after(subscription: Subscription, instant: int) -> tuple[int, int]:
    """The period is over and no event has said more: roll at once."""
    if _is_short(subscription):
        return _length_step(subscription, subscription.period_starts_at, instant)
    first, last = month_window(subscription.anchor_at, instant)
    return max(first, subscription.period_ends_at), last


def _is_short(subscription: Subscription) -> bool:
    """Billed by the day or week. A trial or a first partial period is short too, but ends at its anchor."""
    length_s = subscription.period_ends_at - subscription.period_starts_at
    return length_s < _SHORTEST_MONTH_S and subscription.anchor_at < subscription.period_ends_at


def _length_step(subscription: Subscription, anchor_at: int, instant: int) -> tuple[int, int]:
    length_s = subscription.period_ends_at - subscription.period_starts_at
    first = anchor_at + (instant - anchor_at) // length_s * length_s
    return first, first + length_s
