"""How overage is told to Stripe's Billing Meters: as steps of a running total, each once. Pure.

The total of a window is what its counter of overage holds (`core.overage`), as it was settled. Laws:
- each report brings Stripe from the total before it to its own, so the units of all reports of a window add up to
  the highest total that was reported; a total that falls, by refunds, takes nothing back and is made up for by what
  is used next;
- only what has stood for a while is reported: calls in progress may be given back until then. A window that has ended
  is held as long, and then all of it is reported, for Stripe's invoice waits an hour. So more than was used is billed
  only where a call lasts longer than that, is given back, and nobody uses its units again before the window ends;
- the identifier is made of what is reported, so the same step is the same report whoever makes it, and Stripe takes
  it once;
- it counts at an instant within its window, so that it is on the invoice of that period.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

SETTLES_WITHIN_S = 15
"""A window that has ended is reported so long after, or later: then what workers had counted is settled."""
HELD_AT_MOST_S = 900
"""And not later than so: of the hour until the invoice is final, the rest is for tries that fail."""
OLDEST_S = 35 * 86_400
"""Stripe takes nothing that happened longer ago. Source: https://docs.stripe.com/api/billing/meter-event/create"""
KNOWN_FOR_S = 23 * 3600
"""How long Stripe surely knows an identifier, less an hour. Source: the same, "at least 24 hours"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The running total of one window. Amounts are units, instants Unix seconds."""

    starts_at: int
    ends_at: int
    total: int
    """As it was settled last."""
    reported: int
    stood: int
    """The total at the look before."""
    stood_at: int | None
    """When that was; None: this is the first look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What comes of looking at a window."""

    report_to: int
    """The total to report; what was reported already: nothing new."""
    stood: int
    stood_at: int
    look_at: int
    """When to look again, if there is something to report then."""


def look(running: Running, now: int, hold_s: int) -> Look:
    """What is to be reported of a window now.

    Args:
        running: The window.
        now: Unix seconds.
        hold_s: How long a total must have stood, and how long one is held that its window ends with.
    """
    closes_at = running.ends_at + max(SETTLES_WITHIN_S, min(hold_s, HELD_AT_MOST_S))
    if now >= closes_at:
        return Look(report_to=max(running.reported, running.total), stood=running.total, stood_at=now, look_at=now)
    if running.stood_at is not None and now - running.stood_at < hold_s:
        held_until = min(running.stood_at + hold_s, closes_at)
        return Look(report_to=running.reported, stood=running.stood, stood_at=running.stood_at, look_at=held_until)
    stands = 0 if running.stood_at is None else min(running.stood, running.total)
    return Look(
        report_to=max(running.reported, stands),
        stood=running.total,
        stood_at=now,
        look_at=min(now + hold_s, closes_at),
    )


def happened_at(starts_at: int, ends_at: int, now: int) -> int:
    """The instant at which units of a window count: now, or its last second."""
    return max(starts_at, min(now, ends_at - 1))


def is_too_old(happened: int, now: int) -> bool:
    """Whether Stripe would not take it any more; an hour early, for clocks and repeats."""
    return happened < now - OLDEST_S + 3600


def report_identifier(customer_id: str, meter: str, starts_at: int, total: int) -> str:
    """The name of the report that brings a window to a total: 49 characters, which tell nothing."""
    told = f"{len(customer_id)}:{customer_id}:{len(meter)}:{meter}:{starts_at}:{total}"
    return f"tiergate-{sha256(told.encode()).hexdigest()[:40]}"
