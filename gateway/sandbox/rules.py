"""What a seller sets in Stripe's dashboard, and the sandbox's own pace. Durations end in `_s`."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400
API_VERSION = "2026-10-28.endive"
"""The version that stripe-python 16.1.0 pins; every object has its shape."""

FINAL_ACTIONS = ("cancel", "unpaid", "leave")
METER_ERRORS = ("refused", "reported")
FINALIZATION_ERRORS = ("", "customer_tax_location_invalid", "taxes_calculation_failed")


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

    delayed_s: int = 4 * DAY_S
    """How long a payment by bank account is on its way."""

    finalization_error: str = ""
    """Stripe's code for why no draft becomes final, by itself or by the API; empty: nothing is in the way. What is
    billed at once is not held up by it."""

    portal_is_set_up: bool = True
    """Whether the account's billing portal was ever saved in the dashboard; without, it makes no sessions."""

    meter_errors: str = "refused"
    """`refused`: a meter event that cannot count is answered with an error. `reported`: it is taken, and
    v1.billing.meter.error_report_triggered tells of it afterwards, as with events that are sent by the stream."""

    searches_per_s: int = 0
    """Searches of customers that are answered within a second of real time, the rest with 429; 0: all. Stripe's is 20:
    https://docs.stripe.com/rate-limits"""

    has_search: bool = True
    """Whether the account may search; one in India may not."""

    portal_cancels_by: str = "cancel_at"
    """`cancel_at` (flexible billing mode, the default of new accounts), `cancel_at_period_end`, or `immediately`."""


STRIPE_RETRIES_S = (300, 1_800, 7_200, 18_000, 36_000, 43_200, 43_200, 43_200, 43_200)
"""Waits between Stripe's attempts, about: it tells only that they grow and that it gives up after three days.

Source: https://docs.stripe.com/webhooks#automatic-retries.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """How events are sent. All of it is real time, however far the test clock is moved, unless `on_test_clock`.

    Stripe's waits grow from minutes to half a day and it gives up after three days; here it is seconds.
    """

    timeout_s: float = 10.0
    first_retry_s: float = 0.25
    retry_factor: float = 2.0
    longest_retry_s: float = 5.0
    attempts: int = 8
    concurrency: int = 8
    hold_s: float = 0.3
    """How long deliveries are gathered before they are released in another order."""

    on_test_clock: bool = False
    """Whether Stripe's own waits are kept, as the test clock goes: a failed attempt is made again only when
    the clock has been moved that far, by `STRIPE_RETRIES_S` instead of the seconds above, for three days."""

    def wait_s(self, attempts: int) -> float | None:
        """How long to wait after so many failed attempts; None gives up."""
        if self.on_test_clock:
            return STRIPE_RETRIES_S[attempts - 1] if attempts <= len(STRIPE_RETRIES_S) else None
        if attempts >= self.attempts:
            return None
        return min(self.first_retry_s * self.retry_factor ** (attempts - 1), self.longest_retry_s)
