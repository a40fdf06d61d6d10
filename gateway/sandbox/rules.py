"""What a seller sets in Stripe's dashboard, and the sandbox's own pace. Durations end in `_s`."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400
API_VERSION = "2026-10-28.endive"
"""The version that stripe-python 16.1.0 pins; every object has its shape."""

FINAL_ACTIONS = ("cancel", "unpaid", "leave")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How invoices are collected and how subscriptions end."""

    draft_s: int = 3600
    """How long a renewal's invoice stays a draft, as at Stripe: the period has rolled, nothing is paid yet."""

    retry_after_days: tuple[int, ...] = (3, 5, 7)
    """Days between one failed attempt and the next one."""

    final_after_days: int = 21
    """Days after the first failure at which `final_action` is taken."""

    final_action: str = "cancel"
    """`cancel`, `unpaid` or `leave` (past due for ever): what becomes of a subscription nobody pays."""

    incomplete_s: int = 23 * 3600
    """How long a first payment, or a pending update, may wait before it expires."""

    checkout_s: int = 24 * 3600
    """How long a checkout page stays open."""

    portal_is_set_up: bool = True
    """Whether the account's billing portal was ever saved in the dashboard; without, it makes no sessions."""

    portal_cancels_by: str = "cancel_at"
    """`cancel_at` (flexible billing mode, the default of new accounts) or `cancel_at_period_end`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """How events are sent. All of it is real time, however far the test clock is moved.

    Stripe waits about an hour between its attempts and gives up after three days; here it is seconds.
    """

    timeout_s: float = 10.0
    first_retry_s: float = 0.25
    retry_factor: float = 2.0
    longest_retry_s: float = 5.0
    attempts: int = 8
    concurrency: int = 8
    hold_s: float = 0.3
    """How long deliveries are gathered before they are released in another order."""
