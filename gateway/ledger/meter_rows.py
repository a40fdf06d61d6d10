"""What the ledger hands out of overage. Instants are Unix seconds, amounts whole units."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.account import SpendCap


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendCapRow:
    """A cap that a customer set."""

    customer_id: str
    cap: SpendCap
    set_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredWindowRow:
    """The overage of one meter in one billing period of one customer."""

    customer_id: str
    meter: str
    window_starts_at: int
    window_ends_at: int | None
    """None: nobody has looked at it yet."""
    included: int | None
    """Units that the plan included when it was last looked at."""
    total: int
    """Units of overage, as they were settled last. A refund may lower it."""
    reported: int
    """Units of which reports were made. It never falls."""
    stripe_meter: str | None
    """Where they are reported to: the `event_name` of a Billing Meter."""
    stood: int
    """`total` at `stood_at`."""
    stood_at: int | None
    look_at: int
    """When to look at it next, if there is something to report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedWindowRow:
    """The overage of one meter in a window whose subscription ended in the middle of its period."""

    customer_id: str
    meter: str
    window_starts_at: int
    stripe_meter: str
    total: int
    """Units of overage, as they were settled last."""
    ended_at: int | None = None
    """When the subscription ended; None: not asked for."""
    ended_as: str | None = None
    """What it is since: Stripe's word, or `customer_deleted`."""
    stripe_customer_id: str | None = None
    """Whose subscription it was; None: nobody's at Stripe, or not asked for."""
    closed_at: int | None = None
    """When it was looked at what is billed of it; None: it was not."""
    unbilled: int | None = None
    """Units that no invoice asks for."""
    acknowledged_at: int | None = None
    """Since when somebody has seen to these; None: nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbilledFilter:
    """Which windows with units on no invoice are meant. None: it does not matter."""

    customer_id: str | None = None
    meter: str | None = None
    """The policy's name, or that of the Billing Meter."""
    at: int | None = None
    """An instant within the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReportRow:
    """One step of a running total, as Stripe is told."""

    identifier: str
    """Made of what it reports (`core.metering`): Stripe takes it once."""
    customer_id: str
    meter: str
    stripe_meter: str
    window_starts_at: int
    total: int
    """The running total that it brings Stripe to."""
    units: int
    """By how much, >= 1."""
    happened_at: int
    """The instant that Stripe counts them at, within the window."""
    made_at: int
    due_at: int
    """Pending: not before."""
    status: str = "pending"
    """`pending`, `sent` or `dead`."""
    attempts: int = 0
    tried_at: int | None = None
    """When it was first tried."""
    sent_at: int | None = None
    error: str | None = None
    """Why the last try failed, or what Stripe said of it later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentUnits:
    """Units of one window that Stripe was told within one stretch of time."""

    meter: str
    window_starts_at: int
    told_from: int
    """When that stretch begins."""
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTurn:
    """That one worker reports for a customer and meter, and nobody else meanwhile."""

    customer_id: str
    meter: str
    worker: str
