"""Billing meters: what is counted, what was reported, and what a stretch of time comes to. Pure.

An event counts in the period that its own timestamp is in, whenever it arrives.
Source: https://docs.stripe.com/billing/subscriptions/usage-based/meters/configure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.sandbox.rules import DAY_S

HOUR_S = 3_600
FORMULAS = ("count", "last", "sum")
WINDOWS_S = {"day": DAY_S, "hour": HOUR_S}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What events of one name add up to. `window`: pre-aggregated, so the newest event of an hour or day counts."""

    id: str
    created: int
    updated: int
    display_name: str
    event_name: str
    formula: str = "sum"
    window: str | None = None
    customer_key: str = "stripe_customer_id"
    value_key: str = "value"
    deactivated_at: int | None = None

    @property
    def active(self) -> bool:
        """Whether it takes events."""
        return self.deactivated_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEvent:
    """One report. `at` is when it was used, `created` when it was heard of; a cancelled one does not count."""

    id: str
    identifier: str
    created: int
    at: int
    meter_id: str
    customer_id: str
    value: int
    cancelled: bool = False


def counted(
    events: Iterable[MeterEvent], *, meter_id: str, customer_id: str, starts_at: int, ends_at: int
) -> list[MeterEvent]:
    """The events of a customer between two instants, the second one excluded, as they were heard of."""
    return [
        event
        for event in events
        if event.meter_id == meter_id
        and event.customer_id == customer_id
        and starts_at <= event.at < ends_at
        and not event.cancelled
    ]


def aggregated(meter: Meter, events: Iterable[MeterEvent]) -> int:
    """What the events come to by the meter's formula; may be negative."""
    kept = list(events)
    if meter.window is not None:
        size_s = WINDOWS_S[meter.window]
        kept = list({event.at // size_s: event for event in kept}.values())
    if meter.formula == "count":
        return len(kept)
    if meter.formula == "last":
        return max(kept, key=lambda event: (event.at, event.created)).value if kept else 0
    return sum(event.value for event in kept)
